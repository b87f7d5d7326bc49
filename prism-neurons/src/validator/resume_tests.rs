//! Runs whose process or machine ends half way, through the store: who goes on, and who doesn't.
use super::tests::{ALICE, World, packed, resolved};
use super::*;
use async_trait::async_trait;
use prism_core::{
    Digest, Evidence, Finite, TrainTask,
    artifacts::ArtifactsExt,
    evidence::{RunOutcome, Work},
    plan::{RunRole, Subject},
    submission::{FailureClass, SubmissionKind},
    trainer::{Surroundings, TrainerInfo},
};
use prism_eval::{
    data::{Corpus, Dealer, fixture::stand_in},
    measure::{self, Checkpoint},
    player::{Claims, Logits, Player, Rows, Snapshot, StepReport},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// What happens to an attempt at step 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes on, and the process is killed.
    Killed,
    /// The machine, this program or the subject fails.
    Fails(Fault),
}

/// Carries out the one loop with players that learn nothing. One run meets its fates, an attempt each.
#[derive(Debug)]
struct Fateful {
    corpus: Arc<Corpus>,
    victim: Digest,
    fates: Mutex<VecDeque<Fate>>,
    /// Attempts at that run: their number, what they went on from and after which step.
    attempts: Mutex<Vec<(u32, Option<Digest>, u64)>>,
    stuck: Arc<Notify>,
}

impl Fateful {
    fn new(fates: &[Fate]) -> Arc<Self> {
        Arc::new(Self {
            corpus: stand_in().unwrap(),
            victim: resolved("llama"),
            fates: Mutex::new(fates.iter().copied().collect()),
            attempts: Mutex::default(),
            stuck: Arc::default(),
        })
    }

    fn attempts(&self) -> Vec<(u32, Option<Digest>, u64)> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Trainer for Fateful {
    fn info(&self) -> TrainerInfo {
        TrainerInfo {
            name: "fateful".into(),
            version: "1".into(),
            native: true,
            guest: false,
            devices: vec![],
            same_bits: true,
        }
    }

    async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence> {
        let from = match around.resume {
            Some(digest) => Some(Checkpoint::open(&*around.artifacts, digest, task).await?),
            None => None,
        };
        let resumes = from.as_ref().map(|from| from.resumes(around.attempt)).unwrap_or_default();
        let mut rows = Dealer::resumed(&self.corpus, task, &resumes)?;
        let graph = match task.subject {
            Subject::Native { graph, .. } => graph,
            _ => Digest::of(b""),
        };
        let of = u64::from_le_bytes(task.id().0[..8].try_into().unwrap());
        let (stuck, trained) = (Arc::clone(&self.stuck), BTreeSet::new());
        let mut player = Ticking { of, steps: 0, claim: 5.0, fate: None, stuck, trained };
        if let Some(from) = &from {
            let state = around.artifacts.read(from.state().state, 16).await?;
            player.steps = u64::from_le_bytes(state[..8].try_into().unwrap());
            assert_eq!(player.steps, from.step());
        }
        if graph == self.victim {
            player.claim = 4.5;
        }
        if graph == self.victim && task.role == (RunRole::Reference { rate: Finite::ONE }) {
            player.fate = self.fates.lock().unwrap().pop_front();
            self.attempts.lock().unwrap().push((around.attempt, around.resume, player.steps));
        }
        let player = Box::new(player);
        let mut evidence = match from {
            Some(from) => measure::resume(player, task, &mut rows, around, from).await?,
            None => measure::run(player, task, &mut rows, around).await?,
        };
        evidence.counters.extend([("parameters".to_owned(), 1000), ("flops_per_token".to_owned(), 6000)]);
        Ok(evidence)
    }
}

/// Counts its steps.
#[derive(Debug)]
struct Ticking {
    /// Which run this is: no two have equal states, or who forgets one would forget the other's.
    of: u64,
    steps: u64,
    claim: f32,
    fate: Option<Fate>,
    stuck: Arc<Notify>,
    trained: BTreeSet<Vec<u32>>,
}

#[async_trait]
impl Player for Ticking {
    fn trusted(&self) -> bool {
        true
    }
    async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
        let positions = rows.columns - 1;
        Ok(Claims { values: vec![self.claim; (rows.rows * positions) as usize], rows: rows.rows, positions })
    }
    async fn logits_at(&mut self, _: &Rows, _: &[u32]) -> Result<Logits> {
        Err(Error::bug("not asked for"))
    }
    async fn train(&mut self, rows: &Rows) -> Result<StepReport> {
        self.trained.extend(rows.tokens.chunks(rows.columns as usize).map(<[u32]>::to_vec));
        match self.fate.filter(|_| self.steps == 200) {
            Some(Fate::Killed) => {
                self.stuck.notify_one();
                futures::future::pending().await
            }
            Some(Fate::Fails(fault)) => Err(Error::new(Kind::Unavailable, fault, "it fails")),
            None => {
                self.steps += 1;
                Ok(StepReport::default())
            }
        }
    }
    async fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot { state: Digest::of(b""), bytes: 4000 })
    }
    async fn save(&mut self, artifacts: &dyn Artifacts) -> Result<Option<Snapshot>> {
        let state = [self.steps.to_le_bytes(), self.of.to_le_bytes()].concat();
        let state = artifacts.keep_bytes(&state).await?;
        Ok(Some(Snapshot { state, bytes: 16 }))
    }
    async fn auditor(&self, _: Snapshot) -> Result<Option<Box<dyn Player>>> {
        Ok(None)
    }
    async fn freeze(&mut self) -> Result<()> {
        Ok(())
    }
    async fn thaw(&mut self) -> Result<()> {
        Ok(())
    }
    async fn spent(&mut self) -> Result<Work> {
        Ok(Work { cpu_millis: self.trained.len() as u64, gpu_millis: 0 })
    }
    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";

