//! Holds and what later submissions are compared with: across kills, races and reopening.
use super::{
    duplicates::{FingerprintRecord, Provenance},
    holds::{Answer, Ending, Expiry, Holding, Resolution},
    submissions::{Examined, Reason},
    *,
};
use prism_core::{
    Block, Digest, FamilyId, Finite, Hotkey, SubmissionId,
    source::{Batch, Cursor},
    submission::{Precedence, Submission, SubmissionKind, SubmissionStatus},
};
use prism_eval::{
    duplicate::{Entry, Fingerprint, Part, PartPrint, Sketch, Subject, report},
    policy::DuplicateNumbers,
};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const ALICE: Hotkey = Hotkey([1; 32]);
const BOB: Hotkey = Hotkey([2; 32]);
const FAMILY: FamilyId = FamilyId([9; 32]);
const KIND: SubmissionKind = SubmissionKind::ArchitectureOnly;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn place(hotkey: Hotkey, extrinsic: u32) -> Precedence {
    Precedence { block: Block(7), extrinsic, hotkey, local: true }
}

fn submission(hotkey: Hotkey, extrinsic: u32) -> Submission {
    Submission::bundle(hotkey, place(hotkey, extrinsic), Digest::of(&extrinsic.to_le_bytes()), 4)
}

/// An architecture whose sketch shares all minima with that of every other `of` but those below `own`.
fn print(of: u32, own: u32, salt: u32) -> Fingerprint {
    let minimum = |n: u32| {
        if n < own {
            u32::from_le_bytes(Digest::of(&[salt.to_le_bytes(), n.to_le_bytes()].concat()).0[..4].try_into().unwrap())
        } else {
            of.wrapping_mul(7919) ^ n.wrapping_mul(104_729)
        }
    };
    let structure = Digest::of(&[of.to_le_bytes(), own.to_le_bytes(), salt.to_le_bytes()].concat());
    let sketch = Some(Sketch::of_minima((0..128).map(minimum)));
    let part = PartPrint { part: Part::Architecture, structure, sketch };
    Fingerprint { work: structure, family: FamilyId(structure.0), parts: vec![part] }
}

async fn opened(store: &Store, all: &[Submission]) {
    store.open_cohort(Block(1)).await.unwrap();
    store.take_in("http", Batch { submissions: all.to_vec(), next: Cursor("1".into()) }, now()).await.unwrap();
}

async fn passed(store: &Store, one: &Submission, family: FamilyId, fingerprint: Option<Fingerprint>) {
    let entries = match &fingerprint {
        Some(fingerprint) => store.alike(fingerprint).await.unwrap(),
        None => Vec::new(),
    };
    let provenance = fingerprint.map(|fingerprint| provenance(one, fingerprint, &entries));
    let material = BTreeMap::new();
    let examined = Examined { kind: KIND, family, founds: Some(material.clone()), material, provenance };
    store.pass(one.id, examined, vec![], now()).await.unwrap();
}

fn provenance(one: &Submission, fingerprint: Fingerprint, entries: &[Entry]) -> Provenance {
    let subject = Subject { submission: one.id, precedence: one.precedence, fingerprint: &fingerprint };
    let report = report(&subject, entries, &DuplicateNumbers::default());
    Provenance { family: fingerprint.family, fingerprint, report }
}

fn holding(rule: &str, ending: Option<Ending>, family: Option<FamilyId>) -> Holding {
    let expiry = ending.map(|ending| Expiry { at: now() + Duration::from_secs(3600), ending, family });
    Holding { kind: KIND, reason: Reason::new(rule, "why"), expiry, provenance: None }
}

fn says(answer: Answer, operator: &str) -> Resolution {
    Resolution { answer, hold: None, operator: operator.into(), note: "looked at it".into() }
}

