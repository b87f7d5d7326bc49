//! Errors of the SubtensorModule pallet, by the chain's names.
//!
//! Their numbers change between runtimes; clients match them by name through the metadata.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

use crate::devnet::dispatch::{DispatchError, ModuleError};

/// Index of the pallet in the runtime.
pub(in crate::devnet) const PALLET_INDEX: u8 = 7;

/// Why the pallet refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(clippy::enum_variant_names)] // the chain's own
pub(in crate::devnet) enum Error {
    RootNetworkDoesNotExist,
    InvalidIpType,
    InvalidIpAddress,
    InvalidPort,
    HotKeyNotRegisteredInSubNet,
    HotKeyAccountNotExists,
    HotKeyNotRegisteredInNetwork,
    NonAssociatedColdKey,
    NotEnoughStake,
    NotEnoughStakeToWithdraw,
    NotEnoughStakeToSetWeights,
    NotEnoughStakeToSetChildkeys,
    NotEnoughBalanceToStake,
    BalanceWithdrawalError,
    ZeroBalanceAfterWithdrawn,
    NeuronNoValidatorPermit,
    WeightVecNotEqualSize,
    DuplicateUids,
    UidVecContainInvalidOne,
    WeightVecLengthIsLow,
    TooManyRegistrationsThisBlock,
    HotKeyAlreadyRegisteredInSubNet,
    NewHotKeyIsSameWithOld,
    InvalidWorkBlock,
    InvalidDifficulty,
    InvalidSeal,
    MaxWeightExceeded,
    HotKeyAlreadyDelegate,
    SettingWeightsTooFast,
    IncorrectWeightVersionKey,
    ServingRateLimitExceeded,
    UidsLengthExceedUidsInSubNet,
    NetworkTxRateLimitExceeded,
    DelegateTxRateLimitExceeded,
    HotKeySetTxRateLimitExceeded,
    StakingRateLimitExceeded,
    SubNetRegistrationDisabled,
    TooManyRegistrationsThisInterval,
    TransactorAccountShouldBeHotKey,
    FaucetDisabled,
    NotSubnetOwner,
    RegistrationNotPermittedOnRootSubnet,
    StakeTooLowForRoot,
    AllNetworksInImmunity,
    NotEnoughBalanceToPaySwapHotKey,
    NotRootSubnet,
    CanNotSetRootNetworkWeights,
    NoNeuronIdAvailable,
    DelegateTakeTooLow,
    DelegateTakeTooHigh,
    NoWeightsCommitFound,
    InvalidRevealCommitHashNotMatch,
    CommitRevealEnabled,
    CommitRevealDisabled,
    MechanismDoesNotExist,
    SubnetNotExists,
    TooManyUnrevealedCommits,
    ExpiredWeightCommit,
    RevealTooEarly,
    InputLengthsUnequal,
    CommittingWeightsTooFast,
    AmountTooLow,
    IncorrectCommitRevealVersion,
    InvalidRevealRound,
    RegistrationPriceLimitExceeded,
    AdminActionProhibitedDuringWeightsWindow,
    TempoOutOfBounds,
    DynamicTempoBlockedByCommitReveal,
    EpochTriggerAlreadyPending,
    AutoEpochAlreadyImminent,
}

impl Error {
    /// The number that the transaction pool gives as `Custom error: N`
    /// (runtime: `CustomTransactionError`, `extensions/subtensor.rs`).
    pub(in crate::devnet) fn pool_code(self) -> u8 {
        match self {
            Self::AmountTooLow | Self::NotEnoughStakeToSetWeights => 1,
            Self::NotEnoughBalanceToStake => 2,
            Self::SubnetNotExists => 3,
            Self::HotKeyAccountNotExists => 4,
            Self::NotEnoughStakeToWithdraw => 5,
            Self::CommittingWeightsTooFast | Self::SettingWeightsTooFast | Self::NetworkTxRateLimitExceeded => 6,
            Self::HotKeyNotRegisteredInNetwork => 10,
            Self::InvalidIpAddress => 11,
            Self::ServingRateLimitExceeded => 12,
            Self::InvalidPort => 13,
            Self::InvalidRevealRound => 15,
            Self::NoWeightsCommitFound => 16,
            Self::RevealTooEarly => 17,
            Self::InputLengthsUnequal => 18,
            Self::HotKeyNotRegisteredInSubNet => 19,
            Self::NonAssociatedColdKey => 25,
            Self::DelegateTakeTooLow => 26,
            Self::DelegateTakeTooHigh => 27,
            _ => 255,
        }
    }
}

impl From<Error> for DispatchError {
    fn from(error: Error) -> Self {
        Self::Module(ModuleError::new(PALLET_INDEX, &error))
    }
}
