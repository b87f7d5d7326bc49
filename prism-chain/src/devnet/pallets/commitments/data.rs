//! What a commitment is made of.

use codec::{Decode, Encode, Input, Output};
use scale_info::build::{Fields, Variants};
use scale_info::{Path, Type, TypeInfo};
use sp_core::ConstU32;
use sp_core::bounded::BoundedVec;

use crate::devnet::primitives::Bounded;

/// Fields in one commitment.
pub(in crate::devnet) const MAX_FIELDS: u32 = 3;
/// Bytes of a [`Data::Raw`].
const MAX_RAW_BYTES: u8 = 128;

/// One field of a commitment. The first byte of its encoding tells the variant, and for raw bytes their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::devnet) enum Data {
    None,
    Raw(Bounded<128>),
    BlakeTwo256([u8; 32]),
    Sha256([u8; 32]),
    Keccak256([u8; 32]),
    ShaThree256([u8; 32]),
    TimelockEncrypted { encrypted: Bounded<1024>, reveal_round: u64 },
    ResetBondsFlag,
    BigRaw(Bounded<512>),
}

impl Data {
    /// Bytes that count against the space of the epoch.
    pub(super) fn space(&self) -> u64 {
        let bytes = match self {
            Self::None | Self::ResetBondsFlag => 0,
            Self::Raw(bytes) => bytes.len(),
            Self::BlakeTwo256(hash) | Self::Sha256(hash) | Self::Keccak256(hash) | Self::ShaThree256(hash) => {
                hash.len()
            }
            Self::TimelockEncrypted { encrypted, .. } => encrypted.len(),
            Self::BigRaw(bytes) => bytes.len(),
        };
        bytes as u64
    }
}

impl Decode for Data {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        Ok(match input.read_byte()? {
            0 => Self::None,
            tag @ 1..=129 => {
                let mut bytes = vec![0; usize::from(tag - 1)];
                input.read(&mut bytes)?;
                Self::Raw(Bounded::truncate_from(bytes))
            }
            130 => Self::BlakeTwo256(Decode::decode(input)?),
            131 => Self::Sha256(Decode::decode(input)?),
            132 => Self::Keccak256(Decode::decode(input)?),
            133 => Self::ShaThree256(Decode::decode(input)?),
            134 => Self::TimelockEncrypted { encrypted: Decode::decode(input)?, reveal_round: Decode::decode(input)? },
            135 => Self::ResetBondsFlag,
            136 => Self::BigRaw(Decode::decode(input)?),
            _ => return Err("no such variant of commitment data".into()),
        })
    }
}

impl Encode for Data {
    fn encode_to<T: Output + ?Sized>(&self, out: &mut T) {
        match self {
            Self::None => out.push_byte(0),
            Self::Raw(bytes) => {
                out.push_byte(u8::try_from(bytes.len()).unwrap_or(MAX_RAW_BYTES).saturating_add(1));
                out.write(bytes);
            }
            Self::BlakeTwo256(hash) => (130_u8, hash).encode_to(out),
            Self::Sha256(hash) => (131_u8, hash).encode_to(out),
            Self::Keccak256(hash) => (132_u8, hash).encode_to(out),
            Self::ShaThree256(hash) => (133_u8, hash).encode_to(out),
            Self::TimelockEncrypted { encrypted, reveal_round } => (134_u8, encrypted, reveal_round).encode_to(out),
            Self::ResetBondsFlag => out.push_byte(135),
            Self::BigRaw(bytes) => (136_u8, bytes).encode_to(out),
        }
    }
}

impl TypeInfo for Data {
    type Identity = Self;
    fn type_info() -> Type {
        macro_rules! described {
            ($($size:literal)*) => {
                Variants::new().variant("None", |v| v.index(0))$(
                    .variant(concat!("Raw", $size), |v| {
                        v.index($size + 1).fields(Fields::unnamed().field(|f| f.ty::<[u8; $size]>()))
                    })
                )*
            };
        }
        let mut variants = described!(
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38
            39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74
            75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107
            108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128
        );
        for (name, index) in [("BlakeTwo256", 130), ("Sha256", 131), ("Keccak256", 132), ("ShaThree256", 133)] {
            variants =
                variants.variant(name, |v| v.index(index).fields(Fields::unnamed().field(|f| f.ty::<[u8; 32]>())));
        }
        Type::builder().path(Path::from_segments_unchecked(["pallet_commitments", "types", "Data"])).variant(
            variants
                .variant("TimelockEncrypted", |v| {
                    v.index(134).fields(
                        Fields::named()
                            .field(|f| f.name("encrypted").ty::<Bounded<1024>>())
                            .field(|f| f.name("reveal_round").ty::<u64>()),
                    )
                })
                .variant("ResetBondsFlag", |v| v.index(135))
                .variant("BigRaw", |v| v.index(136).fields(Fields::unnamed().field(|f| f.ty::<Bounded<512>>()))),
        )
    }
}

/// What an account commits to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct CommitmentInfo {
    pub(in crate::devnet) fields: BoundedVec<Data, ConstU32<MAX_FIELDS>>,
}

/// A commitment as stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct Registration {
    pub(in crate::devnet) deposit: u64,
    /// When it was last written.
    pub(in crate::devnet) block: u32,
    pub(in crate::devnet) info: CommitmentInfo,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::devnet::primitives::bounded;

    #[test]
    fn raw_bytes_carry_their_number_in_the_first_byte() {
        assert_eq!(hex::encode(Data::Raw(bounded(b"hello")).encode()), "0668656c6c6f");
        assert_eq!(Data::Raw(bounded([])).encode(), [1]);
        assert_eq!(Data::Raw(bounded([7; 128])).encode().first(), Some(&129));
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let mut rest = bytes.as_slice();
            if let Ok(data) = Data::decode(&mut rest) {
                prop_assert_eq!(data.encode(), &bytes[..bytes.len() - rest.len()]);
            }
        }
    }
}
