//! `prism check` from outside: exit codes and messages that name what is wrong and where.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Exit code, standard output and standard error of `prism check`.
fn check(bundle: &Path, flags: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_prism")).arg("check").arg(bundle).args(flags).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles").join(name)
}

#[test]
fn example_bundles_keep_every_rule() {
    for name in ["native-gpt", "native-llama", "native-recipe"] {
        let (code, out, err) = check(&example(name), &["--json"]);
        assert_eq!(code, 0, "{name}: {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&report["accepted"], &report["native"]), (&Value::Bool(true), &Value::Bool(true)), "{name}");
        assert_eq!(report["family"].is_string(), name != "native-recipe", "{name}");
    }
}

#[test]
fn example_bundles_of_python_are_found_without_fault() {
    let names = ["gpt", "min-gru", "muon", "train-step", "checkpoint", "recipe"];
    for name in names {
        let (code, out, err) = check(&example(&format!("python-{name}")), &["--json"]);
        assert_eq!(code, 0, "{name}: {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&report["accepted"], &report["native"]), (&Value::Bool(true), &Value::Bool(false)), "{name}");
        let grave = |finding: &&Value| finding["grade"] != "note";
        assert_eq!(report["findings"].as_array().unwrap().iter().find(grave), None, "{name}");
        assert_eq!(report["family"].is_string(), name != "recipe", "{name}");
    }
}

/// The published family in Python is the example, so that what miners start from is what they are compared with.
#[test]
fn the_python_gpt_is_the_published_family() {
    let model = fs::read_to_string(example("python-gpt").join("model.py")).unwrap();
    assert_eq!(Some(model.as_str()), prism_eval::guest::baselines::source("gpt-python"));
}

#[test]
fn a_broken_bundle_is_refused_with_rule_place_and_code() {
    let graph = |nodes: &str| format!("graph: prism.graph/1\nnodes:\n{nodes}output: out\n");
    let table = "  - { id: table, op: embedding, of: tokens, dim: 8 }\n";
    let cases = [
        ("kind: full\nkinds: 1\n", graph(table), "bundle.manifest", "kinds"),
        ("", graph("  - { id: out, op: telepathy, of: tokens }\n"), "graph.operator", "telepathy"),
        ("", graph(&format!("{table}  - {{ id: out, op: linear, of: table, dim: 7 }}\n")), "graph.shape", "7"),
        ("", graph("  - { id: a, op: add, of: [b, b] }\n  - { id: b, op: add, of: [a, a] }\n"), "graph.cycle", "a"),
        (
            "",
            graph(&format!(
                "{table}  - {{ id: next, op: shift, of: table, by: -1 }}\n  - {{ id: out, op: linear, of: next, dim: vocab_size }}\n"
            )),
            "graph.causality",
            "next",
        ),
        (
            "",
            graph(
                "  - { id: table, op: embedding, of: tokens, dim: 60000 }\n  - { id: big, op: linear, of: table, dim: 60000 }\n  - { id: out, op: linear, of: big, dim: vocab_size }\n",
            ),
            "graph.parameters",
            "parameters",
        ),
    ];
    for (number, (manifest, model, rule, named)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = if manifest.is_empty() { "kind: full\n" } else { manifest };
        let manifest = format!("{manifest}architecture: {{ entrypoint: model.graph.yaml }}\n");
        fs::write(folder.path().join("prism.yaml"), manifest).unwrap();
        fs::write(folder.path().join("model.graph.yaml"), model).unwrap();
        let (code, out, err) = check(folder.path(), &["--json"]);
        assert_eq!(code, 3, "case {number}: {out}{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["rule"], rule, "case {number}: {report}");
        assert!(err.contains(named), "case {number} does not name {named}: {err}");
    }
}