#[tokio::test]
async fn a_hold_and_what_it_is_compared_with_outlive_the_process_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prism.db");
    let (one, two) = (submission(ALICE, 1), submission(BOB, 2));
    let (original, variant) = (print(1, 0, 0), print(1, 36, 5));
    let store = Store::open(&path).unwrap();
    opened(&store, &[one.clone(), two.clone()]).await;
    passed(&store, &one, original.family, Some(original.clone())).await;
    let entries = store.alike(&variant).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| (entry.submission, entry.hotkey)).collect::<Vec<_>>(),
        [(one.id, Some(ALICE))]
    );
    let held = provenance(&two, variant.clone(), &entries);
    let similarity = held.report.closest[0].similarity.get();
    assert!((0.65..0.8).contains(&similarity), "{similarity}");
    // Killed before the transaction: nothing of it is there. After it: all of it.
    store.die_after(0);
    let with = Holding {
        provenance: Some(held.clone()),
        ..holding("duplicate.borderline", Some(Ending::Attach), Some(original.family))
    };
    assert!(store.hold(two.id, with.clone(), vec![], now()).await.is_err());
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.open_holds(9).await.unwrap(), []);
    assert_eq!(store.duplicate_report(two.id).await.unwrap(), None);
    assert_eq!(store.alike(&variant).await.unwrap().len(), 1);
    store.hold(two.id, with, vec![], now()).await.unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    let hold = store.open_holds(9).await.unwrap().remove(0);
    assert_eq!((hold.number, hold.submission.submission.id, hold.report), (1, two.id, Some(held.report)));
    assert_eq!(hold.submission.status, SubmissionStatus::Held);
    assert_eq!(store.alike(&variant).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_answer_is_given_once_repeated_freely_and_contradicted_never() {
    let store = Store::in_memory().unwrap();
    let all: Vec<Submission> = (1..=4).map(|n| submission(ALICE, n)).collect();
    opened(&store, &all).await;
    passed(&store, &all[0], FAMILY, None).await;
    for one in &all[1..] {
        store.hold(one.id, holding("review.odd", None, None), vec![], now()).await.unwrap();
    }
    store.close_cohort(1, Block(2), None).await.unwrap();
    let status = async |one: &Submission| {
        let record = store.submission(one.id).await.unwrap().unwrap();
        (record.status, record.cohort, record.reason.map(|reason| reason.rule))
    };
    // Allowed: examined again in the cohort that is open now, and never held for that again.
    let allowed = store.resolve(all[1].id, says(Answer::Allow, "ann"), now()).await.unwrap();
    assert_eq!(status(&all[1]).await, (SubmissionStatus::Pending, 2, None));
    let again = store.resolve(all[1].id, says(Answer::Allow, "bob"), now()).await.unwrap();
    assert_eq!(again, allowed, "the first answer stays, with its author");
    let other = store.resolve(all[1].id, says(Answer::Reject, "bob"), now()).await.unwrap_err();
    assert_eq!(other.to_string(), "hold 1 is answered with allow by \"ann\", not open");
    let rulings = store.rulings(all[1].id).await.unwrap();
    assert_eq!(store.answers(all[1].id).await.unwrap(), rulings);
    assert!(rulings.reviewed && !rulings.compared && rulings.family.is_none());
    // Attached, to a family that is there.
    let stranger = store.resolve(all[2].id, says(Answer::Attach(FamilyId([8; 32])), "ann"), now()).await.unwrap_err();
    assert!(matches!(stranger, StoreError::NotFound { what: "family", .. }), "{stranger}");
    store.resolve(all[2].id, says(Answer::Attach(FAMILY), "ann"), now()).await.unwrap();
    let rulings = store.rulings(all[2].id).await.unwrap();
    assert_eq!((rulings.compared, rulings.family), (true, Some(FAMILY)));
    // Rejected.
    store.resolve(all[3].id, says(Answer::Reject, "ann"), now()).await.unwrap();
    assert_eq!(status(&all[3]).await, (SubmissionStatus::Rejected, 1, Some("hold.rejected".into())));
    let missing = store.resolve(all[0].id, says(Answer::Allow, "ann"), now()).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing}");
    // Held once more by another rule: whoever names the first hold doesn't answer the second.
    store.hold(all[1].id, holding("review.other", None, None), vec![], now()).await.unwrap();
    let late = Resolution { hold: Some(1), ..says(Answer::Allow, "ann") };
    assert_eq!(store.resolve(all[1].id, late, now()).await.unwrap().number, 1);
    assert_eq!(store.open_holds(9).await.unwrap().len(), 1);
    assert_eq!(store.holds_of(all[1].id).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_answer_at_once_one_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prism.db");
    let store = Store::open(&path).unwrap();
    let one = submission(ALICE, 1);
    opened(&store, std::slice::from_ref(&one)).await;
    store.hold(one.id, holding("review.odd", None, None), vec![], now()).await.unwrap();
    // Half of them beside the validator, as the command line does.
    let beside = Store::beside(&path).unwrap();
    let answers = (0..32).map(|n| {
        let store = if n % 4 < 2 { store.clone() } else { beside.clone() };
        let answer = if n % 2 == 0 { Answer::Allow } else { Answer::Reject };
        tokio::spawn(async move { (n % 2, store.resolve(one.id, says(answer, &n.to_string()), now()).await) })
    });
    let answers: Vec<_> = futures::future::join_all(answers).await.into_iter().map(Result::unwrap).collect();
    let heard: std::collections::BTreeSet<i32> =
        answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(which, _)| *which).collect();
    assert_eq!(heard.len(), 1, "{answers:?}");
    let refused = answers.iter().filter_map(|(_, answer)| answer.as_ref().err());
    assert!(refused.clone().count() == 16 && refused.clone().all(|error| matches!(error, StoreError::State { .. })));
    let hold = store.holds_of(one.id).await.unwrap().remove(0);
    let status = store.submission(one.id).await.unwrap().unwrap().status;
    let ending = hold.ended.unwrap().ending;
    let agree = [(Ending::Allow, SubmissionStatus::Pending), (Ending::Reject, SubmissionStatus::Rejected)];
    assert!(agree.contains(&(ending, status)), "{ending:?} {status:?}");
}

