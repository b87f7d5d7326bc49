//! Plans of runs through whole cohorts: who is tried only, who is probed, and who is confirmed with a larger budget.
use super::{
    tests::{ALICE, BOB, World, packed, resolved},
    *,
};
use prism_core::{
    Digest, Evidence, Finite, Hotkey, TrainTask,
    plan::{RunRole, Subject},
    score::Track,
    submission::{SubmissionKind, SubmissionStatus},
    testing::{
        fakes::{Script, ScriptedTrainer},
        sample,
    },
};
use prism_eval::{
    bundle,
    graph::baselines,
    policy::Trial,
    score::{Measured, paired_difference, tuned_reference},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";

/// A trial, one probe of each kind, a confirmation in the next cohort at twice the tokens.
fn policy() -> PrismPolicy {
    let mut policy = PrismPolicy::smoke();
    policy.plan.trial = Some(Trial { percent: 20, ..Trial::default() });
    policy.plan.confirmation_factor = 2;
    policy.score.require_confirmation = Finite::ONE;
    policy
}

/// A worse idea: the baseline with other heads.
fn worse() -> Vec<u8> {
    let graph = baselines::document("gpt").unwrap().replace("heads: 4", "heads: 2");
    let files = [("prism.yaml", MANIFEST.to_owned()), ("model.graph.yaml", graph)];
    bundle::pack(&files.map(|(path, text)| (path.to_owned(), text)).into()).unwrap()
}

type Seen = Arc<Mutex<Vec<TrainTask>>>;

/// The Llama-like graph is half a bit ahead, and `at_large` of it at the larger budget; all but it and the baseline are
/// behind.
fn trainer(seen: &Seen, at_large: f64) -> ScriptedTrainer {
    let (seen, llama, gpt) = (Arc::clone(seen), resolved("llama"), resolved("gpt"));
    ScriptedTrainer::new(move |task| {
        seen.lock().unwrap().push(task.clone());
        let Subject::Native { graph, .. } = task.subject else { panic!("no native task") };
        let ahead = match task.role {
            RunRole::LargeBudget { .. } => at_large,
            RunRole::ScalingProbe { .. } => 0.0,
            _ if graph == llama => 0.5,
            _ if graph == gpt => 0.0,
            _ => -1.0,
        };
        let ahead = if graph == gpt { 0.0 } else { ahead };
        Script::Shows(Box::new(sample::evidence(task, 4.5 - ahead)))
    })
    .with_python(false)
}

fn words(tasks: &[TrainTask], graph: Digest) -> BTreeSet<&'static str> {
    let word = |task: &TrainTask| match task.role {
        RunRole::Trial { .. } => "trial",
        RunRole::Reference { .. } => "reference",
        RunRole::ScalingProbe { .. } => "probe",
        RunRole::Work { .. } => "work",
        RunRole::LargeBudget { .. } => "large",
        _ => "other",
    };
    let of = |task: &&TrainTask| matches!(task.subject, Subject::Native { graph: one, .. } if one == graph);
    tasks.iter().filter(of).map(word).collect()
}

async fn status(store: &Store, hotkey: Hotkey) -> SubmissionStatus {
    let records = store.submissions(None, None, 9).await.unwrap();
    records.into_iter().find(|record| record.submission.hotkey == hotkey).unwrap().status
}

/// The next epoch, so that the next cohort is paid.
fn next_epoch(world: &World) {
    let epoch = world.chain.tip().block.0 / 10;
    while world.chain.tip().finalized.0 / 10 <= epoch {
        world.chain.next_block();
    }
}

