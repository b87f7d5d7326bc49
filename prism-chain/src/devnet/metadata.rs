//! The chain's description of itself, made from the types that run it.
//!
//! Names, indices and types are the chain's; only what this chain implements is described. Served as V15, which
//! has the runtime interfaces, and as V14 for older clients.

use codec::{Compact, Encode};
use frame_metadata::v15::{
    CustomMetadata, ExtrinsicMetadata, OuterEnums, PalletMetadata, RuntimeApiMetadata, RuntimeApiMethodMetadata,
    RuntimeApiMethodParamMetadata, RuntimeMetadataV15, SignedExtensionMetadata,
};
use frame_metadata::{RuntimeMetadataPrefixed, v14};
use scale_info::{MetaType, Path, Type, TypeInfo, TypeParameter};

use super::extrinsic::{Era, TransactionValidityError, ValidTransaction};
use super::pallets::{aura, balances, commitments, drand, subtensor, system, timestamp};
use super::primitives::{AccountId32, H256, MultiAddress, MultiSignature, NetUid};
use super::runtime::{RuntimeCall, RuntimeError, RuntimeEvent, RuntimeVersion};

/// The metadata versions that are served.
pub(super) const VERSIONS: [u32; 2] = [14, 15];

/// `sp_core::OpaqueMetadata`.
#[derive(Encode, TypeInfo)]
pub(super) struct OpaqueMetadata(pub(super) Vec<u8>);

/// Metadata in each served version, encoded.
#[derive(Debug)]
pub(super) struct Metadata {
    v14: Vec<u8>,
    v15: Vec<u8>,
}

impl Metadata {
    /// The description of a runtime of this version on a chain with this slot length.
    pub(super) fn new(version: &RuntimeVersion, slot_millis: u64) -> Self {
        let v15 = RuntimeMetadataV15::new(
            pallets(version, slot_millis),
            ExtrinsicMetadata {
                version: 4,
                address_ty: MetaType::new::<MultiAddress>(),
                call_ty: MetaType::new::<RuntimeCall>(),
                signature_ty: MetaType::new::<MultiSignature>(),
                extra_ty: MetaType::new::<Extra>(),
                signed_extensions: extensions(),
            },
            MetaType::new::<()>(),
            apis(),
            OuterEnums {
                call_enum_ty: MetaType::new::<RuntimeCall>(),
                event_enum_ty: MetaType::new::<RuntimeEvent>(),
                error_enum_ty: MetaType::new::<RuntimeError>(),
            },
            CustomMetadata { map: std::collections::BTreeMap::default() },
        );
        let v14 = v14::RuntimeMetadataV14::new(
            pallets(version, slot_millis).into_iter().map(older).collect(),
            v14::ExtrinsicMetadata {
                ty: MetaType::new::<UncheckedExtrinsic>(),
                version: 4,
                signed_extensions: extensions()
                    .into_iter()
                    .map(|extension| v14::SignedExtensionMetadata {
                        identifier: extension.identifier,
                        ty: extension.ty,
                        additional_signed: extension.additional_signed,
                    })
                    .collect(),
            },
            MetaType::new::<()>(),
        );
        Self { v14: RuntimeMetadataPrefixed::from(v14).encode(), v15: RuntimeMetadataPrefixed::from(v15).encode() }
    }

    /// The metadata in `version`, if it is served.
    pub(super) fn at_version(&self, version: u32) -> Option<&[u8]> {
        match version {
            14 => Some(&self.v14),
            15 => Some(&self.v15),
            _ => None,
        }
    }

    /// The metadata as nodes give it to those who don't ask for a version.
    pub(super) fn oldest(&self) -> &[u8] {
        &self.v14
    }
}

fn older(pallet: PalletMetadata) -> v14::PalletMetadata {
    v14::PalletMetadata {
        name: pallet.name,
        storage: pallet.storage,
        calls: pallet.calls,
        event: pallet.event,
        constants: pallet.constants,
        error: pallet.error,
        index: pallet.index,
    }
}

fn constant<T: Encode + TypeInfo + 'static>(name: &'static str, value: &T) -> v14::PalletConstantMetadata {
    v14::PalletConstantMetadata { name, ty: MetaType::new::<T>(), value: value.encode(), docs: Vec::new() }
}

