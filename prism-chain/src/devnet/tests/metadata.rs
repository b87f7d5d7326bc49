//! A devnet in the terms of finney's runtime at spec 393, whose metadata isn't part of this project: the environment
//! variable `PRISM_FINNEY_METADATA` says where it is.

use super::*;

fn finney() -> Option<Vec<u8>> {
    let path = std::env::var_os("PRISM_FINNEY_METADATA");
    if path.is_none() {
        eprintln!("skipped: PRISM_FINNEY_METADATA is not set");
    }
    path.map(|path| std::fs::read(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_finney_works_unchanged() {
    let Some(metadata) = finney() else { return };
    let mut config = with_neurons();
    config.metadata = RuntimeMetadata::Given(metadata);
    config.subnets[0].tempo = 10;
    let bench = Bench::start(config).await;
    assert_eq!(bench.devnet.spec_version(), 393);
    let (alice, validator) = (Key::new("Alice"), Key::new("validator"));

    let events = bench.run(&alice, &burned_register(&Key::new("late"))).await.unwrap();
    assert_eq!(events, ["Balances.Withdraw", "SubtensorModule.NeuronRegistered", "System.ExtrinsicSuccess"]);
    assert_eq!(bench.read::<u16>("SubnetworkN", vec![number(1)]).await, 4);
    let events = bench.run(&validator, &set_weights(&[1, 2], &[30, 60])).await.unwrap();
    assert_eq!(events, ["SubtensorModule.WeightsSet", "System.ExtrinsicSuccess"]);
    let landed = vec![(1_u16, 32_768_u16), (2, 65_535)];
    assert_eq!(bench.read::<Vec<(u16, u16)>>("Weights", vec![number(1), number(0)]).await, landed);

    let failure = bench.run(&Key::new("miner1"), &set_weights(&[0], &[1])).await.unwrap_err();
    assert!(failure.contains("NeuronNoValidatorPermit"), "{failure}");
    let raw = Value::unnamed_variant("Raw5", [Value::from_bytes(b"hello")]);
    let info = Value::named_composite([("fields", Value::unnamed_composite([raw]))]);
    let commitment: Call = dynamic::tx("Commitments", "set_commitment", vec![number(1), info]);
    let events = bench.run(&validator, &commitment).await.unwrap();
    assert_eq!(events, ["Commitments.Commitment", "System.ExtrinsicSuccess"]);

    // What that runtime doesn't have isn't there: no anchors, so epochs follow from block numbers.
    let at = bench.api.at_current_block().await.unwrap();
    let anchors = dynamic::storage::<Vec<Value>, Value>("SubtensorModule", "LastEpochBlock");
    assert!(at.storage().fetch(anchors, vec![number(1)]).await.is_err());
    let step = bench.read::<u64>("LastMechansimStepBlock", vec![number(1)]).await;
    assert_eq!((step + 2) % 11, 0, "block + netuid + 1 is a multiple of tempo + 1");
    // Its own calls that this chain doesn't have are refused, and nothing panics.
    let foreign: Call = dynamic::tx("Utility", "batch", vec![Value::unnamed_composite([])]);
    let foreign = bench.sign(&alice, &foreign, Params::new()).await;
    assert_eq!(bench.refused(foreign.encoded()).await.0, 1002);
    // Every storage entry of ours that it has is served as it has it.
    for pallet in ["SubtensorModule", "Commitments", "Drand", "Balances"] {
        let metadata = at.metadata();
        for entry in metadata.pallet_by_name(pallet).unwrap().storage().unwrap().entries() {
            let address = dynamic::storage::<Vec<Value>, Value>(pallet, entry.name());
            let mut values = match at.storage().iter(address, vec![]).await {
                Ok(values) => values,
                Err(_) => continue,
            };
            while let Some(value) = values.next().await {
                let value = value.unwrap();
                let name = format!("{pallet}.{}", entry.name());
                value.value().decode().unwrap_or_else(|error| panic!("{name}: {error}"));
                if entry.name() == "Pulses" {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timelocked_weights_land_by_the_old_epochs_too() {
    let Some(metadata) = finney() else { return };
    let mut config = with_neurons();
    config.metadata = RuntimeMetadata::Given(metadata);
    config.subnets[0].tempo = 20;
    config.subnets[0].commit_reveal = true;
    let bench = Bench::start(config).await;
    let validator = Key::new("validator");
    let now = 1_767_225_600;
    // Epochs begin at 19 and 40: (block + 2) is a multiple of 21.
    let round = bench.devnet.beacon().opening_round(now + 22 * 12);
    let call = commit_reveal::commit(&commit_reveal::sealed(&bench, &validator, round, &[1, 2], &[30, 60]), round);
    let events = bench.run(&validator, &call).await.unwrap();
    assert_eq!(events, ["SubtensorModule.TimelockedWeightsCommitted", "System.ExtrinsicSuccess"]);
    while bench.devnet.ledger().is_empty() {
        bench.devnet.produce_blocks(1).await;
        assert!(bench.devnet.head().0 < 40);
    }
    assert!((19..30).contains(&bench.devnet.ledger()[0].block.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn finney_upgrades_to_dynamic_tempo_and_epochs_go_on() {
    let Some(metadata) = finney() else { return };
    let mut config = with_neurons();
    config.metadata = RuntimeMetadata::Given(metadata);
    config.subnets[0].tempo = 20;
    let bench = Bench::start(config).await;
    bench.devnet.produce_blocks(30).await;
    bench.devnet.inject(Fault::Upgrade(RuntimeUpgrade::to(425))).unwrap();
    bench.devnet.produce_blocks(1).await;
    bench.devnet.settle().await;
    assert_eq!(bench.read::<u64>("LastEpochBlock", vec![number(1)]).await, 19);
    assert_eq!(bench.read::<u64>("SubnetEpochIndex", vec![number(1)]).await, 1);
    bench.devnet.produce_blocks(10).await;
    assert_eq!(bench.read::<u64>("LastEpochBlock", vec![number(1)]).await, 39);
    let events = bench.run(&Key::new("validator"), &set_weights(&[1], &[1])).await.unwrap();
    assert_eq!(events, ["SubtensorModule.WeightsSet", "System.ExtrinsicSuccess"]);
}