#[tokio::test]
async fn who_is_behind_in_the_trial_is_done_and_who_is_ahead_is_confirmed_with_a_larger_budget() {
    let world = World::new();
    let store = world.store();
    let seen = Seen::default();
    let build = || world.builder(&store, trainer(&seen, 0.25)).policy(policy()).build().unwrap();
    let validator = build();
    validator.start().await.unwrap();
    let architecture = SubmissionKind::ArchitectureOnly;
    let ahead = world.submit(&store, ALICE, &packed(MANIFEST, "llama"), architecture).await;
    let behind = world.submit(&store, BOB, &worse(), architecture).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();

    let (llama, gpt) = (resolved("llama"), resolved("gpt"));
    let tasks = std::mem::take(&mut *seen.lock().unwrap());
    // Probes of size are of graphs of their own.
    assert_eq!(words(&tasks, llama), ["trial", "reference", "probe"].into());
    assert_eq!(words(&tasks, gpt), ["trial", "reference", "probe", "work"].into());
    let others: Vec<&TrainTask> = tasks
        .iter()
        .filter(|task| !matches!(task.subject, Subject::Native { graph, .. } if graph == llama || graph == gpt))
        .collect();
    let (probes, tried): (Vec<&TrainTask>, Vec<&TrainTask>) =
        others.into_iter().partition(|task| matches!(task.role, RunRole::ScalingProbe { .. }));
    assert_eq!(probes.len(), 2, "one wider graph of each that went on");
    assert!(tried.len() == 3 && tried.iter().all(|task| matches!(task.role, RunRole::Trial { .. })), "{tried:?}");
    assert_eq!(
        (status(&store, ALICE).await, status(&store, BOB).await),
        (SubmissionStatus::Completed, SubmissionStatus::Completed)
    );
    let cards = store.cards(1).await.unwrap();
    let card = |id| cards.iter().find(|card| card.submission == id).unwrap();
    assert!(card(behind).reasons.iter().any(|reason| reason.contains("trial")), "{:?}", card(behind));
    assert!(cards.iter().all(|card| !card.eligible) && card(ahead).total > card(behind).total);

    next_epoch(&world);
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let tasks = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(words(&tasks, llama), ["reference", "probe", "large"].into());
    assert_eq!(words(&tasks, gpt), ["trial", "reference", "probe", "work", "large"].into());
    let evidence: BTreeMap<_, Vec<Evidence>> = store.evidence(2).await.unwrap();
    let large = |graph: Digest| {
        let runs = evidence.values().find(|runs| {
            tuned_reference(runs)
                .is_some_and(|run| matches!(run.task.subject, Subject::Native { graph: one, .. } if one == graph))
        });
        runs.unwrap().iter().find(|run| matches!(run.task.role, RunRole::LargeBudget { factor: 2, .. })).unwrap()
    };
    let there = paired_difference(large(llama), large(gpt), Measured::Prequential).unwrap().mean;
    let showings = store.standings().await.unwrap().showings;
    let shown: Vec<_> = showings.iter().map(|s| (s.submission, s.track, s.advantage.mean)).collect();
    assert_eq!(shown, [(ahead, Track::Architecture, there)], "credited as at the larger budget");
    assert!(there > Finite::ZERO);
}

#[tokio::test]
async fn an_advantage_that_is_gone_at_the_larger_budget_wins_no_title_and_is_not_tried_again() {
    let world = World::new();
    let store = world.store();
    let seen = Seen::default();
    let validator = world.builder(&store, trainer(&seen, -0.25)).policy(policy()).build().unwrap();
    validator.start().await.unwrap();
    world.submit(&store, ALICE, &packed(MANIFEST, "llama"), SubmissionKind::ArchitectureOnly).await;
    for _ in 0..2 {
        validator.run_cohort(&Cancel::new()).await.unwrap();
        next_epoch(&world);
    }
    let standings = store.standings().await.unwrap();
    assert!(standings.frontier(Finite::ZERO, Finite::ZERO).is_empty(), "{standings:?}");
    assert!(!validator.has_entrants().await.unwrap(), "nobody waits for a confirmation any more");
}

#[tokio::test]
async fn a_small_run_on_a_real_chain_pays_nobody() {
    let world = World::new();
    let store = world.store();
    let seen = Seen::default();
    let policy = PrismPolicy::of_mode(prism_core::plan::RunMode::LocalCpuSmoke);
    let validator = world.builder(&store, trainer(&seen, 0.5)).policy(policy).build().unwrap();
    validator.start().await.unwrap();
    world.submit(&store, ALICE, &packed(MANIFEST, "llama"), SubmissionKind::ArchitectureOnly).await;
    for _ in 0..2 {
        validator.run_cohort(&Cancel::new()).await.unwrap();
        next_epoch(&world);
    }
    assert_eq!(store.standings().await.unwrap().showings, []);
}
