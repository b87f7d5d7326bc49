//! What the host sees: when it measures, the one loop that does it for every player, and the paired comparison of
//! what two runs showed.
pub mod pairing;
pub mod plan;
pub mod run;
#[cfg(test)]
pub(crate) mod tasks;

pub use pairing::{Paired, PairingError};
pub use plan::{Cadence, PlanError};
pub use run::run;
