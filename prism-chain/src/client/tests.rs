//! Connecting, reading and registering, against a development chain and against endpoints that misbehave.
use super::*;
use crate::{
    devnet::{Devnet, DevnetConfig, GenesisNeuron, SubnetConfig},
    epoch::EpochClock,
    rejection::Rejection,
    signer::Keypair,
    view::SubtensorView,
};
use async_trait::async_trait;
use jsonrpsee::server::{RpcModule, Server, ServerConfig};
use prism_core::{
    ChainView, Error, Hotkey, Kind, Netuid, Uid,
    testing::chain_view::{self, ChainViewDriver},
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};
use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

mod faults;

const NETUID: Netuid = Netuid(1);

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

fn quick(url: &str) -> ChainConfig {
    let config = ChainConfig::new(url).deadlines(Duration::from_millis(500), Duration::from_secs(3));
    ChainConfig { attempts: 2, ..config }
}

async fn devnet() -> Devnet {
    devnet_of(|_| {}).await
}

async fn devnet_of(change: impl FnOnce(&mut DevnetConfig)) -> Devnet {
    let neuron = |name: &str, stake, permit| GenesisNeuron {
        hotkey: key(name).hotkey(),
        coldkey: key("coldkey").hotkey().0,
        stake,
        permit,
    };
    let mut config = DevnetConfig {
        endowments: vec![(key("coldkey").hotkey().0, 10_000_000_000)],
        subnets: vec![SubnetConfig {
            neurons: vec![neuron("v", 700, true), neuron("m", 0, false)],
            tempo: 20,
            burn: 5_000_000,
            ..SubnetConfig::default()
        }],
        ..DevnetConfig::default()
    };
    change(&mut config);
    let devnet = Devnet::start(config).await.unwrap();
    devnet.produce_blocks(5).await;
    devnet
}

