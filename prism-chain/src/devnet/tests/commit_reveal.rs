//! Weights that are committed first, by an unchanged client.

use codec::Encode as _;
use subxt::dynamic;

use super::*;

/// Commit-reveal on, tempo 20, one mechanism.
fn config() -> DevnetConfig {
    let mut config = with_neurons();
    config.subnets[0].commit_reveal = true;
    config.subnets[0].tempo = 20;
    config
}

pub(super) fn commit(sealed: &[u8], round: u64) -> Call {
    let fields = vec![number(1), number(0), Value::from_bytes(sealed), number(round), number(4)];
    dynamic::tx("SubtensorModule", "commit_timelocked_mechanism_weights", fields)
}

pub(super) fn sealed(bench: &Bench, key: &Key, round: u64, uids: &[u16], values: &[u16]) -> Vec<u8> {
    let payload = (key.bytes().to_vec(), uids.to_vec(), values.to_vec(), 0_u64).encode();
    bench.devnet.beacon().encrypt(round, &payload, &mut rand::thread_rng()).unwrap().to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn timelocked_weights_land_when_their_round_is_out_in_their_epoch() {
    let bench = Bench::start(config()).await;
    let validator = Key::new("validator");
    let refused = bench.run(&validator, &set_weights(&[1], &[1])).await.unwrap_err();
    assert!(refused.contains("CommitRevealEnabled"), "{refused}");

    bench.devnet.produce_blocks(5).await;
    // The first block of the next epoch is 20; three blocks later, at 12 s each.
    let now = 1_767_225_600 + bench.devnet.head().0 * 12;
    let round = bench.devnet.beacon().opening_round(now + (23 - bench.devnet.head().0) * 12);
    let events = bench.run(&validator, &commit(&sealed(&bench, &validator, round, &[1, 2], &[30, 60]), round)).await;
    assert_eq!(events.unwrap(), ["SubtensorModule.TimelockedWeightsCommitted", "System.ExtrinsicSuccess"]);
    let committed = bench.devnet.commitments_to_weights();
    assert_eq!((committed.len(), committed[0].round, committed[0].extrinsic), (1, Some(round), 1));

    while bench.devnet.ledger().is_empty() {
        bench.devnet.produce_blocks(1).await;
        assert!(bench.devnet.head().0 < 40, "not opened in its epoch");
    }
    let ledger = bench.devnet.ledger();
    assert_eq!(ledger[0].committed, Some(committed[0].block));
    assert!((20..30).contains(&ledger[0].block.0), "{ledger:?}");
    assert_eq!(bench.devnet.weights(NETUID, MAIN, Uid(0)), [(1, 32_768), (2, 65_535)]);
    bench.devnet.settle().await;
    let at = bench.api.at_block(ledger[0].block.0).await.unwrap();
    let events = at.events().fetch().await.unwrap();
    let names: Vec<_> = events.iter().map(|event| event.unwrap().event_name().to_owned()).collect();
    assert!(names.contains(&"TimelockedWeightsRevealed".to_owned()), "{names:?}");
    // What clients read to encrypt, and to know what is out.
    let drand = |name| dynamic::storage::<Vec<Value>, Value>("Drand", name);
    let at = bench.api.at_current_block().await.unwrap();
    let last: u64 = at.storage().fetch(drand("LastStoredRound"), vec![]).await.unwrap().decode_as().unwrap();
    assert!(last >= round && last <= bench.devnet.newest_round());
    #[derive(subxt::ext::scale_decode::DecodeAsType)]
    #[decode_as_type(crate_path = "subxt::ext::scale_decode")]
    struct Config {
        public_key: Vec<u8>,
        period: u32,
        genesis_time: u32,
    }
    let config: Config = at.storage().fetch(drand("BeaconConfig"), vec![]).await.unwrap().decode_as().unwrap();
    let beacon = bench.devnet.beacon();
    assert_eq!(config.public_key, beacon.public_key);
    assert_eq!((u64::from(config.period), u64::from(config.genesis_time)), (beacon.period, beacon.genesis_unix));
    #[derive(subxt::ext::scale_decode::DecodeAsType)]
    #[decode_as_type(crate_path = "subxt::ext::scale_decode")]
    struct Pulse {
        round: u64,
        signature: Vec<u8>,
    }
    let pulse = at.storage().fetch(drand("Pulses"), vec![number(round)]).await.unwrap();
    let pulse: Pulse = pulse.decode_as().unwrap();
    assert_eq!((pulse.round, pulse.signature.len()), (round, 48));
    assert!(at.storage().try_fetch(drand("Pulses"), vec![number(last + 1)]).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_refuses_a_round_that_is_out_and_a_reveal_of_nothing() {
    let bench = Bench::start(config()).await;
    let validator = Key::new("validator");
    bench.devnet.produce_blocks(10).await;
    let old = bench.devnet.newest_round() - 1;
    let call = commit(&sealed(&bench, &validator, old, &[1], &[1]), old);
    let late = bench.sign(&validator, &call, Params::new()).await;
    let invalid = |code: u8| (1010, "Invalid Transaction".to_owned(), format!("Custom error: {code}"));
    assert_eq!(bench.refused(late.encoded()).await, invalid(15));

    let reveal = |salt: &[u16]| -> Call {
        let fields = vec![number(1), numbers(&[1]), numbers(&[1]), numbers(salt), number(0)];
        dynamic::tx("SubtensorModule", "reveal_weights", fields)
    };
    let nothing = bench.sign(&validator, &reveal(&[1]), Params::new()).await;
    assert_eq!(bench.refused(nothing.encoded()).await, invalid(16));
    let preimage = (validator.bytes(), 1_u16, vec![1_u16], vec![1_u16], vec![1_u16], 0_u64).encode();
    let hash = Value::from_bytes(sp_crypto_hashing::blake2_256(&preimage));
    let call: Call = dynamic::tx("SubtensorModule", "commit_weights", vec![number(1), hash]);
    let events = bench.run(&validator, &call).await.unwrap();
    assert_eq!(events, ["SubtensorModule.WeightsCommitted", "System.ExtrinsicSuccess"]);
    let early = bench.sign(&validator, &reveal(&[1]), Params::new()).await;
    assert_eq!(bench.refused(early.encoded()).await, invalid(17));
    let again = bench.sign(&validator, &call, Params::new()).await;
    assert_eq!(bench.refused(again.encoded()).await, invalid(6), "the rate limit holds for hashes in the pool");
    while bench.devnet.head().0 < 22 {
        bench.devnet.produce_blocks(1).await;
    }
    let events = bench.run(&validator, &reveal(&[1])).await.unwrap();
    assert_eq!(events, ["SubtensorModule.WeightsSet", "SubtensorModule.WeightsRevealed", "System.ExtrinsicSuccess"]);
    assert_eq!(bench.devnet.weights(NETUID, MAIN, Uid(0)), [(1, 65_535)]);
    assert_eq!(bench.devnet.ledger()[0].committed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_over_the_limit_is_no_extrinsic_at_all() {
    let bench = Bench::start(config()).await;
    let long = bench.sign(&Key::new("validator"), &commit(&[0; 5001], u64::MAX), Params::new()).await;
    assert_eq!(bench.refused(long.encoded()).await.0, 1002);
}
