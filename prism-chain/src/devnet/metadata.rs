//! The chain's description of itself, made from the types that run it.
//!
//! Names, indices and types are the chain's; only what this chain implements is described. Served as V15, which
//! has the runtime interfaces, and as V14 for older clients.

use std::collections::BTreeMap;

use codec::{Compact, Encode};
use frame_metadata::v15::{
    CustomMetadata, ExtrinsicMetadata, OuterEnums, PalletMetadata, RuntimeApiMetadata, RuntimeApiMethodMetadata,
    RuntimeApiMethodParamMetadata, RuntimeMetadataV15, SignedExtensionMetadata,
};
use frame_metadata::{RuntimeMetadataPrefixed, v14};
use scale_info::form::PortableForm;
use scale_info::{MetaType, Path, PortableRegistry, Type, TypeDef, TypeDefVariant, TypeInfo, TypeParameter};

use super::extrinsic::{Era, TransactionValidityError, ValidTransaction};
use super::hyperparameters::{HyperparamEntry, SubnetHyperparamsV2};
use super::metagraph::{Metagraph, SelectiveMetagraph};
use super::pallets::{aura, balances, commitments, drand, subtensor, system, timestamp};
use super::primitives::{AccountId32, H256, MechId, MultiAddress, MultiSignature, NetUid};
use super::runtime::{RuntimeCall, RuntimeError, RuntimeEvent, RuntimeVersion};

/// `sp_core::OpaqueMetadata`.
#[derive(Encode, TypeInfo)]
pub(super) struct OpaqueMetadata(pub(super) Vec<u8>);

/// Metadata in each served version, encoded; never empty.
#[derive(Debug)]
pub(super) struct Metadata(BTreeMap<u32, Vec<u8>>);

/// What is other than the types that run the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// Subnets, mechanisms and amounts are bare integers.
    pub(super) bare_integers: bool,
    /// An error is inserted before this one.
    pub(super) error_before: Option<String>,
}

impl Metadata {
    /// The description of a runtime of this version on a chain with this slot length.
    ///
    /// # Errors
    /// When there is no such error to insert another one before.
    pub(super) fn own(version: &RuntimeVersion, slot_millis: u64, edit: &Edit) -> Result<Self, String> {
        let mut v15 = RuntimeMetadataV15::new(
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
            CustomMetadata { map: BTreeMap::default() },
        );
        let mut v14 = v14::RuntimeMetadataV14::new(
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
        edit.apply(&mut v14.types)?;
        edit.apply(&mut v15.types)?;
        Ok(Self(BTreeMap::from([
            (14, RuntimeMetadataPrefixed::from(v14).encode()),
            (15, RuntimeMetadataPrefixed::from(v15).encode()),
        ])))
    }

    /// What another runtime says of itself, in the one version that is given.
    ///
    /// # Errors
    /// When the bytes don't start as metadata does.
    pub(super) fn given(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            [b'm', b'e', b't', b'a', version, ..] => Ok(Self(BTreeMap::from([(u32::from(*version), bytes.to_vec())]))),
            _ => Err("it does not start with the bytes \"meta\" and a version".to_owned()),
        }
    }

    /// The versions that are served, ascending.
    pub(super) fn versions(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }

    /// The metadata in `version`, if it is served.
    pub(super) fn at_version(&self, version: u32) -> Option<&[u8]> {
        self.0.get(&version).map(Vec::as_slice)
    }

