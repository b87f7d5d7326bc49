//! Python in a sandbox, playing the same game as everything else: see [`Player`](crate::player::Player).
//!
//! A [`Pool`] keeps sandboxes waiting in which the runner (`runner/`, Python) has imported PyTorch and no miner's code
//! yet. [`GuestPlayer`] takes one, sends the bundle over the channel and plays ([`protocol`]); its auditors come from the
//! same pool. [`GuestTrainer`] does all that for a task.
pub mod baselines;
pub mod bundle;
mod channel;
mod line;
pub mod player;
pub mod pool;
pub mod protocol;
mod runner;
pub mod runtime;
pub mod settings;
mod spool;
pub mod trainer;
mod weights;

pub use bundle::{GuestBundle, GuestBundleError, GuestPart, GuestParts};
pub use player::{Assignment, GuestPlayer};
pub use pool::Pool;
pub use runtime::Runtime;
pub use settings::GuestSettings;
pub use spool::Spooled;
pub use trainer::GuestTrainer;
