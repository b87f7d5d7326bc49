//! What resembles another's work, from its bundle to what becomes of it, and through kills.
use super::{
    tests::{ALICE, BOB, World, packed, resolved},
    *,
};
use crate::store::{
    holds::{Answer, Ending, Resolution},
    submissions::SubmissionRecord,
};
use prism_core::{
    FamilyId, Finite, Hotkey, SubmissionId,
    plan::Subject,
    reviewer::{Finding, Grade as Grading, Source},
    submission::{SubmissionKind, SubmissionStatus},
    testing::{
        fakes::{Script, ScriptedTrainer},
        sample,
    },
};
use prism_eval::{
    bundle,
    duplicate::{Action, Grade},
};
use std::collections::BTreeMap;

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";
/// No published architecture is like it.
const ORIGINAL: &str = include_str!("../../../prism-eval/src/duplicate/gated_shift.graph.yaml");

fn bundled(graph: &str) -> Vec<u8> {
    let files = [("prism.yaml", MANIFEST), ("model.graph.yaml", graph)];
    bundle::pack(&files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()).unwrap()
}

fn doubtful() -> Vec<u8> {
    bundled(&ORIGINAL.replace("id: final_norm, op: rms_norm", "id: final_norm, op: layer_norm"))
}

/// A policy that is small and holds.
fn holding() -> PrismPolicy {
    let mut policy = PrismPolicy::smoke();
    policy.duplicate.hold = Finite::ONE;
    policy
}

/// Everything but the baseline shows an advantage.
fn trainer() -> ScriptedTrainer {
    let gpt = resolved("gpt");
    ScriptedTrainer::new(move |task| {
        let baseline = matches!(task.subject, Subject::Native { graph, .. } if graph == gpt);
        Script::Shows(Box::new(sample::evidence(task, if baseline { 4.5 } else { 4.0 })))
    })
    .with_python(false)
}

async fn sent(world: &World, store: &Store, hotkey: Hotkey, bundle: &[u8]) -> SubmissionId {
    world.submit(store, hotkey, bundle, SubmissionKind::ArchitectureOnly).await
}

async fn record(store: &Store, id: SubmissionId) -> SubmissionRecord {
    store.submission(id).await.unwrap().unwrap()
}

/// Alice's work measured, and what came of what Bob sent after it.
async fn after(world: &World, store: &Store, bundle: &[u8]) -> (Validator, SubmissionId, SubmissionId) {
    let validator = world.builder(store, trainer()).policy(holding()).build().unwrap();
    validator.start().await.unwrap();
    let alice = sent(world, store, ALICE, &bundled(ORIGINAL)).await;
    let bob = sent(world, store, BOB, bundle).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    (validator, alice, bob)
}

fn says(answer: Answer) -> Resolution {
    Resolution { answer, hold: None, operator: "ann".into(), note: "looked at it".into() }
}

#[tokio::test]
async fn what_lies_in_the_band_is_held_and_goes_on_when_an_operator_says_so() {
    let world = World::new();
    let store = world.store();
    let (validator, alice, bob) = after(&world, &store, &doubtful()).await;
    let held = record(&store, bob).await;
    let held_text = held.reason.as_ref().map(|reason| reason.text.clone()).unwrap();
    assert_eq!(
        (held.status, held.reason.map(|reason| reason.rule)),
        (SubmissionStatus::Held, Some("duplicate.borderline".into()))
    );
    assert!(!held_text.contains(&alice.short()) && !held_text.contains(&ALICE.to_string()), "{held_text}");
    assert_eq!(record(&store, alice).await.status, SubmissionStatus::Completed);
    let hold = store.open_holds(9).await.unwrap().remove(0);
    let report = hold.report.unwrap();
    assert_eq!((report.grade, report.action, report.closest[0].submission), (Grade::Borderline, Action::Hold, alice));
    assert_eq!(hold.expiry.map(|expiry| expiry.ending), Some(Ending::Attach));
    assert!(validator.start().await.is_ok(), "a start releases nothing that an operator has to answer");
    assert_eq!(record(&store, bob).await.status, SubmissionStatus::Held);

    store.resolve(bob, says(Answer::Allow), validator.0.clock.now()).await.unwrap();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let done = record(&store, bob).await;
    assert_eq!((done.status, done.cohort, done.reason), (SubmissionStatus::Completed, 2, None));
    let family = store.family(&done.family.unwrap().to_string()).await.unwrap().unwrap();
    assert_eq!((family.submission, family.hotkey), (bob, BOB), "a family of its own");
}

