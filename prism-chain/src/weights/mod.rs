//! Bringing weights to the chain: conform, check, sign, send, and show that they landed.
mod conform;
mod dry_run;
mod error;
mod preflight;
pub mod quantize;
mod setter;

pub use dry_run::DryRunSetter;
pub use error::WeightsError;
pub use setter::{SetterConfig, SubtensorWeightSetter};
