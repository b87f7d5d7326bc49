//! The demo, as a newcomer runs it: a whole subnet in one process, and the same scores again.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

/// The demo's JSON under a small budget, with this many threads in the arithmetic and workers.
fn demo(seed: &str, threads: &str, workers: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_prism"))
        .args(["demo", "--json", "--steps", "40", "--seed", seed, "--workers", workers])
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{errors}", output.status);
    serde_json::from_slice(&output.stdout).expect("--json prints one JSON object")
}

fn by_name(demo: &Value) -> BTreeMap<&str, &Value> {
    demo["submissions"].as_array().unwrap().iter().map(|entry| (entry["name"].as_str().unwrap(), entry)).collect()
}

/// Everything about the submissions that must not change from run to run.
fn scores(demo: &Value) -> Vec<Value> {
    demo["submissions"].as_array().unwrap().clone()
}

#[test]
fn a_whole_subnet_pays_what_was_learned_and_repeats_bit_for_bit() {
    let first = demo("one", "1", "1");
    let cast = by_name(&first);

    // The weights that were intended are the ones that the chain reads back.
    assert_eq!(first["receipt"]["stage"], "read_back");
    let on_chain = first["weights"]["on_chain"].as_object().unwrap();
    let intended = first["weights"]["intended"].as_object().unwrap();
    assert!(!intended.is_empty() && on_chain.len() >= intended.len(), "{first:#}");

    // The same architecture under other names is the same family, the same evidence, and earns nothing.
    let (original, copy) = (cast["rotary-shift"], cast["renamed-copy"]);
    assert_eq!((&original["family"], &original["curve"]), (&copy["family"], &copy["curve"]));
    assert_eq!(original["final_score"], copy["final_score"]);
    assert!(!intended.contains_key(copy["hotkey"].as_str().unwrap()), "{intended:?}");

    // Every other member of the cast ends as it must, with a reason that names the rule.
    let ended = |name: &str| (cast[name]["status"].as_str().unwrap(), cast[name]["reason"].as_str().unwrap_or(""));
    assert_eq!(ended("gpt"), ("completed", ""));
    assert_eq!(ended("muon-recipe").0, "completed");
    assert!(ended("gpt (replayed)").1.starts_with("request.nonce: "), "{:?}", ended("gpt (replayed)"));
    assert!(ended("torn-bundle").1.starts_with("bundle.archive: "), "{:?}", ended("torn-bundle"));
    assert_eq!(ended("python-gpt").0, "held");
    assert!(ended("python-gpt").1.contains("no sandbox yet"));
    assert_eq!(cast["muon-recipe"]["family"], cast["gpt"]["family"]);

    // The same seed gives the same scores for any number of threads and workers; another seed gives others.
    assert_eq!(scores(&first), scores(&demo("one", "2", "2")));
    assert_ne!(scores(&first), scores(&demo("two", "2", "2")));
}
