use super::assert_covers;
use crate::{
    artifacts::{Artifacts, ArtifactsExt, MemoryArtifacts},
    error::{Error, Result},
    evidence::{Evidence, Series, Witness},
    finite::Finite,
    id::Digest,
    plan::{RunRole, Subject, TrainTask},
    submission::FailureClass,
    testing::{
        Report, block_on,
        fakes::{RecordingObserver, Script, ScriptedTrainer},
        sample,
        trainer::{TrainerDriver, run},
    },
    trainer::{Surroundings, Trainer, TrainerInfo},
};
use async_trait::async_trait;
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const LIE: f64 = 12_345.678;

fn of_bundle(bundle: &[u8]) -> TrainTask {
    TrainTask { subject: Subject::Guest { bundle: Digest::of(bundle), recipe: None }, ..sample::task() }
}

fn is_bundle(task: &TrainTask, bundle: &[u8]) -> bool {
    task.subject == of_bundle(bundle).subject
}

fn scripted() -> ScriptedTrainer {
    ScriptedTrainer::new(|task| {
        if is_bundle(task, b"endless") {
            return Script::Endless;
        }
        let mut evidence = if is_bundle(task, b"failing") {
            sample::failed_evidence(task, FailureClass::MinerCode)
        } else {
            sample::evidence(task, 2.5)
        };
        if is_bundle(task, b"lying") {
            let values = vec![Finite::new(LIE).unwrap()];
            evidence.series.insert("guest_loss".into(), Series { witness: Witness::Guest, steps: vec![1], values });
        }
        Script::Shows(Box::new(evidence))
    })
}

struct Driver<F> {
    artifacts: Arc<MemoryArtifacts>,
    over: F,
}

impl<F: Fn(ScriptedTrainer) -> Arc<dyn Trainer> + Send + Sync> TrainerDriver for Driver<F> {
    fn trainer(&self) -> Arc<dyn Trainer> {
        (self.over)(scripted())
    }
    fn artifacts(&self) -> Arc<dyn Artifacts> {
        Arc::clone(&self.artifacts) as _
    }
    fn task(&self) -> TrainTask {
        sample::task()
    }
    fn failing_task(&self) -> TrainTask {
        of_bundle(b"failing")
    }
    fn endless_task(&self) -> TrainTask {
        of_bundle(b"endless")
    }
    fn lying_task(&self) -> Option<(TrainTask, Finite)> {
        Some((of_bundle(b"lying"), Finite::new(LIE).unwrap()))
    }
}

async fn kept() -> Result<Arc<MemoryArtifacts>> {
    let artifacts = Arc::new(MemoryArtifacts::new());
    for bytes in [&b"sample graph"[..], b"sample recipe", b"failing", b"endless", b"lying"] {
        artifacts.keep_bytes(bytes).await?;
    }
    Ok(artifacts)
}

fn report(over: impl Fn(ScriptedTrainer) -> Arc<dyn Trainer> + Copy + Send + Sync) -> Report {
    block_on(run(async || Ok(Driver { artifacts: kept().await?, over })))
}

#[derive(Debug)]
struct Mutant {
    inner: ScriptedTrainer,
    breaks: u8,
    runs: AtomicU64,
}

#[async_trait]
impl Trainer for Mutant {
    fn info(&self) -> TrainerInfo {
        self.inner.info()
    }
    async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence> {
        match self.breaks {
            4 if is_bundle(task, b"endless") => pending::<()>().await,
            5 if task.subject == sample::task().subject => return block_on(self.inner.train(task, around)),
            _ => {}
        }
        let mut evidence = self.inner.train(task, around).await?;
        match self.breaks {
            1 => drop(evidence.counters.insert("runs".into(), self.runs.fetch_add(1, Ordering::SeqCst))),
            2 if !evidence.is_completed() => return Err(Error::invalid("the subject failed")),
            3 => evidence.points.iter_mut().for_each(|point| point.step += 1),
            6 => evidence.task.role = RunRole::Recipe,
            7 => evidence.series.values_mut().for_each(|series| series.witness = Witness::Host),
            _ => {}
        }
        Ok(evidence)
    }
}

fn mutant(breaks: u8) -> Report {
    report(move |inner| Arc::new(Mutant { inner, breaks, runs: AtomicU64::new(0) }))
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|trainer| Arc::new(trainer)).assert_ok();
    report(|trainer| Arc::new(Box::new(trainer))).assert_ok();
    report(|trainer| Arc::new(Arc::new(trainer))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../trainer.rs"));
    mutant(0).assert_ok();
}

#[test]
fn the_fake_tells_its_observer_of_every_point() {
    let observer = RecordingObserver::new();
    let around = Surroundings::new(block_on(kept()).unwrap()).observed_by(Arc::new(observer.clone()));
    let evidence = block_on(scripted().train(&sample::task(), &around)).unwrap();
    assert_eq!(observer.events().len(), evidence.points.len() * 2);
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
    mutant_5_fails_exactly_clause_5 5
    mutant_6_fails_exactly_clause_6 6
    mutant_7_fails_exactly_clause_7 7
}
