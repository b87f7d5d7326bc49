//! What goes wrong on request, as an unchanged client sees it.

use super::*;

async fn next_status(
    progress: &mut subxt::tx::TransactionProgress<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>,
) -> String {
    let status = tokio::time::timeout(Duration::from_secs(20), progress.next()).await.unwrap();
    match status.unwrap().unwrap() {
        TransactionStatus::InBestBlock(_) => "in block".to_owned(),
        TransactionStatus::InFinalizedBlock(_) => "final".to_owned(),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned(),
    }
}

/// Whether a new connection gets an answer within half a second.
async fn answers(bench: &Bench) -> bool {
    let ask = async {
        let rpc = RpcClient::from_insecure_url(bench.devnet.url()).await.ok()?;
        rpc.request::<String>("system_chain", rpc_params![]).await.ok()
    };
    tokio::time::timeout(Duration::from_millis(500), ask).await.is_ok_and(|answer| answer.is_some())
}

async fn submit(bench: &Bench, transaction: &Transaction) -> bool {
    transaction.submit().await.is_ok() || {
        // The connection is gone: the next call needs another one.
        assert!(bench.rpc.request::<String>("system_chain", rpc_params![]).await.is_err());
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_lost_before_the_pool_or_its_answer_after_it() {
    for (fault, arrives) in [(Fault::DropBeforeSubmit, false), (Fault::DropAfterSubmit, true)] {
        let bench = Bench::start(with_neurons()).await;
        let transaction = bench.sign(&Key::new("validator"), &set_weights(&[1], &[1]), Params::new()).await;
        bench.devnet.inject(fault).unwrap();
        assert!(!submit(&bench, &transaction).await, "no answer comes");
        assert!(answers(&bench).await, "new connections work");
        bench.devnet.produce_blocks(1).await;
        assert_eq!(bench.devnet.ledger().len(), usize::from(arrives));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_dead_node_accepts_and_says_nothing_until_it_is_mended() {
    let bench = Bench::start(with_neurons()).await;
    bench.devnet.inject(Fault::HalfDead).unwrap();
    assert!(!answers(&bench).await);
    bench.devnet.mend();
    assert!(answers(&bench).await);
    bench.devnet.inject(Fault::RateLimit { calls: 1 }).unwrap();
    let rpc = RpcClient::from_insecure_url(bench.devnet.url()).await.unwrap();
    let refused = rpc.request::<String>("system_chain", rpc_params![]).await.unwrap_err();
    assert!(refused.to_string().contains("RPC rate limit exceeded"), "{refused}");
    assert!(rpc.request::<String>("system_chain", rpc_params![]).await.is_ok());
    bench.devnet.inject(Fault::Drop).unwrap();
    assert!(rpc.request::<String>("system_chain", rpc_params![]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_block_gives_its_transactions_back_and_its_weights_away() {
    let bench = Bench::start(with_neurons()).await;
    bench.devnet.produce_blocks(10).await;
    let transaction = bench.sign(&Key::new("validator"), &set_weights(&[1], &[1]), Params::new()).await;
    let mut progress = transaction.submit_and_watch().await.unwrap();
    bench.devnet.produce_blocks(1).await;
    let (number, hash) = bench.devnet.head();
    assert_eq!(bench.devnet.ledger().len(), 1);
    bench.devnet.inject(Fault::Reorg { blocks: 1 }).unwrap();
    assert_eq!(bench.devnet.head().0, number, "the branch is as long");
    assert_ne!(bench.devnet.head().1, hash);
    assert_eq!((bench.devnet.ledger(), bench.devnet.weights(NETUID, MAIN, Uid(0))), (vec![], vec![]));
    let at = bench.rpc.request::<Option<serde_json::Value>>("chain_getHeader", rpc_params![block::hex(hash)]).await;
    assert_eq!(at.unwrap(), None);
    bench.devnet.settle().await;
    assert_eq!(bench.devnet.ledger().first().unwrap().block, Block(number + 1));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "final") {
        seen.push(next_status(&mut progress).await);
    }
    assert_eq!(seen.iter().filter(|status| *status == "in block").count(), 2, "{seen:?}");
    // Final blocks stay.
    let finalized = bench.devnet.finalized();
    bench.devnet.inject(Fault::Reorg { blocks: 100 }).unwrap();
    assert_eq!(bench.devnet.block_hash(finalized.0), Some(finalized.1));
    // Both branches are followed by hash from genesis on.
    bench.devnet.settle().await;
    let mut finalized = bench.api.stream_blocks().await.unwrap();
    assert_eq!(finalized.next().await.unwrap().unwrap().number(), bench.devnet.finalized().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_stands_still_and_catches_up() {
    let bench = Bench::start(with_neurons()).await;
    bench.devnet.produce_blocks(10).await;
    bench.devnet.inject(Fault::FinalityStall).unwrap();
    bench.devnet.produce_blocks(50).await;
    assert_eq!((bench.devnet.head().0, bench.devnet.finalized().0), (60, 8));
    bench.devnet.inject(Fault::Reorg { blocks: 40 }).unwrap();
    assert_eq!(bench.devnet.head().0, 60);
    bench.devnet.mend();
    assert_eq!(bench.devnet.finalized().0, 58);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_forgot_takes_the_same_bytes_again() {
    let bench = Bench::start(with_neurons()).await;
    let transaction = bench.sign(&Key::new("validator"), &set_weights(&[1], &[1]), Params::new()).await;
    transaction.submit().await.unwrap();
    bench.devnet.inject(Fault::PoolLoss).unwrap();
    bench.devnet.produce_blocks(1).await;
    assert!(bench.devnet.ledger().is_empty());
    transaction.submit().await.unwrap();
    bench.devnet.produce_blocks(1).await;
    assert_eq!(bench.devnet.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_voids_what_was_signed_before_and_renames_nothing() {
    let mut config = with_neurons();
    config.metadata = RuntimeMetadata::BareIntegers;
    config.spec_version = 428;
    let bench = Bench::start(config).await;
    let (validator, miner) = (Key::new("validator"), Key::new("miner1"));
    let fails = async |key: &Key, call: Call| bench.run(key, &call).await.unwrap_err();
    assert!(fails(&miner, set_weights(&[0], &[1])).await.contains("NeuronNoValidatorPermit"));
    let index = async || -> u8 {
        let at = bench.api.at_current_block().await.unwrap();
        let metadata = at.metadata();
        let pallet = metadata.pallet_by_name("SubtensorModule").unwrap();
        let errors = pallet.error_variants().unwrap();
        errors.iter().find(|error| error.name == "NeuronNoValidatorPermit").unwrap().index
    };
    let before = index().await;
    let old = bench.sign(&validator, &set_weights(&[1], &[1]), Params::new()).await;
    let mut progress = old.submit_and_watch().await.unwrap();
    bench.devnet.inject(Fault::PoolLoss).unwrap();
    let upgrade = RuntimeUpgrade::to(429).error_before("NeuronNoValidatorPermit");
    bench.devnet.inject(Fault::Upgrade(upgrade)).unwrap();
    bench.devnet.produce_blocks(1).await;
    assert_eq!(bench.devnet.spec_version(), 429);
    let (code, _, reason) = bench.refused(old.encoded()).await;
    assert_eq!((code, reason.as_str()), (1010, "Transaction has a bad signature"));
    bench.devnet.settle().await;
    drop(progress.next());
    assert_eq!(index().await, before + 1);
    assert!(fails(&miner, set_weights(&[0], &[1])).await.contains("NeuronNoValidatorPermit"));
    let events = bench.run(&validator, &set_weights(&[1, 2], &[1, 2])).await.unwrap();
    assert_eq!(events, ["SubtensorModule.WeightsSet", "System.ExtrinsicSuccess"]);
    // Blocks of before are still read in their own terms.
    let at = bench.api.at_block(1_u64).await.unwrap();
    assert_eq!(at.spec_version(), 428);
    assert!(at.events().fetch().await.unwrap().iter().all(|event| event.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_over_an_upgrade_is_dropped_as_invalid() {
    let bench = Bench::start(with_neurons()).await;
    let transaction = bench.sign(&Key::new("Alice"), &remark(), Params::new().nonce(1)).await;
    let mut progress = transaction.submit_and_watch().await.unwrap();
    bench.devnet.inject(Fault::Upgrade(RuntimeUpgrade::to(426))).unwrap();
    bench.devnet.produce_blocks(2).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "Invalid") {
        seen.push(next_status(&mut progress).await);
    }
}
