//! The one loop: for every player the host deals the rows, checks the claims, does the arithmetic, keeps the budget
//! and writes the evidence.
use super::plan;
use crate::{
    data::{Deal, Dealer},
    player::{Claims, Player, StepReport},
};
use futures::future::{Either, select};
use prism_core::{
    Cancel, Error, Evidence, Fault, Finite, Kind, Result, TrainTask,
    evidence::{EVIDENCE_SCHEMA, Point, RunOutcome, Series, Witness, Work},
    observer::Event,
    submission::FailureClass,
    trainer::Surroundings,
};
use std::{
    f64::consts::LN_2,
    pin::pin,
    time::{Duration, Instant},
};

/// Carries out a task with a player: trains it on the dealt rows, and at each measuring point lets it predict the
/// next ones before it may train on them; after training, the held-out rows.
///
/// Points and series hold what was seen until the end, also of a run that failed. Wall clock and processor time are
/// checked between steps. The caller adds what it alone knows: engine, device, counts of parameters.
///
/// # Errors
/// Only what is not the subject's doing: a task that contradicts itself, a failure of this machine, or a player whose
/// claims would need an audit (`Unsupported`: without one there is no score).
pub async fn run(
    mut player: Box<dyn Player>,
    task: &TrainTask,
    rows: &mut Dealer,
    around: &Surroundings,
) -> Result<Evidence> {
    plan::check(task)?;
    if !player.trusted() {
        let text = "claims of a player that is not trusted need an audit, which this build does not have";
        return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
    }
    let mut evidence = blank(task);
    let played = play(player.as_mut(), task, rows, around, &mut evidence).await;
    evidence.outcome = match played {
        Ok(()) => RunOutcome::Completed,
        Err(error) => failed(error)?,
    };
    if let Ok(work) = player.spent().await {
        evidence.work = work;
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
    task: &TrainTask,
    rows: &mut Dealer,
    around: &Surroundings,
    evidence: &mut Evidence,
) -> Result<()> {
    let (id, budget, measuring) = (task.id(), &task.budget, &task.measuring);
    let limits = Limits { task, started: Instant::now() };
    let mut points = measuring.points.iter().peekable();
    let mut tokens = 0;
    for step in 0..budget.steps {
        limits.check(player, &around.cancel).await?;
        if points.next_if(|point| **point == step).is_some() {
            let point = point(player, step, tokens, &rows.upcoming(measuring.rows), &around.cancel).await?;
            around.observer.on(&Event::Measured { task: id, point: &point });
            evidence.points.push(point);
        }
        let batch = rows.training(budget.batch);
        let report = unless_cancelled(player.train(&batch.rows), &around.cancel).await?;
        tokens += u64::from(budget.batch) * u64::from(budget.sequence);
        record(evidence, step + 1, report, &batch, player.trusted());
        evidence.counters.insert("tokens".to_owned(), tokens);
        around.observer.on(&Event::Progress { task: id, done: step + 1, of: budget.steps });
    }
    if measuring.held_out_rows > 0 {
        limits.check(player, &around.cancel).await?;
        let deal = rows.held_out(measuring.held_out_rows);
        evidence.held_out = Some(point(player, budget.steps, tokens, &deal, &around.cancel).await?);
    }
    let snapshot = unless_cancelled(player.snapshot(), &around.cancel).await?;
    evidence.counters.insert("snapshot_bytes".to_owned(), snapshot.bytes);
    limits.check(player, &around.cancel).await
}

/// What a run may spend of time.
#[derive(Debug)]
struct Limits<'a> {
    task: &'a TrainTask,
    started: Instant,
}

impl Limits<'_> {
    async fn check(&self, player: &mut dyn Player, cancel: &Cancel) -> Result<()> {
        let over = |text: String| Err(Error::new(Kind::Limit, Fault::Miner, text));
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
        let budget = &self.task.budget;
        if self.started.elapsed() > Duration::from_millis(budget.wall_millis) {
            return over(format!("run took longer than its {} ms", budget.wall_millis));
        }
        if player.spent().await?.cpu_millis > budget.cpu_millis {
            return over(format!("run used more than its {} ms of processor time", budget.cpu_millis));
        }
        Ok(())
    }
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, Fault::Policy, "run was cancelled")
}

/// A call that is dropped when the run is cancelled.
async fn unless_cancelled<T>(call: impl Future<Output = Result<T>>, cancel: &Cancel) -> Result<T> {
    match select(pin!(call), cancel.cancelled()).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(cancelled()),
    }
}

/// Lets a player predict rows and takes its claims.
async fn point(player: &mut dyn Player, step: u64, tokens: u64, deal: &Deal, cancel: &Cancel) -> Result<Point> {
    let claims = unless_cancelled(player.claim(&deal.rows), cancel).await?;
    let row_bits =
        row_bits(&claims, deal).map_err(|text| Error::invalid(format!("claims before step {step}: {text}")))?;
    Ok(Point { step, tokens, row_bits, row_bytes: deal.bytes.clone(), audits: vec![] })
}

/// Bits per row: claims summed in `f64`, in order.
fn row_bits(claims: &Claims, deal: &Deal) -> Result<Vec<Finite>, String> {
    let (rows, positions) = (deal.rows.rows, deal.rows.columns.saturating_sub(1));
    let expected = rows as usize * positions as usize;
    if (claims.rows, claims.positions) != (rows, positions) || claims.values.len() != expected {
        let (r, p, n) = (claims.rows, claims.positions, claims.values.len());
        return Err(format!("{n} values for {r} rows of {p} positions, asked for {rows} of {positions}"));
    }
    if let Some(index) = claims.values.iter().position(|nats| !nats.is_finite() || *nats < 0.0) {
        return Err(format!("value {index} is no negative log-likelihood"));
    }
    let bits = claims.values.chunks(positions.max(1) as usize).map(|row| {
        let nats: f64 = row.iter().map(|nats| f64::from(*nats)).sum();
        Finite::new(nats / LN_2).ok_or_else(|| "sum of a row is not finite".to_owned())
    });
    bits.collect()
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
        player::{Logits, Rows, Snapshot},
    };
    use async_trait::async_trait;
    use futures::executor::block_on;
    use prism_core::{Digest, artifacts::MemoryArtifacts};
    use std::sync::{Arc, Mutex};

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
        Scripted { claim: 2.0, short: false, trusted: true, cpu_millis: 7, cancel: None, seen }
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
        let bits = 2.0 / LN_2;
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
    fn a_player_that_needs_audits_is_refused() {
        let error = play_with(Scripted { trusted: false, ..scripted() }, |_| {}, &around()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
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
