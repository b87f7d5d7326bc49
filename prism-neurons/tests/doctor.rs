//! `prism doctor` and `prism metagraph` as a user runs them, against a devnet.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr
)]
use prism_chain::{
    devnet::{Devnet, DevnetConfig, GenesisNeuron, Hyperparameter, SubnetConfig},
    signer::Keypair,
};
use prism_core::Netuid;
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
};

fn prism(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prism")).args(arguments).output().expect("prism runs")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"))
}

fn row<'a>(report: &'a Value, item: &str) -> &'a Value {
    report["rows"].as_array().unwrap().iter().find(|row| row["item"] == item).unwrap_or_else(|| panic!("no {item}"))
}

async fn devnet() -> Devnet {
    let key = |uri: &str| Keypair::from_uri(uri).unwrap().hotkey();
    let neuron = |uri: &str, permit| GenesisNeuron { hotkey: key(uri), coldkey: key("//cold").0, stake: 7, permit };
    let subnet = SubnetConfig { neurons: vec![neuron("//Alice", true), neuron("//Bob", false)], ..Default::default() };
    let config = DevnetConfig {
        subnets: vec![subnet],
        endowments: vec![(key("//cold").0, 1_000_000_000)],
        ..DevnetConfig::default()
    };
    let devnet = Devnet::start(config).await.unwrap();
    devnet.produce_blocks(5).await;
    devnet
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_by_rows_and_exit_code_whether_weights_can_be_set() {
    let devnet = devnet().await;
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("//{name}")).unwrap();
        path.display().to_string()
    };
    let (alice, bob) = (key("Alice"), key("Bob"));
    let url = devnet.url().to_owned();
    let doctor = |key: &str| {
        let arguments = ["doctor", "--endpoint", &url, "--netuid", "1", "--key", key, "--json"];
        tokio::task::block_in_place(|| prism(&arguments))
    };

    let well = doctor(&alice);
    let report = json(&well);
    assert_eq!((well.status.code(), &report["can_set_weights"]), (Some(0), &Value::Bool(true)), "{well:?}");
    assert_eq!(row(&report, "SubtensorModule.set_mechanism_weights")["status"], "compatible");
    assert_eq!(row(&report, "validator permit")["status"], "good");
    assert_eq!(row(&report, "key")["topic"], "wallet");

    let ill = doctor(&bob);
    let report = json(&ill);
    assert_eq!((ill.status.code(), &report["can_set_weights"]), (Some(3), &Value::Bool(false)), "{ill:?}");
    let permit = row(&report, "validator permit");
    assert_eq!((&permit["status"], &permit["blocks_weights"]), (&Value::from("bad"), &Value::Bool(true)));
    assert!(permit["advice"].as_str().unwrap().contains("permits are given at epochs"), "{permit}");

    let lost = doctor(&folder.path().join("nobody").display().to_string());
    assert_eq!(lost.status.code(), Some(3), "{lost:?}");
    assert_eq!(row(&json(&lost), "key")["status"], "bad");

    devnet.set_hyperparameter(Netuid(1), Hyperparameter::WeightsVersionKey(9)).unwrap();
    devnet.produce_blocks(1).await;
    let arguments = ["doctor", "--endpoint", &url, "--netuid", "1", "--key", &alice, "--version-key", "3"];
    let old = tokio::task::block_in_place(|| prism(&arguments));
    assert_eq!(old.status.code(), Some(3), "{old:?}");
    let text = String::from_utf8(old.stdout).unwrap();
    assert!(text.contains("it is 3, the subnet asks for 9"), "{text}");
    assert!(String::from_utf8(old.stderr).unwrap().contains("no weight could be set now: version key"));
}

#[test]
fn no_chain_and_no_metadata_end_with_their_own_codes() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = prism(&["doctor", "--endpoint", &format!("ws://{free}")]);
    assert_eq!(nowhere.status.code(), Some(4), "{nowhere:?}");
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("metadata");
    fs::write(&garbage, "nothing of the kind").unwrap();
    let unread = prism(&["doctor", "--metadata", &garbage.display().to_string()]);
    assert_eq!(unread.status.code(), Some(1), "{unread:?}");
    assert!(String::from_utf8_lossy(&unread.stderr).contains("does not begin with `meta`"), "{unread:?}");
}

#[test]
fn the_live_chain_s_metadata_passes_without_a_connection() {
    let Some(path) = std::env::var_os("PRISM_FINNEY_METADATA") else {
        eprintln!("skipped: PRISM_FINNEY_METADATA names no file with finney's metadata");
        return;
    };
    let path = path.into_string().unwrap();
    let seen = prism(&["doctor", "--metadata", &path, "--json"]);
    let report = json(&seen);
    assert_eq!((seen.status.code(), &report["spec_version"]), (Some(0), &Value::from(393)), "{report}");
    // The same in digits, as a node's answer has it.
    let folder = tempfile::tempdir().unwrap();
    let digits = folder.path().join("metadata.hex");
    fs::write(&digits, format!("0x{}\n", hex::encode(fs::read(&path).unwrap()))).unwrap();
    let again = prism(&["doctor", "--metadata", &digits.display().to_string(), "--json"]);
    assert_eq!(json(&again), report);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metagraph_is_a_table_or_one_object() {
    let devnet = devnet().await;
    let arguments = ["metagraph", "--endpoint", devnet.url(), "--netuid", "1", "--json"];
    let seen = tokio::task::block_in_place(|| prism(&arguments));
    let object = json(&seen);
    assert_eq!(seen.status.code(), Some(0), "{seen:?}");
    assert_eq!(object["members"].as_array().unwrap().len(), 2);
    let alice = Keypair::from_uri("//Alice").unwrap().hotkey().ss58();
    assert_eq!(object["members"][0]["hotkey"], alice);
    assert_eq!((&object["block"], &object["hyperparameters"]["tempo"]), (&Value::from(3), &Value::from(360)));

    let arguments = ["metagraph", "--endpoint", devnet.url(), "--netuid", "1", "--validators"];
    let seen = tokio::task::block_in_place(|| prism(&arguments));
    let text = String::from_utf8(seen.stdout).unwrap();
    assert!(text.contains(&alice) && text.contains("2 of 256 slots"), "{text}");
    assert!(!text.contains(&Keypair::from_uri("//Bob").unwrap().hotkey().ss58()), "{text}");
    let arguments = ["metagraph", "--endpoint", devnet.url(), "--netuid", "44"];
    let none = tokio::task::block_in_place(|| prism(&arguments));
    assert_eq!(none.status.code(), Some(1), "{none:?}");
}
