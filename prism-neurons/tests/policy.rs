//! `prism policy`, run as an operator runs it, on a database that a validator made or has open.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use prism_core::Block;
use prism_neurons::store::Store;
use serde_json::Value;
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

fn prism(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
    command.arg("policy").args(arguments).arg("--data").arg(folder).output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", error(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Refused, with the place named, and nothing added.
fn refused(folder: &Path, section: &str, value: &str, place: &str) {
    let before = prism(folder, &["history", "--json"]).stdout;
    let output = prism(folder, &["set", section, value]);
    assert_eq!(output.status.code(), Some(3), "{section} {value}: {}", error(&output));
    assert!(error(&output).contains(place), "{section} {value}: {}", error(&output));
    assert_eq!(prism(folder, &["history", "--json"]).stdout, before);
}

fn database(folder: &Path) -> Store {
    Store::open(folder.join("prism.sqlite")).unwrap()
}

#[test]
fn a_row_is_set_shown_switched_off_and_listed_while_the_validator_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // As long as this is open, a validator has it.
    let _validator = database(at);
    let own = json(&prism(at, &["show", "--json"]));
    assert_eq!(own["sections"]["reward_pools"]["value"]["margin"], 0.04);
    assert_eq!(own["sections"]["reward_pools"]["row"], Value::Null);
    let smoke = json(&prism(at, &["show", "--json", "--mode", "local_cpu_smoke"]));
    assert_ne!(smoke["digest"], own["digest"]);

    let set =
        prism(at, &["set", "reward_pools", r#"{"margin": 0.05}"#, "--note", "prior", "--author", "ann", "--json"]);
    assert_eq!(json(&set)["row"], 1);
    let mut piped = Command::new(env!("CARGO_BIN_EXE_prism"));
    piped.args(["policy", "set", "score_weights", "-", "--data"]).arg(at);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(br#"{"z": 3}"#).unwrap();
    assert!(piped.wait().unwrap().success());
    let now = json(&prism(at, &["show", "--json"]));
    assert_eq!(now["sections"]["reward_pools"]["value"]["margin"], 0.05);
    assert_eq!((&now["sections"]["score_weights"]["row"], &now["refused"]), (&2.into(), &Value::Array(vec![])));
    assert_ne!(now["digest"], own["digest"]);
    let section = json(&prism(at, &["show", "score_weights", "--json"]));
    assert_eq!(section["value"]["z"], 3.0);
    let text = String::from_utf8(prism(at, &["show", "reward_pools"]).stdout).unwrap();
    assert!(text.contains("[reward_pools] row 1\n") && text.contains("  margin = 0.05\n"), "{text}");

    let history = json(&prism(at, &["history", "reward_pools", "--json"]));
    assert_eq!((&history[0]["note"], &history[0]["author"]), (&"prior".into(), &"ann".into()));
    assert!(prism(at, &["disable", "1"]).status.success());
    assert_eq!(json(&prism(at, &["show", "reward_pools", "--json"]))["value"]["margin"], 0.04);
    assert!(prism(at, &["enable", "1"]).status.success());
    assert!(prism(at, &["check"]).status.success());
    assert_eq!(prism(at, &["disable", "9"]).status.code(), Some(1));
}

#[test]
fn every_malformed_row_is_refused_with_its_place_and_code_three() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    drop(database(at));
    refused(at, "rewards", "{}", "no policy section is called `rewards`");
    refused(at, "reward_pools", r#"{"margn": 0.05}"#, "`reward_pools.margn` does not exist");
    refused(at, "reward_pools", r#"{"margin": "wide"}"#, "`reward_pools.margin`: invalid type");
    refused(at, "reward_pools", r#"{"margin": -0.1}"#, "`reward.margin` is -0.1, outside 0 to 8");
    refused(at, "reward_pools", r#"{"margin": 1e999}"#, "`reward_pools`: number out of range");
    refused(at, "reward_pools", r#"{"architecture_pool": 0.7}"#, "sum to 1.1, not to 1");
    refused(at, "score_weights", r#"{"training_shares": {"learning_stability": 0.3}}"#, "`share.training` sum to 1.05");
    refused(at, "score_weights", r#"{"architecture_shares": {"benchmark_sanity": 0.2}}"#, "outside 0 to 0.15");
    refused(at, "plan", r#"{"sequence": 1024}"#, "`plan.sequence` can't be changed by a row");
    refused(
        at,
        "gpu_policy",
        r#"{"full_scale_eval": 4}"#,
        "asks for 4 GPUs, and the largest enabled execution target has 0",
    );
    let deep = format!(r#"{{"margin": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    refused(at, "reward_pools", &deep, "nested deeper than 6 levels");
    let huge = format!(r#"{{"margin": 0.05{}}}"#, " ".repeat(70_000));
    refused(at, "reward_pools", &huge, "at most 65536 are read");
    let only_checked = prism(at, &["check", "reward_pools", r#"{"margin": 9}"#]);
    assert_eq!(only_checked.status.code(), Some(3), "{}", error(&only_checked));
    assert!(prism(at, &["check", "reward_pools", r#"{"margin": 0.3}"#]).status.success());
    assert_eq!(json(&prism(at, &["history", "--json"])), Value::Array(vec![]));
}

#[test]
fn devices_are_declared_before_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    drop(database(at));
    let box_of_two = r#"{"targets": [{"id": "box", "devices": ["0", "1"]}]}"#;
    assert!(prism(at, &["set", "execution_targets", box_of_two]).status.success());
    assert!(prism(at, &["set", "gpu_policy", r#"{"full_scale_eval": 2}"#]).status.success());
    refused(at, "execution_targets", r#"{"targets": []}"#, "asks for 2 GPUs");
    let drains = r#"{"targets": [{"id": "box", "devices": ["0", "1"], "draining": true}]}"#;
    assert!(prism(at, &["set", "execution_targets", drains]).status.success());
}

#[tokio::test]
async fn rows_of_another_hand_are_shown_as_refused_and_later_ones_wait_for_their_block() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let validator = database(at);
    validator.open_cohort(Block(40)).await.unwrap();
    let set = |arguments: &[&str]| {
        let output = prism(at, arguments);
        assert!(output.status.success(), "{}", error(&output));
    };
    set(&["set", "reward_pools", r#"{"margin": 0.05}"#]);
    set(&["set", "reward_pools", r#"{"margin": 0.06}"#, "--from-block", "50"]);
    set(&["set", "reward_pools", r#"{"margin": 0.07}"#, "--from-time", "99999999999"]);
    set(&["set", "reward_pools", r#"{"margin": 0.08}"#, "--disabled"]);
    // As from a shell.
    let shell = rusqlite::Connection::open(at.join("prism.sqlite")).unwrap();
    let row = "INSERT INTO policy (section, value) VALUES ('reward_pools', '{\"margin\": 90}')";
    shell.execute(row, []).unwrap();
    let margin =
        |arguments: &[&str]| json(&prism(at, arguments))["sections"]["reward_pools"]["value"]["margin"].clone();
    assert_eq!(margin(&["show", "--json"]), 0.05, "as of block 40");
    assert_eq!(margin(&["show", "--json", "--block", "50"]), 0.06);
    let shown = json(&prism(at, &["show", "--json"]));
    assert_eq!((&shown["refused"][0]["version"], &shown["block"]), (&5.into(), &40.into()));
    let checked = prism(at, &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&report["rows"], &report["refused"].as_array().unwrap().len()), (&5.into(), &1));
    assert_eq!(report["refused"][0]["defect"], "policy number `reward.margin` is 90, outside 0 to 8");
}

#[test]
fn without_a_database_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let output = prism(folder.path(), &["show"]);
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    assert!(error(&output).contains("no database"), "{}", error(&output));
    assert!(!folder.path().join("prism.sqlite").exists());
}
