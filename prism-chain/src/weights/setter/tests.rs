//! Whole paths from an intent to weights on a development chain.
use super::*;
use crate::{
    client::ChainConfig,
    devnet::{Devnet, DevnetConfig, GenesisNeuron, Hyperparameter, SubnetConfig, SubnetOwner},
    signer::Keypair,
    weights::DryRunSetter,
};
use prism_core::{Epoch, Error, Finite, Kind, MechanismId, Netuid, Retry, Uid};
use std::time::Duration;

pub(super) const NETUID: Netuid = Netuid(1);
pub(super) const MAIN: MechanismId = MechanismId(0);

pub(super) fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

pub(super) fn hotkey(name: &str) -> Hotkey {
    key(name).hotkey()
}

/// Owner at UID 0, a validator with permit at 1, miners at 2 and 3; weights every 5 blocks.
pub(super) fn config() -> DevnetConfig {
    let coldkey = hotkey("coldkey").0;
    let neuron = |name, stake, permit| GenesisNeuron { hotkey: hotkey(name), coldkey, stake, permit };
    DevnetConfig {
        endowments: vec![(coldkey, 10_000_000_000)],
        subnets: vec![SubnetConfig {
            owner: Some(SubnetOwner { hotkey: hotkey("owner"), coldkey }),
            neurons: vec![neuron("validator", 1000, true), neuron("a", 0, false), neuron("b", 0, false)],
            weights_rate_limit: 5,
            tempo: 50,
            ..SubnetConfig::default()
        }],
        ..DevnetConfig::default()
    }
}

pub(super) struct Bench {
    pub(super) devnet: Devnet,
    pub(super) client: ChainClient,
    pub(super) setter: SubtensorWeightSetter,
}

impl Bench {
    pub(super) async fn start(config: DevnetConfig) -> Self {
        let devnet = Devnet::start(config).await.unwrap();
        devnet.produce_blocks(10).await;
        let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
        let setter = setter(&client, "validator", SetterConfig::default());
        Self { devnet, client, setter }
    }

    /// A setter that knows nothing of what this one did: as after a restart.
    pub(super) fn restarted(&self) -> SubtensorWeightSetter {
        setter(&self.client, "validator", SetterConfig::default())
    }

    pub(super) async fn refusal(&self, intent: WeightIntent) -> Error {
        self.setter.prepare(intent).await.unwrap_err()
    }
}

pub(super) fn setter(client: &ChainClient, name: &str, config: SetterConfig) -> SubtensorWeightSetter {
    SubtensorWeightSetter::new(client.clone(), Arc::new(key(name)), config)
}

pub(super) fn intent(epoch: u64, shares: &[(&str, f64)], burn: f64) -> WeightIntent {
    WeightIntent {
        netuid: NETUID,
        mechanism: MAIN,
        epoch: Epoch(epoch),
        shares: shares.iter().map(|(name, share)| (hotkey(name), Finite::new(*share).unwrap())).collect(),
        burn: Finite::new(burn).unwrap(),
        version_key: 0,
        policy: Digest::of(b"policy"),
    }
}

pub(super) fn pay_both() -> WeightIntent {
    intent(1, &[("a", 0.5), ("b", 0.25)], 0.25)
}

pub(super) const PAID_BOTH: [(u16, u16); 3] = [(0, 32768), (2, 65535), (3, 32768)];

