//! What a run shows beyond its bits: pure functions of evidence, each with its range, its direction and its source.
//!
//! Nothing here is worth anything by itself. A score pairs these with a baseline's, and lets them lift nothing that has
//! no advantage in bits per byte. Only what the host witnessed is read.
//!
//! ```
//! # fn show(run: &prism_core::Evidence) {
//! use prism_eval::measure::signals::{DiagnosticThresholds, Signals, diagnostics};
//!
//! let thresholds = DiagnosticThresholds::default();
//! let collapse = &diagnostics(run, &thresholds)["representation_collapse"];
//! println!("{:?} {:?}", collapse.status, collapse.warnings);
//! println!("{:?}", Signals::of(&[run], &thresholds));
//! # }
//! ```
pub(crate) mod curve;
pub(crate) mod diagnostic;
pub(crate) mod layer;
mod summary;

pub use crate::policy::DiagnosticThresholds;
pub use diagnostic::{DIAGNOSTICS, Diagnostic, DiagnosticStatus, Redistribution, diagnostics};
pub(crate) use summary::NORM_SPIKE;
pub use summary::Signals;
