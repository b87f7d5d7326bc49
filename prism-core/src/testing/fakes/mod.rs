//! Implementations of the seams in memory, driven by hand: for tests of whatever stands on a seam.
//!
//! Each is a handle: its clones share what is behind it, so that a test keeps one and gives another away.
mod chain;
mod clock;
mod nonces;
mod observer;
mod reviewer;
mod source;

pub use chain::{FakeChain, WeightExtrinsic};
pub use clock::ManualClock;
pub use nonces::MemoryNonces;
pub use observer::{Recorded, RecordingObserver};
pub use reviewer::{Reading, ScriptedReviewer};
pub use source::MemorySource;
