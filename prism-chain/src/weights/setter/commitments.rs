//! Whole paths of committed weights on a development chain.
use super::{tests::*, *};
use crate::{
    devnet::{CommittedWeights, DevnetConfig, Fault, Hyperparameter, RuntimeMetadata, RuntimeUpgrade},
    timelock::QUICKNET,
};
use prism_core::{Epoch, Error, Kind, Retry, Uid};
use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

/// The subnet of the plain tests with commit-reveal on: epochs of 20 blocks, revealed in the next one.
fn committed() -> DevnetConfig {
    let mut config = config();
    let subnet = &mut config.subnets[0];
    (subnet.commit_reveal, subnet.tempo) = (true, 20);
    config
}

fn by_hash() -> SetterConfig {
    SetterConfig::default().commit_by(CommitScheme::Hash)
}

fn round(receipt: &Receipt) -> u64 {
    match receipt.commitment.as_ref().map(|commitment| &commitment.opening) {
        Some(Opening::Round(round)) => *round,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    fn hashing(&self) -> SubtensorWeightSetter {
        setter(&self.client, "validator", by_hash())
    }

    /// Up to, and not into, a stage.
    async fn until(&self, setter: &dyn WeightSetter, mut receipt: Receipt, stage: &str) -> Receipt {
        for _ in 0..200 {
            if receipt.stage.name() == stage {
                return receipt;
            }
            receipt = setter.advance(&receipt).await.unwrap();
            self.devnet.produce_blocks(1).await;
        }
        panic!("{stage} was not reached: {receipt:?}");
    }

    fn row(&self) -> Vec<(u16, u16)> {
        self.devnet.weights(NETUID, MAIN, Uid(1))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timelocked_weights_are_committed_revealed_by_the_chain_and_read_back() {
    let bench = Bench::start(committed()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let planned = receipt.commitment.clone().unwrap();
    assert_eq!((planned.epoch, planned.due), (Epoch(0), Block(20)));
    let (end, stages) = run(&bench.devnet, &bench.setter, receipt).await;
    let all = ["prepared", "submitted", "included", "finalized", "committed", "revealed", "read_back"];
    assert_eq!(stages, all);
    assert_eq!(bench.row(), PAID_BOTH);

    let [commit] = bench.devnet.commitments_to_weights().try_into().unwrap();
    let CommittedWeights { block, extrinsic, round, .. } = commit;
    let [landed] = bench.devnet.ledger().try_into().unwrap();
    assert_eq!(landed.committed, Some(block));
    let stage = |name| end.history.iter().map(|(_, stage)| stage).find(|stage| stage.name() == name).cloned().unwrap();
    assert_eq!(stage("included"), Stage::Included { block, extrinsic });
    assert_eq!(planned.opening, Opening::Round(round.unwrap()));
    assert_eq!(stage("committed"), Stage::Committed { round, epoch: Epoch(0), due: Block(20) });
    assert_eq!(stage("revealed"), Stage::Revealed { block: landed.block });
    // Three blocks of twelve seconds after the first that could open it.
    assert!((20..=24).contains(&landed.block.0), "{landed:?}");
    assert_eq!(end.stage, Stage::ReadBack { block: landed.block, uids: end.vector.clone() });
    assert_eq!(end.alarms, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_weights_are_committed_revealed_by_the_hotkey_and_read_back() {
    let bench = Bench::start(committed()).await;
    let hashing = bench.hashing();
    let receipt = hashing.prepare(pay_both()).await.unwrap();
    let (end, stages) = run(&bench.devnet, &hashing, receipt).await;
    let all = ["prepared", "submitted", "included", "finalized", "committed", "revealing", "revealed", "read_back"];
    assert_eq!(stages, all);
    assert_eq!(bench.row(), PAID_BOTH);
    let [commit] = bench.devnet.commitments_to_weights().try_into().unwrap();
    let [landed] = bench.devnet.ledger().try_into().unwrap();
    assert_eq!((commit.round, landed.committed), (None, None));
    let Stage::ReadBack { block, .. } = end.stage else { panic!("{end:?}") };
    assert_eq!(block, landed.block);
    assert!((20..40).contains(&block.0), "in the reveal epoch: {landed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_receipt_replayed_from_any_stage_reaches_the_same_end_and_lands_once() {
    for config in [SetterConfig::default(), by_hash()] {
        let bench = Bench::start(committed()).await;
        let restarted = || setter(&bench.client, "validator", config.clone());
        let mut receipt = restarted().prepare(pay_both()).await.unwrap();
        let mut trail = vec![receipt.clone()];
        while !receipt.stage.is_terminal() {
            let next = restarted().advance(&receipt).await.unwrap();
            if next.stage.name() != receipt.stage.name() {
                // A process that dies before it can store what it did, and one that takes over, at every point.
                for earlier in &trail {
                    let replayed = restarted().advance(earlier).await.unwrap();
                    let lost = [Stage::Expired, Stage::RevealMissed].contains(&replayed.stage);
                    assert!(!lost && !matches!(replayed.stage, Stage::Failed { .. }), "{replayed:?}");
                }
                trail.push(next.clone());
            }
            receipt = next;
            bench.devnet.produce_blocks(1).await;
        }
        for earlier in &trail {
            // A reveal that was signed after another one landed is none.
            let (end, _) = run(&bench.devnet, &restarted(), earlier.clone()).await;
            assert_eq!((end.stage.name(), &end.vector), ("read_back", &receipt.vector), "from {earlier:?}");
        }
        assert_eq!((bench.devnet.commitments_to_weights().len(), bench.devnet.ledger().len()), (1, 1));
        assert_eq!(bench.row(), PAID_BOTH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_signing_and_sending_repeats_the_same_ciphertext() {
    let bench = Bench::start(committed()).await;
    let seeds = Arc::new(AtomicU8::new(0));
    let taken = Arc::clone(&seeds);
    let entropy = Entropy::new(move || Ok([taken.fetch_add(1, Ordering::SeqCst); 32]));
    let config = SetterConfig::default().entropy(entropy);
    let receipt = setter(&bench.client, "validator", config.clone()).prepare(pay_both()).await.unwrap();
    for _ in 0..3 {
        setter(&bench.client, "validator", config.clone()).advance(&receipt).await.unwrap();
        bench.devnet.produce_blocks(1).await;
    }
    assert_eq!(seeds.load(Ordering::SeqCst), 1, "one encryption");
    let [commit] = bench.devnet.commitments_to_weights().try_into().unwrap();
    let tip = bench.client.tip_at(commit.block).await.unwrap();
    assert!(bench.client.extrinsics(tip.hash).await.unwrap().contains(&receipt.signed));
    // Another attempt of the same vector is another ciphertext.
    let again = setter(&bench.client, "validator", config).prepare(pay_both()).await;
    assert!(again.is_err(), "too fast");
    bench.devnet.produce_blocks(5).await;
    let again = setter(&bench.client, "validator", SetterConfig::default()).prepare(pay_both()).await.unwrap();
    assert_ne!(again.signed, receipt.signed);
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_of_further_epochs_follow_one_that_waits() {
    let mut config = committed();
    config.subnets[0].reveal_period = 2;
    let bench = Bench::start(config).await;
    let first = bench.setter.prepare(pay_both()).await.unwrap();
    let first = bench.until(&bench.setter, first, "committed").await;
    assert!(matches!(first.stage, Stage::Committed { epoch: Epoch(0), due: Block(40), .. }), "{first:?}");
    // One vector for an epoch, and the same one for the same intent.
    assert_eq!(bench.setter.prepare(pay_both()).await.unwrap(), first);
    let other = bench.refusal(intent(1, &[("a", 1.0)], 0.0)).await;
    assert_eq!((other.kind(), other.to_string().contains("committed, to end by block 40")), (Kind::Conflict, true));
    while bench.devnet.head().0 < 25 {
        bench.devnet.produce_blocks(1).await;
    }
    let second = bench.setter.prepare(intent(2, &[("b", 1.0)], 0.0)).await.unwrap();
    let second = bench.until(&bench.setter, second, "committed").await;
    let (first, _) = run(&bench.devnet, &bench.setter, first).await;
    assert_eq!(first.stage.name(), "read_back");
    assert_eq!(bench.row(), PAID_BOTH);
    let (second, _) = run(&bench.devnet, &bench.setter, second).await;
    assert_eq!(second.stage.name(), "read_back");
    assert_eq!(bench.row(), [(3, 65535)]);
    // Looked at late, the first one was still right in its time.
    let mut late = first.clone();
    late.stage = late.history.pop().unwrap().1;
    assert_eq!(bench.restarted().advance(&late).await.unwrap().stage, first.stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_no_longer_pass_the_chain_s_checks_miss_their_reveal() {
    let bench = Bench::start(committed()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let receipt = bench.until(&bench.setter, receipt, "committed").await;
    bench.devnet.set_hyperparameter(NETUID, Hyperparameter::MinAllowedWeights(4)).unwrap();
    let (end, _) = run(&bench.devnet, &bench.setter, receipt).await;
    assert_eq!(end.stage, Stage::RevealMissed);
    assert!(end.alarms[0].contains("no longer pass the chain's checks"), "{:?}", end.alarms);
    assert!(end.history.last().unwrap().0 < Block(40), "known before its epoch is over");
    assert_eq!(bench.devnet.ledger(), []);
    // The way is free for the epoch that is going on.
    bench.devnet.set_hyperparameter(NETUID, Hyperparameter::MinAllowedWeights(1)).unwrap();
    bench.devnet.settle().await;
    let again = bench.setter.prepare(intent(2, &[("a", 1.0)], 0.0)).await.unwrap();
    let (again, _) = run(&bench.devnet, &bench.setter, again).await;
    assert_eq!(again.stage.name(), "read_back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotkey_that_is_away_in_its_reveal_epoch_has_missed_it() {
    let bench = Bench::start(committed()).await;
    let hashing = bench.hashing();
    let receipt = hashing.prepare(pay_both()).await.unwrap();
    let receipt = bench.until(&hashing, receipt, "committed").await;
    bench.devnet.produce_blocks(40).await;
    let end = bench.hashing().advance(&receipt).await.unwrap();
    assert_eq!(end.stage, Stage::RevealMissed);
    assert!(end.alarms[0].contains("epoch 1, which is over"), "{:?}", end.alarms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_changes_hands_before_the_reveal_is_an_alarm() {
    let mut config = committed();
    // Of equal neurons the lowest UID is replaced: not the validator's.
    config.subnets[0].neurons.rotate_left(1);
    config.subnets[0].max_uids = 4;
    config.subnets[0].immunity_period = 1;
    let bench = Bench::start(config).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let receipt = bench.until(&bench.setter, receipt, "committed").await;
    let taken = bench.devnet.register(NETUID, hotkey("late"), [9; 32]).unwrap();
    assert_eq!(receipt.holders[&taken], hotkey("a"));
    let (end, _) = run(&bench.devnet, &bench.setter, receipt).await;
    assert_eq!(end.stage.name(), "read_back");
    assert!(end.alarms[0].contains(&format!("slot {taken} changed hands")), "{:?}", end.alarms);
    assert!(end.alarms[0].contains(&hotkey("late").ss58()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_would_not_take_as_a_commitment_is_refused_before_signing() {
    let mut config = committed();
    config.subnets[0].weights_rate_limit = 0;
    config.subnets[0].tempo = 100;
    let bench = Bench::start(config).await;
    let refused = |error: Error, kind: Kind, name: &str| {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(name), "{error} is not {name}");
        error
    };
    let set = |parameter| bench.devnet.set_hyperparameter(NETUID, parameter).unwrap();
    set(Hyperparameter::StakeThreshold(5000));
    bench.devnet.settle().await;
    refused(bench.refusal(pay_both()).await, Kind::Refused, "NotEnoughStakeToSetWeights");
    set(Hyperparameter::StakeThreshold(0));
    bench.devnet.settle().await;
    // A beacon that is none.
    let broken = Beacon { public_key: [1; 96], ..QUICKNET };
    let broken = setter(&bench.client, "validator", SetterConfig::default().beacon(broken));
    refused(broken.prepare(pay_both()).await.unwrap_err(), Kind::Invalid, "beacon public key");
    let dry = Entropy::new(|| Err(std::io::Error::other("dry")));
    let dry = setter(&bench.client, "validator", SetterConfig::default().entropy(dry));
    refused(dry.prepare(pay_both()).await.unwrap_err(), Kind::Unavailable, "no randomness");

    for config in [SetterConfig::default(), by_hash()] {
        for _ in 0..10 {
            let setter = setter(&bench.client, "validator", config.clone());
            let receipt = setter.prepare(pay_both()).await.unwrap();
            setter.advance(&receipt).await.unwrap();
            bench.devnet.produce_blocks(1).await;
        }
        let setter = setter(&bench.client, "validator", config);
        let error = setter.prepare(pay_both()).await.unwrap_err();
        let error = refused(error, Kind::Limit, "TooManyUnrevealedCommits: 10");
        let blocks = 100 - bench.devnet.head().0;
        assert_eq!(error.retry_class(), Retry::After(Duration::from_secs(12) * u32::try_from(blocks).unwrap()));
    }
    set(Hyperparameter::WeightsRateLimit(50));
    bench.devnet.settle().await;
    refused(bench.refusal(pay_both()).await, Kind::Limit, "CommittingWeightsTooFast");
    set(Hyperparameter::Tempo(0));
    bench.devnet.settle().await;
    refused(bench.refusal(pay_both()).await, Kind::Refused, "subnet 1 runs no epochs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_never_comes_is_a_missed_reveal_and_the_next_commitment_lands() {
    let bench = Bench::start(committed()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let round = round(&receipt);
    bench.devnet.inject(Fault::LostRounds(round..=round)).unwrap();
    let receipt = bench.until(&bench.setter, receipt, "committed").await;
    while bench.devnet.head().0 < 40 {
        bench.devnet.produce_blocks(1).await;
        assert_eq!(bench.setter.advance(&receipt).await.unwrap(), receipt, "its epoch is not over");
    }
    bench.devnet.settle().await;
    let end = bench.setter.advance(&receipt).await.unwrap();
    assert_eq!(end.stage, Stage::RevealMissed);
    assert!(end.alarms[0].contains("epoch 1, which is over"), "{:?}", end.alarms);
    let again = bench.setter.prepare(intent(3, &[("a", 1.0)], 0.0)).await.unwrap();
    let (again, _) = run(&bench.devnet, &bench.setter, again).await;
    assert_eq!(again.stage.name(), "read_back");
    assert_eq!(bench.devnet.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_that_is_late_delays_the_reveal_within_its_epoch() {
    let bench = Bench::start(committed()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let receipt = bench.until(&bench.setter, receipt, "committed").await;
    bench.devnet.inject(Fault::BeaconSilence).unwrap();
    while bench.devnet.head().0 < 33 {
        bench.devnet.produce_blocks(1).await;
    }
    assert_eq!(bench.restarted().advance(&receipt).await.unwrap(), receipt);
    bench.devnet.mend();
    let (end, _) = run(&bench.devnet, &bench.restarted(), receipt).await;
    assert_eq!(end.stage.name(), "read_back");
    let landed = bench.devnet.ledger()[0].block;
    assert!((34..40).contains(&landed.0), "{landed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_node_forgot_the_reveal_the_weights_that_it_holds_decide() {
    for lost in [false, true] {
        let bench = Bench::start(DevnetConfig { retained_blocks: 256, ..committed() }).await;
        let receipt = bench.setter.prepare(pay_both()).await.unwrap();
        if lost {
            let round = round(&receipt);
            bench.devnet.inject(Fault::LostRounds(round..=round)).unwrap();
        }
        let receipt = bench.until(&bench.setter, receipt, "committed").await;
        bench.devnet.produce_blocks(300).await;
        let (end, stages) = run(&bench.devnet, &bench.restarted(), receipt).await;
        let expected: &[&str] =
            if lost { &["committed", "reveal_missed"] } else { &["committed", "revealed", "read_back"] };
        assert_eq!(stages, expected, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_that_is_reorganised_away_is_committed_again_by_the_same_bytes() {
    let bench = Bench::start(committed()).await;
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let receipt = bench.until(&bench.setter, receipt, "included").await;
    bench.devnet.inject(Fault::Reorg { blocks: 2 }).unwrap();
    let (end, stages) = run(&bench.devnet, &bench.setter, receipt).await;
    assert_eq!(stages[..3], ["included", "submitted", "included"]);
    assert_eq!(end.stage.name(), "read_back");
    assert_eq!((bench.devnet.commitments_to_weights().len(), bench.devnet.ledger().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_upgrade_between_commitment_and_reveal_changes_nothing_of_the_end() {
    for config in [SetterConfig::default(), by_hash()] {
        let bench = Bench::start(committed()).await;
        let ours = setter(&bench.client, "validator", config);
        let receipt = ours.prepare(pay_both()).await.unwrap();
        let receipt = bench.until(&ours, receipt, "committed").await;
        let upgrade = RuntimeUpgrade::to(446).metadata(RuntimeMetadata::BareIntegers);
        bench.devnet.inject(Fault::Upgrade(upgrade)).unwrap();
        let (end, _) = run(&bench.devnet, &ours, receipt).await;
        assert_eq!(end.stage.name(), "read_back", "{end:?}");
        assert_eq!(bench.row(), PAID_BOTH);
    }
}

/// Over the metadata of a runtime before dynamic tempo: epochs follow from block numbers.
#[tokio::test(flavor = "multi_thread")]
async fn weights_are_committed_and_revealed_in_the_terms_of_finney() {
    let Some(path) = std::env::var_os("PRISM_FINNEY_METADATA") else {
        println!("skipped: PRISM_FINNEY_METADATA names no file");
        return;
    };
    for config in [SetterConfig::default(), by_hash()] {
        let metadata = RuntimeMetadata::Given(std::fs::read(&path).unwrap());
        let bench = Bench::start(DevnetConfig { metadata, ..committed() }).await;
        let ours = setter(&bench.client, "validator", config);
        let receipt = ours.prepare(pay_both()).await.unwrap();
        let planned = receipt.commitment.clone().unwrap();
        // (block + 2) / 21, for block 11.
        assert_eq!((planned.epoch, planned.due), (Epoch(0), Block(19)));
        let (end, stages) = run(&bench.devnet, &ours, receipt).await;
        assert_eq!(end.stage.name(), "read_back", "{end:?}");
        assert!(stages.contains(&"revealed"));
        assert_eq!(bench.row(), PAID_BOTH);
        assert_eq!((bench.devnet.commitments_to_weights().len(), bench.devnet.ledger().len()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_shows_weights_with_their_holders_and_commitments_that_wait() {
    let bench = Bench::start(committed()).await;
    let row = async || bench.client.weights_row(NETUID, MAIN, hotkey("validator")).await.unwrap().unwrap();
    assert_eq!(bench.client.weights_row(NETUID, MAIN, hotkey("stranger")).await.unwrap(), None);
    let receipt = bench.setter.prepare(pay_both()).await.unwrap();
    let receipt = bench.until(&bench.setter, receipt, "committed").await;
    let waiting = row().await;
    assert_eq!((waiting.uid, waiting.validator_permit, waiting.weights.len()), (Uid(1), true, 0));
    let [commit] = &waiting.timelocked[..] else { panic!("{waiting:?}") };
    assert_eq!((commit.block, commit.bytes), (waiting.last_update, 299));
    run(&bench.devnet, &bench.setter, receipt).await;
    let revealed = row().await;
    assert_eq!(revealed.timelocked, []);
    let weights: Vec<_> = revealed.weights.iter().map(|one| (one.uid.0, one.weight, one.hotkey.unwrap())).collect();
    assert_eq!(weights, [(0, 32768, hotkey("owner")), (2, 65535, hotkey("a")), (3, 32768, hotkey("b"))]);
    let hashing = bench.hashing();
    bench.devnet.produce_blocks(10).await;
    let receipt = hashing.prepare(intent(5, &[("a", 1.0)], 0.0)).await.unwrap();
    bench.until(&hashing, receipt, "committed").await;
    assert_eq!(row().await.hashed, 1);
}
