//! The one loop: for every player the host deals the rows, corrects the claims, does the arithmetic, keeps the budget
//! and writes the evidence.
use super::{
    audit, plan,
    point::{Meter, Place},
};
use crate::{
    data::{Deal, Dealer},
    player::{Measuring, Player, StepReport},
};
use futures::future::{Either, select};
use prism_core::{
    Cancel, Error, Evidence, Fault, Finite, Kind, Result, TrainTask,
    evidence::{EVIDENCE_SCHEMA, RunOutcome, Series, Witness, Work},
    observer::Event,
    submission::FailureClass,
    trainer::Surroundings,
};
use std::{
    pin::pin,
    time::{Duration, Instant},
};

/// Carries out a task with a player: trains it on the dealt rows, and at each measuring point lets it predict the
/// next ones before it may train on them; after training, the held-out rows.
///
/// Claims of a player that is not trusted are audited at every point that the plan says, and all held-out rows are: a
/// player that cheats only after training must be seen. While an auditor lives the player is frozen. Claims that the
/// audits belie end the run as the miner's failure.
///
/// Points and series hold what was seen until the end, also of a run that failed. Wall clock and processor time are
/// checked between steps. The caller adds what it alone knows: engine, device, counts of parameters.
///
/// # Errors
/// Only what is not the subject's doing: a task that contradicts itself or audits nothing that it must, a failure of
/// this machine.
pub async fn run(
    mut player: Box<dyn Player>,
    task: &TrainTask,
    rows: &mut Dealer,
    around: &Surroundings,
) -> Result<Evidence> {
    plan::check(task)?;
    if !player.trusted() && player.measuring() == Measuring::Claims {
        plan::check_audits(task)?;
    }
    let mut meter = Meter::new(task, &around.cancel, audit::draws(around)?);
    let mut evidence = blank(task);
    let played = play(player.as_mut(), &mut meter, rows, around, &mut evidence).await;
    evidence.outcome = match played {
        Ok(()) => RunOutcome::Completed,
        Err(error) => failed(error)?,
    };
    if let Ok(work) = spent(player.as_mut(), &meter).await {
        evidence.work = work;
    }
    if !player.trusted() {
        evidence.counters.insert("audit_cpu_millis".to_owned(), meter.audited.cpu_millis);
        evidence.counters.insert("audit_gpu_millis".to_owned(), meter.audited.gpu_millis);
    }
    player.finish().await?;
    Ok(evidence)
}

/// Evidence that shows nothing yet.
#[must_use]
pub fn blank(task: &TrainTask) -> Evidence {
    Evidence {
        schema: EVIDENCE_SCHEMA,
        task: task.clone(),
        outcome: RunOutcome::Completed,
        points: vec![],
        held_out: None,
        series: [].into(),
        counters: [("tokens".to_owned(), 0)].into(),
        artifacts: [].into(),
        engine: String::new(),
        device: String::new(),
        resumed: 0,
        work: Work::default(),
    }
}

/// How a run ended that met this error, by kind and fault alone.
///
/// # Errors
/// The error itself, when it is not the subject's doing.
pub fn failed(error: Error) -> Result<RunOutcome> {
    let class = match (error.kind(), error.fault()) {
        (Kind::Cancelled, _) => FailureClass::Cancelled,
        (Kind::Limit | Kind::Deadline, Fault::Miner | Fault::Policy) => FailureClass::Resource,
        (_, Fault::Miner) => FailureClass::MinerCode,
        (_, Fault::Policy) => FailureClass::Policy,
        _ => return Err(error),
    };
    Ok(RunOutcome::Failed { class, reason: error.chain() })
}

