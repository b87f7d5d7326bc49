//! Why something is not committed.
use crate::{error::ChainError, timelock::TimelockError};
use prism_core::{Block, Error, Fault, Hotkey, Kind, Netuid, Retry};
use std::time::Duration;

/// Why something is not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentError {
    /// Nothing to commit.
    #[error("commitment is empty")]
    Empty,
    /// More bytes than a field has.
    #[error("{what} of {length} bytes is too long for a commitment: {most} at most")]
    TooLong {
        /// Which kind of field.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        most: usize,
    },
    /// More fields than the chain takes.
    #[error("commitment has {count} fields, the chain takes {most}")]
    TooManyFields {
        /// How many.
        count: usize,
        /// The limit.
        most: u32,
    },
    /// A field that is read only.
    #[error("a field of kind {0} can't be committed from here")]
    ReadOnly(String),
    /// The beacon's round is out: all could read it at once.
    #[error("reveal round {round} is out: the chain has stored round {last}")]
    RoundIsOut {
        /// The round that was asked for.
        round: u64,
        /// The newest on the chain.
        last: u64,
    },
    /// Encrypting failed.
    #[error(transparent)]
    Timelock(#[from] TimelockError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// Only registered hotkeys may commit.
    #[error("hotkey {hotkey} is not registered on subnet {netuid}")]
    Unregistered {
        /// Whose commitment.
        hotkey: Hotkey,
        /// Where it would have to be registered.
        netuid: Netuid,
    },
    /// The hotkey has used up its space in this epoch.
    #[error("commitment takes {needed} bytes, {left} are left in this epoch{}", until(*renewed))]
    NoSpace {
        /// What it takes.
        needed: u64,
        /// What is left.
        left: u64,
        /// The block of the next epoch.
        renewed: Option<Block>,
    },
    /// The block shows success and another commitment.
    #[error("block {0} holds another commitment of the hotkey than the one sent")]
    ReadBack(Block),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

fn until(block: Option<Block>) -> String {
    block.map(|block| format!(", which ends at block {block}")).unwrap_or_default()
}

impl From<CommitmentError> for Error {
    fn from(error: CommitmentError) -> Self {
        use CommitmentError as E;
        let (kind, fault, retry) = match error {
            E::Chain(error) => return error.into(),
            E::Empty | E::TooLong { .. } | E::TooManyFields { .. } | E::ReadOnly(_) | E::Timelock(_) => {
                (Kind::Invalid, Fault::Validator, Retry::Never)
            }
            E::Randomness => (Kind::Unavailable, Fault::Infrastructure, Retry::Never),
            E::RoundIsOut { .. } | E::Unregistered { .. } => (Kind::Refused, Fault::Validator, Retry::Never),
            E::NoSpace { .. } => (Kind::Limit, Fault::Policy, Retry::After(Duration::from_secs(60))),
            E::ReadBack(_) => (Kind::Conflict, Fault::Infrastructure, Retry::Never),
        };
        Self::new(kind, fault, error.to_string()).retry(retry)
    }
}
