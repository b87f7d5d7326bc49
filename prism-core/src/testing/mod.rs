//! The conformance kit: one suite per seam, fakes that pass them, mutants that prove each check can fail.
//!
//! A suite has one check per numbered clause of its trait's documentation, named after it. It gets a *driver*, which makes
//! the implementation under test do what its outside would do (a submission comes in, a block is made, a host crashes),
//! and gives a [`Report`]. Every clause is run on a fresh driver, so that clauses don't see each other.
//!
//! ```
//! use prism_core::{Observer, testing::{fakes::RecordingObserver, observer::{self, ObserverDriver}}};
//! use std::sync::Arc;
//!
//! #[derive(Default)]
//! struct Driver(Arc<RecordingObserver>);
//!
//! impl ObserverDriver for Driver {
//!     fn observer(&self) -> Arc<dyn Observer> {
//!         Arc::clone(&self.0) as _
//!     }
//!     fn seen(&self) -> Option<u64> {
//!         Some(self.0.events().len() as u64)
//!     }
//! }
//!
//! observer::run(Driver::default).assert_ok();
//! ```
//!
//! The kit needs no runtime; an implementation that needs one awaits the suite inside it. A clause that has not been
//! answered after [`PATIENCE`] fails. Not covered by semantic versioning.
#[macro_use]
mod report;

pub mod artifacts;
pub mod chain_view;
pub mod clock;
mod drive;
pub mod fakes;
#[cfg(test)]
mod mutants;
pub mod nonces;
pub mod observer;
pub mod reviewer;
pub mod reward;
pub mod sample;
pub mod sandbox;
pub mod scorer;
pub mod source;
pub mod trainer;
pub mod weight_setter;

pub use drive::{block_on, within};
pub use report::{Broken, Check, Clause, PATIENCE, Report};
