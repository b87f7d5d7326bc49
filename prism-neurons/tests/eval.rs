//! `prism eval` and `prism smoke` from outside: a validator's measurement at home, and a check of the wiring.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Exit code and JSON of a subcommand over a bundle.
fn prism(command: &str, bundle: &Path, flags: &[&str]) -> (i32, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_prism")).arg(command).arg(bundle).arg("--json").args(flags).output().unwrap();
    let value = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), value.unwrap_or_else(|error| panic!("{error}: {errors}")))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles").join(name)
}

#[test]
fn the_baseline_itself_is_measured_as_worth_nothing_over_it() {
    let (code, report) = prism("eval", &example("native-gpt"), &["--smoke", "--steps", "40"]);
    assert_eq!((code, &report["score_eligible"]), (0, &Value::Bool(false)));
    let advantage = &report["score"]["tracks"]["architecture"]["advantage"];
    assert_eq!(advantage["mean"], 0.0);
    assert_eq!(report["curve"], report["baseline_curve"]);
    let curve = report["curve"].as_array().unwrap();
    assert!(curve.len() > 4 && curve[0]["bits_per_byte"].as_f64() > curve.last().unwrap()["bits_per_byte"].as_f64());
    let rates = report["runs"].as_array().unwrap().iter().filter(|run| run["role"]["reference"].is_object()).count();
    assert_eq!(rates, 3);
    // Probes of the demo: a wider model and a larger batch, of the submission and of the baseline alike.
    for runs in ["runs", "baselines"] {
        let probes = report[runs].as_array().unwrap().iter().filter(|run| run["role"]["scaling_probe"].is_object());
        let axes: Vec<&str> = probes.map(|run| run["role"]["scaling_probe"]["axis"].as_str().unwrap()).collect();
        assert_eq!(axes, ["size", "batch"], "{runs}");
    }
    let reasons = report["score"]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason == "not eligible: measured as local_cpu_smoke"), "{reasons:?}");
}

#[test]
fn signals_stand_beside_the_baselines_and_another_scorer_is_chosen_by_name() {
    let flags = ["--smoke", "--steps", "40", "--scorer", "prequential"];
    let (code, report) = prism("eval", &example("native-gpt"), &flags);
    assert_eq!(code, 0);
    assert_eq!(report["score"]["scorer"], "prequential/2");
    let track = &report["score"]["tracks"]["architecture"];
    assert_eq!(track["components"].as_object().unwrap().keys().collect::<Vec<_>>(), ["bits_per_byte"]);
    let signals = &report["signals"]["submission"]["architecture"];
    assert_eq!(signals, &report["signals"]["baseline"], "the same architecture on the same rows");
    assert!(signals["learning_speed"].as_f64().unwrap() > 0.0);
    let diagnostics = signals["diagnostics"].as_object().unwrap();
    assert_eq!(diagnostics.len(), 7);
    for (name, diagnostic) in diagnostics {
        assert_ne!(diagnostic["status"], "not_applicable", "{name}");
        assert!(
            diagnostic["aggregate"].is_number() && !diagnostic["per_layer"].as_object().unwrap().is_empty(),
            "{name}"
        );
    }
    let output = Command::new(env!("CARGO_BIN_EXE_prism"))
        .args(["eval", "--smoke", "--scorer", "prizm"])
        .arg(example("native-gpt"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no scorer is called `prizm`"));
}

#[test]
fn the_same_word_measures_the_same_and_another_does_not() {
    let curve = |seed| {
        let flags = ["--smoke", "--steps", "40", "--seed", seed];
        prism("eval", &example("native-recipe"), &flags).1["score"]["tracks"]["training"].clone()
    };
    let first = curve("one");
    assert!(first["advantage"]["mean"].is_number());
    assert_eq!(first, curve("one"));
    assert_ne!(first, curve("two"));
}

#[test]
fn smoke_wires_a_bundle_up_and_never_scores() {
    for name in ["native-gpt", "native-llama", "native-recipe"] {
        let (code, report) = prism("smoke", &example(name), &[]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["validation"]["passed"], true);
        assert_eq!(report["validation"]["score_eligible"], false);
        assert!(report.get("score").is_none());
    }
}

#[test]
fn smoke_says_why_a_bundle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let graph = fs::read_to_string(example("native-gpt").join("model.graph.yaml")).unwrap();
    fs::write(folder.path().join("model.graph.yaml"), graph).unwrap();
    let recipe = "recipe: prism.recipe/1\noptimizer: { kind: muon, learning_rate: 0.02 }\n";
    fs::write(folder.path().join("recipe.yaml"), recipe).unwrap();
    let manifest = "architecture: { entrypoint: model.graph.yaml }\ntraining: { entrypoint: recipe.yaml }\n";
    fs::write(folder.path().join("prism.yaml"), manifest).unwrap();
    let (code, report) = prism("smoke", folder.path(), &[]);
    assert_eq!((code, &report["validation"]["passed"]), (3, &Value::Bool(false)), "{report:#}");
    assert!(report["validation"]["reason"].as_str().unwrap().contains("muon trains matrices only"), "{report:#}");
}
