//! Why weights can't be set now.
use crate::{error::ChainError, rejection::Rejection, timelock::TimelockError, weights::commit::COMMIT_VERSION};
use prism_core::{Block, Epoch, Error, Fault, Hotkey, Kind, MechanismId, Netuid, Retry};
use std::{io, time::Duration};

/// Why weights can't be set now. Where the chain would give a reason, the message begins with the chain's own name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The intent contradicts itself.
    #[error("weight intent is invalid: {0}")]
    Intent(String),
    /// The subnet doesn't exist.
    #[error("SubnetNotExists: there is no subnet {0}")]
    NoSubnet(Netuid),
    /// The root network takes no weights.
    #[error("CanNotSetRootNetworkWeights: subnet 0 takes no weights")]
    Root,
    /// The mechanism doesn't exist.
    #[error("MechanismDoesNotExist: subnet {netuid} has {count} mechanisms, mechanism {mechanism} is not one of them")]
    NoMechanism {
        /// The subnet.
        netuid: Netuid,
        /// The mechanism that was asked for.
        mechanism: MechanismId,
        /// How many it has.
        count: u8,
    },
    /// The chain wants another kind of timelocked commitments.
    #[error("IncorrectCommitRevealVersion: the chain takes version {0}, this program makes version {COMMIT_VERSION}")]
    CommitVersion(u16),
    /// The chain keeps no more commitments of this hotkey.
    #[error("TooManyUnrevealedCommits: {count} commitments wait to be revealed, the chain keeps no more")]
    TooManyCommits {
        /// How many wait.
        count: usize,
        /// How long until the next epoch, when there is one.
        wait: Option<Duration>,
    },
    /// A commitment would never be revealed.
    #[error("subnet {0} runs no epochs, a commitment would never be revealed")]
    NoEpochs(Netuid),
    /// Nothing is known to encrypt for.
    #[error("the runtime has no Drand.BeaconConfig: configure a beacon, or commitments by hash")]
    NoBeacon,
    /// The vector is too long to be committed.
    #[error("CommitPayloadTooLarge: a commitment of {weights} weights has {bytes} bytes, the chain takes 5000")]
    CommitTooLong {
        /// Weights above zero.
        weights: usize,
        /// Length of the ciphertext.
        bytes: usize,
    },
    /// The vector can't be encrypted.
    #[error(transparent)]
    Timelock(#[from] TimelockError),
    /// No randomness for a commitment.
    #[error("no randomness for a commitment: {0}")]
    Entropy(#[from] io::Error),
    /// The hotkey has no slot.
    #[error("HotKeyNotRegisteredInSubNet: hotkey {hotkey} is not registered on subnet {netuid} at block {at}")]
    NotRegistered {
        /// The signing hotkey.
        hotkey: Hotkey,
        /// The subnet.
        netuid: Netuid,
        /// Where that was read.
        at: Block,
    },
    /// The hotkey has too little stake.
    #[error("NotEnoughStakeToSetWeights: hotkey {hotkey} has stake weight {stake} rao, the chain asks for {threshold}")]
    Stake {
        /// The signing hotkey.
        hotkey: Hotkey,
        /// Its stake weight.
        stake: u64,
        /// The least that is needed.
        threshold: u64,
    },
    /// The subnet runs newer validators.
    #[error("IncorrectWeightVersionKey: version key is {key}, subnet {netuid} asks for {required}")]
    VersionKey {
        /// The subnet.
        netuid: Netuid,
        /// The intent's.
        key: u64,
        /// The least that is accepted.
        required: u64,
    },
    /// Too soon after the last vector.
    #[error("{name}: {blocks} blocks to wait, the last weights are of block {last}")]
    TooFast {
        /// The chain's name for it: `SettingWeightsTooFast` or `CommittingWeightsTooFast`.
        name: &'static str,
        /// Blocks to wait.
        blocks: u64,
        /// Block of the last vector.
        last: Block,
        /// How long that is.
        wait: Duration,
    },
    /// The hotkey has no validator permit.
    #[error(
        "NeuronNoValidatorPermit: hotkey {hotkey} has no validator permit on subnet {netuid}; permits are given at \
         epochs, by stake"
    )]
    NoPermit {
        /// The signing hotkey.
        hotkey: Hotkey,
        /// The subnet.
        netuid: Netuid,
        /// How long until the next epoch, when there is one.
        wait: Option<Duration>,
    },
    /// Fewer weights than the subnet allows.
    #[error("WeightVecLengthIsLow: {have} weights above zero, subnet {netuid} asks for {need}")]
    TooFew {
        /// The subnet.
        netuid: Netuid,
        /// How many there are.
        have: usize,
        /// How many there must be.
        need: u16,
    },
    /// Nobody is left to be paid.
    #[error("nothing to set: no hotkey with a share is registered on subnet {0}")]
    Nothing(Netuid),
    /// There is a share to burn, and nowhere to burn it.
    #[error(
        "share {share} is to be burned, but {target} has no slot on subnet {netuid}; name a registered burn hotkey in \
         the configuration"
    )]
    NoBurnTarget {
        /// The subnet.
        netuid: Netuid,
        /// The share.
        share: f64,
        /// Who was looked for.
        target: String,
    },
    /// Another receipt of this hotkey isn't finished.
    #[error("weights of epoch {epoch} are in flight as {hash}: {stage}, to end by block {until}")]
    InFlight {
        /// Whose epoch.
        epoch: Epoch,
        /// Its extrinsic.
        hash: String,
        /// How far it is.
        stage: &'static str,
        /// The first block in which its signature is void, or that of its reveal.
        until: Block,
        /// The time between two blocks.
        wait: Duration,
    },
    /// The pool doesn't take the extrinsic now, and may later.
    #[error("transaction pool does not take the extrinsic yet: {rejection}")]
    NotYet {
        /// Why.
        rejection: Rejection,
        /// The time between two blocks.
        wait: Duration,
    },
    /// Finality lags so far behind that a signature would be void soon.
    #[error("finality stalls: final block is {finalized}, best block is {best}")]
    Stalled {
        /// Newest final block.
        finalized: Block,
        /// Best block.
        best: Block,
    },
    /// The receipt isn't one of this setter's.
    #[error("receipt is not usable: {0}")]
    Receipt(String),
    /// Reading or sending failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<WeightsError> for Error {
    fn from(error: WeightsError) -> Self {
        use WeightsError as E;
        let (kind, retry) = match &error {
            E::Chain(_) => {
                let E::Chain(inner) = error else { return Error::bug("weights error changed its kind") };
                return inner.into();
            }
            E::Intent(_) => (Kind::Invalid, Retry::Never),
            E::NoSubnet(_) | E::NoMechanism { .. } => (Kind::NotFound, Retry::Never),
            E::Root | E::CommitVersion(_) | E::NoBeacon => (Kind::Unsupported, Retry::Never),
            E::TooManyCommits { wait, .. } => (Kind::Limit, wait.map_or(Retry::Never, Retry::After)),
            E::NoEpochs(_) | E::CommitTooLong { .. } => (Kind::Refused, Retry::Never),
            E::Timelock(_) => (Kind::Invalid, Retry::Never),
            E::Entropy(_) => (Kind::Unavailable, Retry::After(Duration::from_secs(12))),
            E::NotRegistered { .. } | E::Stake { .. } | E::VersionKey { .. } | E::TooFew { .. } => {
                (Kind::Refused, Retry::Never)
            }
            E::TooFast { wait, .. } => (Kind::Limit, Retry::After(*wait)),
            E::NoPermit { wait, .. } => (Kind::Refused, wait.map_or(Retry::Never, Retry::After)),
            E::Nothing(_) | E::NoBurnTarget { .. } => (Kind::Refused, Retry::Never),
            E::InFlight { wait, .. } => (Kind::Conflict, Retry::After(*wait)),
            E::NotYet { rejection, wait } => (rejection.kind(), Retry::After(*wait)),
            E::Stalled { .. } => (Kind::Unavailable, Retry::After(Duration::from_secs(12))),
            E::Receipt(_) => (Kind::Corrupt, Retry::Never),
        };
        let fault =
            if matches!(error, E::Stalled { .. } | E::Entropy(_)) { Fault::Infrastructure } else { Fault::Validator };
        Error::new(kind, fault, error.to_string()).retry(retry)
    }
}
