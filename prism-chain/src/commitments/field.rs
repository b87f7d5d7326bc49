//! One field of a commitment, as the chain's `Data` has it.
use super::error::CommitmentError;
use crate::{runtime, timelock::Beacon};
use codec::Encode as _;
use rand::{CryptoRng, RngCore};
use subxt::{
    dynamic::{At as _, Value},
    ext::scale_value::{Primitive, ValueDef, Variant},
};

/// Most bytes of a raw field (subtensor, pallets/commitments: `Data::Raw`).
const MOST_RAW: usize = 128;
/// Most bytes of a big raw field (`Data::BigRaw`).
const MOST_BIG: usize = 512;
/// Most bytes of a ciphertext (`MAX_TIMELOCK_COMMITMENT_SIZE_BYTES`).
const MOST_ENCRYPTED: usize = 1024;

/// One field of a commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// Up to 128 bytes.
    Raw(Vec<u8>),
    /// Up to 512 bytes.
    BigRaw(Vec<u8>),
    /// A ciphertext of up to 1024 bytes, which the chain opens when the beacon's round is out.
    Timelocked {
        /// In the layout of [`Ciphertext::to_bytes`](crate::timelock::Ciphertext::to_bytes).
        encrypted: Vec<u8>,
        /// The beacon's round.
        reveal_round: u64,
    },
    /// A kind that PRISM reads only, by the chain's name for it: a hash, a flag.
    Other(String),
}

impl Field {
    /// The smallest kind that holds these bytes.
    ///
    /// # Errors
    /// `Empty` and `TooLong`.
    pub fn of(bytes: impl Into<Vec<u8>>) -> Result<Self, CommitmentError> {
        let bytes = bytes.into();
        let field = if bytes.len() <= MOST_RAW { Self::Raw(bytes) } else { Self::BigRaw(bytes) };
        field.check()?;
        Ok(field)
    }

    /// Bytes for nobody before a round of the beacon is out. Their SCALE length goes before them, as readers expect.
    ///
    /// # Errors
    /// `Empty`; `TooLong` above some 780 bytes; `Timelock`.
    pub fn timelocked<R: RngCore + CryptoRng>(
        bytes: &[u8],
        reveal_round: u64,
        beacon: &Beacon,
        rng: &mut R,
    ) -> Result<Self, CommitmentError> {
        if bytes.is_empty() {
            return Err(CommitmentError::Empty);
        }
        let field = Self::Timelocked {
            encrypted: beacon.encrypt(reveal_round, &bytes.encode(), rng)?.to_bytes(),
            reveal_round,
        };
        field.check()?;
        Ok(field)
    }

    /// What is there to read: nothing for a ciphertext.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Raw(bytes) | Self::BigRaw(bytes) => Some(bytes),
            Self::Timelocked { .. } | Self::Other(_) => None,
        }
    }

    /// What it takes of the space that a hotkey has in an epoch, bytes (`Data::len_for_rate_limit`).
    #[must_use]
    pub(super) fn space(&self) -> u64 {
        let length = match self {
            Self::Raw(bytes) | Self::BigRaw(bytes) | Self::Timelocked { encrypted: bytes, .. } => bytes.len(),
            Self::Other(_) => 0,
        };
        length as u64
    }

    /// Whether the chain takes it.
    pub(super) fn check(&self) -> Result<(), CommitmentError> {
        let (what, length, most) = match self {
            Self::Raw(bytes) => ("raw field", bytes.len(), MOST_RAW),
            Self::BigRaw(bytes) => ("big raw field", bytes.len(), MOST_BIG),
            Self::Timelocked { encrypted, .. } => ("ciphertext", encrypted.len(), MOST_ENCRYPTED),
            Self::Other(name) => return Err(CommitmentError::ReadOnly(name.clone())),
        };
        if length == 0 {
            return Err(CommitmentError::Empty);
        }
        if length > most { Err(CommitmentError::TooLong { what, length, most }) } else { Ok(()) }
    }

    /// As an argument of a call.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Raw(bytes) => Value::unnamed_variant(format!("Raw{}", bytes.len()), [Value::from_bytes(bytes)]),
            Self::BigRaw(bytes) => Value::unnamed_variant("BigRaw", [Value::from_bytes(bytes)]),
            Self::Timelocked { encrypted, reveal_round } => Value::named_variant(
                "TimelockEncrypted",
                [("encrypted", Value::from_bytes(encrypted)), ("reveal_round", runtime::number(*reveal_round))],
            ),
            Self::Other(name) => Value::unnamed_variant(name.clone(), []),
        }
    }

    /// From the chain's `Data`; `None` for something else.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let ValueDef::Variant(Variant { name, values }) = &value.value else { return None };
        let first = || values.at(0).and_then(bytes);
        let size = name.strip_prefix("Raw").and_then(|digits| digits.parse::<usize>().ok());
        Some(match name.as_str() {
            "BigRaw" => Self::BigRaw(first()?),
            "TimelockEncrypted" => Self::Timelocked {
                encrypted: values.at("encrypted").and_then(bytes)?,
                reveal_round: values.at("reveal_round").and_then(|v| u64::try_from(number(v)?).ok())?,
            },
            _ if size.is_some() => Self::Raw(first()?),
            _ => Self::Other(name.clone()),
        })
    }
}

/// A number, through newtypes.
pub(super) fn number(value: &Value) -> Option<u128> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => Some(*number),
        ValueDef::Composite(values) if values.len() == 1 => number(values.values().next()?),
        _ => None,
    }
}

/// What a vector holds, bounded or not: the former is a newtype of the latter.
pub(super) fn elements(value: &Value) -> Option<Vec<&Value>> {
    let ValueDef::Composite(values) = &value.value else { return None };
    let all: Vec<&Value> = values.values().collect();
    match all.as_slice() {
        [inner] if matches!(inner.value, ValueDef::Composite(_)) => elements(inner),
        _ => Some(all),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    elements(value)?.into_iter().map(|byte| u8::try_from(number(byte)?).ok()).collect()
}

/// The argument `info` of `set_commitment`.
pub(super) fn info(fields: &[Field]) -> Value {
    Value::named_composite([("fields", Value::unnamed_composite(fields.iter().map(Field::value)))])
}