#[tokio::test]
async fn what_an_operator_cleared_may_be_tuned_and_what_nobody_answered_may_not() {
    let manifest =
        "kind: full\narchitecture: { entrypoint: model.graph.yaml }\ntraining: { entrypoint: recipe.yaml }\n";
    let recipe = "recipe: prism.recipe/1\noptimizer: { kind: adamw, learning_rate: 0.003 }\n";
    let graph = ORIGINAL.replace("id: final_norm, op: rms_norm", "id: final_norm, op: layer_norm");
    let files = [("prism.yaml", manifest), ("model.graph.yaml", &graph), ("recipe.yaml", recipe)];
    let tuned = bundle::pack(&files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()).unwrap();
    for answered in [true, false] {
        let world = World::new();
        let store = world.store();
        let (validator, alice, bob) = after(&world, &store, &doubtful()).await;
        if answered {
            store.resolve(bob, says(Answer::Allow), validator.0.clock.now()).await.unwrap();
        } else {
            world.clock.time.advance(Duration::from_secs(25 * 3600));
        }
        validator.run_cohort(&Cancel::new()).await.unwrap();
        let tune = world.submit(&store, BOB, &tuned, SubmissionKind::Full).await;
        validator.run_cohort(&Cancel::new()).await.unwrap();
        assert_eq!(store.duplicate_report(tune).await.unwrap().unwrap().action, Action::Hold);
        let (first, cleared, tune) =
            (record(&store, alice).await, record(&store, bob).await, record(&store, tune).await);
        if answered {
            assert_eq!((tune.status, tune.family), (SubmissionStatus::Completed, cleared.family));
            assert_ne!(tune.family, first.family);
        } else {
            assert_eq!((tune.status, cleared.family), (SubmissionStatus::Held, first.family));
        }
    }
}

#[tokio::test]
async fn attached_and_expired_it_belongs_to_the_family_that_was_there_and_rejected_it_ends() {
    for answer in ["attach", "expire", "reject"] {
        let world = World::new();
        let store = world.store();
        let (validator, alice, bob) = after(&world, &store, &doubtful()).await;
        let family: FamilyId = record(&store, alice).await.family.unwrap();
        let now = validator.0.clock.now();
        match answer {
            "attach" => drop(store.resolve(bob, says(Answer::Attach(family)), now).await.unwrap()),
            "reject" => drop(store.resolve(bob, says(Answer::Reject), now).await.unwrap()),
            _ => world.clock.time.advance(Duration::from_secs(25 * 3600)),
        }
        validator.run_cohort(&Cancel::new()).await.unwrap();
        let done = record(&store, bob).await;
        if answer == "reject" {
            assert_eq!((done.status, done.family), (SubmissionStatus::Rejected, None));
            continue;
        }
        assert_eq!((done.status, done.family), (SubmissionStatus::Completed, Some(family)), "{answer}");
        let founders = store.families(99).await.unwrap().into_iter().filter(|one| one.hotkey == BOB).count();
        assert_eq!(founders, 0, "{answer}: no title without a family");
    }
}

#[tokio::test]
async fn a_copy_attaches_with_a_report_that_says_so_and_ones_own_work_is_free() {
    let world = World::new();
    let store = world.store();
    let (validator, alice, bob) = after(&world, &store, &bundled(ORIGINAL)).await;
    let (first, copy) = (record(&store, alice).await, record(&store, bob).await);
    assert_eq!((copy.status, copy.family), (SubmissionStatus::Completed, first.family));
    let report = store.duplicate_report(bob).await.unwrap().unwrap();
    assert_eq!((report.grade, report.action, report.family), (Grade::Exact, Action::Attach, first.family));
    assert_eq!(store.duplicate_report(alice).await.unwrap(), None);
    // Both were measured beside each other: the report says how the losses compare.
    let losses = report.losses.unwrap();
    assert!(losses.correlation.get() > 0.999 && losses.advantage == Finite::ZERO, "{losses:?}");
    // Alice tunes her own, and then sends what lies in the band.
    let tuned = sent(&world, &store, ALICE, &bundled(&ORIGINAL.replace("hidden: 128", "hidden: 192"))).await;
    let changed = sent(&world, &store, ALICE, &doubtful()).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    for id in [tuned, changed] {
        assert_eq!(record(&store, id).await.status, SubmissionStatus::Completed);
        assert_eq!(store.duplicate_report(id).await.unwrap(), None);
    }
    // Who sends the published baseline sends what is nobody's.
    let gpt = sent(&world, &store, BOB, &packed(MANIFEST, "gpt")).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let report = store.duplicate_report(gpt).await.unwrap().unwrap();
    assert_eq!((report.grade, report.closest[0].hotkey), (Grade::Exact, None));
}

