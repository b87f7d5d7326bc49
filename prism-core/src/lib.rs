//! The language of PRISM: traits, domain types and pure rules.
//!
//! Nothing here does I/O, starts a thread or needs an async runtime. The crates above implement the traits
//! (`prism-chain` towards Bittensor, `prism-eval` towards measuring) and `prism-neurons` composes them.
//!
//! | seam | one sentence |
//! |---|---|
//! | [`SubmissionSource`] | hands out submissions at least once, from a cursor |
//! | [`Sandbox`] | starts untrusted work under limits, hands back a process with a byte channel |
//! | [`Trainer`] | carries out one training task within a budget and returns evidence |
//! | [`Scorer`] | turns a round of evidence into score cards; pure |
//! | [`RewardPolicy`] | turns standings into an allocation by hotkey; pure |
//! | [`WeightSetter`] | prepares a signed weight vector and advances its receipt |
//!
//! Each contract is a list of numbered clauses in the trait's documentation; `testing` (feature `testing`) holds one
//! conformance test per clause, and mutants that prove each test can fail.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod artifacts;
pub mod cancel;
pub mod chain_view;
pub mod channel;
pub mod clock;
pub mod error;
pub mod evidence;
pub mod finite;
pub mod hotkey;
pub mod id;
pub mod manifest;
pub mod nonces;
pub mod observer;
pub mod plan;
pub mod receipt;
pub mod reviewer;
pub mod reward;
pub mod sandbox;
pub mod score;
pub mod scorer;
pub mod seed;
pub mod source;
pub mod standings;
pub mod submission;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trainer;
pub mod trials;
pub mod weight_setter;

pub use artifacts::Artifacts;
pub use cancel::Cancel;
pub use chain_view::ChainView;
pub use clock::Clock;
pub use error::{Error, Fault, Kind, Result, Retry};
pub use evidence::Evidence;
pub use finite::Finite;
pub use hotkey::Hotkey;
pub use id::{Block, Digest, Epoch, FamilyId, MechanismId, Netuid, SubmissionId, TaskId, Uid};
pub use nonces::Nonces;
pub use observer::Observer;
pub use plan::TrainTask;
pub use receipt::{Receipt, WeightIntent};
pub use reviewer::Reviewer;
pub use reward::RewardPolicy;
pub use sandbox::Sandbox;
pub use score::ScoreCard;
pub use scorer::{Scorer, scorer_fn};
pub use seed::Seed;
pub use source::SubmissionSource;
pub use standings::Standings;
pub use submission::Submission;
pub use trainer::Trainer;
pub use weight_setter::WeightSetter;