async fn play(
    player: &mut dyn Player,
    meter: &mut Meter<'_>,
    rows: &mut Dealer,
    around: &Surroundings,
    evidence: &mut Evidence,
) -> Result<()> {
    let task = evidence.task.clone();
    let (id, budget, measuring) = (task.id(), &task.budget, &task.measuring);
    let limits = Limits { task: &task, started: Instant::now() };
    let mut points = measuring.points.iter().zip(&measuring.audits).peekable();
    let mut tokens = 0;
    for step in 0..budget.steps {
        limits.check(player, meter, &around.cancel).await?;
        if let Some((_, audits)) = points.next_if(|(point, _)| **point == step) {
            let deal = rows.upcoming(measuring.rows);
            let point = meter.take(player, rows, &deal, Place { step, tokens, audits: *audits }).await?;
            around.observer.on(&Event::Measured { task: id, point: &point });
            let verdict = meter.judge(&point);
            evidence.points.push(point);
            verdict?;
        }
        let batch = rows.training(budget.batch);
        let mut report = unless_cancelled(player.train(&batch.rows), &around.cancel).await?;
        for _ in 1..task.role.inner_steps() {
            report = unless_cancelled(player.train(&batch.rows), &around.cancel).await?;
        }
        tokens += u64::from(budget.batch) * u64::from(budget.sequence);
        record(evidence, step + 1, report, &batch, player.trusted());
        evidence.counters.insert("tokens".to_owned(), tokens);
        around.observer.on(&Event::Progress { task: id, done: step + 1, of: budget.steps });
    }
    if measuring.held_out_rows > 0 {
        limits.check(player, meter, &around.cancel).await?;
        let deal = rows.held_out(measuring.held_out_rows);
        let place = Place { step: budget.steps, tokens, audits: measuring.held_out_rows };
        let point = meter.take(player, rows, &deal, place).await?;
        let verdict = meter.judge(&point);
        evidence.held_out = Some(point);
        verdict?;
    }
    let snapshot = unless_cancelled(player.snapshot(), &around.cancel).await?;
    evidence.counters.insert("snapshot_bytes".to_owned(), snapshot.bytes);
    limits.check(player, meter, &around.cancel).await
}

/// What counts as work: all that the player did, and its auditors where it is measured by them alone.
async fn spent(player: &mut dyn Player, meter: &Meter<'_>) -> Result<Work> {
    let Work { cpu_millis, gpu_millis } = player.spent().await?;
    let charged = match player.measuring() {
        Measuring::Claims => Work::default(),
        Measuring::Prefixes => meter.audited,
    };
    Ok(Work {
        cpu_millis: cpu_millis.saturating_add(charged.cpu_millis),
        gpu_millis: gpu_millis.saturating_add(charged.gpu_millis),
    })
}

/// What a run may spend of time.
#[derive(Debug)]
struct Limits<'a> {
    task: &'a TrainTask,
    started: Instant,
}

impl Limits<'_> {
    async fn check(&self, player: &mut dyn Player, meter: &Meter<'_>, cancel: &Cancel) -> Result<()> {
        let over = |text: String| Err(Error::new(Kind::Limit, Fault::Miner, text));
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
        // The time of a budget is that of one step per batch.
        let times = |millis: u64| millis.saturating_mul(u64::from(self.task.role.inner_steps()));
        let (wall, processor) = (times(self.task.budget.wall_millis), times(self.task.budget.cpu_millis));
        if self.started.elapsed() > Duration::from_millis(wall) {
            return over(format!("run took longer than its {wall} ms"));
        }
        if spent(player, meter).await?.cpu_millis > processor {
            return over(format!("run used more than its {processor} ms of processor time"));
        }
        Ok(())
    }
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, Fault::Policy, "run was cancelled")
}

/// A call that is dropped when the run is cancelled.
pub(super) async fn unless_cancelled<T>(call: impl Future<Output = Result<T>>, cancel: &Cancel) -> Result<T> {
    match select(pin!(call), cancel.cancelled()).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(cancelled()),
    }
}