    /// The metadata as nodes give it to those who don't ask for a version.
    pub(super) fn oldest(&self) -> &[u8] {
        self.0.values().next().map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn newest(&self) -> &[u8] {
        self.0.values().next_back().map(Vec::as_slice).unwrap_or_default()
    }
}

/// Types that were bare integers before spec 429.
const NEWTYPES: [&str; 6] = ["NetUid", "NetUidStorageIndex", "MechId", "TaoBalance", "AlphaBalance", "PerU16"];

impl Edit {
    fn apply(&self, types: &mut PortableRegistry) -> Result<(), String> {
        if self.bare_integers {
            let integers: Vec<_> = types.types.iter().map(|ty| ty.ty.type_def.clone()).collect();
            for ty in &mut types.types {
                let name = ty.ty.path.segments.last().map(String::as_str).unwrap_or_default();
                let TypeDef::Composite(composite) = &ty.ty.type_def else { continue };
                let inner = composite.fields.first().and_then(|field| integers.get(usize::try_from(field.ty.id).ok()?));
                if let Some(inner) = inner.filter(|_| NEWTYPES.contains(&name)) {
                    ty.ty.type_def = inner.clone();
                    ty.ty.path.segments.clear();
                }
            }
        }
        let Some(name) = &self.error_before else { return Ok(()) };
        let mut errors = types.types.iter_mut().filter_map(|ty| match &mut ty.ty.type_def {
            TypeDef::Variant(error) if ty.ty.path.segments.last().is_some_and(|last| last == "Error") => Some(error),
            _ => None,
        });
        let position = |error: &TypeDefVariant<PortableForm>| error.variants.iter().position(|it| it.name == *name);
        let error = errors.find(|error| position(error).is_some()).ok_or_else(|| format!("no error {name}"))?;
        let place = position(error).unwrap_or_default();
        let Some(mut inserted) = error.variants.get(place).cloned() else { return Ok(()) };
        inserted.name = "InsertedError".to_owned();
        for variant in error.variants.iter_mut().filter(|variant| variant.index >= inserted.index) {
            variant.index = variant.index.saturating_add(1);
        }
        error.variants.insert(place, inserted);
        Ok(())
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
            vec![
                method::<Option<u64>>("get_next_epoch_start_block", vec![input::<NetUid>("netuid")]),
                method::<Option<SubnetHyperparamsV2>>("get_subnet_hyperparams_v2", vec![input::<NetUid>("netuid")]),
                method::<Option<Vec<HyperparamEntry>>>("get_subnet_hyperparams_v3", vec![input::<NetUid>("netuid")]),
                method::<Option<Metagraph>>("get_metagraph", vec![input::<NetUid>("netuid")]),
                method::<Option<Metagraph>>(
                    "get_mechagraph",
                    vec![input::<NetUid>("netuid"), input::<MechId>("mecid")],
                ),
                method::<Option<SelectiveMetagraph>>(
                    "get_selective_metagraph",
                    vec![input::<NetUid>("netuid"), input::<Vec<u16>>("metagraph_indexes")],
                ),
                method::<Option<SelectiveMetagraph>>(
                    "get_selective_mechagraph",
                    vec![input::<NetUid>("netuid"), input::<MechId>("mecid"), input::<Vec<u16>>("metagraph_indexes")],
                ),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use subxt::Metadata as Read;

    use super::super::runtime;
    use super::*;

    fn metadata() -> Metadata {
        let edit = Edit { bare_integers: false, error_before: None };
        Metadata::own(&runtime::version(425), 12_000, &edit).unwrap()
    }

    fn read(version: u32) -> Read {
        Read::decode_from(metadata().at_version(version).unwrap()).unwrap()
    }

    #[test]
    fn every_served_version_is_read_and_says_the_same() {
        assert_eq!(metadata().versions(), [14, 15]);
        let [v14, v15] = [14, 15].map(read);
        for pallet in v15.pallets() {
            let older = v14.pallet_by_name(pallet.name()).unwrap();
            assert_eq!(pallet.call_index(), older.call_index());
            let names = |pallet: &subxt::metadata::PalletMetadata<'_>| -> Vec<String> {
                pallet.storage().unwrap().entries().iter().map(|entry| entry.name().to_owned()).collect()
            };
            assert_eq!(names(&pallet), names(&older));
        }
        assert!(metadata().at_version(16).is_none());
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
