//! Runtimes from metadata: the live chain's, the devnet's, and broken ones.
use super::*;
use crate::{
    devnet::{Devnet, DevnetConfig},
    extrinsic::subtensor,
};
use std::sync::OnceLock;
use subxt::{ext::scale_value::Composite, transactions::DynamicPayload};

const PATH: &str = "PRISM_FINNEY_METADATA";

/// The metadata of finney at spec 393, from the file that the environment names; nothing, and a word about it, without.
pub(crate) fn finney_metadata() -> Option<Vec<u8>> {
    let Some(path) = std::env::var_os(PATH) else {
        eprintln!("skipped: {PATH} names no file with finney's metadata");
        return None;
    };
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{PATH} = {}: {error}", path.display())))
}

/// The runtime that the file describes.
pub(crate) fn finney() -> Option<Runtime> {
    static FINNEY: OnceLock<Option<Runtime>> = OnceLock::new();
    FINNEY.get_or_init(|| finney_metadata().map(|bytes| Runtime::from_metadata(&bytes).unwrap())).clone()
}

/// What the devnet describes itself as, V15.
pub(crate) async fn devnet_metadata() -> Vec<u8> {
    let devnet = Devnet::start(DevnetConfig::default()).await.unwrap();
    let client = crate::ChainClient::connect(crate::ChainConfig::new(devnet.url())).await.unwrap();
    let hash = client.finalized().await.unwrap().hash;
    fetch_metadata(client.rpc(), hash).await.unwrap()
}

fn list(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| number(*value)))
}

fn call_data<C: subxt::transactions::Payload>(runtime: &Runtime, call: &C) -> String {
    hex::encode(runtime.client().transactions().call_data(call).unwrap())
}

#[test]
fn the_live_chain_s_calls_have_the_official_bytes() {
    let Some(finney) = finney() else { return };
    assert_eq!(finney.spec_version(), 393);
    let call = subtensor(
        "set_weights",
        [
            ("netuid", subnet(Netuid(37))),
            ("dests", list(&[0, 1])),
            ("weights", list(&[65535, 32768])),
            ("version_key", number(7_u64)),
        ],
    );
    assert_eq!(call_data(&finney, &call), "07002500080000010008ffff00800700000000000000");
    let raw = Value::named_composite([(
        "fields",
        Value::unnamed_composite([Value::unnamed_variant("Raw5", [Value::from_bytes(b"hello")])]),
    )]);
    let call: DynamicPayload<Composite<()>> = subxt::dynamic::tx(
        "Commitments",
        "set_commitment",
        Composite::named([("netuid", subnet(Netuid(37))), ("info", raw)]),
    );
    assert_eq!(call_data(&finney, &call), "12002500040668656c6c6f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_netuid_and_a_newtype_take_the_same_value_and_give_the_same_bytes() {
    let newtypes = Runtime::from_metadata(&devnet_metadata().await).unwrap();
    let uids = Entry::subtensor("Uids");
    let key = |runtime: &Runtime| {
        let info = runtime.entry(uids).unwrap();
        runtime.key(uids, &info, vec![subnet(Netuid(258)), account(&Hotkey([7; 32]))]).unwrap()
    };
    let next_epoch = Api::new("SubnetInfoRuntimeApi", "get_next_epoch_start_block");
    assert_eq!(newtypes.api_input(next_epoch, vec![subnet(Netuid(258))]).unwrap(), [2, 1]);
    let consensus = Entry::subtensor("Consensus");
    let shares = |runtime: &Runtime| {
        let info = runtime.entry(consensus).unwrap();
        runtime.value::<Vec<u16>>(consensus, &info, Some(&[8, 1, 0, 255, 255])).unwrap()
    };
    assert_eq!(shares(&newtypes), Some(vec![1, 65535]));
    let wrapped = newtypes.types().resolve(newtypes.entry(uids).unwrap().keys[0].key_id).unwrap();
    assert_eq!(wrapped.path.ident().as_deref(), Some("NetUid"));
    let Some(bare) = finney() else { return };
    assert_eq!(key(&bare), key(&newtypes));
    assert_eq!(shares(&bare), shares(&newtypes));
    let plain = bare.types().resolve(bare.entry(Entry::subtensor("WeightsVersionKey")).unwrap().value_id).unwrap();
    assert!(plain.path.is_empty(), "{plain:?}");
}

#[test]
fn metadata_that_is_none_is_told_so() {
    for (bytes, why) in [
        (&b""[..], "does not begin with `meta`"),
        (b"{\"jsonrpc\":\"2.0\"}", "does not begin with `meta`"),
        (b"meta\x0f", "Not enough data"),
        (b"meta\x0e\0\0\0\0", "Not enough data"),
        (b"meta\xff", "Could not decode"),
    ] {
        let error = Runtime::from_metadata(bytes).unwrap_err();
        assert!(matches!(&error, ChainError::Decode { field, .. } if field == "metadata"), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Reads everything that a neuron reads first.
fn exercise(bytes: &[u8]) -> Result<(), ChainError> {
    let runtime = Runtime::from_metadata(bytes)?;
    let tempo = Entry::subtensor("Tempo");
    let info = runtime.entry(tempo)?;
    runtime.key(tempo, &info, vec![subnet(Netuid(1))])?;
    runtime.value::<u16>(tempo, &info, None)?;
    runtime.constant::<u64>("Aura", "SlotDuration")?;
    match runtime.metagraph(Netuid(1), prism_core::Block(1), &[0]) {
        Err(ChainError::Missing { .. }) => {}
        answer => drop(answer?),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_and_scratched_metadata_give_errors_and_no_panic() {
    let whole = devnet_metadata().await;
    let (mut fine, mut broken) = (0, 0);
    let mut samples = vec![whole];
    samples.extend(finney_metadata());
    for bytes in &samples {
        for part in 0..200 {
            let cut = bytes.len() * part / 200;
            let error = Runtime::from_metadata(&bytes[..cut]).unwrap_err();
            assert!(matches!(error, ChainError::Decode { .. }), "{cut}: {error}");
        }
        // A fixed walk over positions and bits.
        let mut at = 5;
        for round in 0..300_usize {
            at = (at + 7919 * (round + 1)) % bytes.len();
            let mut scratched = bytes.clone();
            scratched[at] ^= 1 << (round % 8);
            match exercise(&scratched) {
                Ok(()) => fine += 1,
                Err(_) => broken += 1,
            }
        }
    }
    assert!(fine > 0 && broken > 0, "{fine} readable, {broken} not");
}

#[test]
fn a_type_that_contains_itself_is_refused() {
    use scale_info::{MetaType, Registry};
    #[derive(scale_info::TypeInfo)]
    #[allow(dead_code)]
    struct Fine {
        list: Vec<Fine>,
        perhaps: Option<Box<Fine>>,
    }
    let mut registry = Registry::new();
    registry.register_type(&MetaType::new::<Fine>());
    let mut types: PortableRegistry = registry.into();
    assert_eq!(endless(&types), None);
    let id = types.types.iter().position(|ty| matches!(ty.ty.type_def, TypeDef::Composite(_))).unwrap();
    let own = u32::try_from(id).unwrap();
    let TypeDef::Composite(composite) = &mut types.types[id].ty.type_def else { panic!() };
    composite.fields[0].ty = own.into();
    assert_eq!(endless(&types), Some(own));
}
