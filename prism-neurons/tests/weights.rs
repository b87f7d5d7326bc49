//! `prism weights`, run as a user runs it, on a chain that hides weights until their reveal.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use prism_chain::{
    devnet::{BlockPace, Devnet, DevnetConfig, GenesisNeuron, SubnetConfig},
    signer::Keypair,
};
use prism_core::Hotkey;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

async fn prism(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
    command.current_dir(folder).arg("weights").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_committed_followed_resumed_and_shown() {
    let validator = Keypair::from_uri("//validator").unwrap().hotkey();
    let miner = Hotkey([7; 32]);
    let neuron = |hotkey, permit| GenesisNeuron { hotkey, coldkey: [1; 32], stake: 1000, permit };
    let subnet = SubnetConfig {
        neurons: vec![neuron(validator, true), neuron(miner, false)],
        tempo: 40,
        commit_reveal: true,
        ..SubnetConfig::default()
    };
    let pace = BlockPace::Every(Duration::from_millis(100));
    let devnet = Devnet::start(DevnetConfig { subnets: vec![subnet], pace, ..DevnetConfig::default() }).await.unwrap();
    devnet.produce_blocks(10).await;

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("key"), "//validator").unwrap();
    std::fs::write(at.join("shares.json"), format!(r#"{{"{miner}": 2}}"#)).unwrap();
    std::fs::write(at.join("bad.json"), format!(r#"{{"{miner}": -1}}"#)).unwrap();
    let place = ["--endpoint", devnet.url(), "--netuid", "1"];
    let set = async |more: &[&str]| {
        let arguments = [&["set"][..], more, &place, &["--key", "key", "--receipt", "receipt.json"]].concat();
        prism(at, &arguments).await
    };
    let stage = || -> String {
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("receipt.json")).unwrap()).unwrap();
        kept.to_string()
    };

    let dry = set(&["shares.json", "--dry-run", "--json"]).await;
    assert_eq!(dry.code, Some(0), "{}", dry.error);
    assert!(!at.join("receipt.json").exists(), "a dry run leaves nothing");
    let first = set(&["shares.json", "--until", "included"]).await;
    assert_eq!(first.code, Some(0), "{}", first.error);
    let second = set(&["shares.json"]).await;
    assert_eq!(second.code, Some(3), "one is on its way: {}", second.error);
    let resumed = set(&["--resume"]).await;
    assert_eq!(resumed.code, Some(0), "{}", resumed.error);
    assert!(stage().contains("read_back"), "{}", stage());
    assert_eq!(devnet.ledger().len(), 1);

    let shown = prism(at, &[&["show", "--json", "--key", "key"][..], &place].concat()).await;
    assert_eq!(shown.code, Some(0), "{}", shown.error);
    let row: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert!(row.to_string().contains(&miner.to_string()), "{row}");
    let stranger = Hotkey([9; 32]).to_string();
    let unknown = prism(at, &[&["show", "--hotkey", &stranger][..], &place].concat()).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.error);
    let bad = set(&["bad.json"]).await;
    assert_eq!(bad.code, Some(3), "{}", bad.error);
}
