//! The suite of [`Trainer`].
use super::{Broken, Check, drive::poll_times, within};
use crate::{
    artifacts::{Artifacts, MemoryArtifacts},
    cancel::Cancel,
    error::{Kind, Result},
    evidence::{Evidence, Point, RunOutcome, Witness},
    finite::Finite,
    plan::TrainTask,
    submission::FailureClass,
    trainer::{Surroundings, Trainer},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The clause's own figure.
const AFTER_CANCEL: Duration = Duration::from_secs(5);
/// A poll that takes longer computes.
const ONE_POLL: Duration = Duration::from_secs(1);

/// Supplies a trainer with tasks. What they need is kept in [`TrainerDriver::artifacts`].
pub trait TrainerDriver: Send + Sync {
    /// A trainer, new at every call.
    fn trainer(&self) -> Arc<dyn Trainer>;
    /// Where the tasks' bytes are.
    fn artifacts(&self) -> Arc<dyn Artifacts>;
    /// A task that goes well, the smaller the better.
    fn task(&self) -> TrainTask;
    /// A task whose subject fails by its own fault: it raises, it diverges, it is no model.
    fn failing_task(&self) -> TrainTask;
    /// A task that takes a minute at least, if nobody cancels it.
    fn endless_task(&self) -> TrainTask;
    /// A task whose subject says this number wherever it is asked for one. None where no subject's code runs.
    fn lying_task(&self) -> Option<(TrainTask, Finite)>;
}

suite!(
    "Trainer", TrainerDriver,
    1 => clause_1_the_same_task_gives_the_same_evidence,
    2 => clause_2_a_subjects_failure_is_evidence_and_the_machines_an_error,
    3 => clause_3_spends_at_most_the_budget,
    4 => clause_4_ends_soon_after_cancellation,
    5 => clause_5_the_future_yields,
    6 => clause_6_evidence_names_its_task_in_full,
    7 => clause_7_nothing_a_subject_says_is_marked_as_the_hosts,
);

async fn train(driver: &dyn TrainerDriver, task: &TrainTask) -> Result<Evidence> {
    driver.trainer().train(task, &Surroundings::new(driver.artifacts())).await
}

/// The task that goes well and, where it gives evidence, the one that fails.
async fn both(driver: &dyn TrainerDriver) -> Result<Vec<(TrainTask, Evidence)>, Broken> {
    let (task, failing) = (driver.task(), driver.failing_task());
    let evidence = train(driver, &task).await?;
    ensure!(evidence.is_completed(), "the task that goes well ended with {:?}", evidence.outcome);
    let mut both = vec![(task, evidence)];
    if let Ok(evidence) = train(driver, &failing).await {
        both.push((failing, evidence));
    }
    Ok(both)
}

/// Twice by one trainer and once by another. Sees nothing of a trainer that doesn't promise the same bits.
pub async fn clause_1_the_same_task_gives_the_same_evidence(driver: &mut dyn TrainerDriver) -> Check {
    let trainer = driver.trainer();
    if !trainer.info().same_bits {
        return Ok(());
    }
    let (task, around) = (driver.task(), Surroundings::new(driver.artifacts()));
    let first = trainer.train(&task, &around).await?.without_clock();
    for again in [trainer.train(&task, &around).await?, train(driver, &task).await?] {
        let again = again.without_clock();
        ensure!(again == first, "the same task gave {again:?} after {first:?}");
    }
    Ok(())
}

/// A subject that fails, and one whose bytes this machine hasn't got. A trainer that reads no bytes passes the latter by
/// completing it.
pub async fn clause_2_a_subjects_failure_is_evidence_and_the_machines_an_error(
    driver: &mut dyn TrainerDriver,
) -> Check {
    let evidence = train(driver, &driver.failing_task()).await?;
    match &evidence.outcome {
        RunOutcome::Failed {
            class: FailureClass::Resource | FailureClass::Policy | FailureClass::MinerCode,
            reason,
        } => {
            ensure!(!reason.is_empty(), "a subject failed without a reason");
        }
        other => return Err(Broken(format!("a subject that fails gave {other:?}"))),
    }
    let nothing = Surroundings::new(Arc::new(MemoryArtifacts::new()));
    match driver.trainer().train(&driver.task(), &nothing).await {
        Err(_) => Ok(()),
        Ok(evidence) if evidence.is_completed() => Ok(()),
        Ok(evidence) => {
            Err(Broken(format!("bytes missing on this machine are held against the subject: {:?}", evidence.outcome)))
        }
    }
}

/// Steps, tokens and counted work, of a run that goes well and of one that doesn't. Sees only what the evidence admits.
pub async fn clause_3_spends_at_most_the_budget(driver: &mut dyn TrainerDriver) -> Check {
    for (task, evidence) in both(driver).await? {
        let Evidence { points, held_out, series, counters, work, outcome, .. } = evidence;
        let budget = &task.budget;
        for Point { step, tokens, .. } in points.iter().chain(&held_out) {
            ensure!(*step <= budget.steps, "measured at step {step}, the budget has {}", budget.steps);
            ensure!(*tokens <= budget.tokens, "measured after {tokens} tokens, the budget has {}", budget.tokens);
        }
        let tokens = counters.get("tokens").copied().unwrap_or_default();
        ensure!(tokens <= budget.tokens, "trained on {tokens} tokens, the budget has {}", budget.tokens);
        let step = series.values().flat_map(|s| &s.steps).max().copied().unwrap_or_default();
        ensure!(step <= budget.steps, "a series goes on to step {step}, the budget has {}", budget.steps);
        let within = work.cpu_millis <= budget.cpu_millis && work.gpu_millis <= budget.wall_millis;
        ensure!(within || outcome != RunOutcome::Completed, "completed with {work:?}, the budget is {budget:?}");
    }
    Ok(())
}

/// Cancels before the start and in the middle of the endless task.
pub async fn clause_4_ends_soon_after_cancellation(driver: &mut dyn TrainerDriver) -> Check {
    let task = driver.endless_task();
    for pause in [Duration::ZERO, Duration::from_millis(300)] {
        let cancel = Cancel::new();
        let around = Surroundings::new(driver.artifacts()).cancelled_by(cancel.clone());
        let trainer = driver.trainer();
        let mut training = trainer.train(&task, &around);
        let done = if pause.is_zero() { None } else { within(pause, &mut training).await };
        ensure!(done.is_none(), "the endless task ended by itself: {done:?}");
        cancel.cancel();
        match within(AFTER_CANCEL, &mut training).await {
            None => return Err(Broken(format!("goes on {} s after cancellation", AFTER_CANCEL.as_secs()))),
            Some(Err(error)) if error.kind() != Kind::Cancelled => return Err(error.into()),
            Some(Ok(evidence)) if evidence.is_completed() => {
                return Err(Broken("a cancelled task is called completed".into()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Polls by hand: the first poll doesn't finish the task, and none takes long. On which thread it computes isn't seen.
pub async fn clause_5_the_future_yields(driver: &mut dyn TrainerDriver) -> Check {
    let (task, around) = (driver.task(), Surroundings::new(driver.artifacts()));
    let trainer = driver.trainer();
    let mut training = trainer.train(&task, &around);
    let start = Instant::now();
    let done = poll_times(&mut training, 1).await.is_some();
    ensure!(!done, "the whole task is done in the first poll");
    let took = start.elapsed();
    ensure!(took < ONE_POLL, "the first poll took {took:?}");
    training.await?;
    Ok(())
}

/// A run that goes well and one that doesn't.
pub async fn clause_6_evidence_names_its_task_in_full(driver: &mut dyn TrainerDriver) -> Check {
    for (task, evidence) in both(driver).await? {
        ensure!(evidence.task == task, "the evidence of {task:?} names {:?}", evidence.task);
    }
    Ok(())
}

/// Looks for the subject's number among the host's. A subject whose lie is changed on its way isn't seen; a trainer without
/// subjects' code has nothing to be looked at.
pub async fn clause_7_nothing_a_subject_says_is_marked_as_the_hosts(driver: &mut dyn TrainerDriver) -> Check {
    let Some((task, lie)) = driver.lying_task() else { return Ok(()) };
    let evidence = train(driver, &task).await?;
    for (name, series) in &evidence.series {
        let told = series.witness == Witness::Host && series.values.contains(&lie);
        ensure!(!told, "series {name} of the host has the subject's {lie}");
    }
    let told = evidence.points.iter().chain(&evidence.held_out).any(|point| point.row_bits.contains(&lie));
    ensure!(!told, "a measured row has the subject's {lie}");
    Ok(())
}
