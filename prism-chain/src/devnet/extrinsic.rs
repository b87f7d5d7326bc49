//! Extrinsics of version 4: decoding, and what makes a signed one valid.

use codec::{Compact, Decode, Encode, Input};
use scale_info::build::{Fields, Variants};
use scale_info::{Path, Type, TypeInfo};
use sp_core::{Pair, ed25519, sr25519};
use sp_crypto_hashing::blake2_256;

use super::dialect::Dialect;
use super::pallets::system;
use super::primitives::{AccountId32, H256, MultiAddress, MultiSignature};
use super::runtime::RuntimeCall;
use super::state::Read;

/// The largest extrinsic in bytes that is looked at: the chain's limit for normal calls, 75 % of 5 MiB.
pub(super) const MAX_EXTRINSIC_BYTES: usize = 3_932_160;

const BARE_V4: u8 = 0x04;
const SIGNED_V4: u8 = 0x84;

/// For which blocks a transaction is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    Immortal,
    /// From the block with number ≡ `phase` (mod `period`), for `period` blocks.
    Mortal {
        period: u64,
        phase: u64,
    },
}

impl Era {
    /// First block of the era that `block` lies in, or would.
    pub(super) fn birth(self, block: u64) -> u64 {
        match self {
            Self::Immortal => 0,
            Self::Mortal { period, phase } => (block.max(phase) - phase) / period * period + phase,
        }
    }

    /// First block after the era.
    pub(super) fn death(self, block: u64) -> u64 {
        match self {
            Self::Immortal => u64::MAX,
            Self::Mortal { period, .. } => self.birth(block).saturating_add(period),
        }
    }
}

impl Decode for Era {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        let first = input.read_byte()?;
        if first == 0 {
            return Ok(Self::Immortal);
        }
        let encoded = u64::from(first) | (u64::from(input.read_byte()?) << 8);
        let period = 2_u64 << (encoded % 16);
        let phase = (encoded >> 4) * (period >> 12).max(1);
        if period >= 4 && phase < period { Ok(Self::Mortal { period, phase }) } else { Err("era out of range".into()) }
    }
}

impl Encode for Era {
    fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Immortal => vec![0],
            Self::Mortal { period, phase } => {
                let log = period.trailing_zeros().clamp(2, 16) - 1;
                let phase = phase / (period >> 12).max(1);
                let encoded = u16::try_from(u64::from(log) | (phase << 4)).unwrap_or(u16::MAX);
                encoded.encode()
            }
        }
    }
}

impl TypeInfo for Era {
    type Identity = Self;
    fn type_info() -> Type {
        // As Substrate describes it: one variant per first byte.
        const NAMES: [&str; 256] = names();
        let mut variants = Variants::new().variant("Immortal", |v| v.index(0));
        for (index, name) in (0..=u8::MAX).zip(NAMES).skip(1) {
            variants = variants.variant(name, |v| v.index(index).fields(Fields::unnamed().field(|f| f.ty::<u8>())));
        }
        Type::builder().path(Path::from_segments_unchecked(["sp_runtime", "generic", "era", "Era"])).variant(variants)
    }
}

/// `Mortal0` to `Mortal255`, made at compile time because the description wants static names.
const fn names() -> [&'static str; 256] {
    macro_rules! tens {
        ($($ten:literal)*) => { [$(
            concat!("Mortal", $ten, "0"), concat!("Mortal", $ten, "1"), concat!("Mortal", $ten, "2"),
            concat!("Mortal", $ten, "3"), concat!("Mortal", $ten, "4"), concat!("Mortal", $ten, "5"),
            concat!("Mortal", $ten, "6"), concat!("Mortal", $ten, "7"), concat!("Mortal", $ten, "8"),
            concat!("Mortal", $ten, "9"),
        )*
            "Mortal250", "Mortal251", "Mortal252", "Mortal253", "Mortal254", "Mortal255",
        ] };
    }
    tens!("" 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24)
}

/// A decoded extrinsic.
#[derive(Debug, Clone)]
pub(super) enum Extrinsic {
    /// Without a signature: only the block's author makes these.
    Bare,
    /// From an account.
    Signed(Box<Signed>),
}

/// A signed extrinsic and what its signature covers.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) address: MultiAddress,
    signature: MultiSignature,
    pub(super) era: Era,
    pub(super) nonce: u32,
    metadata_hash_mode: u8,
    pub(super) call: RuntimeCall,
    /// SCALE of the call, then of the extensions' values.
    payload: Vec<u8>,
}

