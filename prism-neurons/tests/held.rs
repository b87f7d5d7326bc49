//! `prism held`, run as an operator runs it: beside a validator that has its store open, and without one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use prism_core::{
    Block, Digest, FamilyId, Hotkey, SubmissionId,
    source::{Batch, Cursor},
    submission::{Precedence, Submission, SubmissionKind, SubmissionStatus},
};
use prism_neurons::store::{
    Store,
    holds::{Ending, Expiry, Holding},
    submissions::{Examined, Reason},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

const FAMILY: FamilyId = FamilyId([9; 32]);

struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.error);
        serde_json::from_str(&self.out).unwrap()
    }
}

fn prism(folder: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_prism"))
        .current_dir(folder)
        .args(["held", "--data", "state"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

/// A store with one family and three holds.
async fn held(store: &Store) -> Vec<SubmissionId> {
    let hotkey = Hotkey([1; 32]);
    let of = |extrinsic: u32| {
        let precedence = Precedence { block: Block(7), extrinsic, hotkey, local: true };
        Submission::bundle(hotkey, precedence, Digest::of(&extrinsic.to_le_bytes()), 4)
    };
    let all: Vec<Submission> = (1..=4).map(of).collect();
    let ids: Vec<SubmissionId> = all.iter().map(|one| one.id).collect();
    let (kind, now, material) = (SubmissionKind::ArchitectureOnly, SystemTime::now(), BTreeMap::new());
    store.open_cohort(Block(1)).await.unwrap();
    store.take_in("http", Batch { submissions: all, next: Cursor("4".into()) }, now).await.unwrap();
    let examined = Examined { kind, family: FAMILY, founds: Some(material.clone()), material, provenance: None };
    store.pass(ids[0], examined, vec![], now).await.unwrap();
    for (id, rule) in ids[1..].iter().zip(["duplicate.borderline", "review.odd", "sandbox.none"]) {
        let at = now + Duration::from_secs(86_400);
        let expiry = (rule != "sandbox.none").then_some(Expiry { at, ending: Ending::Reject, family: None });
        let holding = Holding { kind, reason: Reason::new(rule, "for a person to look at"), expiry, provenance: None };
        store.hold(*id, holding, vec![], now).await.unwrap();
    }
    ids[1..].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_are_listed_shown_and_answered_beside_a_running_validator() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let none = prism(at, &["list"]);
    assert_eq!(none.code, Some(1), "{}", none.error);
    assert!(none.error.contains("no database") && !at.join("state").exists(), "{}", none.error);

    std::fs::create_dir(at.join("state")).unwrap();
    let store = Store::open(at.join("state/prism.sqlite")).unwrap();
    let ids = held(&store).await;
    let list = prism(at, &["list", "--json"]).json();
    let rules: Vec<&str> = list["held"].as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["duplicate.borderline", "review.odd", "sandbox.none"]);
    let shown = prism(at, &["list"]);
    assert!(
        shown.out.contains("it ends: reject") && shown.out.contains("until what is missing is there"),
        "{}",
        shown.out
    );
    let id = ids[0].to_string();
    let detail = prism(at, &["show", &id, "--json"]).json();
    assert_eq!(detail["holds"][0]["hold"], 1);

    let resolve = |id: &str, answer: &[&str]| {
        let who = ["--operator", "ann", "--reason", "a variant", "--json"];
        prism(at, &[&["resolve", id][..], answer, &who].concat())
    };
    let family = FAMILY.to_string();
    assert_eq!(resolve(&id, &["attach"]).code, Some(2), "attach needs a family");
    let stranger = FamilyId([8; 32]).to_string();
    assert_eq!(resolve(&id, &["attach", "--family", &stranger]).code, Some(1));
    let attached = resolve(&id, &["attach", "--family", &family]).json();
    assert_eq!((attached["status"].as_str(), attached["answer"]["operator"].as_str()), (Some("pending"), Some("ann")));
    assert_eq!(resolve(&id, &["attach", "--family", &family]).json(), attached, "the same answer again");
    let other = resolve(&id, &["reject"]);
    assert_eq!(other.code, Some(3), "{}", other.error);
    assert!(other.error.contains("answered with attach by \"ann\""), "{}", other.error);
    assert_eq!(store.rulings(ids[0]).await.unwrap().family, Some(FAMILY));
    let rejected = resolve(&ids[1].to_string(), &["reject"]).json();
    assert_eq!(rejected["status"], "rejected");
    let record = store.submission(ids[1]).await.unwrap().unwrap();
    assert_eq!((record.status, record.reason.unwrap().rule.as_str()), (SubmissionStatus::Rejected, "hold.rejected"));
    drop(store);

    // The validator is down, and the last one is answered all the same.
    let allowed = resolve(&ids[2].to_string(), &["allow", "--hold", "3"]).json();
    assert_eq!(allowed["status"], "pending");
    assert!(prism(at, &["list"]).out.contains("nothing is held"));
    let unknown = prism(at, &["show", &SubmissionId([7; 32]).to_string()]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.error);
    assert_eq!(prism(at, &["show", "7"]).code, Some(3));
}

#[test]
fn an_internal_api_that_could_admit_nobody_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let start = |token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
        command.current_dir(folder.path()).args(["validator", "--smoke", "--endpoint", "ws://127.0.0.1:9"]);
        command.env("PRISM__INTERNAL__LISTEN", "127.0.0.1:0");
        if !token.is_empty() {
            std::fs::write(folder.path().join("token"), token).unwrap();
            command.env("PRISM__INTERNAL__TOKEN_FILE", "token");
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = start("");
    assert!(code == Some(3) && error.contains("internal.token_file is not"), "{code:?} {error}");
    let (code, error) = start("short\n");
    assert!(code == Some(3) && error.contains("16 to 4096 visible characters"), "{code:?} {error}");
}
