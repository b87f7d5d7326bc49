//! Bringing weights to the chain: conform, check, sign, send, and show that they landed.
mod commit;
mod conform;
mod dry_run;
mod entropy;
mod error;
mod pending;
mod preflight;
pub mod quantize;
mod row;
mod setter;
mod shares;

pub use commit::{COMMIT_VERSION, WeightsTlockPayload, commit_hash, reveal_round};
pub use dry_run::DryRunSetter;
pub use entropy::Entropy;
pub use error::WeightsError;
pub use pending::TimelockedCommit;
pub use row::{RowWeight, WeightsRow};
pub use setter::{CommitScheme, SetterConfig, SubtensorWeightSetter};
pub use shares::Shares;
