//! From 4,096 shares to a signed commitment: reading slots and rules, conforming, encrypting, signing.
//!
//! All of `prepare` over a devnet in this process, reads included; plain weights, in the same run, are what the encryption
//! is compared with. 1,024 of the hotkeys hold slots: a commitment of more than 1,177 weights is one that the chain
//! doesn't take.
use prism_chain::{
    Keypair, SetterConfig,
    client::{ChainClient, ChainConfig},
    devnet::{Devnet, DevnetConfig, GenesisNeuron, SubnetConfig, SubnetOwner},
    weights::{DryRunSetter, Shares},
};
use prism_core::{Digest, Epoch, Hotkey, MechanismId, Netuid, WeightIntent, WeightSetter};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const HOTKEYS: u16 = 4096;
const SLOTS: u16 = 1024;
const RUNS: usize = 30;

fn hotkey(n: u16) -> Hotkey {
    let mut key = [0x5a; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    Hotkey(key)
}

fn intent() -> WeightIntent {
    let numbers: Vec<String> =
        (0..HOTKEYS).map(|n| format!("\"{}\":{}", hotkey(n), u32::from(n) + u32::from(HOTKEYS))).collect();
    let shares = Shares::from_json(&format!("{{{}}}", numbers.join(","))).expect("shares");
    let (shares, burn) = shares.with_burn(0.0).expect("shares that sum to 1");
    WeightIntent {
        netuid: Netuid(1),
        mechanism: MechanismId(0),
        epoch: Epoch(0),
        shares,
        burn,
        version_key: 0,
        policy: Digest::of(b"policy"),
    }
}

async fn devnet(validator: &Keypair, commit_reveal: bool) -> Devnet {
    let coldkey = [1; 32];
    let neuron = |hotkey, permit| GenesisNeuron { hotkey, coldkey, stake: 1000, permit };
    let miners = (0..SLOTS).map(|n| neuron(hotkey(n * (HOTKEYS / SLOTS)), false));
    let subnet = SubnetConfig {
        owner: Some(SubnetOwner { hotkey: Hotkey([2; 32]), coldkey }),
        neurons: std::iter::once(neuron(validator.hotkey(), true)).chain(miners).collect(),
        max_uids: SLOTS + 2,
        commit_reveal,
        ..SubnetConfig::default()
    };
    let devnet =
        Devnet::start(DevnetConfig { subnets: vec![subnet], ..DevnetConfig::default() }).await.expect("devnet");
    devnet.produce_blocks(10).await;
    devnet
}

/// The median of `RUNS` runs.
async fn median(mut run: impl AsyncFnMut()) -> Duration {
    run().await;
    let mut spans = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        run().await;
        spans.push(start.elapsed());
    }
    spans.sort_unstable();
    spans.get(RUNS / 2).copied().unwrap_or_default()
}

/// The median time of `prepare`, and the length of what it signs.
async fn prepare(validator: &Keypair, commit_reveal: bool) -> (Duration, usize) {
    let devnet = devnet(validator, commit_reveal).await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.expect("client");
    let setter = DryRunSetter::new(client, Arc::new(validator.clone()), SetterConfig::default());
    let intent = intent();
    let mut bytes = 0;
    let span = median(async || {
        let receipt = setter.prepare(intent.clone()).await.expect("receipt");
        assert_eq!(receipt.vector.len(), usize::from(SLOTS));
        bytes = receipt.signed.len();
    })
    .await;
    devnet.stop().await;
    (span, bytes)
}

/// Measures and prints.
pub(crate) async fn weights() {
    let validator = Keypair::from_uri("//validator").expect("key");
    let (plain, plain_bytes) = prepare(&validator, false).await;
    let (commit, commit_bytes) = prepare(&validator, true).await;
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    println!("weights: {HOTKEYS} hotkeys, {SLOTS} with a slot, from shares to signed bytes, median of {RUNS}");
    println!("  set_mechanism_weights                {:8.2} ms  {plain_bytes} bytes", millis(plain));
    println!("  commit_timelocked_mechanism_weights  {:8.2} ms  {commit_bytes} bytes", millis(commit));
    println!("  ratio {:.2}", millis(commit) / millis(plain));
}
