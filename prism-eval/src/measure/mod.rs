//! What the host sees: the one loop that measures every player, and the paired comparison of what two runs showed.
pub mod pairing;
pub mod plan;
pub mod run;
#[cfg(test)]
pub(crate) mod tasks;

pub use pairing::{Paired, PairingError};
pub use plan::PlanError;
pub use run::run;