/// Advances with a block after each step, until the end; the names of the stages on the way.
pub(super) async fn run(
    devnet: &Devnet,
    setter: &dyn WeightSetter,
    mut receipt: Receipt,
) -> (Receipt, Vec<&'static str>) {
    let mut stages = vec![receipt.stage.name()];
    for _ in 0..200 {
        // Through JSON each time, as a store has it.
        let text = serde_json::to_string(&receipt).unwrap();
        let next = setter.advance(&serde_json::from_str(&text).unwrap()).await.unwrap();
        assert!(next.history.len() <= receipt.history.len() + 1, "more than one step: {next:?}");
        if next.stage.name() != receipt.stage.name() {
            stages.push(next.stage.name());
        }
        receipt = next;
        if receipt.stage.is_terminal() {
            return (receipt, stages);
        }
        devnet.produce_blocks(1).await;
    }
    panic!("no end: {stages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_go_all_the_way_and_are_read_back() {
    let bench = Bench::start(config()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    assert_eq!(bench.devnet.ledger(), []);
    assert_eq!(receipt.holders[&Uid(2)], hotkey("a"));
    assert_eq!(receipt.pinned, Block(8), "the newest final block");
    assert_eq!(receipt.stage, Stage::Prepared { expires: Block(72) });

    let (receipt, stages) = run(&bench.devnet, &bench.setter, receipt).await;
    assert_eq!(stages, ["prepared", "submitted", "included", "finalized", "read_back"]);
    let Stage::ReadBack { uids, .. } = &receipt.stage else { panic!("{receipt:?}") };
    assert_eq!(*uids, receipt.vector);
    assert_eq!(bench.devnet.weights(NETUID, MAIN, Uid(1)), PAID_BOTH);
    let ledger = bench.devnet.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!((ledger[0].hotkey, ledger[0].weights.as_slice()), (hotkey("validator"), &PAID_BOTH[..]));
    assert_eq!(
        receipt.history.last().unwrap().1,
        Stage::Finalized { block: ledger[0].block, extrinsic: ledger[0].extrinsic }
    );
    assert_eq!(receipt.alarms, [""; 0]);
    // After the end nothing moves.
    assert_eq!(bench.setter.advance(&receipt).await.unwrap(), receipt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_replayed_from_any_stage_after_a_crash_reaches_the_same_end_and_lands_once() {
    let bench = Bench::start(config()).await;
    let prepared = bench.setter.prepare(pay_both()).await.unwrap();
    let mut trail = vec![prepared.clone()];
    let mut receipt = prepared;
    while !receipt.stage.is_terminal() {
        // A process that dies before it can store what it did, and one that takes over, at every point.
        for earlier in &trail {
            let replayed = bench.restarted().advance(earlier).await.unwrap();
            assert!(!matches!(replayed.stage, Stage::Failed { .. } | Stage::Expired), "{replayed:?}");
        }
        receipt = bench.setter.advance(&receipt).await.unwrap();
        trail.push(receipt.clone());
        bench.devnet.produce_blocks(1).await;
    }
    for earlier in &trail {
        let (end, _) = run(&bench.devnet, &bench.restarted(), earlier.clone()).await;
        assert_eq!(end.stage.name(), "read_back");
        assert_eq!(end.vector, receipt.vector);
    }
    assert_eq!(bench.devnet.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_the_same_bytes_twice_lands_once() {
    let bench = Bench::start(config()).await;
    let prepared = bench.setter.prepare(pay_both()).await.unwrap();
    let first = bench.setter.advance(&prepared).await.unwrap();
    let second = bench.restarted().advance(&prepared).await.unwrap();
    assert_eq!((first.stage.name(), second.stage.name()), ("submitted", "submitted"));
    bench.devnet.settle().await;
    let (one, two) = (run(&bench.devnet, &bench.setter, first).await, run(&bench.devnet, &bench.setter, second).await);
    assert_eq!((one.0.stage.name(), two.0.stage.name()), ("read_back", "read_back"));
    assert_eq!(bench.devnet.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receipt_is_in_flight_at_a_time() {
    let bench = Bench::start(config()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    assert_eq!(bench.setter.prepare(pay_both()).await.unwrap(), receipt, "the same intent has the same receipt");
    let error = bench.refusal(intent(2, &[("a", 1.0)], 0.0)).await;
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("in flight"), "{error}");
    run(&bench.devnet, &bench.setter, receipt).await;
    bench.devnet.produce_blocks(10).await;
    let next = bench.setter.prepare(intent(2, &[("a", 1.0)], 0.0)).await.unwrap();
    assert_eq!(next.nonce, 1);
    let (next, _) = run(&bench.devnet, &bench.setter, next).await;
    assert_eq!(next.stage.name(), "read_back");
    assert_eq!(bench.devnet.weights(NETUID, MAIN, Uid(1)), [(2, 65535)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_would_refuse_is_refused_before_signing_by_the_chain_s_name() {
    let bench = Bench::start(config()).await;
    let refused = |error: Error, kind: Kind, name: &str| {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(name), "{error} is not {name}");
        error
    };
    let set = |parameter| bench.devnet.set_hyperparameter(NETUID, parameter).unwrap();

    let miner = setter(&bench.client, "a", SetterConfig::default());
    let error = miner.prepare(pay_both()).await.unwrap_err();
    refused(error, Kind::Refused, "NeuronNoValidatorPermit");
    miner.prepare(intent(1, &[("a", 1.0)], 0.0)).await.unwrap();
    let owner = setter(&bench.client, "owner", SetterConfig::default());
    owner.prepare(pay_both()).await.unwrap();
    let stranger = setter(&bench.client, "stranger", SetterConfig::default());
    let error = stranger.prepare(pay_both()).await.unwrap_err();
    refused(error, Kind::Refused, "HotKeyNotRegisteredInSubNet");

    refused(bench.refusal(WeightIntent { netuid: Netuid(0), ..pay_both() }).await, Kind::Unsupported, "CanNotSetRoot");
    refused(bench.refusal(WeightIntent { netuid: Netuid(9), ..pay_both() }).await, Kind::NotFound, "SubnetNotExists");
    let other = WeightIntent { mechanism: MechanismId(3), ..pay_both() };
    refused(bench.refusal(other).await, Kind::NotFound, "MechanismDoesNotExist");

    set(Hyperparameter::WeightsVersionKey(7));
    bench.devnet.settle().await;
    refused(bench.refusal(pay_both()).await, Kind::Refused, "IncorrectWeightVersionKey");
    set(Hyperparameter::WeightsVersionKey(0));
    set(Hyperparameter::MinAllowedWeights(4));
    bench.devnet.settle().await;
    refused(bench.refusal(pay_both()).await, Kind::Refused, "WeightVecLengthIsLow");
    set(Hyperparameter::MinAllowedWeights(1));
    set(Hyperparameter::StakeThreshold(5000));
    bench.devnet.settle().await;
    refused(bench.refusal(pay_both()).await, Kind::Refused, "NotEnoughStakeToSetWeights");
    set(Hyperparameter::StakeThreshold(1000));
    bench.devnet.settle().await;

    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    run(&bench.devnet, &bench.setter, receipt).await;
    set(Hyperparameter::WeightsRateLimit(100));
    bench.devnet.settle().await;
    let error = refused(bench.refusal(intent(2, &[("a", 1.0)], 0.0)).await, Kind::Limit, "SettingWeightsTooFast");
    let last = bench.devnet.ledger()[0].block.0;
    let blocks = last + 100 - (bench.devnet.head().0 + 1);
    assert_eq!(error.retry_class(), Retry::After(Duration::from_secs(12) * u32::try_from(blocks).unwrap()));
    assert!(error.to_string().contains(&format!("{blocks} blocks to wait")), "{error}");
    assert_eq!(bench.devnet.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burn_goes_to_the_configured_hotkey_and_nowhere_without_one() {
    let mut config = config();
    config.subnets[0].owner = None;
    let bench = Bench::start(config).await;
    let error = bench.refusal(pay_both()).await;
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("is to be burned"), "{error}");
    let named = SetterConfig::default().burn_to(hotkey("b"));
    let receipt = setter(&bench.client, "validator", named).prepare(pay_both()).await.unwrap();
    assert_eq!(receipt.vector, [(Uid(1), 65535), (Uid(2), 65535)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_hotkey_is_an_alarm_on_the_receipt() {
    let bench = Bench::start(config()).await;
    let receipt = bench.setter.prepare(intent(1, &[("a", 0.5), ("gone", 0.5)], 0.0)).await.unwrap();
    assert_eq!(receipt.vector, [(Uid(2), 65535)].into());
    assert!(receipt.alarms[0].contains(&hotkey("gone").ss58()), "{:?}", receipt.alarms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_ends_the_receipt_with_the_chain_s_own_name() {
    let bench = Bench::start(config()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    // Between signing and inclusion the subnet turns commit-reveal on.
    bench.devnet.set_hyperparameter(NETUID, Hyperparameter::CommitReveal(true)).unwrap();
    let (receipt, stages) = run(&bench.devnet, &bench.setter, receipt).await;
    assert_eq!(stages, ["prepared", "submitted", "failed"]);
    assert_eq!(receipt.stage, Stage::Failed { error: "SubtensorModule.CommitRevealEnabled".into() });
    assert_eq!(bench.devnet.ledger(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pool_refuses_for_good_ends_the_receipt_and_a_rate_limit_does_not() {
    let bench = Bench::start(config()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let threshold = |stake| bench.devnet.set_hyperparameter(NETUID, Hyperparameter::StakeThreshold(stake)).unwrap();
    threshold(5000);
    bench.devnet.produce_blocks(1).await;
    let failed = bench.restarted().advance(&receipt).await.unwrap();
    let Stage::Failed { error } = &failed.stage else { panic!("{failed:?}") };
    assert_eq!(error, "Custom error: 1 (StakeAmountTooLow); add stake to the hotkey");
    threshold(0);
    bench.devnet.settle().await;
    // Another process of the same hotkey was faster; this one's signature is for the next nonce.
    let other = bench.restarted();
    let landed = other.prepare(intent(1, &[("b", 1.0)], 0.0)).await.unwrap();
    let landed = other.advance(&landed).await.unwrap();
    bench.devnet.produce_blocks(1).await;
    let late = bench.restarted().prepare(pay_both()).await.unwrap();
    assert_eq!((landed.nonce, late.nonce), (0, 1));
    let error = bench.restarted().advance(&late).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert_eq!(error.retry_class(), Retry::After(Duration::from_secs(12)), "one block");
    bench.devnet.produce_blocks(10).await;
    let (late, _) = run(&bench.devnet, &bench.restarted(), late).await;
    assert_eq!(late.stage.name(), "read_back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_no_block_took_expires_when_its_era_is_final() {
    let bench = Bench::start(config()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let Stage::Prepared { expires } = receipt.stage else { panic!("{receipt:?}") };
    bench.devnet.produce_blocks(u32::try_from(expires.0 - 10 - 1).unwrap()).await;
    assert_eq!(bench.devnet.head().0, expires.0 - 1);
    // Too late to send, too early to give up: its last block isn't final.
    assert_eq!(bench.setter.advance(&receipt).await.unwrap(), receipt);
    bench.devnet.settle().await;
    let expired = bench.setter.advance(&receipt).await.unwrap();
    assert_eq!(expired.stage, Stage::Expired);
    assert_eq!(bench.devnet.ledger(), []);
    // The way is free again.
    bench.setter.prepare(intent(2, &[("a", 1.0)], 0.0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_receipt_that_was_never_advanced_blocks_the_lane_until_its_era_is_over() {
    let bench = Bench::start(config()).await;
    bench.setter.prepare(pay_both()).await.unwrap();
    bench.devnet.produce_blocks(30).await;
    assert_eq!(bench.refusal(intent(2, &[("a", 1.0)], 0.0)).await.kind(), Kind::Conflict);
    bench.devnet.produce_blocks(40).await;
    bench.setter.prepare(intent(2, &[("a", 1.0)], 0.0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_extrinsic_in_its_place_supersedes_a_receipt() {
    let bench = Bench::start(config()).await;
    // Same nonce: only one of them can land.
    let lost = bench.setter.prepare(pay_both()).await.unwrap();
    let other = bench.restarted();
    let won = other.prepare(intent(1, &[("b", 1.0)], 0.0)).await.unwrap();
    assert_eq!(lost.nonce, won.nonce);
    let won = other.advance(&won).await.unwrap();
    let error = bench.setter.advance(&lost).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("TooLowPriority"), "{error}");
    bench.devnet.settle().await;
    let lost = bench.setter.advance(&lost).await.unwrap();
    let Stage::Superseded { reason } = &lost.stage else { panic!("{lost:?}") };
    assert!(reason.contains("nonce 0"), "{reason}");
    // Final but not yet read back, when a later vector lands.
    let won = other.advance(&other.advance(&won).await.unwrap()).await.unwrap();
    assert_eq!(won.stage.name(), "finalized");
    bench.devnet.produce_blocks(5).await;
    let later = bench.restarted();
    let receipt = later.prepare(intent(2, &[("a", 1.0)], 0.0)).await.unwrap();
    run(&bench.devnet, &later, receipt).await;
    let won = other.advance(&won).await.unwrap();
    let Stage::Superseded { reason } = &won.stage else { panic!("{won:?}") };
    assert!(reason.starts_with("another extrinsic set weights in block"), "{reason}");
    assert_eq!(bench.devnet.ledger().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_changes_hands_is_an_alarm_and_no_failure() {
    let mut config = config();
    // Of equal neurons the lowest UID is replaced: not the validator's.
    config.subnets[0].neurons.rotate_left(1);
    config.subnets[0].max_uids = 4;
    config.subnets[0].immunity_period = 1;
    let bench = Bench::start(config).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let submitted = bench.setter.advance(&receipt).await.unwrap();
    bench.devnet.produce_blocks(1).await;
    let taken = bench.devnet.register(NETUID, hotkey("late"), [9; 32]).unwrap();
    assert_eq!(receipt.holders[&taken], hotkey("a"));
    let (end, _) = run(&bench.devnet, &bench.setter, submitted).await;
    assert_eq!(end.stage.name(), "read_back");
    assert!(end.alarms[0].contains(&format!("slot {taken} changed hands")), "{:?}", end.alarms);
    assert!(end.alarms[0].contains(&hotkey("late").ss58()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_was_tampered_with_is_refused() {
    let bench = Bench::start(config()).await;
    let mut receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let error = setter(&bench.client, "owner", SetterConfig::default()).advance(&receipt).await.unwrap_err();
    assert!(error.to_string().contains(&format!("hotkey {} signed it", hotkey("validator"))), "{error}");
    receipt.signed[10] ^= 1;
    let error = bench.setter.advance(&receipt).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    receipt.schema = 99;
    assert!(bench.setter.advance(&receipt).await.unwrap_err().to_string().contains("schema is 99"));
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_that_stalls_stops_signing() {
    let config = DevnetConfig { finality_lag: 200, ..config() };
    let bench = Bench::start(config).await;
    bench.devnet.produce_blocks(40).await;
    let error = bench.refusal(pay_both()).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().starts_with("finality stalls"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_signs_sends_nothing_and_says_so() {
    let bench = Bench::start(config()).await;
    let dry = DryRunSetter::new(bench.client.clone(), Arc::new(key("validator")), SetterConfig::default());
    let receipt = dry.prepare(pay_both()).await.unwrap();
    assert_eq!(receipt.vector.len(), 3);
    let end = dry.advance(&receipt).await.unwrap();
    assert_eq!(end.stage, Stage::Superseded { reason: "dry run: nothing is sent".into() });
    bench.devnet.settle().await;
    assert_eq!(bench.devnet.ledger(), []);
}
