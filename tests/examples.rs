//! Every example runs to its end, as a newcomer would run it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::{
    env,
    path::PathBuf,
    process::{Command, Output},
};

/// The example's program: `cargo test` builds the examples of the workspace beside the tests.
fn example(name: &str, arguments: &[&str]) -> Output {
    let test = env::current_exe().expect("a test has a path");
    let profile: PathBuf = test.parent().and_then(|deps| deps.parent()).expect("tests lie in <profile>/deps").into();
    let program = profile.join("examples").join(name);
    Command::new(&program).args(arguments).output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn printed(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{out}\n{err}", output.status);
    out.into_owned()
}

#[test]
fn validator_connects_opens_cohorts_and_stops() {
    let text = printed(&example("validator", &[]));
    assert!(text.contains("taken at http://127.0.0.1:") && text.contains("is open"), "{text}");
}

#[test]
fn miner_holds_its_bundle_to_the_validators_rules() {
    let text = printed(&example("miner", &[]));
    assert!(text.contains("keeps every rule"), "{text}");
}

#[test]
fn swap_scorer_scores_a_submission_by_its_own_rule() {
    let text = printed(&example("swap_scorer", &[]));
    assert!(text.contains("under held-out/1"), "{text}");
}
