//! Reading a metagraph from what the runtime answers.
use super::*;
use crate::runtime::tests::finney;
use scale_info::TypeDef;
use subxt::ext::scale_encode::EncodeAsType as _;

/// What a runtime would answer for a subnet of `members`, with the fields that `keep` lets through.
fn answer(runtime: &Runtime, members: u8, keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let method = runtime.metadata().runtime_api_trait_by_name(SELECTIVE_METAGRAPH.interface).unwrap();
    let output = method.method_by_name(SELECTIVE_METAGRAPH.method).unwrap().output_ty();
    let TypeDef::Variant(option) = &runtime.types().resolve(output).unwrap().type_def else { panic!() };
    let inner = option.variants.iter().find(|variant| variant.name == "Some").unwrap().fields[0].ty.id;
    let TypeDef::Composite(metagraph) = &runtime.types().resolve(inner).unwrap().type_def else { panic!() };
    let rows = |value: &dyn Fn(u8) -> Value| Value::unnamed_composite((0..members).map(value));
    let column = |name: &str| match name {
        "hotkeys" => Some(rows(&|row| Value::from_bytes([row + 1; 32]))),
        "coldkeys" => Some(rows(&|row| Value::from_bytes([row + 100; 32]))),
        "active" | "validator_permit" => Some(rows(&|row| Value::bool(row == 0))),
        "axons" => Some(rows(&|row| {
            let named = |name: &'static str, value: u128| (name, Value::u128(value));
            let ip = if row == 1 { 0 } else { 0x0102_0300 + u128::from(row) };
            Value::named_composite([
                named("block", 9),
                named("version", if row == 1 { 0 } else { 11 }),
                named("ip", ip),
                named("port", 8091),
                named("ip_type", 4),
                named("protocol", 4),
                named("placeholder1", 0),
                named("placeholder2", 0),
            ])
        })),
        "incentives"
        | "dividends"
        | "consensus"
        | "last_update"
        | "emission"
        | "block_at_registration"
        | "alpha_stake"
        | "tao_stake"
        | "total_stake" => Some(rows(&|row| Value::u128(u128::from(row) + 1000 * name.len() as u128))),
        _ => None,
    };
    let fields = metagraph.fields.iter().map(|field| {
        let name = field.name.as_deref().unwrap();
        let value = match name {
            "netuid" => Value::u128(7),
            _ => match column(name).filter(|_| keep(name)) {
                Some(value) => Value::unnamed_variant("Some", [value]),
                None => Value::unnamed_variant("None", []),
            },
        };
        (name.to_owned(), value)
    });
    let answer = Value::unnamed_variant("Some", [Value::named_composite(fields)]);
    answer.encode_as_type(output, runtime.types()).unwrap()
}

#[test]
fn the_live_chain_s_metagraph_is_read_by_field_name() {
    let Some(finney) = finney() else { return };
    let read = |bytes: &[u8]| finney.metagraph(Netuid(7), Block(99), bytes);
    let bytes = answer(&finney, 3, |_| true);
    let metagraph = read(&bytes).unwrap().unwrap();
    assert_eq!((metagraph.netuid, metagraph.block, metagraph.members.len()), (Netuid(7), Block(99), 3));
    let last = &metagraph.members[2];
    assert_eq!((last.uid, last.hotkey, last.coldkey), (Uid(2), Hotkey([3; 32]), Hotkey([102; 32])));
    assert_eq!(
        (last.validator_permit, last.active, last.stake, last.last_update),
        (false, false, 11_002, Block(11_002))
    );
    assert_eq!((last.incentive, last.dividends, last.consensus), (10_002, 9_002, 9_002));
    assert_eq!((last.emission, last.alpha, last.tao, last.registered), (8_002, 11_002, 9_002, Block(21_002)));
    let announced = last.axon.unwrap();
    assert_eq!((announced.axon.address.to_string().as_str(), announced.axon.version), ("1.2.3.2:8091", 11));
    assert_eq!(announced.block, Block(9));
    assert_eq!(metagraph.members[1].axon, None);
    assert!(metagraph.members[0].validator_permit);
    assert_eq!(read(&[0]).unwrap(), None);

    // What is only shown may be missing; what decides may not.
    let bare = read(&answer(&finney, 3, |name| name != "incentives" && name != "axons")).unwrap().unwrap();
    assert_eq!((bare.members[2].incentive, bare.members[2].axon.as_ref(), bare.members[2].stake), (0, None, 11_002));
    let error = read(&answer(&finney, 3, |name| name != "validator_permit")).unwrap_err();
    assert_eq!(error.to_string(), "SubnetInfoRuntimeApi_get_selective_metagraph.validator_permit is not set");
    for cut in [1, 40, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(read(&bytes[..cut]), Err(ChainError::Decode { .. })), "{cut}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(read(&longer), Err(ChainError::Decode { .. })));
}

#[test]
fn tao_counts_by_the_chain_s_weight() {
    assert_eq!(stake_weight(700, 0, u64::MAX), 700);
    assert_eq!(stake_weight(700, 1000, 1 << 63), 1200);
    assert_eq!(stake_weight(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
}