fn pallets(version: &RuntimeVersion, slot_millis: u64) -> Vec<PalletMetadata> {
    fn pallet(name: &'static str, index: u8) -> PalletMetadata {
        PalletMetadata {
            name,
            storage: None,
            calls: None,
            event: None,
            constants: Vec::new(),
            error: None,
            index,
            docs: Vec::new(),
        }
    }
    fn calls<T: TypeInfo + 'static>() -> Option<v14::PalletCallMetadata> {
        Some(MetaType::new::<T>().into())
    }
    fn event<T: TypeInfo + 'static>() -> Option<v14::PalletEventMetadata> {
        Some(MetaType::new::<T>().into())
    }
    vec![
        PalletMetadata {
            storage: Some(system::storage()),
            calls: calls::<system::Call>(),
            event: event::<system::Event>(),
            constants: vec![
                constant("BlockHashCount", &system::BLOCK_HASH_COUNT),
                constant("Version", version),
                constant("SS58Prefix", &42_u16),
            ],
            ..pallet("System", 0)
        },
        PalletMetadata {
            storage: Some(timestamp::storage()),
            calls: calls::<timestamp::Call>(),
            constants: vec![constant("MinimumPeriod", &(slot_millis / 2))],
            ..pallet("Timestamp", 2)
        },
        PalletMetadata {
            storage: Some(aura::storage()),
            constants: vec![constant("SlotDuration", &slot_millis)],
            ..pallet("Aura", 3)
        },
        PalletMetadata {
            storage: Some(balances::storage()),
            calls: calls::<balances::Call>(),
            event: event::<balances::Event>(),
            constants: vec![constant("ExistentialDeposit", &balances::EXISTENTIAL_DEPOSIT)],
            ..pallet("Balances", 5)
        },
        PalletMetadata {
            storage: Some(subtensor::storage()),
            calls: calls::<subtensor::Call>(),
            event: event::<subtensor::Event>(),
            error: Some(MetaType::new::<subtensor::Error>().into()),
            ..pallet("SubtensorModule", subtensor::PALLET_INDEX)
        },
        PalletMetadata {
            storage: Some(commitments::storage()),
            calls: calls::<commitments::Call>(),
            event: event::<commitments::Event>(),
            error: Some(MetaType::new::<commitments::Error>().into()),
            constants: vec![
                constant("MaxFields", &commitments::MAX_FIELDS),
                constant("InitialDeposit", &0_u64),
                constant("FieldDeposit", &0_u64),
            ],
            ..pallet("Commitments", commitments::PALLET_INDEX)
        },
        PalletMetadata { storage: Some(drand::storage()), event: event::<drand::Event>(), ..pallet("Drand", 26) },
    ]
}

/// The values of all extensions, in order.
type Extra = ((), (), (), (), Era, Compact<u32>, (), Compact<u64>, (), (), (), (), CheckMetadataHashMode);

/// Whether the signature covers a hash of the metadata.
#[derive(TypeInfo)]
#[allow(dead_code)] // described only: the mode is read as a byte
enum CheckMetadataHashMode {
    Disabled,
    Enabled,
}

fn extensions() -> Vec<SignedExtensionMetadata> {
    fn extension<Value: TypeInfo + 'static, Implicit: TypeInfo + 'static>(
        identifier: &'static str,
    ) -> SignedExtensionMetadata {
        SignedExtensionMetadata {
            identifier,
            ty: MetaType::new::<Value>(),
            additional_signed: MetaType::new::<Implicit>(),
        }
    }
    vec![
        extension::<(), ()>("CheckNonZeroSender"),
        extension::<(), u32>("CheckSpecVersion"),
        extension::<(), u32>("CheckTxVersion"),
        extension::<(), H256>("CheckGenesis"),
        extension::<Era, H256>("CheckMortality"),
        extension::<Compact<u32>, ()>("CheckNonce"),
        extension::<(), ()>("CheckWeight"),
        extension::<Compact<u64>, ()>("ChargeTransactionPayment"),
        extension::<(), ()>("SudoTransactionExtension"),
        extension::<(), ()>("CheckShieldedTxValidity"),
        extension::<(), ()>("SubtensorTransactionExtension"),
        extension::<(), ()>("DrandPriority"),
        extension::<CheckMetadataHashMode, Option<[u8; 32]>>("CheckMetadataHash"),
    ]
}

/// The extrinsic as V14 names its parts: by type parameters.
struct UncheckedExtrinsic;