/// Decodes an extrinsic from its wire form, a length and that many bytes, its call in a runtime's terms. Nothing may be
/// left over.
pub(super) fn decode(bytes: &[u8], dialect: Option<&Dialect>) -> Result<Extrinsic, codec::Error> {
    let decode_call = |input: &mut &[u8]| match dialect {
        Some(dialect) => dialect.decode_call(input),
        None => RuntimeCall::decode(input),
    };
    let mut input = bytes;
    let length = Compact::<u32>::decode(&mut input)?.0;
    if usize::try_from(length) != Ok(input.len()) {
        return Err("extrinsic length doesn't match its bytes".into());
    }
    match input.read_byte()? {
        BARE_V4 => {
            decode_call(&mut input)?;
            finished(input)?;
            Ok(Extrinsic::Bare)
        }
        SIGNED_V4 => {
            let address = MultiAddress::decode(&mut input)?;
            let signature = MultiSignature::decode(&mut input)?;
            let extensions = input;
            let era = Era::decode(&mut input)?;
            let nonce = Compact::<u32>::decode(&mut input)?.0;
            let _tip = Compact::<u64>::decode(&mut input)?.0;
            let metadata_hash_mode = input.read_byte()?;
            let call_bytes = input;
            let call = decode_call(&mut input)?;
            finished(input)?;
            let values = extensions.get(..extensions.len() - call_bytes.len()).unwrap_or_default();
            let payload = [call_bytes, values].concat();
            Ok(Extrinsic::Signed(Box::new(Signed {
                address,
                signature,
                era,
                nonce,
                metadata_hash_mode,
                call,
                payload,
            })))
        }
        _ => Err("extrinsic version isn't supported".into()),
    }
}

fn finished(input: &[u8]) -> Result<(), codec::Error> {
    if input.is_empty() { Ok(()) } else { Err("bytes left over after the call".into()) }
}

/// An unsigned extrinsic by the block's author.
pub(super) fn encode_inherent(call: &RuntimeCall, dialect: Option<&Dialect>) -> Vec<u8> {
    let mut body = vec![BARE_V4];
    match dialect.and_then(|dialect| dialect.encode_call(call)) {
        Some(call) => body.extend(call),
        None => call.encode_to(&mut body),
    }
    body.encode()
}

/// Why a transaction can never be valid, or isn't now; the order is `sp_runtime`'s `InvalidTransaction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum InvalidTransaction {
    Call,
    Payment,
    Future,
    Stale,
    BadProof,
    AncientBirthBlock,
    ExhaustsResources,
    Custom(u8),
    BadMandatory,
    MandatoryValidation,
    BadSigner,
}

/// Why the validity of a transaction can't be told; the order is `sp_runtime`'s `UnknownTransaction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum UnknownTransaction {
    CannotLookup,
    NoUnsignedValidator,
    Custom(u8),
}

/// Why a transaction isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum TransactionValidityError {
    Invalid(InvalidTransaction),
    Unknown(UnknownTransaction),
}

/// What makes a transaction ready, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct ValidTransaction {
    pub(super) priority: u64,
    pub(super) requires: Vec<Vec<u8>>,
    pub(super) provides: Vec<Vec<u8>>,
    pub(super) longevity: u64,
    pub(super) propagate: bool,
}

impl From<InvalidTransaction> for TransactionValidityError {
    fn from(invalid: InvalidTransaction) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<UnknownTransaction> for TransactionValidityError {
    fn from(unknown: UnknownTransaction) -> Self {
        Self::Unknown(unknown)
    }
}

/// What the signature covers besides the transaction itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Implicit {
    pub(super) spec_version: u32,
    pub(super) transaction_version: u32,
    pub(super) genesis: H256,
}

impl Signed {
    /// The account that signed, if the address names one.
    pub(super) fn signer(&self) -> Result<&AccountId32, UnknownTransaction> {
        match &self.address {
            MultiAddress::Id(account) => Ok(account),
            _ => Err(UnknownTransaction::CannotLookup),
        }
    }

    /// Hash of the block at which this transaction's era was born, seen from block `now`.
    fn birth_hash(&self, state: &impl Read, now: u64) -> Result<H256, InvalidTransaction> {
        let birth = u32::try_from(self.era.birth(now)).map_err(|_| InvalidTransaction::AncientBirthBlock)?;
        if system::BLOCK_HASH.contains(state, (birth,)) {
            Ok(system::BLOCK_HASH.get(state, (birth,)))
        } else {
            Err(InvalidTransaction::AncientBirthBlock)
        }
    }

