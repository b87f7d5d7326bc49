//! Whole paths through subxt, as an unchanged client takes them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use prism_core::{Block, Hotkey, MechanismId, Netuid, Uid};
use sp_core::{Pair, sr25519};
use subxt::OnlineClient;
use subxt::backend::LegacyBackend;
use subxt::client::OnlineClientAtBlockImpl;
use subxt::config::DefaultExtrinsicParamsBuilder as Params;
use subxt::config::substrate::{AccountId32, MultiSignature, SubstrateConfig};
use subxt::dynamic::{self, Value};
use subxt::rpcs::client::{RpcClient, rpc_params};
use subxt::tx::{Signer, SubmittableTransaction, TransactionStatus};

use super::*;

const NETUID: Netuid = Netuid(1);
const MAIN: MechanismId = MechanismId(0);

/// A key that signs.
#[derive(Clone)]
struct Key(sr25519::Pair);

impl Key {
    fn new(name: &str) -> Self {
        Self(sr25519::Pair::from_string(&format!("//{name}"), None).unwrap())
    }
    fn bytes(&self) -> [u8; 32] {
        self.0.public().0
    }
    fn hotkey(&self) -> Hotkey {
        Hotkey(self.bytes())
    }
    fn value(&self) -> Value {
        Value::from_bytes(self.bytes())
    }
}

impl Signer<SubstrateConfig> for Key {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.bytes())
    }
    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.sign(payload).0)
    }
}

type Transaction = SubmittableTransaction<SubstrateConfig, OnlineClientAtBlockImpl<SubstrateConfig>>;
type Call = subxt::tx::DynamicPayload<Vec<Value>>;

/// A devnet and a client.
struct Bench {
    devnet: Devnet,
    api: OnlineClient<SubstrateConfig>,
    rpc: RpcClient,
}

/// What a refused submission says: code, message, data.
type Refusal = (i32, String, String);

impl Bench {
    async fn start(config: DevnetConfig) -> Self {
        let devnet = Devnet::start(config).await.unwrap();
        let rpc = RpcClient::from_insecure_url(devnet.url()).await.unwrap();
        let backend = LegacyBackend::builder().build(rpc.clone());
        let api = OnlineClient::from_backend(Arc::new(backend)).await.unwrap();
        Self { devnet, api, rpc }
    }

    async fn sign(&self, key: &Key, call: &Call, params: Params<SubstrateConfig>) -> Transaction {
        let at = self.api.at_current_block().await.unwrap();
        let mut signable = at.tx().create_signable(call, &key.account_id(), params.build()).await.unwrap();
        signable.sign(key).unwrap()
    }

    /// Submits and makes a block; the events of the extrinsic, or the dispatch error.
    async fn run(&self, key: &Key, call: &Call) -> Result<Vec<String>, String> {
        let transaction = self.sign(key, call, Params::new()).await;
        let mut progress = transaction.submit_and_watch().await.unwrap();
        self.devnet.produce_blocks(1).await;
        let included = loop {
            match progress.next().await.unwrap().unwrap() {
                TransactionStatus::InBestBlock(included) => break included,
                TransactionStatus::Validated | TransactionStatus::Broadcasted => {}
                other => panic!("not included: {other:?}"),
            }
        };
        let events = included.wait_for_success().await.map_err(|error| error.to_string())?;
        let names = events.iter().map(|event| {
            let event = event.unwrap();
            format!("{}.{}", event.pallet_name(), event.event_name())
        });
        let names = names.collect();
        self.devnet.settle().await;
        Ok(names)
    }

    /// Submits bytes that the pool must refuse.
    async fn refused(&self, bytes: &[u8]) -> Refusal {
        let answer: Result<String, _> =
            self.rpc.request("author_submitExtrinsic", rpc_params![format!("0x{}", hex::encode(bytes))]).await;
        match answer {
            Err(subxt::rpcs::Error::User(error)) => {
                let data = error.data.map(|data| data.get().trim_matches('"').to_owned()).unwrap_or_default();
                (error.code, error.message, data)
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn read<T: subxt::ext::scale_decode::DecodeAsType>(&self, entry: &str, keys: Vec<Value>) -> T {
        let at = self.api.at_current_block().await.unwrap();
        let address = dynamic::storage::<Vec<Value>, Value>("SubtensorModule", entry);
        at.storage().fetch(address, keys).await.unwrap().decode_as::<T>().unwrap()
    }
}

fn number(value: u64) -> Value {
    Value::u128(value.into())
}

fn numbers(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| number(u64::from(*value))))
}

fn set_weights(uids: &[u16], weights: &[u16]) -> Call {
    let fields = vec![number(1), number(0), numbers(uids), numbers(weights), number(0)];
    dynamic::tx("SubtensorModule", "set_mechanism_weights", fields)
}

fn burned_register(key: &Key) -> Call {
    dynamic::tx("SubtensorModule", "burned_register", vec![number(1), key.value()])
}

fn remark() -> Call {
    dynamic::tx("System", "remark_with_event", vec![Value::from_bytes(b"hello")])
}

/// A validator with a permit at UID 0 and two miners, rate limit 5, Alice rich.
fn with_neurons() -> DevnetConfig {
    let neuron = |name: &str, stake, permit| GenesisNeuron {
        hotkey: Key::new(name).hotkey(),
        coldkey: Key::new("Alice").bytes(),
        stake,
        permit,
    };
    DevnetConfig {
        endowments: vec![(Key::new("Alice").bytes(), 10_000_000_000)],
        subnets: vec![SubnetConfig {
            weights_rate_limit: 5,
            neurons: vec![neuron("validator", 1000, true), neuron("miner1", 0, false), neuron("miner2", 0, false)],
            ..SubnetConfig::default()
        }],
        ..DevnetConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registers_sets_weights_and_reads_them_back() {
    let bench = Bench::start(with_neurons()).await;
    let (alice, late) = (Key::new("Alice"), Key::new("late"));

    let events = bench.run(&alice, &burned_register(&late)).await.unwrap();
    assert_eq!(events, ["Balances.Withdraw", "SubtensorModule.NeuronRegistered", "System.ExtrinsicSuccess"]);
    assert_eq!(bench.read::<u16>("Uids", vec![number(1), late.value()]).await, 3);
    assert_eq!(bench.read::<u16>("SubnetworkN", vec![number(1)]).await, 4);
    assert_eq!(bench.read::<AccountId32>("Keys", vec![number(1), number(3)]).await.0, late.bytes());
    assert_eq!(bench.devnet.balance(alice.bytes()), 10_000_000_000 - 1_000_000);

    let events = bench.run(&Key::new("validator"), &set_weights(&[1, 2], &[30, 60])).await.unwrap();
    assert_eq!(events, ["SubtensorModule.WeightsSet", "System.ExtrinsicSuccess"]);
    let landed = vec![(1_u16, 32_768_u16), (2, 65_535)];
    assert_eq!(bench.read::<Vec<(u16, u16)>>("Weights", vec![number(1), number(0)]).await, landed);
    assert_eq!(bench.devnet.weights(NETUID, MAIN, Uid(0)), landed);
    let ledger = bench.devnet.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(
        (ledger[0].hotkey, ledger[0].extrinsic, &ledger[0].weights),
        (Key::new("validator").hotkey(), 1, &landed)
    );
    let updates = bench.read::<Vec<u64>>("LastUpdate", vec![number(1)]).await;
    assert_eq!(Block(updates[0]), ledger[0].block);
    bench.devnet.stop().await;
}
