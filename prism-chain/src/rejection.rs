//! What a transaction pool says when it refuses an extrinsic.
use crate::error::ChainError;
use prism_core::{Kind, Retry};
use std::{fmt, time::Duration};

/// Why a pool refused an extrinsic. Codes are those of Substrate's `author` RPC (`sc-rpc-api`, author/error.rs), texts
/// those of `sp_runtime::transaction_validity::InvalidTransaction`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The pool has these very bytes already (1013).
    AlreadyKnown,
    /// The pool had these bytes a moment ago and doesn't take them again yet (1012).
    Banned,
    /// Another extrinsic of the account has this nonce, and priorities are constant (1014).
    LowPriority,
    /// The pool is full (1016).
    Full,
    /// The nonce is used up.
    Stale,
    /// The nonce is ahead of the account's.
    Future,
    /// The signature doesn't verify: wrong bytes, another runtime version, an era that is over, or a reorganised birth
    /// block.
    BadProof,
    /// The era's first block is too old.
    Ancient,
    /// The account can't pay the fee.
    Payment,
    /// Subtensor's own checks (`CustomTransactionError`).
    Custom(u8),
    /// Anything else.
    Other {
        /// JSON-RPC error code.
        code: i32,
        /// The node's text.
        text: String,
    },
}

/// What can be done about a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The same bytes may be taken later.
    Wait,
    /// These bytes will never be taken.
    Never,
}

impl Rejection {
    /// Reads a node's error to `author_submitExtrinsic`; `None` when it isn't the pool that speaks.
    #[must_use]
    pub fn from_rpc(code: i32, message: &str, data: Option<&str>) -> Option<Self> {
        let text = data.unwrap_or(message);
        Some(match code {
            1012 => Self::Banned,
            1013 => Self::AlreadyKnown,
            1014 => Self::LowPriority,
            1016 => Self::Full,
            1010 => match text {
                "Transaction is outdated" => Self::Stale,
                "Transaction will be valid in the future" => Self::Future,
                "Transaction has a bad signature" => Self::BadProof,
                "Transaction has an ancient birth block" => Self::Ancient,
                "Inability to pay some fees (e.g. account balance too low)" => Self::Payment,
                _ => match text.strip_prefix("Custom error: ").and_then(|n| n.parse().ok()) {
                    Some(number) => Self::Custom(number),
                    None => Self::Other { code, text: text.to_owned() },
                },
            },
            1001..=1020 => Self::Other { code, text: text.to_owned() },
            _ => return None,
        })
    }

    /// The chain's own name (runtime: `CustomTransactionError`, `InvalidTransaction`).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AlreadyKnown => "AlreadyImported",
            Self::Banned => "TemporarilyBanned",
            Self::LowPriority => "TooLowPriority",
            Self::Full => "ImmediatelyDropped",
            Self::Stale => "Stale",
            Self::Future => "Future",
            Self::BadProof => "BadProof",
            Self::Ancient => "AncientBirthBlock",
            Self::Payment => "Payment",
            Self::Custom(number) => custom(*number).0,
            Self::Other { .. } => "Other",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::AlreadyKnown => "nothing: it is on its way",
            Self::Banned => "wait some blocks",
            Self::LowPriority => "wait for the hotkey's other extrinsic; don't run two validators with one hotkey",
            Self::Full => "wait, or use another endpoint",
            Self::Stale => "sign anew: another extrinsic used the nonce",
            Self::Future => "wait for the hotkey's earlier extrinsic",
            Self::BadProof => "sign anew: the runtime or the chain's tip changed since signing, or the era is over",
            Self::Ancient => "sign anew: the era is over",
            Self::Payment => "fund the account that pays the fee",
            Self::Custom(number) => custom(*number).1,
            Self::Other { .. } => "see the node's log",
        }
    }

    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::AlreadyKnown | Self::Banned | Self::LowPriority | Self::Full | Self::Future => Remedy::Wait,
            // Rate limits pass; an unknown reason may.
            Self::Custom(6 | 12) | Self::Other { .. } => Remedy::Wait,
            // Whether these are final is for the chain to show: by the account's nonce, and by the era's end.
            Self::Stale | Self::Ancient => Remedy::Wait,
            Self::BadProof | Self::Payment | Self::Custom(_) => Remedy::Never,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::LowPriority | Self::Stale | Self::AlreadyKnown => Kind::Conflict,
            Self::Full | Self::Banned => Kind::Unavailable,
            Self::Custom(6 | 12) => Kind::Limit,
            _ => Kind::Refused,
        }
    }

    pub(crate) fn retry(&self, pause: Duration) -> Retry {
        match self.remedy() {
            Remedy::Wait => Retry::After(pause),
            Remedy::Never => Retry::Never,
        }
    }

    /// A pool's rejection in a node's answer, or the error as it is.
    pub(crate) fn of(error: ChainError) -> ChainError {
        if let ChainError::Node { code, message, data, .. } = &error
            && let Some(rejection) = Self::from_rpc(*code, message, data.as_deref())
        {
            return ChainError::Rejected(rejection);
        }
        error
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(number) => write!(f, "Custom error: {number} ({})", self.name())?,
            Self::Other { code, text } => write!(f, "{text} (code {code})")?,
            _ => f.write_str(self.name())?,
        }
        write!(f, "; {}", self.advice())
    }
}

