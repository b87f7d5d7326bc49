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

/// A byte-level tokenizer in the form of GPT-2's: the 256 bytes, and the merges of a few words.
fn tokenizer() -> String {
    let own = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let others: Vec<u32> = (0..256).filter(|byte| !own(*byte)).collect();
    let letter = |byte: u32| {
        let code = if own(byte) { byte } else { 256 + others.iter().position(|other| *other == byte).unwrap() as u32 };
        char::from_u32(code).unwrap().to_string()
    };
    let mut tokens: Vec<String> = (0..256).map(letter).collect();
    let mut merges = Vec::new();
    for (left, right) in
        [("t", "h"), ("th", "e"), ("\u{120}", "the"), ("i", "n"), ("\u{120}", "a"), ("n", "d"), ("e", "r")]
    {
        merges.push([left, right]);
        tokens.push(format!("{left}{right}"));
    }
    let vocab: serde_json::Map<String, serde_json::Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    let level =
        serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges
        }
    })
    .to_string()
}

#[test]
fn a_dataset_in_the_tokens_of_a_file_with_questions_is_measured_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let corpus = stand_in().unwrap();
    let records = corpus.documents().map(|document| document.unwrap());
    let lines = records.map(|d| serde_json::json!({ "id": d.id, "text": d.text }).to_string());
    fs::write(at.join("part.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    fs::write(at.join("tokenizer.json"), tokenizer()).unwrap();
    let question =
        |n: usize| format!("{{\"context\":\"Number {n} is\",\"choices\":[\" the best\",\" zxqj vk\"],\"answer\":0}}");
    fs::write(at.join("quiz.jsonl"), (0..9).map(question).collect::<Vec<_>>().join("\n")).unwrap();
    fs::write(at.join("far.json"), r#"{"questions":6,"choices":4,"depths":[0.1,0.9]}"#).unwrap();
    let prepare = |out: &str, more: &[&str]| {
        let mut arguments = vec!["data", "prepare", "part.jsonl", "--out", out, "--revision", "abc", "--json"];
        arguments.extend(more);
        prism(at, &arguments)
    };
    let all = ["--tokenizer", "tokenizer.json", "--benchmark", "quiz=quiz.jsonl", "--needle", "needle=far.json"];
    let made = prepare("set", &all);
    assert!(made.status.success(), "{}", error(&made));
    let manifest: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&manifest["tokenizer"]["vocabulary"], &manifest["tokenizer"]["left_out"]), (&263.into(), &0.into()));
    assert_eq!(manifest["benchmarks"]["quiz"]["kind"], "multiple_choice");
    let shown = prism(at, &["data", "verify", "set"]);
    assert!(shown.status.success(), "{}", error(&shown));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("of 263 ids; 0 documents left out") && shown.contains("benchmark  needle"), "{shown}");

    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles/native-gpt");
    let bundle = bundle.to_str().unwrap();
    let measured = prism(at, &["eval", bundle, "--smoke", "--steps", "16", "--json", "--dataset", "set"]);
    assert!(measured.status.success(), "{}", error(&measured));
    let card = String::from_utf8_lossy(&measured.stdout).into_owned();
    assert!(card.contains("benchmark_sanity") && !card.contains("benchmark_sanity is not measured"), "{card}");

    // What can't be used is refused by name, before a folder is made.
    fs::write(at.join("broken.json"), &tokenizer()[..999]).unwrap();
    fs::write(at.join("broken.jsonl"), "{}\n").unwrap();
    for (arguments, said) in [
        (["--tokenizer", "broken.json"], "broken.json: tokenizer is not of the form"),
        (["--benchmark", "quiz=broken.jsonl"], "broken.jsonl: line 1: it is no question"),
        (["--needle", "far=broken.json"], "broken.json: it is no needle task"),
        (["--tokenizer", "nowhere.json"], "nowhere.json"),
    ] {
        let refused = prepare("other", &arguments);
        assert!(!refused.status.success() && error(&refused).contains(said), "{}", error(&refused));
        assert!(!at.join("other").exists());
    }
    for wrong in ["quiz.jsonl", "a/b=quiz.jsonl"] {
        assert_eq!(prepare("other", &["--benchmark", wrong]).status.code(), Some(2));
    }
}

#[test]
fn a_download_asks_for_a_commit_and_a_subset() {
    let folder = tempfile::tempdir().unwrap();
    let download = |revision: &str, subset: &str| {
        let arguments = ["data", "download", "--revision", revision, "--subset", subset, "--out", "raw", "--endpoint"];
        prism(folder.path(), &[&arguments[..], &["http://127.0.0.1:9"]].concat())
    };
    let branch = download("main", "sample-10BT");
    assert_eq!(branch.status.code(), Some(3), "{}", error(&branch));
    assert!(error(&branch).contains("no commit of 40 hexadecimal digits"), "{}", error(&branch));
    let strange = download(&"a".repeat(40), "../..");
    assert_eq!(strange.status.code(), Some(3), "{}", error(&strange));
}