async fn validator(world: &World, store: &Store, trainer: &Arc<Fateful>) -> Validator {
    let built = world.builder(store, Arc::clone(trainer)).data(trainer.corpus.data_ref()).workers(1).build();
    let built = built.unwrap();
    built.start().await.unwrap();
    built
}

/// The victim's evidence.
async fn of_victim(store: &Store, trainer: &Fateful, cohort: u64) -> Evidence {
    let evidence = store.evidence(cohort).await.unwrap();
    let mut runs = evidence.into_values().flatten().filter(|run| {
        let graph = matches!(run.task.subject, Subject::Native { graph, .. } if graph == trainer.victim);
        graph && run.task.role == (RunRole::Reference { rate: Finite::ONE })
    });
    runs.next().unwrap()
}

/// A validator that took Alice's submission and is gone in the middle of a run.
async fn killed_on_the_way(world: &World, trainer: &Arc<Fateful>) {
    let store = world.store();
    let validator = validator(world, &store, trainer).await;
    world.submit(&store, ALICE, &packed(MANIFEST, "llama"), SubmissionKind::ArchitectureOnly).await;
    let cancel = Cancel::new();
    tokio::select! {
        ended = validator.run_cohort(&cancel) => panic!("nobody was killed: {ended:?}"),
        () = trainer.stuck.notified() => {}
    }
}

