//! `prism data`, run as a user runs it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use prism_eval::data::fixture::stand_in;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn prism(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prism")).current_dir(folder).args(arguments).output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_dataset_is_made_checked_measured_on_and_refused_when_it_is_altered() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let corpus = stand_in().unwrap();
    let records = corpus.documents().map(|document| document.unwrap());
    let records = records.map(|d| serde_json::json!({ "id": d.id, "text": d.text }));
    let lines: Vec<String> = records.map(|record| record.to_string()).collect();
    fs::write(at.join("part.jsonl"), lines.join("\n")).unwrap();

    let made = prism(at, &["data", "prepare", "part.jsonl", "--out", "set", "--revision", "abc", "--json"]);
    assert!(made.status.success(), "{}", error(&made));
    let manifest: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&manifest["name"], &manifest["revision"]), (&"HuggingFaceFW/fineweb-edu".into(), &"abc".into()));
    assert_eq!(manifest["splits"]["train"]["documents"], 1263);
    let checked = prism(at, &["data", "verify", "set"]);
    assert!(checked.status.success(), "{}", error(&checked));

    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles/native-gpt");
    let measure = |set: &str| {
        let arguments = ["eval", bundle.to_str().unwrap(), "--smoke", "--steps", "16", "--json", "--dataset", set];
        prism(at, &arguments)
    };
    let measured = measure("set");
    assert!(measured.status.success(), "{}", error(&measured));

    let shard = at.join("set/test-00000.jsonl");
    let text = fs::read_to_string(&shard).unwrap();
    fs::write(&shard, text.replacen("the", "The", 1)).unwrap();
    for refused in [prism(at, &["data", "verify", "set"]), measure("set")] {
        assert_eq!(refused.status.code(), Some(1), "{}", error(&refused));
        assert!(error(&refused).contains("test-00000.jsonl has "), "{}", error(&refused));
    }
}

#[test]
fn a_validator_without_a_dataset_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let refused = prism(folder.path(), &["validator", "--endpoint", "ws://127.0.0.1:9"]);
    assert_eq!(refused.status.code(), Some(3), "{}", error(&refused));
    assert!(error(&refused).contains("prism data prepare"), "{}", error(&refused));
}
