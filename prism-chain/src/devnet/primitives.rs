//! The chain's own basic types, with the names they have in its metadata (runtimes from spec 429 on).

use codec::{CompactAs, Decode, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::ConstU32;
pub(super) use sp_core::H256;
use sp_core::bounded::BoundedVec;
pub(super) use sp_core::crypto::AccountId32;

/// Bytes with a limit that decoding holds.
pub(super) type Bounded<const LIMIT: u32> = BoundedVec<u8, ConstU32<LIMIT>>;

/// As many of the bytes as the limit allows.
pub(super) fn bounded<const LIMIT: u32>(bytes: impl AsRef<[u8]>) -> Bounded<LIMIT> {
    Bounded::truncate_from(bytes.as_ref().to_vec())
}

macro_rules! newtypes {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, CompactAs, MaxEncodedLen,
            TypeInfo,
        )]
        pub(super) struct $name(pub(super) $inner);
    )*};
}

newtypes! {
    /// Number of a subnet.
    NetUid(u16);
    /// A mechanism of a subnet as one number: `mechanism * 4096 + netuid`.
    NetUidStorageIndex(u16);
    /// Number of a mechanism within its subnet.
    MechId(u8);
    /// TAO in rao, 1e-9 TAO.
    TaoBalance(u64);
    /// Alpha of a subnet, in 1e-9.
    AlphaBalance(u64);
    /// A share in 1/65535.
    PerU16(u16);
}

impl NetUid {
    /// The root subnet.
    pub(super) const ROOT: Self = Self(0);
}

/// Subnets per mechanism in [`NetUidStorageIndex`]; more can't exist.
const MAX_SUBNETS: u16 = 4096;

impl NetUidStorageIndex {
    /// The index under which a mechanism's weights and update times are stored.
    pub(super) fn new(netuid: NetUid, mechanism: MechId) -> Self {
        Self(u16::from(mechanism.0).wrapping_mul(MAX_SUBNETS).wrapping_add(netuid.0))
    }
}

/// Who an extrinsic is from or to; only `Id` names an account on this chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum MultiAddress {
    Id(AccountId32),
    Index(#[codec(compact)] u32),
    Raw(Vec<u8>),
    Address32([u8; 32]),
    Address20([u8; 20]),
}

/// A signature under one of three schemes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum MultiSignature {
    Ed25519([u8; 64]),
    Sr25519([u8; 64]),
    Ecdsa([u8; 65]),
}

mod described {
    //! Types that clients look up by their path in the Substrate runtime, described under it.

    use scale_info::build::Fields;
    use scale_info::{Path, Type, TypeInfo, build::Variants};

    use super::{AccountId32, MultiAddress, MultiSignature};

    fn path(segments: &[&'static str]) -> Path {
        Path::from_segments_unchecked(segments.iter().copied())
    }

    impl TypeInfo for MultiAddress {
        type Identity = Self;
        fn type_info() -> Type {
            Type::builder().path(path(&["sp_runtime", "multiaddress", "MultiAddress"])).variant(
                Variants::new()
                    .variant("Id", |v| v.index(0).fields(Fields::unnamed().field(|f| f.ty::<AccountId32>())))
                    .variant("Index", |v| v.index(1).fields(Fields::unnamed().field(|f| f.compact::<u32>())))
                    .variant("Raw", |v| v.index(2).fields(Fields::unnamed().field(|f| f.ty::<Vec<u8>>())))
                    .variant("Address32", |v| v.index(3).fields(Fields::unnamed().field(|f| f.ty::<[u8; 32]>())))
                    .variant("Address20", |v| v.index(4).fields(Fields::unnamed().field(|f| f.ty::<[u8; 20]>()))),
            )
        }
    }

    impl TypeInfo for MultiSignature {
        type Identity = Self;
        fn type_info() -> Type {
            Type::builder().path(path(&["sp_runtime", "MultiSignature"])).variant(
                Variants::new()
                    .variant("Ed25519", |v| v.index(0).fields(Fields::unnamed().field(|f| f.ty::<[u8; 64]>())))
                    .variant("Sr25519", |v| v.index(1).fields(Fields::unnamed().field(|f| f.ty::<[u8; 64]>())))
                    .variant("Ecdsa", |v| v.index(2).fields(Fields::unnamed().field(|f| f.ty::<[u8; 65]>()))),
            )
        }
    }
}