/// Appends a step's report to the series. A player reports its loss in bits per predicted position; it is recorded
/// per byte of text.
fn record(evidence: &mut Evidence, step: u64, report: StepReport, batch: &Deal, trusted: bool) {
    let bytes: u64 = batch.bytes.iter().map(|bytes| u64::from(*bytes)).sum();
    let positions = u64::from(batch.rows.rows) * u64::from(batch.rows.columns.saturating_sub(1));
    #[allow(clippy::cast_precision_loss)]
    let per_byte = positions as f64 / bytes.max(1) as f64;
    for (name, value) in report.0 {
        let (name, value) = match name {
            "loss" => ("train_bits_per_byte", Finite::new(value.get() * per_byte)),
            name => (name, Some(value)),
        };
        let Some(value) = value else { continue };
        let series = evidence.series.entry(name.to_owned()).or_insert_with(|| Series {
            witness: if trusted { Witness::Host } else { Witness::Guest },
            steps: vec![],
            values: vec![],
        });
        series.steps.push(step);
        series.values.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::fixture::stand_in,
        measure::tasks::task,
        player::{Claims, Logits, Rows, Snapshot},
    };
    use async_trait::async_trait;
    use futures::executor::block_on;
    use prism_core::{Digest, artifacts::MemoryArtifacts};
    use std::{
        f64::consts::LN_2,
        sync::{Arc, Mutex},
    };

    /// Claims as told, and remembers what it was shown.
    #[derive(Debug)]
    struct Scripted {
        claim: f32,
        short: bool,
        trusted: bool,
        cpu_millis: u64,
        cancel: Option<Cancel>,
        seen: Arc<Mutex<Vec<(&'static str, Rows)>>>,
    }

    fn scripted() -> Scripted {
        let seen = Arc::new(Mutex::new(vec![]));
        Scripted { claim: 5.0, short: false, trusted: true, cpu_millis: 7, cancel: None, seen }
    }

    #[async_trait]
    impl Player for Scripted {
        fn trusted(&self) -> bool {
            self.trusted
        }
        async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
            self.seen.lock().unwrap().push(("claim", rows.clone()));
            let positions = rows.columns - 1;
            let count = (rows.rows * positions) as usize - usize::from(self.short);
            Ok(Claims { values: vec![self.claim; count], rows: rows.rows, positions })
        }
        async fn logits_at(&mut self, _: &Rows, _: &[u32]) -> Result<Logits> {
            Err(Error::bug("not asked for"))
        }
        async fn train(&mut self, batch: &Rows) -> Result<StepReport> {
            self.seen.lock().unwrap().push(("train", batch.clone()));
            if let Some(cancel) = &self.cancel {
                cancel.cancel();
                futures::future::pending::<()>().await;
            }
            Ok(StepReport([("loss", Finite::ONE), ("gradient_norm", Finite::ZERO)].into()))
        }
        async fn snapshot(&mut self) -> Result<Snapshot> {
            Ok(Snapshot { state: Digest::of(b""), bytes: 11 })
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
            Ok(Work { cpu_millis: self.cpu_millis, gpu_millis: 0 })
        }
        async fn finish(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    fn play_with(player: Scripted, change: impl Fn(&mut TrainTask), around: &Surroundings) -> Result<Evidence> {
        let corpus = stand_in().unwrap();
        let mut task = task(&corpus);
        change(&mut task);
        let mut dealer = Dealer::new(&corpus, &task).unwrap();
        block_on(run(Box::new(player), &task, &mut dealer, around))
    }

    fn around() -> Surroundings {
        Surroundings::new(Arc::new(MemoryArtifacts::new()))
    }

    fn class(evidence: &Evidence) -> Option<FailureClass> {
        match &evidence.outcome {
            RunOutcome::Completed => None,
            RunOutcome::Failed { class, .. } => Some(*class),
        }
    }

    #[test]
    fn measured_rows_are_the_next_that_are_trained_on() {
        let player = scripted();
        let seen = Arc::clone(&player.seen);
        let evidence = play_with(player, |_| {}, &around()).unwrap();
        assert_eq!(evidence.outcome, RunOutcome::Completed);
        let seen = seen.lock().unwrap();
        let trained: Vec<u32> = seen.iter().filter(|s| s.0 == "train").flat_map(|s| s.1.tokens.clone()).collect();
        let claimed: Vec<&Rows> = seen.iter().filter(|s| s.0 == "claim").map(|s| &s.1).collect();
        let row = 33;
        for (rows, step) in claimed.iter().zip([0, 5, 10]) {
            let start = step * 4 * row;
            assert_eq!(rows.tokens[..], trained[start..start + 6 * row], "point before step {step}");
        }
        assert!(!trained.windows(row).any(|window| *window == claimed[3].tokens[..row]), "held-out row was trained on");
        let order: Vec<_> = seen.iter().map(|s| s.0).collect();
        assert_eq!((order[0], order[1], order[6], order[7]), ("claim", "train", "claim", "train"));
    }

    #[test]
    fn evidence_holds_bits_series_and_counts() {
        let evidence = play_with(scripted(), |_| {}, &around()).unwrap();
        let bits = 5.0 / LN_2;
        for point in evidence.points.iter().chain(&evidence.held_out) {
            assert!((point.bits_per_byte().unwrap().get() - bits).abs() < 1e-12);
        }
        let places: Vec<_> = evidence.points.iter().map(|p| (p.step, p.tokens, p.row_bits.len())).collect();
        assert_eq!(places, [(0, 0, 6), (5, 640, 6), (10, 1280, 6)]);
        let series = &evidence.series["train_bits_per_byte"];
        assert_eq!((series.witness, series.steps.clone()), (Witness::Host, (1..=12).collect()));
        assert_eq!(series.values, [Finite::ONE; 12]);
        assert_eq!((evidence.counters["tokens"], evidence.counters["snapshot_bytes"]), (12 * 128, 11));
        assert_eq!(evidence.work.cpu_millis, 7);
    }

    #[test]
    fn claims_that_are_no_likelihoods_fail_the_run() {
        for claim in [f32::NAN, f32::INFINITY, -0.5] {
            let evidence = play_with(Scripted { claim, ..scripted() }, |_| {}, &around()).unwrap();
            assert_eq!(class(&evidence), Some(FailureClass::MinerCode), "{claim}");
        }
        let evidence = play_with(Scripted { short: true, ..scripted() }, |_| {}, &around()).unwrap();
        assert_eq!(class(&evidence), Some(FailureClass::MinerCode));
    }

    #[test]
    fn a_player_without_an_auditor_and_a_plan_without_audits_are_refused() {
        let untrusted = || Scripted { trusted: false, ..scripted() };
        let error = play_with(untrusted(), |_| {}, &around()).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Unsupported, Fault::Validator));
        let error = play_with(untrusted(), |task| task.measuring.audits[1] = 0, &around()).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Validator));
    }

    #[test]
    fn a_run_may_move_between_threads() {
        fn sends<T: Send>(_: &T) {}
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let (mut dealer, around) = (Dealer::new(&corpus, &task).unwrap(), around());
        sends(&run(Box::new(scripted()), &task, &mut dealer, &around));
    }

    #[test]
    fn predictions_before_training_that_are_too_good_end_the_run() {
        // 2.5 bits a position, of 8.
        let evidence = play_with(Scripted { claim: 1.733, ..scripted() }, |_| {}, &around()).unwrap();
        assert_eq!((class(&evidence), evidence.points.len()), (Some(FailureClass::MinerCode), 1));
        // Frequencies of bytes alone are 4.3 bits.
        let evidence = play_with(Scripted { claim: 2.98, ..scripted() }, |_| {}, &around()).unwrap();
        assert_eq!(class(&evidence), None);
    }

    #[test]
    fn time_beyond_the_budget_is_a_resource_failure() {
        let evidence = play_with(scripted(), |task| task.budget.wall_millis = 0, &around()).unwrap();
        assert_eq!(class(&evidence), Some(FailureClass::Resource));
        let evidence = play_with(Scripted { cpu_millis: 9, ..scripted() }, |t| t.budget.cpu_millis = 8, &around());
        assert_eq!(class(&evidence.unwrap()), Some(FailureClass::Resource));
    }

    #[test]
    fn cancelling_ends_a_step_that_never_would() {
        let cancel = Cancel::new();
        let player = Scripted { cancel: Some(cancel.clone()), ..scripted() };
        let evidence = play_with(player, |_| {}, &around().cancelled_by(cancel)).unwrap();
        assert_eq!(class(&evidence), Some(FailureClass::Cancelled));
        assert_eq!(evidence.points.len(), 1, "what was seen before stays");
    }

    #[test]
    fn a_task_that_contradicts_itself_is_an_error_and_no_evidence() {
        let error = play_with(scripted(), |task| task.budget.tokens = 1, &around()).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Validator));
    }
}
