//! What the host sees: the one loop that measures every player.
mod audit;
#[cfg(test)]
mod cheats;
pub mod checkpoint;
pub mod plan;
mod point;
pub mod run;
pub mod signals;
#[cfg(test)]
pub(crate) mod tasks;
mod watch;

pub use checkpoint::Checkpoint;
pub use plan::{Cadence, PlanError};
pub use run::{resume, run};
