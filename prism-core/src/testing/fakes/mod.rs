//! Implementations of the seams in memory, driven by hand: for tests of whatever stands on a seam.
//!
//! Each is a handle: its clones share what is behind it, so that a test keeps one and gives another away.
mod chain;
mod clock;
mod nonces;
mod observer;
mod reviewer;
mod sandbox;
mod setter;
mod source;
mod trainer;

pub use chain::{FakeChain, WeightExtrinsic};
pub use clock::ManualClock;
pub use nonces::MemoryNonces;
pub use observer::{Recorded, RecordingObserver};
pub use reviewer::{Reading, ScriptedReviewer};
pub use sandbox::{Act, Demand, ScriptedSandbox};
pub use setter::RecordingSetter;
pub use source::MemorySource;
pub use trainer::{Script, ScriptedTrainer};