#[tokio::test]
async fn a_run_whose_process_was_killed_goes_on_from_its_last_checkpoint_and_wins_its_title_in_a_clean_one() {
    let world = World::new();
    let trainer = Fateful::new(&[Fate::Killed]);
    killed_on_the_way(&world, &trainer).await;
    assert_eq!(trainer.attempts(), [(1, None, 0)]);
    let store = world.store();
    let validator = validator(&world, &store, &trainer).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let attempts = trainer.attempts();
    let (attempt, checkpoint, step) = attempts[1];
    assert!(attempts.len() == 2 && attempt == 2 && (100..200).contains(&step), "{attempts:?}");
    let run = of_victim(&store, &trainer, 1).await;
    assert_eq!((run.outcome.clone(), run.resumed, run.counters["own_rows_from"]), (RunOutcome::Completed, 1, step));
    assert_eq!(run.points.len(), run.task.measuring.points.len());
    let resumed: u32 = store.evidence(1).await.unwrap().values().flatten().map(|run| run.resumed).sum();
    assert_eq!(resumed, 1, "only the one that was going on");
    // Nothing is left of it, and it is worth no title.
    let gone = world.artifacts().open(checkpoint.unwrap()).await.unwrap_err();
    assert_eq!((gone.kind(), store.checkpoint(run.task.id()).await.unwrap()), (Kind::NotFound, None));
    let card = store.cards(1).await.unwrap().remove(0);
    assert!(card.total.is_some() && card.reasons.iter().any(|reason| reason.contains("resumed")), "{card:?}");
    assert!(store.standings().await.unwrap().showings.is_empty());

    // It is ahead, and so it is measured again, in the next cohort and without a failure.
    let epoch = world.chain.tip().block.0 / 10;
    while world.chain.tip().finalized.0 / 10 <= epoch {
        world.chain.next_block();
    }
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(of_victim(&store, &trainer, 2).await.resumed, 0);
    let holders: Vec<_> = store.standings().await.unwrap().showings.iter().map(|showing| showing.hotkey).collect();
    assert_eq!(holders, [ALICE]);
}

#[tokio::test]
async fn only_a_failure_of_the_machine_is_gone_on_from() {
    let cohort = async |fates: &[Fate]| {
        let (world, trainer) = (World::new(), Fateful::new(fates));
        let store = world.store();
        let validator = validator(&world, &store, &trainer).await;
        world.submit(&store, ALICE, &packed(MANIFEST, "llama"), SubmissionKind::ArchitectureOnly).await;
        validator.run_cohort(&Cancel::new()).await.unwrap();
        let steps: Vec<u64> = trainer.attempts().iter().map(|(_, _, step)| *step).collect();
        (steps, of_victim(&store, &trainer, 1).await)
    };
    let machine = Fate::Fails(Fault::Infrastructure);
    let (steps, run) = cohort(&[machine, machine]).await;
    assert!(steps.len() == 3 && steps[1] > 0 && steps[1] == steps[2], "{steps:?}");
    assert_eq!((run.is_completed(), run.resumed), (true, 2));
    // Work adds up: what led to the checkpoint, what was lost twice, and the rest.
    let rows = |steps: u64| steps * u64::from(run.task.budget.batch);
    let all = rows(steps[1]) + 2 * rows(201 - steps[1]) + rows(run.task.budget.steps - steps[2]);
    assert!(run.work.cpu_millis > all * 9 / 10 && run.work.cpu_millis <= all, "{} of {all}", run.work.cpu_millis);

    let (steps, run) = cohort(&[Fate::Fails(Fault::Validator)]).await;
    assert_eq!((steps, run.is_completed(), run.resumed), (vec![0, 0], true, 0), "started anew");

    let (steps, run) = cohort(&[Fate::Fails(Fault::Miner)]).await;
    assert_eq!(steps, [0], "what the subject does is final");
    assert!(matches!(run.outcome, RunOutcome::Failed { class: FailureClass::MinerCode, .. }), "{:?}", run.outcome);
}

#[tokio::test]
async fn a_checkpoint_that_was_altered_on_disk_is_refused_and_the_run_starts_anew() {
    let world = World::new();
    let trainer = Fateful::new(&[Fate::Killed]);
    killed_on_the_way(&world, &trainer).await;
    let store = world.store();
    let due = store.due_runs(1).await.unwrap();
    let mut checkpoint = None;
    for run in &due {
        checkpoint = checkpoint.or(store.checkpoint(run.task.id()).await.unwrap());
    }
    let path = world.artifacts().path(checkpoint.unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"wall_millis\":", "\"wall_millis\":1", 1)).unwrap();
    let validator = validator(&world, &store, &trainer).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    // The second attempt was spent on finding out.
    assert_eq!(trainer.attempts(), [(1, None, 0), (3, None, 0)]);
    assert_eq!(of_victim(&store, &trainer, 1).await.resumed, 0);
}
