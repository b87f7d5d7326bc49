//! `prism manifest` and `prism eval --manifest-dir` from outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn prism(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prism")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_is_measured_at_home_leaves_a_sound_manifest_and_a_changed_one_is_refused_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles/native-recipe");
    let (bundle, out) = (bundle.to_str().unwrap(), out.to_str().unwrap());
    let measured = prism(&["eval", bundle, "--smoke", "--steps", "16", "--json", "--manifest-dir", out]);
    assert!(measured.status.success(), "{}", text(&measured.stderr));
    let file = format!("{out}/prism_run_manifest.v1.json");
    let sound = prism(&["manifest", "check", &file, "--files"]);
    assert_eq!(sound.status.code(), Some(0), "{}{}", text(&sound.stdout), text(&sound.stderr));
    for name in ["architecture_graph.json", "architecture_metadata.v1.json", "architecture.mmd", "run_log.jsonl"] {
        assert!(Path::new(out).join(name).is_file(), "{name}");
    }
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        (&manifest["mode"], &manifest["validation"]["score_eligible"]),
        (&json!("local_cpu_smoke"), &json!(false))
    );
    let diagnostics = manifest["metrics"]["diagnostics"].as_object().unwrap();
    assert!(diagnostics.len() >= 7, "{diagnostics:?}");

    let official = prism(&["manifest", "check", &file, "--official", "--json"]);
    assert_eq!(official.status.code(), Some(3));
    let told: Value = serde_json::from_slice(&official.stdout).unwrap();
    assert_eq!((&told["valid"], &told["violations"][0]["place"]), (&json!(false), &json!("mode")));

    fs::write(format!("{out}/run_log.jsonl"), "{}\n").unwrap();
    let altered = prism(&["manifest", "check", &file, "--files"]);
    assert_eq!(altered.status.code(), Some(3));
    assert!(text(&altered.stdout).starts_with("artifacts.run_log.sha256 is"), "{}", text(&altered.stdout));

    manifest["metrics"]["tokens_seen"] = json!(5);
    fs::write(&file, manifest.to_string()).unwrap();
    let changed = prism(&["manifest", "check", &file]);
    assert_eq!(changed.status.code(), Some(3));
    let tokens = &manifest["compute"]["tokens_seen"];
    assert!(text(&changed.stderr).contains(&format!("metrics.tokens_seen is 5, compute.tokens_seen is {tokens}")));
    fs::write(&file, "{\"mode\": 1").unwrap();
    assert_eq!(prism(&["manifest", "check", &file]).status.code(), Some(3));
    assert_eq!(prism(&["manifest", "check", out]).status.code(), Some(4));
}

#[test]
fn the_schema_that_is_printed_is_the_one_that_is_published() {
    let printed = prism(&["manifest", "schema"]);
    assert!(printed.status.success());
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prism_run_manifest.v1.schema.json");
    assert_eq!(text(&printed.stdout), fs::read_to_string(published).unwrap());
}
