//! Commitments by an unchanged client.

use super::*;

fn set_commitment(fields: Vec<Value>) -> Call {
    let info = Value::named_composite([("fields", Value::unnamed_composite(fields))]);
    dynamic::tx("Commitments", "set_commitment", vec![number(1), info])
}

fn entry(name: &str) -> subxt::storage::DynamicAddress<Vec<Value>, Value> {
    dynamic::storage("Commitments", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_is_written_replaced_and_revealed() {
    let bench = Bench::start(with_neurons()).await;
    let miner = Key::new("miner1");
    let raw = Value::unnamed_variant("Raw5", [Value::from_bytes(b"hello")]);
    let events = bench.run(&miner, &set_commitment(vec![raw])).await.unwrap();
    assert_eq!(events, ["Commitments.Commitment", "System.ExtrinsicSuccess"]);
    let at = bench.api.at_current_block().await.unwrap();
    let stored = at.storage().fetch(entry("CommitmentOf"), vec![number(1), miner.value()]).await.unwrap();
    assert_eq!(hex::encode(stored.bytes()), "00000000000000000100000004".to_owned() + "0668656c6c6f");

    let round = bench.devnet.newest_round() + 10;
    let sealed = bench.devnet.beacon().encrypt(round, b"secret", &mut rand::thread_rng()).unwrap().to_bytes();
    let fields = [("encrypted", Value::from_bytes(&sealed)), ("reveal_round", number(round))];
    let locked = Value::named_variant("TimelockEncrypted", fields);
    let events = bench.run(&miner, &set_commitment(vec![locked])).await.unwrap();
    assert_eq!(events, ["Commitments.TimelockCommitment", "System.ExtrinsicSuccess"]);
    bench.devnet.produce_blocks(5).await;
    bench.devnet.settle().await;
    let at = bench.api.at_current_block().await.unwrap();
    let key = || vec![number(1), miner.value()];
    let revealed = at.storage().fetch(entry("RevealedCommitments"), key()).await.unwrap();
    let revealed: Vec<(Vec<u8>, u64)> = revealed.decode_as().unwrap();
    assert_eq!(revealed[0].0, b"secret");
    assert!(at.storage().try_fetch(entry("CommitmentOf"), key()).await.unwrap().is_none());

    let refused = bench.run(&Key::new("stranger"), &set_commitment(vec![])).await.unwrap_err();
    assert!(refused.contains("AccountNotAllowedCommit"), "{refused}");
}
