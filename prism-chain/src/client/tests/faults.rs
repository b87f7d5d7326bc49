//! Runtimes that change under a connection, and submissions whose answer never comes.
use super::*;
use crate::{
    devnet::{Fault, RuntimeMetadata, RuntimeUpgrade},
    extrinsic::{Call, Outcome, outcome, sign, subtensor},
    runtime::{account, subnet, tests::finney_metadata},
};

fn register(hotkey: Hotkey) -> Call {
    subtensor("burned_register", [("netuid", subnet(NETUID)), ("hotkey", account(&hotkey))])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_mid_session_is_followed_and_its_block_is_read_in_the_old_terms() {
    let devnet = devnet().await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    let coldkey = key("coldkey");
    let before = client.metagraph(NETUID, None).await.unwrap();
    let old = client.at_best().await.unwrap();
    let birth = client.finalized().await.unwrap();
    // It will fail in the very block that brings a runtime in which this error has another number.
    let signed = sign(&old, birth, 32, 0, &register(key("v").hotkey()), &coldkey).await.unwrap();
    client.send(&signed.bytes).await.unwrap();
    let upgrade =
        RuntimeUpgrade::to(430).metadata(RuntimeMetadata::BareIntegers).error_before("HotKeyAlreadyRegisteredInSubNet");
    devnet.inject(Fault::Upgrade(upgrade)).unwrap();
    devnet.produce_blocks(1).await;
    let tip = client.best().await.unwrap();
    let index = client.index_in(&signed.bytes, tip.hash).await.unwrap().unwrap();
    let at = client.at(tip).await.unwrap();
    assert_eq!((at.spec(), at.executor().await.unwrap().spec_version()), (430, 425));
    let Outcome::Failed(error) = outcome(&at, index).await.unwrap() else { panic!("it landed") };
    assert_eq!(error.name(), "SubtensorModule.HotKeyAlreadyRegisteredInSubNet");

    // And again in the new terms: bare integers, and the error by its new number.
    devnet.settle().await;
    let now = client.at_best().await.unwrap();
    let birth = client.finalized().await.unwrap();
    let signed = sign(&now, birth, 32, 1, &register(key("v").hotkey()), &coldkey).await.unwrap();
    client.send(&signed.bytes).await.unwrap();
    devnet.produce_blocks(1).await;
    let tip = client.best().await.unwrap();
    let index = client.index_in(&signed.bytes, tip.hash).await.unwrap().unwrap();
    let Outcome::Failed(again) = outcome(&client.at(tip).await.unwrap(), index).await.unwrap() else { panic!() };
    assert_eq!(again, error);

    devnet.settle().await;
    assert_eq!(client.runtime().await.unwrap().spec_version(), 430);
    let after = client.metagraph(NETUID, None).await.unwrap();
    assert_eq!(after.members, before.members);
    // Blocks from before keep their own runtime.
    assert_eq!(client.metagraph(NETUID, Some(Block(5))).await.unwrap().members, before.members);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_upgrades_leaves_few_runtimes_in_memory() {
    let devnet = devnet().await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    for spec in 426..434 {
        devnet.inject(Fault::Upgrade(RuntimeUpgrade::to(spec))).unwrap();
        devnet.produce_blocks(1).await;
        assert_eq!(client.runtime().await.unwrap().spec_version(), spec);
    }
    assert!(client.0.source.runtimes.kept().await <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_is_lost_lands_once() {
    for fault in [Fault::DropBeforeSubmit, Fault::DropAfterSubmit] {
        let devnet = devnet().await;
        let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
        let (coldkey, late) = (key("coldkey"), key("late").hotkey());
        devnet.inject(fault.clone()).unwrap();
        let register = client.burned_register(&coldkey, NETUID, late);
        let blocks = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                devnet.produce_blocks(1).await;
            }
        };
        let uid = tokio::select! { uid = register => uid.unwrap(), () = blocks => unreachable!() };
        assert_eq!(uid, Uid(2), "{fault:?}");
        assert_eq!(devnet.balance(coldkey.hotkey().0), 10_000_000_000 - 5_000_000, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_counts_calls_is_asked_again_a_little_later() {
    let devnet = devnet().await;
    let client = ChainClient::connect(quick(devnet.url())).await.unwrap();
    devnet.inject(Fault::RateLimit { calls: 1 }).unwrap();
    assert_eq!(client.best().await.unwrap().number, 5);
    devnet.inject(Fault::RateLimit { calls: 1000 }).unwrap();
    let error = client.best().await.unwrap_err();
    assert!(matches!(error, ChainError::Node { code: -32999, .. }), "{error}");
    assert_eq!(Error::from(error).kind(), Kind::Limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_in_the_live_chain_s_terms_is_read_and_written_like_any_other() {
    let Some(bytes) = finney_metadata() else { return };
    let devnet = devnet_of(|config| config.metadata = RuntimeMetadata::Given(bytes)).await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    assert_eq!(client.runtime().await.unwrap().spec_version(), 393);
    let metagraph = client.metagraph(NETUID, None).await.unwrap();
    assert_eq!(metagraph.members.len(), 2);
    assert_eq!((metagraph.members[0].hotkey, metagraph.members[0].stake), (key("v").hotkey(), 700));
    assert!(matches!(client.epochs(NETUID, None).await.unwrap(), EpochClock::ClosedForm { tempo: 20 }));
    let (coldkey, late) = (key("coldkey"), key("late").hotkey());
    let register = client.burned_register(&coldkey, NETUID, late);
    let blocks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            devnet.produce_blocks(1).await;
        }
    };
    let uid = tokio::select! { uid = register => uid.unwrap(), () = blocks => unreachable!() };
    assert_eq!(uid, Uid(2));
}