/// A reviewer that doubts everything, and then fails.
#[derive(Debug, Default)]
struct Doubter(std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl Reviewer for Doubter {
    fn name(&self) -> &str {
        "doubter"
    }
    fn may_prove(&self) -> bool {
        false
    }
    async fn review(&self, _: &Source<'_>, _: &Cancel) -> Result<Vec<Finding>> {
        if self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::new(Kind::Unavailable, Fault::Infrastructure, "no answer"));
        }
        let (rule, file, text) = ("doubter.odd".to_owned(), "model.graph.yaml".to_owned(), "odd".to_owned());
        Ok(vec![Finding { rule, file, line: 1, text, grade: Grading::Suspicion }])
    }
}

#[tokio::test]
async fn a_suspicion_that_an_operator_cleared_holds_no_more_and_one_that_nobody_cleared_ends_it() {
    let world = World::new();
    let store = world.store();
    let build = || {
        let builder = world.builder(&store, trainer()).policy(holding());
        builder.reviewer(Doubter::default()).build().unwrap()
    };
    let validator = build();
    validator.start().await.unwrap();
    let cleared = sent(&world, &store, ALICE, &bundled(ORIGINAL)).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let rule = async |id| record(&store, id).await.reason.map(|reason| reason.rule);
    assert_eq!(rule(cleared).await.as_deref(), Some("doubter.odd"));
    store.resolve(cleared, says(Answer::Allow), validator.0.clock.now()).await.unwrap();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(record(&store, cleared).await.status, SubmissionStatus::Completed);
    // The reviewer fails for Bob: held, asked again when the time is over, and held for another reason then.
    let bob = sent(&world, &store, BOB, &packed(MANIFEST, "llama")).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(rule(bob).await.as_deref(), Some("review.failed"));
    world.clock.time.advance(Duration::from_secs(25 * 3600));
    let validator = build();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(rule(bob).await.as_deref(), Some("doubter.odd"));
    world.clock.time.advance(Duration::from_secs(25 * 3600));
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let end = record(&store, bob).await;
    assert_eq!((end.status, rule(bob).await.as_deref()), (SubmissionStatus::Rejected, Some("hold.expired")));
}

/// Statuses, families and what became of holds, by hotkey.
type Ends = BTreeMap<Hotkey, (SubmissionStatus, Option<FamilyId>, Vec<Option<Ending>>, Option<Grade>)>;

#[tokio::test]
async fn a_kill_between_any_two_transactions_loses_no_hold_and_answers_none_twice() {
    let run = async |writes: Option<i64>| {
        let world = World::new();
        let store = world.store();
        world.builder(&store, trainer()).policy(holding()).build().unwrap().start().await.unwrap();
        let alice = sent(&world, &store, ALICE, &bundled(ORIGINAL)).await;
        let bob = sent(&world, &store, BOB, &doubtful()).await;
        let whole = async |store: &Store| {
            let validator = world.builder(store, trainer()).policy(holding()).build().unwrap();
            validator.run_cohort(&Cancel::new()).await?;
            if store.holds_of(bob).await.unwrap().iter().all(|hold| hold.ended.is_none()) {
                world.clock.time.advance(Duration::from_secs(25 * 3600));
            }
            validator.run_cohort(&Cancel::new()).await
        };
        let mut killed = false;
        if let Some(writes) = writes {
            store.die_after(writes);
            killed = whole(&store).await.is_err();
        }
        drop(store);
        let store = world.store();
        whole(&store).await.unwrap();
        let mut ends = Ends::new();
        for (hotkey, id) in [(ALICE, alice), (BOB, bob)] {
            let record = record(&store, id).await;
            let holds = store.holds_of(id).await.unwrap();
            let endings = holds.into_iter().map(|hold| hold.ended.map(|ended| ended.ending)).collect();
            let grade = store.duplicate_report(id).await.unwrap().map(|report| report.grade);
            ends.insert(hotkey, (record.status, record.family, endings, grade));
        }
        (killed, ends)
    };
    let (_, whole) = run(None).await;
    assert_eq!(whole[&BOB].2, [Some(Ending::Attach)]);
    let mut places = 0;
    // Every place of the first steps, in which holds are made, and some of those after.
    for writes in (0..14).chain((14..200).step_by(7)) {
        let (killed, ends) = run(Some(writes)).await;
        assert_eq!(ends, whole, "killed after {writes} transactions");
        if !killed {
            break;
        }
        places += 1;
    }
    assert!(places > 14, "only {places} places to be killed at were found");
}