async fn failure(config: ChainConfig) -> ChainError {
    let started = Instant::now();
    let error = ChainClient::connect(config.clone()).await.unwrap_err();
    assert!(started.elapsed() < config.response + Duration::from_secs(2), "no end in time: {error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metagraph_and_its_rules_are_read_at_one_block() {
    let devnet = devnet().await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    for n in 0..40 {
        devnet.register(NETUID, Hotkey([n + 1; 32]), [9; 32]).unwrap();
    }
    devnet.settle().await;
    let metagraph = client.metagraph(NETUID, None).await.unwrap();
    assert_eq!(metagraph.members.len(), 42);
    let (v, m) = (&metagraph.members[0], &metagraph.members[1]);
    assert_eq!((v.uid, v.hotkey, v.validator_permit, v.stake), (Uid(0), key("v").hotkey(), true, 700));
    assert_eq!((m.uid, m.hotkey, m.validator_permit, m.stake), (Uid(1), key("m").hotkey(), false, 0));
    assert_eq!(metagraph.members[41].hotkey, Hotkey([40; 32]));
    assert_eq!(metagraph.members[41].last_update, Block(6));
    let before = client.metagraph(NETUID, Some(Block(5))).await.unwrap();
    assert_eq!(before.members.len(), 2);
    let rules = client.hyperparameters(NETUID, None).await.unwrap();
    assert_eq!((rules.tempo, rules.weights_rate_limit, rules.neurons, rules.burn), (20, 100, 42, 5_000_000));
    assert_eq!((rules.commit_reveal, rules.reveal_period, rules.commit_reveal_version), (false, 1, Some(4)));
    let EpochClock::Stateful(schedule) = client.epochs(NETUID, None).await.unwrap() else { panic!("closed form") };
    assert_eq!((schedule.tempo, schedule.last_epoch_block, schedule.next_epoch_block()), (20, 0, Some(Block(20))));
    assert_eq!(client.block_time().await.unwrap(), Duration::from_secs(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotkey_registers_and_the_coldkey_pays() {
    let devnet = devnet().await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    let (coldkey, late) = (key("coldkey"), key("late").hotkey());
    assert_eq!(client.uid_of(NETUID, late).await.unwrap(), None);
    let register = client.burned_register(&coldkey, NETUID, late);
    let blocks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            devnet.produce_blocks(1).await;
        }
    };
    let uid = tokio::select! { uid = register => uid.unwrap(), () = blocks => unreachable!() };
    assert_eq!(uid, Uid(2));
    assert_eq!(client.uid_of(NETUID, late).await.unwrap(), Some(Uid(2)));
    assert_eq!(client.balance(coldkey.hotkey()).await.unwrap(), 10_000_000_000 - 5_000_000);
    assert_eq!(client.registration_price(NETUID).await.unwrap(), 5_000_000);

    let again = client.burned_register(&coldkey, NETUID, late);
    let blocks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            devnet.produce_blocks(1).await;
        }
    };
    let error = tokio::select! { uid = again => uid.unwrap_err(), () = blocks => unreachable!() };
    let ChainError::Dispatch { error: name, .. } = &error else { panic!("{error}") };
    assert_eq!(name.name(), "SubtensorModule.HotKeyAlreadyRegisteredInSubNet");
    assert_eq!(name.advice(), Some("nothing: the hotkey is registered"));
    assert_eq!(Error::from(error).kind(), Kind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_shows_heads_hashes_epochs_and_neurons() {
    let devnet = devnet().await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    let view = SubtensorView::new(client);
    let head = view.head().await.unwrap();
    assert_eq!((head.block, head.hash, head.finalized), (Block(5), devnet.head().1, Block(3)));
    assert_eq!(view.finalized_hash(Block(2)).await.unwrap(), devnet.block_hash(2).unwrap());
    for early in [4, 5, 6] {
        assert_eq!(view.finalized_hash(Block(early)).await.unwrap_err().kind(), Kind::NotFound);
    }
    assert_eq!(view.neurons(NETUID, Block(99)).await.unwrap_err().kind(), Kind::NotFound);
    let neurons = view.neurons(NETUID, Block(3)).await.unwrap();
    assert_eq!(
        neurons.iter().map(|n| (n.uid, n.hotkey)).collect::<Vec<_>>(),
        [(Uid(0), key("v").hotkey()), (Uid(1), key("m").hotkey())]
    );
    devnet.produce_blocks(60).await;
    let mut epochs = Vec::new();
    for block in 1..=65 {
        epochs.push(view.epoch_at(NETUID, Block(block)).await.unwrap().0);
    }
    assert!(epochs.is_sorted());
    assert_eq!((epochs[18], epochs[19], epochs[64]), (0, 1, 3));
}

struct ViewDriver {
    devnet: Devnet,
    view: SubtensorView,
}

#[async_trait]
impl ChainViewDriver for ViewDriver {
    fn view(&self) -> &dyn ChainView {
        &self.view
    }
    fn netuid(&self) -> Netuid {
        NETUID
    }
    async fn next_block(&mut self) -> prism_core::Result<()> {
        self.devnet.produce_blocks(1).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_keeps_its_contract() {
    let fresh = async || {
        let devnet = devnet().await;
        let view = SubtensorView::new(ChainClient::connect(ChainConfig::new(devnet.url())).await?);
        Ok(ViewDriver { devnet, view })
    };
    chain_view::run(fresh).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_no_chain_give_typed_errors_in_time() {
    for bad in ["http://127.0.0.1:1", "nonsense", ""] {
        assert!(matches!(failure(quick(bad)).await, ChainError::Endpoint { .. }), "{bad}");
    }
    let none = ChainConfig { endpoints: vec![], ..quick("") };
    assert!(matches!(failure(none).await, ChainError::NoEndpoint));

    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = failure(quick(&format!("ws://{free}"))).await;
    assert!(matches!(&error, ChainError::Connect { url, .. } if url.contains(&free.to_string())), "{error}");
    assert_eq!(Error::from(error).kind(), Kind::Unavailable);

    // Somebody listens and says nothing, or garbage.
    for words in [None, Some(b"\x00\xff garbage\r\n\r\n garbage".as_slice())] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                if let Some(words) = words {
                    let _ = socket.write_all(words).await;
                }
                open.push(socket);
            }
        });
        let error = failure(quick(&url)).await;
        assert!(matches!(error, ChainError::Connect { .. } | ChainError::Deadline { .. }), "{error}");
    }
}

/// A server of JSON-RPC that answers every call of a reader with the given JSON.
async fn liar(genesis: &'static str, rest: &'static str) -> (String, jsonrpsee::server::ServerHandle) {
    let server = Server::builder().build("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let mut module = RpcModule::new(());
    module
        .register_method("chain_getBlockHash", move |_, (), _| {
            serde_json::from_str::<serde_json::Value>(genesis).unwrap()
        })
        .unwrap();
    for method in ["chain_getHeader", "chain_getFinalizedHead", "state_call", "state_getStorage", "chain_getBlock"] {
        module
            .register_method(method, move |_, (), _| serde_json::from_str::<serde_json::Value>(rest).unwrap())
            .unwrap();
    }
    (url, server.start(module))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_answers_are_named_by_their_call() {
    let (url, _server) = liar("17", "17").await;
    assert!(matches!(failure(quick(&url)).await, ChainError::Connect { .. }));
    let genesis = "\"0x0000000000000000000000000000000000000000000000000000000000000000\"";
    for rest in ["17", "\"0x\"", "null", "{\"number\": \"0xzz\"}", "[]"] {
        let (url, _server) = liar(genesis, rest).await;
        let client = ChainClient::connect(quick(&url)).await.unwrap();
        let error = client.hyperparameters(NETUID, None).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ChainError::Answer { .. } | ChainError::UnknownBlock(_)), "{rest}: {text}");
        assert!(client.best().await.is_err());
    }
    // The header is well-formed; the runtime's version isn't.
    let header = "{\"parentHash\":\"0x0000000000000000000000000000000000000000000000000000000000000000\",\
                  \"number\":\"0x5\",\
                  \"stateRoot\":\"0x0000000000000000000000000000000000000000000000000000000000000000\",\
                  \"extrinsicsRoot\":\"0x0000000000000000000000000000000000000000000000000000000000000000\",\
                  \"digest\":{\"logs\":[]}}";
    let (url, _server) = liar(genesis, header).await;
    let client = ChainClient::connect(quick(&url)).await.unwrap();
    assert_eq!(client.best().await.unwrap().number, 5);
    let error = client.at_best().await.unwrap_err();
    assert!(matches!(&error, ChainError::Answer { call, .. } if call == "Core_version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_another_chain_is_refused_and_the_next_endpoint_is_tried() {
    let devnet = devnet().await;
    let other =
        Devnet::start(DevnetConfig { endowments: vec![([7; 32], 1)], ..DevnetConfig::default() }).await.unwrap();
    let client = ChainClient::connect(quick(devnet.url())).await.unwrap();
    let genesis = client.genesis();
    assert_eq!(genesis, devnet.block_hash(0).unwrap());
    let error = failure(quick(other.url()).genesis(genesis)).await;
    let ChainError::WrongChain { found, expected, .. } = &error else { panic!("{error}") };
    assert_eq!(*expected, format!("0x{}", hex::encode(genesis)));
    assert_ne!(found, expected);
    assert_eq!(Error::from(error).kind(), Kind::Refused);
    let both = quick(other.url()).fallbacks([devnet.url().to_owned()]).genesis(genesis);
    let client = ChainClient::connect(both).await.unwrap();
    assert_eq!(client.best().await.unwrap().number, 5);
}

/// A relay whose connections can be cut, or made to swallow everything.
struct Relay {
    url: String,
    mode: watch::Sender<Mode>,
    /// Connections that copy no more.
    ended: watch::Receiver<usize>,
}

impl Relay {
    /// Changes the mode of a relay with one open connection, and waits until that copies no more.
    async fn end(&mut self, mode: Mode) {
        let before = *self.ended.borrow();
        self.mode.send(mode).unwrap();
        self.ended.wait_for(|ended| *ended > before).await.unwrap();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    Silent,
}

/// Until the mode is another than this.
async fn changed(seen: &mut watch::Receiver<Mode>, from: Mode) {
    let _ = seen.wait_for(|mode| *mode != from).await;
}

async fn relay(to: &str) -> Relay {
    let to = to.trim_start_matches("ws://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (mode, seen) = watch::channel(Mode::Open);
    let (end, ended) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (to, mut seen, end) = (to.clone(), seen.clone(), end.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                if *seen.borrow_and_update() == Mode::Cut {
                    return;
                }
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = changed(&mut seen, Mode::Open) => {
                        end.send_modify(|ended| *ended += 1);
                        changed(&mut seen, Mode::Silent).await;
                    }
                }
            });
        }
    });
    Relay { url, mode, ended }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_mended_under_a_read() {
    let devnet = devnet().await;
    let mut relay = relay(devnet.url()).await;
    let client = ChainClient::connect(quick(&relay.url)).await.unwrap();
    assert_eq!(client.metagraph(NETUID, None).await.unwrap().members.len(), 2);
    for _ in 0..3 {
        relay.end(Mode::Cut).await;
        relay.mode.send(Mode::Open).unwrap();
        assert_eq!(client.metagraph(NETUID, None).await.unwrap().members.len(), 2);
    }
    relay.end(Mode::Cut).await;
    let error = client.best().await.unwrap_err();
    assert!(matches!(error, ChainError::Connect { .. } | ChainError::Broken { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_ends_in_a_deadline_and_is_replaced() {
    let devnet = devnet().await;
    let mut relay = relay(devnet.url()).await;
    let config = ChainConfig::new(&relay.url).deadlines(Duration::from_millis(500), Duration::from_millis(700));
    let client = ChainClient::connect(config).await.unwrap();
    assert_eq!(client.best().await.unwrap().number, 5);
    relay.end(Mode::Silent).await;
    let error = client.best().await.unwrap_err();
    assert!(matches!(&error, ChainError::Deadline { call, .. } if call == "chain_getHeader"), "{error}");
    assert_eq!(Error::from(error).kind(), Kind::Deadline);
    relay.mode.send(Mode::Open).unwrap();
    assert_eq!(client.best().await.unwrap().number, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_have_the_chain_s_bytes_and_what_a_runtime_lacks_is_named() {
    let devnet = devnet().await;
    let client = ChainClient::connect(quick(devnet.url())).await.unwrap();
    let at = client.at_best().await.unwrap();
    let missing = at.get::<u8>(crate::runtime::Entry::subtensor("Nonsense"), vec![]).await.unwrap_err();
    assert_eq!(missing.to_string(), "runtime at spec 425 has no storage entry SubtensorModule.Nonsense");
    let missing = at.constant::<u64>("Aura", "Nonsense").unwrap_err();
    assert_eq!(missing.to_string(), "runtime at spec 425 has no constant Aura.Nonsense");
    let wrong =
        at.get::<Vec<bool>>(crate::runtime::Entry::subtensor("Tempo"), vec![crate::runtime::subnet(NETUID)]).await;
    let wrong = wrong.unwrap_err();
    assert!(matches!(&wrong, ChainError::Decode { field, .. } if field == "SubtensorModule.Tempo"), "{wrong}");
    let short = at.get::<u16>(crate::runtime::Entry::subtensor("Tempo"), vec![]).await.unwrap_err();
    assert!(matches!(short, ChainError::Encode { .. }), "{short}");
    let (uids, weights) = ([0_u16, 1], [65535_u16, 32768]);
    let list = |values: [u16; 2]| subxt::dynamic::Value::unnamed_composite(values.map(crate::runtime::number));
    let arguments = [
        ("netuid", crate::runtime::subnet(Netuid(37))),
        ("dests", list(uids)),
        ("weights", list(weights)),
        ("version_key", crate::runtime::number(7_u64)),
    ];
    let call = crate::extrinsic::subtensor("set_weights", arguments);
    let bytes = at.runtime.client().transactions().call_data(&call).unwrap();
    // Made by the official SDK for the runtime at spec 393.
    assert_eq!(hex::encode(bytes), "07002500080000010008ffff00800700000000000000");
    let call = crate::extrinsic::subtensor("fly", []);
    let birth = client.finalized().await.unwrap();
    let error = crate::extrinsic::sign(&at, birth, 64, 0, &call, &key("v")).await.unwrap_err();
    assert_eq!(error.to_string(), "runtime at spec 425 has no call SubtensorModule.fly");
}

#[tokio::test(flavor = "multi_thread")]
async fn subxt_s_own_client_works_over_the_same_connection() {
    let devnet = devnet().await;
    let client = ChainClient::connect(quick(devnet.url())).await.unwrap();
    let online = client.subxt().await.unwrap();
    assert_eq!(online.at_current_block().await.unwrap().block_number(), 3);
}

/// A server that knows which chain it is on, and answers everything else in the given way.
async fn server(genesis: [u8; 32], rest: Manner) -> (String, jsonrpsee::server::ServerHandle, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let large = ServerConfig::builder().max_response_body_size(64 << 20).build();
    let server = Server::builder().set_config(large).build("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let mut module = RpcModule::new(Arc::clone(&asked));
    let hash = format!("0x{}", hex::encode(genesis));
    module.register_method("chain_getBlockHash", move |_, _, _| hash.clone()).unwrap();
    for method in ["chain_getHeader", "chain_getFinalizedHead", "state_call", "author_submitExtrinsic"] {
        module
            .register_async_method(method, move |_, asked, _| async move {
                asked.fetch_add(1, Ordering::SeqCst);
                match rest {
                    Manner::Deaf => std::future::pending().await,
                    Manner::Endless => "a".repeat(20 << 20),
                }
            })
            .unwrap();
    }
    (url, server.start(module), asked)
}

#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Takes calls and never answers.
    Deaf,
    /// Answers with more than is taken.
    Endless,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_one_endpoint_spoils_is_answered_by_the_next() {
    let devnet = devnet().await;
    let genesis = devnet.block_hash(0).unwrap();
    for manner in [Manner::Deaf, Manner::Endless] {
        let (url, _server, asked) = server(genesis, manner).await;
        let client = ChainClient::connect(quick(&url).fallbacks([devnet.url().to_owned()])).await.unwrap();
        assert_eq!(client.best().await.unwrap().number, 5, "{manner:?}");
        assert_eq!(client.metagraph(NETUID, None).await.unwrap().members.len(), 2);
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{manner:?}");

        let alone = ChainClient::connect(quick(&url)).await.unwrap();
        let error = alone.best().await.unwrap_err();
        assert!(
            matches!(&error, ChainError::Deadline { call, .. } | ChainError::Broken { call, .. } if call == "chain_getHeader"),
            "{manner:?}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_handed_over_once_whatever_becomes_of_it() {
    let devnet = devnet().await;
    let (url, _server, asked) = server(devnet.block_hash(0).unwrap(), Manner::Deaf).await;
    let client = ChainClient::connect(quick(&url).fallbacks([devnet.url().to_owned()])).await.unwrap();
    let error = client.send(&[4, 0]).await.unwrap_err();
    assert!(matches!(&error, ChainError::Deadline { call, .. } if call == "author_submitExtrinsic"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The next one goes to the next endpoint.
    let error = client.send(&[4, 0]).await.unwrap_err();
    assert!(matches!(&error, ChainError::Rejected(Rejection::Other { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_chain_stands_still_is_left_for_the_next() {
    // Two nodes of one chain: the same genesis, and one of them behind.
    let (stuck, ahead) = (devnet().await, devnet().await);
    ahead.produce_blocks(4).await;
    let config = ChainConfig { stall: Duration::from_millis(1), ..quick(stuck.url()) };
    let client = ChainClient::connect(config.fallbacks([ahead.url().to_owned()])).await.unwrap();
    let mut seen = client.best().await.unwrap().number;
    assert_eq!(seen, 5);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen = seen.max(client.best().await.unwrap().number);
    }
    assert_eq!(seen, 9);
    // With one endpoint there is nothing to be gained.
    let config = ChainConfig { stall: Duration::from_millis(1), ..quick(stuck.url()) };
    let alone = ChainClient::connect(config).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(alone.best().await.unwrap().number, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_account_go_one_after_the_other_and_all_of_them_land() {
    let devnet = devnet().await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    let coldkey = key("coldkey");
    let hotkeys = [Hotkey([1; 32]), Hotkey([2; 32]), Hotkey([3; 32])];
    let all = futures::future::join_all(hotkeys.map(|hotkey| client.burned_register(&coldkey, NETUID, hotkey)));
    // Another program with the same key takes the first nonce away.
    let thief = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    let theft = thief.burned_register(&coldkey, NETUID, Hotkey([4; 32]));
    let blocks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            devnet.produce_blocks(1).await;
        }
    };
    let work = async { tokio::join!(all, theft) };
    let (ours, theirs) = tokio::select! { all = work => all, () = blocks => unreachable!() };
    let mut uids: Vec<u16> = ours.into_iter().map(|uid| uid.unwrap().0).chain([theirs.unwrap().0]).collect();
    uids.sort_unstable();
    assert_eq!(uids, [2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_that_is_not_there_has_no_metagraph() {
    let devnet = devnet().await;
    let client = ChainClient::connect(quick(devnet.url())).await.unwrap();
    let error = client.metagraph(Netuid(77), None).await.unwrap_err();
    assert_eq!(error.to_string(), "subnet 77 is not set");
    let stored = client.at_best().await.unwrap().stored_metagraph(NETUID).await.unwrap();
    let (v, m) = (&stored.members[0], &stored.members[1]);
    assert_eq!((v.coldkey, v.alpha, v.tao, v.stake, v.registered), (key("coldkey").hotkey(), 700, 0, 700, Block(0)));
    assert_eq!((m.incentive, m.emission, m.axon.as_ref()), (0, 0, None));
    let error = client.fee(&[0; 4]).await.unwrap_err();
    assert!(matches!(error, ChainError::Missing { .. } | ChainError::Node { .. }), "{error}");
}
