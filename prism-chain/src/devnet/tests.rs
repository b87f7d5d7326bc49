//! Whole paths through subxt, as an unchanged client takes them.

use std::sync::Arc;

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
        let events = included.wait_for_success().await.map_err(|error| format!("{error}"))?;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pool_refuses_it_refuses_in_the_chain_s_words() {
    let bench = Bench::start(with_neurons()).await;
    let alice = Key::new("Alice");
    bench.devnet.produce_blocks(10).await;
    let invalid = |reason: &str| (1010, "Invalid Transaction".to_owned(), reason.to_owned());
    let at = bench.api.at_current_block().await.unwrap();

    // Another key's signature under Alice's name.
    let call = remark();
    let mut signable = at.tx().create_signable(&call, &alice.account_id(), Params::new().build()).await.unwrap();
    let forged = Key::new("Mallory").sign(&signable.signer_payload().unwrap());
    let forged = signable.sign_with_account_and_signature(&alice.account_id(), &forged).unwrap();
    assert_eq!(bench.refused(forged.encoded()).await, invalid("Transaction has a bad signature"));

    // Signed for another chain, then for another version of the runtime.
    let richer = DevnetConfig { endowments: vec![(alice.bytes(), 20_000_000_000)], ..with_neurons() };
    let older = DevnetConfig { spec_version: 424, ..with_neurons() };
    for (config, same_genesis) in [(richer, false), (older, true)] {
        let other = Bench::start(config).await;
        other.devnet.produce_blocks(10).await;
        assert_eq!(other.api.genesis_hash() == bench.api.genesis_hash(), same_genesis);
        let foreign = other.sign(&alice, &remark(), Params::new().immortal()).await;
        assert_eq!(bench.refused(foreign.encoded()).await, invalid("Transaction has a bad signature"));
    }

    // A nonce that is used up.
    let used = bench.sign(&alice, &remark(), Params::new().nonce(0)).await;
    bench.run(&alice, &remark()).await.unwrap();
    assert_eq!(bench.refused(used.encoded()).await, invalid("Transaction is outdated"));

    // An era that is over: its birth is another block by now, or not even a block yet.
    let old = bench.sign(&alice, &remark(), Params::new().mortal(4).nonce(1)).await;
    bench.devnet.produce_blocks(8).await;
    let (code, _, reason) = bench.refused(old.encoded()).await;
    assert_eq!(code, 1010);
    assert!(["Transaction has a bad signature", "Transaction has an ancient birth block"].contains(&&*reason));

    // An account that has nothing can't send what costs a fee.
    let poor = bench.sign(&Key::new("nobody"), &remark(), Params::new()).await;
    assert_eq!(
        bench.refused(poor.encoded()).await,
        invalid("Inability to pay some fees (e.g. account balance too low)")
    );

    // Stake and rate limit are the pool's business.
    bench.devnet.set_hyperparameter(NETUID, Hyperparameter::StakeThreshold(5000)).unwrap();
    let validator = Key::new("validator");
    let weights = bench.sign(&validator, &set_weights(&[1], &[1]), Params::new()).await;
    assert_eq!(bench.refused(weights.encoded()).await, invalid("Custom error: 1"));
    bench.devnet.set_hyperparameter(NETUID, Hyperparameter::StakeThreshold(0)).unwrap();
    let mut progress = weights.submit_and_watch().await.unwrap();
    assert!(matches!(progress.next().await, Some(Ok(TransactionStatus::Validated))));
    bench.devnet.settle().await;
    let again = bench.sign(&validator, &set_weights(&[2], &[1]), Params::new()).await;
    assert_eq!(bench.refused(again.encoded()).await, invalid("Custom error: 6"));

    // Known bytes, and another transaction in the same place.
    let (first, second) = (burned_register(&Key::new("x")), burned_register(&Key::new("y")));
    let first = bench.sign(&alice, &first, Params::new()).await;
    let second = bench.sign(&alice, &second, Params::new()).await;
    first.submit().await.unwrap();
    assert_eq!(bench.refused(first.encoded()).await.0, 1013);
    assert_eq!(bench.refused(second.encoded()).await.0, 1014);
    bench.devnet.produce_blocks(1).await;
    assert_eq!(bench.refused(first.encoded()).await.0, 1012);

    // No extrinsic at all.
    assert_eq!(bench.refused(&[9, 9]).await.0, 1001);
    assert_eq!(bench.refused(&[8, 0x84, 7]).await.0, 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_the_block_is_named_by_its_events() {
    let bench = Bench::start(with_neurons()).await;
    let (validator, miner) = (Key::new("validator"), Key::new("miner1"));
    for (key, call, error) in [
        (&miner, set_weights(&[0], &[1]), "NeuronNoValidatorPermit"),
        (&validator, set_weights(&[1, 1], &[1, 2]), "DuplicateUids"),
        (&validator, set_weights(&[7], &[1]), "UidVecContainInvalidOne"),
        (&validator, set_weights(&[1, 2], &[1]), "WeightVecNotEqualSize"),
        (&Key::new("stranger"), set_weights(&[1], &[1]), "HotKeyNotRegisteredInSubNet"),
        (&Key::new("stranger"), burned_register(&Key::new("z")), "NotEnoughBalanceToStake"),
        (&Key::new("Alice"), burned_register(&validator), "HotKeyAlreadyRegisteredInSubNet"),
    ] {
        let failure = bench.run(key, &call).await.unwrap_err();
        assert!(failure.contains(error), "{failure} is not {error}");
        bench.devnet.settle().await;
    }
    assert!(bench.devnet.ledger().is_empty());
    // A failed call uses up its nonce and nothing else.
    let at = bench.api.at_current_block().await.unwrap();
    assert_eq!(at.tx().account_nonce(&validator.account_id()).await.unwrap(), 3);
    assert_eq!(bench.read::<u16>("SubnetworkN", vec![number(1)]).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_read_in_pages_and_an_older_block_keeps_its_state() {
    let bench = Bench::start(DevnetConfig::default()).await;
    for n in 0..150_u8 {
        bench.devnet.register(NETUID, Hotkey([n; 32]), [1; 32]).unwrap();
    }
    bench.devnet.settle().await;
    let before = bench.api.at_current_block().await.unwrap();
    bench.devnet.register(NETUID, Hotkey([200; 32]), [1; 32]).unwrap();
    bench.devnet.settle().await;
    let after = bench.api.at_current_block().await.unwrap();
    for (at, expected) in [(&before, 150), (&after, 151)] {
        let keys = dynamic::storage::<Vec<Value>, Value>("SubtensorModule", "Keys");
        let mut entries = at.storage().iter(keys, vec![number(1)]).await.unwrap();
        let mut seen = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry.unwrap();
            let uid: u16 = entry.key().unwrap().part(1).unwrap().decode_as().unwrap().unwrap();
            seen.push((uid, entry.value().decode_as::<AccountId32>().unwrap().0[0]));
        }
        seen.sort_unstable();
        assert_eq!(seen.len(), expected);
        assert!(seen.iter().zip(0..150_u16).all(|((uid, key), n)| *uid == n && u16::from(*key) == n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_subnet_hands_on_the_slot_of_the_neuron_to_prune() {
    let mut config = with_neurons();
    config.subnets[0].max_uids = 3;
    config.subnets[0].immunity_period = 5;
    let bench = Bench::start(config).await;
    bench.run(&Key::new("validator"), &set_weights(&[1, 2], &[1, 1])).await.unwrap();
    bench.devnet.produce_blocks(10).await;
    let late = Key::new("late");
    bench.run(&Key::new("Alice"), &burned_register(&late)).await.unwrap();
    // Nobody earned anything and all came with genesis: the lowest UID goes, and its weights with it.
    assert_eq!(bench.devnet.uid(NETUID, late.hotkey()), Some(Uid(0)));
    assert_eq!(bench.devnet.uid(NETUID, Key::new("validator").hotkey()), None);
    assert_eq!(bench.devnet.weights(NETUID, MAIN, Uid(0)), []);
    assert_eq!(bench.read::<u16>("SubnetworkN", vec![number(1)]).await, 3);
    assert!(bench.read::<u64>("BlockAtRegistration", vec![number(1), number(0)]).await > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_decide_permits_by_stake_and_say_when_the_next_one_is() {
    let mut config = with_neurons();
    config.subnets[0].tempo = 10;
    let bench = Bench::start(config).await;
    bench.devnet.grant_permit(NETUID, Uid(1)).unwrap();
    bench.devnet.set_stake(NETUID, Key::new("miner2").hotkey(), 7);
    bench.devnet.settle().await;
    assert_eq!(bench.read::<Vec<bool>>("ValidatorPermit", vec![number(1)]).await, [true, true, false]);
    bench.devnet.produce_blocks(10).await;
    assert_eq!(bench.read::<Vec<bool>>("ValidatorPermit", vec![number(1)]).await, [true, false, true]);
    assert_eq!(bench.read::<u64>("LastEpochBlock", vec![number(1)]).await, 10);
    assert_eq!(bench.read::<u64>("SubnetEpochIndex", vec![number(1)]).await, 1);
    let at = bench.api.at_current_block().await.unwrap();
    let next = dynamic::runtime_api_call::<Vec<Value>, Option<u64>>(
        "SubnetInfoRuntimeApi",
        "get_next_epoch_start_block",
        vec![number(1)],
    );
    assert_eq!(at.runtime_apis().call(next).await.unwrap(), Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_followed_and_taken_apart_by_the_client() {
    let bench = Bench::start(with_neurons()).await;
    let mut finalized = bench.api.stream_blocks().await.unwrap();
    let mut best = bench.api.stream_best_blocks().await.unwrap();
    assert_eq!(finalized.next().await.unwrap().unwrap().number(), 0);
    bench.devnet.produce_blocks(5).await;
    let mut numbers = vec![0];
    while numbers.last() != Some(&3) {
        numbers.push(finalized.next().await.unwrap().unwrap().number());
    }
    assert_eq!(numbers, [0, 1, 2, 3]);
    let mut head = 0;
    while head < 5 {
        let block = best.next().await.unwrap().unwrap();
        head = block.number();
        assert_eq!(Some(block.hash().0), bench.devnet.block_hash(head));
    }
    assert_eq!((bench.devnet.head().0, bench.devnet.finalized().0), (5, 3));

    bench.run(&Key::new("Alice"), &remark()).await.unwrap();
    let at = bench.api.at_block(6_u64).await.unwrap();
    let extrinsics = at.extrinsics().fetch().await.unwrap();
    let calls: Vec<_> = extrinsics.iter().map(|extrinsic| extrinsic.unwrap().call_name().to_owned()).collect();
    assert_eq!(calls, ["set", "remark_with_event"]);
    let signed = extrinsics.iter().nth(1).unwrap().unwrap();
    let extensions = signed.transaction_extensions().unwrap();
    let names: Vec<_> = extensions.iter().map(|extension| extension.name().to_owned()).collect();
    assert_eq!(names.len(), 13);
    assert_eq!(names[7..9], ["ChargeTransactionPayment", "SudoTransactionExtension"]);
    assert_eq!(extensions.nonce(), Some(0));
    let now = dynamic::storage::<Vec<Value>, Value>("Timestamp", "Now");
    let now = at.storage().fetch(now, vec![]).await.unwrap().decode_as::<u64>().unwrap();
    assert_eq!(now, 1_767_225_600_000 + 6 * 12_000);
    let slot = dynamic::constant::<u64>("Aura", "SlotDuration");
    assert_eq!(at.constants().entry(slot).unwrap(), 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_and_waiting_transactions_count_nonces() {
    let bench = Bench::start(with_neurons()).await;
    let alice = Key::new("Alice");
    let later = bench.sign(&alice, &remark(), Params::new().nonce(1)).await;
    assert!(later.validate().await.unwrap().is_valid(), "a future nonce is valid later");
    let mut later = later.submit_and_watch().await.unwrap();
    bench.devnet.produce_blocks(1).await;
    let next: u64 =
        bench.rpc.request("system_accountNextIndex", rpc_params![alice.account_id().to_string()]).await.unwrap();
    assert_eq!(next, 0, "the gap is not filled");
    let first = bench.sign(&alice, &remark(), Params::new().nonce(0)).await;
    first.submit().await.unwrap();
    bench.devnet.settle().await;
    let status = later.next().await.unwrap().unwrap();
    assert!(status.as_in_block().is_some(), "both are in the block: {status:?}");
    assert!(later.next().await.unwrap().unwrap().as_finalized().is_some());
    assert!(first.validate().await.unwrap().is_valid(), "it was, at the block it was made for");
    let now = bench.api.at_current_block().await.unwrap();
    assert!(!now.tx().from_bytes(first.encoded().to_vec()).validate().await.unwrap().is_valid());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_expires_in_the_pool_is_told_so() {
    let bench = Bench::start(with_neurons()).await;
    // Nonce 1 waits for nonce 0, which never comes.
    let waiting = bench.sign(&Key::new("Alice"), &remark(), Params::new().nonce(1).mortal(4)).await;
    let mut progress = waiting.submit_and_watch().await.unwrap();
    bench.devnet.produce_blocks(6).await;
    assert!(matches!(progress.next().await, Some(Ok(TransactionStatus::Invalid { .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_chooses_its_own_interface_finds_this_one() {
    let devnet = Devnet::start(with_neurons()).await.unwrap();
    let api = OnlineClient::<SubstrateConfig>::from_insecure_url(devnet.url()).await.unwrap();
    let at = api.at_current_block().await.unwrap();
    assert_eq!((at.block_number(), at.spec_version()), (0, 425));
}

#[tokio::test]
async fn the_same_calls_give_the_same_blocks() {
    let run = async || {
        let devnet = Devnet::start(with_neurons()).await.unwrap();
        devnet.produce_blocks(3).await;
        devnet.register(NETUID, Hotkey([7; 32]), [8; 32]).unwrap();
        devnet.endow([9; 32], 5);
        devnet.produce_blocks(7200).await;
        devnet.head()
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test]
async fn state_and_blocks_are_kept_for_the_retained_blocks_only() {
    let devnet = Devnet::start(DevnetConfig { retained_blocks: 300, ..DevnetConfig::default() }).await.unwrap();
    devnet.produce_blocks(1000).await;
    assert!(devnet.block_hash(0).is_some(), "genesis stays");
    assert!(devnet.block_hash(700).is_none());
    assert!(devnet.block_hash(701).is_some());
    let chain = lock(&devnet.chain);
    assert!(chain.state_at(700).is_none());
    assert!(chain.state_at(701).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pace_makes_blocks_and_dropping_the_handle_ends_everything() {
    let config = DevnetConfig { pace: BlockPace::Every(Duration::from_millis(5)), ..DevnetConfig::default() };
    let bench = Bench::start(config).await;
    let mut finalized = bench.api.stream_blocks().await.unwrap();
    while finalized.next().await.unwrap().unwrap().number() < 3 {}
    let url = bench.devnet.url().to_owned();
    bench.devnet.stop().await;
    assert!(RpcClient::from_insecure_url(&url).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_is_refused_by_name() {
    let neuron = GenesisNeuron { hotkey: Hotkey([1; 32]), coldkey: [2; 32], stake: 0, permit: false };
    let twice = SubnetConfig { neurons: vec![neuron.clone(), neuron], ..SubnetConfig::default() };
    for (subnets, reason) in [
        (vec![SubnetConfig { netuid: Netuid(0), ..SubnetConfig::default() }], "number must be 1 to 4095"),
        (vec![SubnetConfig::default(), SubnetConfig::default()], "number is used twice"),
        (vec![SubnetConfig { mechanisms: 0, ..SubnetConfig::default() }], "mechanisms must be 1 to 15"),
        (vec![twice.clone()], "a hotkey is registered twice"),
        (vec![SubnetConfig { max_uids: 0, neurons: twice.neurons[..1].to_vec(), ..twice }], "more neurons than slots"),
    ] {
        let error = Devnet::start(DevnetConfig { subnets, ..DevnetConfig::default() }).await.unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

mod commit_reveal;
mod commitments;
mod faults;
mod metadata;
mod week;

mod garbage {
    //! Requests that no honest client sends.

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use std::sync::{Arc, Mutex};

    use super::super::chain::Chain;
    use super::super::{DevnetConfig, block, rpc};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-zA-Z_]{0,12}".prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| Value::from(block::hex(bytes))),
            "0x[0-9a-fA-F]{0,9}".prop_map(Value::from),
            prop_oneof![
                Just("Core_version"),
                Just("Metadata_metadata_at_version"),
                Just("AccountNonceApi_account_nonce"),
                Just("TaggedTransactionQueue_validate_transaction"),
                Just("SubnetInfoRuntimeApi_get_next_epoch_start_block"),
            ]
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,4}", inner, 0..3).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_method_answers_any_parameters_with_a_result_or_an_error(
            params in prop_oneof![proptest::collection::vec(value(), 0..5).prop_map(Value::from), value()],
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let config = DevnetConfig::default();
                let chain = Chain::start(&config).unwrap();
                let methods = rpc::methods(Arc::new(Mutex::new(chain))).unwrap();
                let names: Vec<_> = methods.method_names().collect();
                for method in names {
                    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                    if let Ok((answer, _)) = methods.raw_json_request(&request.to_string(), 16).await {
                        let answer: Value = serde_json::from_str(answer.get()).unwrap();
                        assert!(answer.get("result").is_some() != answer.get("error").is_some(), "{method}: {answer}");
                    }
                }
            });
        }
    }
}