#[tokio::test]
async fn a_hold_that_nobody_answers_ends_as_it_was_to_end() {
    let store = Store::in_memory().unwrap();
    let all: Vec<Submission> = (1..=6).map(|n| submission(ALICE, n)).collect();
    opened(&store, &all).await;
    passed(&store, &all[0], FAMILY, None).await;
    let endings = [
        Some((Ending::Attach, Some(FAMILY))),
        Some((Ending::Attach, Some(FamilyId([8; 32])))),
        Some((Ending::Reject, None)),
        Some((Ending::Examine, None)),
        None,
    ];
    for (one, ending) in all[1..].iter().zip(endings) {
        let family = ending.and_then(|(_, family)| family);
        let holding = holding("duplicate.borderline", ending.map(|(ending, _)| ending), family);
        store.hold(one.id, holding, vec![], now()).await.unwrap();
    }
    assert_eq!(store.expire_holds(now() + Duration::from_secs(3599)).await.unwrap(), []);
    let later = now() + Duration::from_secs(3600);
    let ended: Vec<Ending> = store.expire_holds(later).await.unwrap().into_iter().map(|(_, ending)| ending).collect();
    assert_eq!(ended, [Ending::Attach, Ending::Allow, Ending::Reject, Ending::Examine]);
    assert_eq!(store.expire_holds(later).await.unwrap(), []);
    let mut statuses = Vec::new();
    for one in &all[1..] {
        statuses.push(store.submission(one.id).await.unwrap().unwrap().status);
    }
    let (pending, rejected, held) = (SubmissionStatus::Pending, SubmissionStatus::Rejected, SubmissionStatus::Held);
    assert_eq!(statuses, [pending, pending, rejected, pending, held]);
    assert_eq!(store.rulings(all[1].id).await.unwrap().family, Some(FAMILY));
    assert_eq!(store.answers(all[1].id).await.unwrap(), Default::default(), "nobody said anything");
    let again = store.rulings(all[4].id).await.unwrap();
    assert!(!again.compared && !again.reviewed, "examined as if it had never been held");
    let ended = store.holds_of(all[3].id).await.unwrap().remove(0).ended.unwrap();
    assert_eq!((ended.operator, ended.note.as_str()), (None, "nobody answered in time"));
}

fn record(n: u32, fingerprint: Fingerprint) -> FingerprintRecord {
    FingerprintRecord {
        submission: SubmissionId::of_parts("test", &[&n.to_le_bytes()]),
        family: fingerprint.family,
        precedence: place(ALICE, n),
        published: false,
        fingerprint,
    }
}

#[tokio::test]
async fn a_baseline_that_is_published_late_is_found_however_popular_its_shape_is_by_then() {
    let store = Store::in_memory().unwrap();
    store.keep_fingerprints((0..40).map(|n| record(n, print(1, 0, n))).collect()).await.unwrap();
    let published = |n| FingerprintRecord { published: true, ..record(n, print(1, 0, n)) };
    let asked = print(1, 0, 9999);
    // At each start of a process.
    for _ in 0..2 {
        store.keep_fingerprints(vec![published(100), published(101)]).await.unwrap();
        store.keep_fingerprints(vec![record(200, print(2, 0, 0))]).await.unwrap();
        let found = store.alike(&asked).await.unwrap();
        let public: Vec<SubmissionId> =
            found.iter().filter(|entry| entry.hotkey.is_none()).map(|entry| entry.submission).collect();
        assert_eq!(public, [published(101).submission, published(100).submission]);
        assert!(found.iter().any(|entry| entry.submission == record(0, asked.clone()).submission), "the oldest stays");
    }
    assert_eq!(store.alike(&print(2, 0, 0)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_popular_shape_does_not_make_a_lookup_longer_and_its_oldest_stay() {
    let store = Store::in_memory().unwrap();
    // A thousand variants of one shape, and a few of another.
    let crowd: Vec<FingerprintRecord> = (0..1000).map(|n| record(n, print(1, 10, n))).collect();
    store.keep_fingerprints(crowd.clone()).await.unwrap();
    store.keep_fingerprints(vec![record(5000, print(2, 0, 0))]).await.unwrap();
    let found = store.alike(&print(1, 10, 77_777)).await.unwrap();
    assert!(found.len() <= 32 && found.iter().any(|entry| entry.submission == crowd[0].submission), "{}", found.len());
    // The same work is found however popular its shape is.
    let last = &crowd[999].fingerprint;
    assert!(store.alike(last).await.unwrap().iter().any(|entry| entry.work == last.work));
    assert_eq!(store.alike(&print(2, 5, 99_999)).await.unwrap().len(), 1);
    assert_eq!(store.alike(&print(3, 0, 0)).await.unwrap(), []);
    // Kept twice is kept once.
    store.keep_fingerprints(crowd[..5].to_vec()).await.unwrap();
    assert_eq!(store.alike(&print(1, 10, 77_777)).await.unwrap(), found);
    let similar =
        found[0].sketch.unwrap().similarity(&print(1, 10, 77_777).parts[0].sketch.as_ref().unwrap().compact());
    assert!(Finite::new(similar).unwrap().get() > 0.85);
}