    /// Checks the signature for inclusion in block `now`.
    ///
    /// An expired era shows as `BadProof`: the era's birth seen from `now` is another block than the signed one.
    pub(super) fn verify(
        &self,
        state: &impl Read,
        now: u64,
        implicit: Implicit,
    ) -> Result<(), TransactionValidityError> {
        let signer = self.signer()?;
        if self.metadata_hash_mode > 1 {
            return Err(InvalidTransaction::Call.into());
        }
        if self.metadata_hash_mode == 1 {
            // The runtime was built without a metadata hash, as finney's at spec 456.
            return Err(UnknownTransaction::CannotLookup.into());
        }
        let birth_hash = self.birth_hash(state, now)?;
        let mut message = self.payload.clone();
        (implicit.spec_version, implicit.transaction_version, implicit.genesis, birth_hash, None::<[u8; 32]>)
            .encode_to(&mut message);
        if message.len() > 256 {
            message = blake2_256(&message).to_vec();
        }
        let public: [u8; 32] = *signer.as_ref();
        let genuine = match &self.signature {
            MultiSignature::Sr25519(signature) => sr25519::Pair::verify(
                &sr25519::Signature::from_raw(*signature),
                &message,
                &sr25519::Public::from_raw(public),
            ),
            MultiSignature::Ed25519(signature) => ed25519::Pair::verify(
                &ed25519::Signature::from_raw(*signature),
                &message,
                &ed25519::Public::from_raw(public),
            ),
            MultiSignature::Ecdsa(_) => false,
        };
        if genuine { Ok(()) } else { Err(InvalidTransaction::BadProof.into()) }
    }

    /// The checks of the transaction extensions, in their order, for inclusion in block `now`. The signature is
    /// [`Signed::verify`]'s.
    pub(super) fn validate(&self, state: &impl Read, now: u64) -> Result<ValidTransaction, TransactionValidityError> {
        let signer = self.signer()?;
        if signer.as_ref() == [0_u8; 32] {
            return Err(InvalidTransaction::BadSigner.into());
        }
        self.birth_hash(state, now)?;
        let expected = system::ACCOUNT.get(state, (signer.clone(),)).nonce;
        if self.nonce < expected {
            return Err(InvalidTransaction::Stale.into());
        }
        match &self.call {
            RuntimeCall::Timestamp(_) => return Err(InvalidTransaction::MandatoryValidation.into()),
            RuntimeCall::SubtensorModule(call) => call
                .check(state, now, signer)
                .map_err(|error| TransactionValidityError::from(InvalidTransaction::Custom(error.pool_code())))?,
            RuntimeCall::Commitments(_) => {}
            RuntimeCall::System(_) | RuntimeCall::Balances(_) => {
                // Fees aren't charged here, but an account that can't pay one can't send a call that costs one.
                if system::ACCOUNT.get(state, (signer.clone(),)).providers == 0 {
                    return Err(InvalidTransaction::Payment.into());
                }
            }
        }
        let tag = |nonce: u32| (signer, nonce).encode();
        let requires = self.nonce.checked_sub(1).filter(|_| self.nonce > expected).map(tag);
        Ok(ValidTransaction {
            priority: 1,
            requires: requires.into_iter().collect(),
            provides: vec![tag(self.nonce)],
            longevity: self.era.death(now).saturating_sub(now),
            propagate: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn era_bytes_are_substrate_s() {
        // sp_runtime generic/era.rs: mortal(64, 42) is [5 + 42 % 16 * 16, 42 / 16].
        let era = Era::Mortal { period: 64, phase: 42 };
        assert_eq!(era.encode(), [5 + 42 % 16 * 16, 42 / 16]);
        assert_eq!(Era::decode(&mut &era.encode()[..]), Ok(era));
        let quantized = Era::Mortal { period: 32_768, phase: 20_000 };
        assert_eq!(quantized.encode(), [(14 + 2500 % 16 * 16) as u8, (2500 / 16) as u8]);
        assert_eq!(Era::decode(&mut &quantized.encode()[..]), Ok(quantized));
        assert!(Era::decode(&mut &[1, 1][..]).is_err(), "phase beyond the period");
    }

    #[test]
    fn an_era_lives_for_its_period() {
        let era = Era::Mortal { period: 4, phase: 2 };
        assert_eq!((6..=9).map(|block| era.birth(block)).collect::<Vec<_>>(), [6; 4]);
        assert_eq!(era.death(9), 10);
        assert_eq!(era.birth(10), 10);
    }

    #[test]
    fn era_variants_are_named_by_their_first_byte() {
        assert_eq!(
            [names()[0], names()[9], names()[10], names()[255]],
            ["Mortal0", "Mortal9", "Mortal10", "Mortal255"]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, None);
            let _ = decode(&bytes.encode(), None);
            let mut signed = vec![SIGNED_V4, 0];
            signed.extend(&bytes);
            let _ = decode(&signed.encode(), None);
        }

        #[test]
        fn a_length_that_lies_is_refused(bytes in proptest::collection::vec(any::<u8>(), 1..300), extra in 1_u32..9) {
            let length = u32::try_from(bytes.len()).unwrap();
            let mut lying = Compact(length + extra).encode();
            lying.extend(&bytes);
            prop_assert!(decode(&lying, None).is_err());
        }
    }
}