/// Name and advice of a `CustomTransactionError` (subtensor, extensions/subtensor.rs, spec 425).
fn custom(number: u8) -> (&'static str, &'static str) {
    const REGISTER: &str = "register the hotkey on the subnet";
    const STAKE: &str = "add stake to the hotkey";
    const WAIT: &str = "wait for the rate limit to pass";
    const CALL: &str = "check the call's arguments";
    match number {
        0 => ("ColdkeyInSwapSchedule", "wait for the coldkey swap to end"),
        1 => ("StakeAmountTooLow", STAKE),
        2 => ("BalanceTooLow", "fund the coldkey"),
        3 => ("SubnetNotExists", "check netuid"),
        4 => ("HotkeyAccountDoesntExist", REGISTER),
        5 => ("NotEnoughStakeToWithdraw", CALL),
        6 => ("RateLimitExceeded", WAIT),
        7 => ("InsufficientLiquidity", CALL),
        8 => ("SlippageTooHigh", CALL),
        9 => ("TransferDisallowed", CALL),
        10 => ("HotKeyNotRegisteredInNetwork", REGISTER),
        11 => ("InvalidIpAddress", "check the axon's address"),
        12 => ("ServingRateLimitExceeded", WAIT),
        13 => ("InvalidPort", "check the axon's port"),
        14 => ("ZeroMaxAmount", CALL),
        15 => ("InvalidRevealRound", "sign anew with a later reveal round"),
        16 => ("CommitNotFound", "commit before revealing"),
        17 => ("CommitBlockNotInRevealRange", "reveal in the commit's own reveal epoch"),
        18 => ("InputLengthsUnequal", CALL),
        19 => ("UidNotFound", REGISTER),
        20 => ("EvmKeyAssociateRateLimitExceeded", WAIT),
        21 => ("ColdkeySwapDisputed", "wait for the coldkey swap to end"),
        22 => ("InvalidRealAccount", CALL),
        23 => ("FailedShieldedTxParsing", CALL),
        24 => ("InvalidShieldedTxPubKeyHash", CALL),
        25 => ("NonAssociatedColdKey", "sign with the coldkey that owns the hotkey"),
        26 => ("DelegateTakeTooLow", CALL),
        27 => ("DelegateTakeTooHigh", CALL),
        255 => ("BadRequest", "check permit, version key and weights against the subnet's rules"),
        _ => ("unknown to this version", "run `prism doctor`: the runtime is newer than what this version knows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_errors_are_told_apart_by_code_and_exact_text() {
        let read = |code, data| Rejection::from_rpc(code, "Invalid Transaction", data);
        assert_eq!(read(1013, None), Some(Rejection::AlreadyKnown));
        assert_eq!(read(1014, Some("...")), Some(Rejection::LowPriority));
        assert_eq!(read(1010, Some("Custom error: 6")), Some(Rejection::Custom(6)));
        assert_eq!(read(1010, Some("Transaction is outdated")), Some(Rejection::Stale));
        let odd = "a custom error: 6 in disguise";
        assert_eq!(read(1010, Some(odd)), Some(Rejection::Other { code: 1010, text: odd.into() }));
        assert_eq!(read(1010, Some("Custom error: 999")).unwrap().name(), "Other");
        assert_eq!(read(-32601, None), None);
    }

    #[test]
    fn a_rejection_names_itself_and_what_to_do() {
        assert_eq!(
            Rejection::Custom(6).to_string(),
            "Custom error: 6 (RateLimitExceeded); wait for the rate limit to pass"
        );
        assert_eq!(Rejection::Custom(19).name(), "UidNotFound");
        assert_eq!(Rejection::Custom(255).name(), "BadRequest");
        assert_eq!(Rejection::Custom(200).name(), "unknown to this version");
        assert!(matches!(Rejection::Custom(6).retry(Duration::from_secs(1)), Retry::After(_)));
        assert_eq!(Rejection::Custom(1).retry(Duration::from_secs(1)), Retry::Never);
    }
}
