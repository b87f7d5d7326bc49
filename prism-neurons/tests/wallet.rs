//! `prism wallet` and `prism commit`, run as a user runs them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use prism_chain::{
    devnet::{BlockPace, Devnet, DevnetConfig, GenesisNeuron, SubnetConfig},
    signer::Keypair,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

const ABANDON: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
const ADDRESS: &str = "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH";

fn prism(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
    command.current_dir(folder).env("BT_WALLET_PATH", folder.join("wallets")).args(arguments).output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", error(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn keys_are_made_listed_used_and_never_lost() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("words"), format!("{ABANDON}\n")).unwrap();
    fs::write(at.join("password"), "Test1234!\n").unwrap();
    fs::write(at.join("wrong"), "Test1234?\n").unwrap();

    let regen = ["wallet", "regen", "main", "--from", "words", "--password-file", "password", "--json"];
    assert_eq!(json(&prism(at, &regen))["address"], ADDRESS);
    let again = prism(at, &regen);
    assert_eq!(again.status.code(), Some(3), "{}", error(&again));
    assert!(error(&again).contains("--overwrite"), "{}", error(&again));
    let made = json(&prism(at, &["wallet", "create", "main", "--hotkey", "worker", "--words", "24", "--json"]));
    assert_eq!(made["mnemonic"].as_str().unwrap().split(' ').count(), 24);

    let listed = json(&prism(at, &["wallet", "list", "--json"]));
    let main = &listed["wallets"][0];
    assert_eq!((&main["name"], &main["coldkey"]["form"]), (&"main".into(), &"encrypted".into()));
    assert_eq!((&main["hotkeys"][0]["name"], &main["hotkeys"][0]["form"]), (&"worker".into(), &"plain".into()));
    assert_eq!(main["hotkeys"][0]["address"], made["address"]);
    let shown = json(&prism(at, &["wallet", "show", "main", "--json"]));
    assert_eq!((&shown["address"], &shown["exposed"]), (&ADDRESS.into(), &false.into()));
    let mode = fs::metadata(shown["path"].as_str().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let sign = |password: &str| {
        prism(at, &["wallet", "sign", "main", "--text", "hello", "--password-file", password, "--json"])
    };
    let signature = json(&sign("password"))["signature"].as_str().unwrap().to_owned();
    let refused = sign("wrong");
    assert_eq!(refused.status.code(), Some(3), "{}", error(&refused));
    assert!(error(&refused).contains("password is wrong"), "{}", error(&refused));
    let verify = |text: &str| {
        let arguments = ["wallet", "verify", "--address", ADDRESS, "--signature", &signature, "--text", text, "--json"];
        prism(at, &arguments)
    };
    assert_eq!(json(&verify("hello"))["valid"], true);
    assert_eq!(verify("hallo").status.code(), Some(3));
    assert_eq!(prism(at, &["wallet", "show", "none"]).status.code(), Some(1));
    let unasked = prism(at, &["wallet", "create", "other"]);
    assert!(error(&unasked).contains("terminal"), "{}", error(&unasked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_s_hotkey_commits_and_everybody_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_owned();
    let run = |arguments: &[&str]| {
        let (at, arguments) = (at.clone(), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || prism(&at, &arguments.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    fs::write(at.join("words"), "//miner").unwrap();
    run(&["wallet", "regen", "main", "--hotkey", "default", "--from", "words"]).await.unwrap();
    let miner = Keypair::from_uri("//miner").unwrap().hotkey();
    let neuron = GenesisNeuron { hotkey: miner, coldkey: [1; 32], stake: 0, permit: false };
    let devnet = Devnet::start(DevnetConfig {
        pace: BlockPace::Every(Duration::from_millis(100)),
        slot: Duration::from_millis(200),
        subnets: vec![SubnetConfig { neurons: vec![neuron], ..SubnetConfig::default() }],
        ..DevnetConfig::default()
    })
    .await
    .unwrap();
    devnet.produce_blocks(1).await;
    let chain = ["--endpoint", devnet.url(), "--netuid", "1", "--json"];
    let commit = |first: &[&str]| {
        let arguments: Vec<&str> = ["commit"].iter().chain(first).chain(&chain).copied().collect();
        run(&arguments)
    };

    let set = json(&commit(&["set", "namespace:name", "--wallet", "main"]).await.unwrap());
    assert_eq!((&set["hotkey"], &set["space"]["used"]), (&miner.ss58().into(), &100.into()));
    devnet.settle().await;
    let shown = json(&commit(&["show", "--wallet", "main"]).await.unwrap());
    assert_eq!(
        (&shown["current"]["fields"][0]["text"], &shown["current"]["block"]),
        (&"namespace:name".into(), &set["block"])
    );
    let listed = json(&commit(&["list"]).await.unwrap());
    assert_eq!(listed["commitments"][0]["hotkey"], miner.ss58().as_str());

    let long = "x".repeat(513);
    let refused = commit(&["set", &long, "--wallet", "main"]).await.unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", error(&refused));
    let nobody = Keypair::from_uri("//nobody").unwrap().hotkey().ss58();
    assert_eq!(commit(&["show", &nobody]).await.unwrap().status.code(), Some(1));
}