impl TypeInfo for UncheckedExtrinsic {
    type Identity = Self;
    fn type_info() -> Type {
        Type::builder()
            .path(Path::from_segments_unchecked(["sp_runtime", "generic", "unchecked_extrinsic", "UncheckedExtrinsic"]))
            .type_params([
                TypeParameter::new("Address", Some(MetaType::new::<MultiAddress>())),
                TypeParameter::new("Call", Some(MetaType::new::<RuntimeCall>())),
                TypeParameter::new("Signature", Some(MetaType::new::<MultiSignature>())),
                TypeParameter::new("Extra", Some(MetaType::new::<Extra>())),
            ])
            .composite(scale_info::build::Fields::unnamed().field(|f| f.ty::<Vec<u8>>()))
    }
}

/// Where a transaction comes from, as `validate_transaction` is told.
#[derive(TypeInfo)]
#[allow(dead_code)] // described only: validity doesn't depend on it here
enum TransactionSource {
    InBlock,
    Local,
    External,
}

fn apis() -> Vec<RuntimeApiMetadata> {
    fn method<Output: TypeInfo + 'static>(
        name: &'static str,
        inputs: Vec<RuntimeApiMethodParamMetadata>,
    ) -> RuntimeApiMethodMetadata {
        RuntimeApiMethodMetadata { name, inputs, output: MetaType::new::<Output>(), docs: Vec::new() }
    }
    fn input<T: TypeInfo + 'static>(name: &'static str) -> RuntimeApiMethodParamMetadata {
        RuntimeApiMethodParamMetadata { name, ty: MetaType::new::<T>() }
    }
    let api = |name, methods| RuntimeApiMetadata { name, methods, docs: Vec::new() };
    vec![
        api("Core", vec![method::<RuntimeVersion>("version", vec![])]),
        api(
            "Metadata",
            vec![
                method::<OpaqueMetadata>("metadata", vec![]),
                method::<Option<OpaqueMetadata>>("metadata_at_version", vec![input::<u32>("version")]),
                method::<Vec<u32>>("metadata_versions", vec![]),
            ],
        ),
        api(
            "TaggedTransactionQueue",
            vec![method::<Result<ValidTransaction, TransactionValidityError>>(
                "validate_transaction",
                vec![input::<TransactionSource>("source"), input::<Vec<u8>>("tx"), input::<H256>("block_hash")],
            )],
        ),
        api("AccountNonceApi", vec![method::<u32>("account_nonce", vec![input::<AccountId32>("account")])]),
        api(
            "SubnetInfoRuntimeApi",
            vec![method::<Option<u64>>("get_next_epoch_start_block", vec![input::<NetUid>("netuid")])],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use subxt::Metadata as Read;

    use super::super::runtime;
    use super::*;

    fn read(version: u32) -> Read {
        let metadata = Metadata::new(&runtime::version(425), 12_000);
        Read::decode_from(metadata.at_version(version).unwrap()).unwrap()
    }

    #[test]
    fn every_served_version_is_read_and_says_the_same() {
        assert_eq!(VERSIONS, [14, 15]);
        let [v14, v15] = VERSIONS.map(read);
        for pallet in v15.pallets() {
            let older = v14.pallet_by_name(pallet.name()).unwrap();
            assert_eq!(pallet.call_index(), older.call_index());
            let names = |pallet: &subxt::metadata::PalletMetadata<'_>| -> Vec<String> {
                pallet.storage().unwrap().entries().iter().map(|entry| entry.name().to_owned()).collect()
            };
            assert_eq!(names(&pallet), names(&older));
        }
        assert!(Metadata::new(&runtime::version(425), 12_000).at_version(16).is_none());
    }

    #[test]
    fn calls_have_the_chain_s_indices_and_argument_names() {
        let metadata = read(15);
        let pallet = metadata.pallet_by_name("SubtensorModule").unwrap();
        assert_eq!(pallet.call_index(), 7);
        for (name, index, arguments) in [
            ("set_weights", 0, "netuid dests weights version_key"),
            ("set_mechanism_weights", 119, "netuid mecid dests weights version_key"),
            ("serve_axon", 4, "netuid version ip port ip_type protocol placeholder1 placeholder2"),
            ("burned_register", 7, "netuid hotkey"),
            ("register_limit", 134, "netuid hotkey limit_price"),
        ] {
            let call = pallet.call_variant_by_name(name).unwrap();
            let names: Vec<_> = call.fields.iter().filter_map(|field| field.name.as_deref()).collect();
            assert_eq!((call.index, names.join(" ").as_str()), (index, arguments));
        }
    }
}
