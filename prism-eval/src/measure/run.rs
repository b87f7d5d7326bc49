//! The one loop: for every player the host deals the rows, corrects the claims, does the arithmetic, keeps the budget
//! and writes the evidence.
use super::{
    audit,
    checkpoint::{Checkpoint, Saver, sum},
    plan,
    point::{Meter, Place},
    watch::{Watch, within},
};
use crate::{
    benchmark::Asked,
    data::{Deal, Dealer},
    player::{Measuring, Observation, Player, StepReport},
};
use prism_core::{
    Error, Evidence, Fault, Finite, Kind, Result, TrainTask,
    evidence::{Audit, EVIDENCE_SCHEMA, RunOutcome, Series, TaskAnswers, Witness, Work},
    observer::Event,
    submission::FailureClass,
    trainer::Surroundings,
};
use std::time::Duration;

/// How long after the end of a run what it used may still be asked, and how long a player may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// Carries out a task with a player: trains it on the dealt rows, and at each measuring point lets it predict the
/// next ones before it may train on them; after training, the held-out rows, and then the questions of the dataset's
/// evaluation tasks, where rows are held out.
///
/// Claims of a player that is not trusted are audited at every point that the plan says, and all held-out rows are: a
/// player that cheats only after training must be seen. While an auditor lives the player is frozen. Claims that the
/// audits belie end the run as the miner's failure.
///
/// Points and series hold what was seen until the end, also of a run that failed. Every call to the player is under one
/// wall clock, the run's, which began with building it; processor time is checked between steps. Checkpoints are made at
/// measuring points where [`Surroundings::checkpoints`] asks for them. The caller adds what it alone knows: engine, device,
/// counts of parameters.
///
/// # Errors
/// Only what is not the subject's doing: a task that contradicts itself or audits nothing that it must, a failure of
/// this machine.
pub async fn run(
    player: Box<dyn Player>,
    task: &TrainTask,
    rows: &mut Dealer,
    around: &Surroundings,
) -> Result<Evidence> {
    carry_out(player, task, rows, around, None).await
}

/// The same in a further attempt, with a player that took up the state of a checkpoint and the rows of
/// [`Dealer::resumed`]. What is on record stays as it is; work and time go on from where they were.
///
/// # Errors
/// As [`run`].
pub async fn resume(
    player: Box<dyn Player>,
    task: &TrainTask,
    rows: &mut Dealer,
    around: &Surroundings,
    from: Checkpoint,
) -> Result<Evidence> {
    carry_out(player, task, rows, around, Some(from)).await
}

async fn carry_out(
    mut player: Box<dyn Player>,
    task: &TrainTask,
    rows: &mut Dealer,
    around: &Surroundings,
    from: Option<Checkpoint>,
) -> Result<Evidence> {
    plan::check(task)?;
    if !player.trusted() && player.measuring() == Measuring::Claims {
        plan::check_audits(task)?;
    }
    let before = from.as_ref().map(Checkpoint::wall).unwrap_or_default();
    let watch = Watch::start(task, &around.cancel, before.saturating_add(player.built_in()))?;
    let mut evidence = from.as_ref().map_or_else(|| blank(task), |from| from.evidence(around.attempt));
    let carried = from.as_ref().map(Checkpoint::work).unwrap_or_default();
    let lost = from.as_ref().map(Checkpoint::lost).unwrap_or_default();
    let mut run = Run {
        task,
        around,
        watch: &watch,
        step: from.as_ref().map_or(0, Checkpoint::step),
        carried,
        audited: [count(&evidence, AUDIT_CPU), count(&evidence, AUDIT_GPU)],
        meter: Meter::new(task, &watch, audit::draws(around)?, &evidence.points),
        saver: Saver::new(around, from),
    };
    let played = run.play(player.as_mut(), rows, &mut evidence).await;
    let unread =
        || Err(Error::new(Kind::Unavailable, Fault::Infrastructure, "work of a run could not be read at its end"));
    // Work that nobody could read is not none: such a run has not completed.
    let (played, work) = match within(GRACE, run.spent(player.as_mut())).await.unwrap_or_else(unread) {
        Ok(work) => (played, Some(work)),
        Err(error) => (played.and(Err(error)), None),
    };
    evidence.outcome = match played {
        Ok(()) => RunOutcome::Completed,
        Err(error) => match failed(error) {
            Ok(outcome) => outcome,
            Err(error) => {
                if let Some(work) = work {
                    run.saver.failed(work).await?;
                }
                return Err(error);
            }
        },
    };
    if let Some(work) = work {
        evidence.work = sum(work, lost);
    }
    if !player.trusted() {
        run.count_audits(&mut evidence);
    }
    match within(GRACE, player.finish()).await {
        Some(finished) => finished?,
        None => {
            let text = format!("player did not end within {} s", GRACE.as_secs());
            return Err(Error::new(Kind::Unavailable, Fault::Infrastructure, text));
        }
    }
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
        tasks: [].into(),
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

const AUDIT_CPU: &str = "audit_cpu_millis";
const AUDIT_GPU: &str = "audit_gpu_millis";

fn count(evidence: &Evidence, name: &str) -> u64 {
    evidence.counters.get(name).copied().unwrap_or_default()
}

/// One attempt at a task.
#[derive(Debug)]
struct Run<'a> {
    task: &'a TrainTask,
    around: &'a Surroundings,
    watch: &'a Watch,
    /// Steps that attempts before have done.
    step: u64,
    /// Their work, and what their auditors used.
    carried: Work,
    audited: [u64; 2],
    meter: Meter<'a>,
    saver: Saver<'a>,
}

impl Run<'_> {
    async fn play(&mut self, player: &mut dyn Player, rows: &mut Dealer, evidence: &mut Evidence) -> Result<()> {
        let (task, around) = (self.task, self.around);
        let (id, budget, measuring) = (task.id(), &task.budget, &task.measuring);
        let taken = evidence.points.len();
        let mut points = measuring.points.iter().zip(&measuring.audits).skip(taken).peekable();
        let per_step = u64::from(budget.batch) * u64::from(budget.sequence);
        let mut tokens = self.step * per_step;
        for step in self.step..budget.steps {
            self.check(player).await?;
            if let Some((_, audits)) = points.next_if(|(point, _)| **point == step) {
                // Before the rows are shown: what is saved knows nothing of them.
                let saved = self.watch.bound(self.saver.save(player, step)).await?;
                let deal = rows.upcoming(measuring.rows)?;
                let point = self.meter.take(player, rows, &deal, Place { step, tokens, audits: *audits }).await?;
                around.observer.on(&Event::Measured { task: id, point: &point });
                let verdict = self.meter.judge(&point);
                evidence.points.push(point);
                verdict?;
                self.look(player, &deal, step, evidence).await?;
                if let Some(state) = saved {
                    let work = self.spent(player).await?;
                    self.count_audits(evidence);
                    self.saver.record(state, evidence, work, self.watch.spent()).await?;
                }
            }
            let batch = rows.training(budget.batch)?;
            let mut report = self.watch.bound(player.train(&batch.rows)).await?;
            for _ in 1..task.role.inner_steps() {
                report = self.watch.bound(player.train(&batch.rows)).await?;
            }
            tokens += per_step;
            record(evidence, step + 1, report, &batch, player.trusted());
            evidence.counters.insert("tokens".to_owned(), tokens);
            around.observer.on(&Event::Progress { task: id, done: step + 1, of: budget.steps });
        }
        if measuring.held_out_rows > 0 {
            self.check(player).await?;
            let deal = rows.held_out(measuring.held_out_rows)?;
            let place = Place { step: budget.steps, tokens, audits: measuring.held_out_rows };
            let point = self.meter.take(player, rows, &deal, place).await?;
            let verdict = self.meter.judge(&point);
            evidence.held_out = Some(point);
            verdict?;
            self.look(player, &deal, budget.steps, evidence).await?;
            self.ask(player, rows, evidence).await?;
        }
        let snapshot = self.watch.bound(player.snapshot()).await?;
        evidence.counters.insert("snapshot_bytes".to_owned(), snapshot.bytes);
        self.check(player).await
    }

    /// Looks inside, as far as this host can.
    async fn look(&self, player: &mut dyn Player, deal: &Deal, step: u64, evidence: &mut Evidence) -> Result<()> {
        let Observation(seen) = self.watch.bound(player.observe(&deal.rows)).await?;
        for (name, value) in seen {
            push(evidence, &name, step, value, Witness::Host);
        }
        Ok(())
    }

    /// Asks the questions of the dataset's evaluation tasks, in the order of their names. What is audited is one position
    /// of each choice: a player that can't be caught at one in a few can't turn many answers.
    async fn ask(&mut self, player: &mut dyn Player, rows: &Dealer, evidence: &mut Evidence) -> Result<()> {
        let task = self.task;
        let most = task.measuring.held_out_rows.max(task.measuring.rows);
        let columns = task.budget.sequence.saturating_add(1);
        for benchmark in rows.corpus().benchmarks() {
            let asked = Asked::of(benchmark, rows.corpus(), rows.alphabet(), &task.cohort, columns)?;
            let (mut bits, mut audits) = (Vec::new(), Vec::new());
            for (deal, spans) in asked.batches(most) {
                self.check(player).await?;
                let before = u32::try_from(bits.len()).unwrap_or(u32::MAX);
                let taken = self.meter.spans(player, rows, &deal, spans).await?;
                bits.extend(taken.0);
                audits
                    .extend(taken.1.into_iter().map(|audit| Audit { row: before.saturating_add(audit.row), ..audit }));
            }
            let verdict = self.meter.judge_answers(&audits);
            let answers = TaskAnswers { audits, ..asked.answers(benchmark, &bits) };
            evidence.tasks.insert(benchmark.name().to_owned(), answers);
            verdict?;
        }
        Ok(())
    }

    /// That the run has time left, of both kinds.
    async fn check(&self, player: &mut dyn Player) -> Result<()> {
        self.watch.check()?;
        // The time of a budget is that of one step per batch.
        let inner = u64::from(self.task.role.inner_steps());
        let processor = self.task.budget.cpu_millis.saturating_mul(inner);
        if self.watch.bound(self.spent(player)).await?.cpu_millis > processor {
            let text = format!("run used more than its {processor} ms of processor time");
            return Err(Error::new(Kind::Limit, Fault::Miner, text));
        }
        Ok(())
    }

    /// What counts as work: all that the player did, in all attempts that led here, and its auditors where it is
    /// measured by them alone.
    async fn spent(&self, player: &mut dyn Player) -> Result<Work> {
        let work = sum(self.carried, player.spent().await?);
        Ok(match player.measuring() {
            Measuring::Claims => work,
            Measuring::Prefixes => sum(work, self.meter.audited),
        })
    }

    fn count_audits(&self, evidence: &mut Evidence) {
        let [cpu, gpu] = self.audited;
        let Work { cpu_millis, gpu_millis } = self.meter.audited;
        evidence.counters.insert(AUDIT_CPU.to_owned(), cpu.saturating_add(cpu_millis));
        evidence.counters.insert(AUDIT_GPU.to_owned(), gpu.saturating_add(gpu_millis));
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
        if let Some(value) = value {
            push(evidence, name, step, value, if trusted { Witness::Host } else { Witness::Guest });
        }
    }
}

fn push(evidence: &mut Evidence, name: &str, step: u64, value: Finite, witness: Witness) {
    let blank = || Series { witness, steps: vec![], values: vec![] };
    let series = evidence.series.entry(name.to_owned()).or_insert_with(blank);
    series.steps.push(step);
    series.values.push(value);
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
    use prism_core::{
        Artifacts, Cancel, Digest,
        artifacts::{ArtifactsExt, MemoryArtifacts},
        trainer::Checkpoints,
    };
    use std::{
        collections::BTreeSet,
        f64::consts::LN_2,
        sync::{Arc, Mutex},
        time::Instant,
    };

    /// Claims as told, and remembers what it was shown.
    #[derive(Debug)]
    struct Scripted {
        claim: f32,
        short: bool,
        trusted: bool,
        cpu_millis: u64,
        cancel: Option<Cancel>,
        /// The call that it never answers.
        hangs: &'static str,
        /// The step at which its machine fails, or else its own code.
        fails: Option<(u64, Fault)>,
        steps: u64,
        saves: bool,
        /// How often it still tells what it spent.
        counts: u32,
        seen: Arc<Mutex<Vec<(&'static str, Rows)>>>,
    }

    fn scripted() -> Scripted {
        let seen = Arc::new(Mutex::new(vec![]));
        Scripted {
            claim: 5.0,
            short: false,
            trusted: true,
            cpu_millis: 7,
            cancel: None,
            hangs: "",
            fails: None,
            steps: 0,
            saves: false,
            counts: u32::MAX,
            seen,
        }
    }

    impl Scripted {
        async fn answer(&self, call: &str) {
            if self.hangs == call {
                futures::future::pending::<()>().await;
            }
        }
    }

    #[async_trait]
    impl Player for Scripted {
        fn trusted(&self) -> bool {
            self.trusted
        }
        async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
            self.seen.lock().unwrap().push(("claim", rows.clone()));
            self.answer("claim").await;
            let positions = rows.columns - 1;
            let count = (rows.rows * positions) as usize - usize::from(self.short);
            Ok(Claims { values: vec![self.claim; count], rows: rows.rows, positions })
        }
        async fn logits_at(&mut self, _: &Rows, _: &[u32]) -> Result<Logits> {
            self.answer("logits").await;
            Err(Error::bug("not asked for"))
        }
        async fn train(&mut self, batch: &Rows) -> Result<StepReport> {
            self.seen.lock().unwrap().push(("train", batch.clone()));
            if let Some(cancel) = &self.cancel {
                cancel.cancel();
                futures::future::pending::<()>().await;
            }
            self.answer("train").await;
            match self.fails {
                Some((step, fault)) if step == self.steps => {
                    return Err(Error::new(Kind::Unavailable, fault, "sandbox is gone"));
                }
                _ => self.steps += 1,
            }
            Ok(StepReport([("loss", Finite::ONE), ("gradient_norm", Finite::ZERO)].into()))
        }
        async fn snapshot(&mut self) -> Result<Snapshot> {
            self.answer("snapshot").await;
            Ok(Snapshot { state: Digest::of(b""), bytes: 11 })
        }
        async fn save(&mut self, artifacts: &dyn Artifacts) -> Result<Option<Snapshot>> {
            self.answer("save").await;
            if !self.saves {
                return Ok(None);
            }
            let state = artifacts.keep_bytes(&self.steps.to_le_bytes()).await?;
            Ok(Some(Snapshot { state, bytes: 8 }))
        }
        async fn auditor(&self, _: Snapshot) -> Result<Option<Box<dyn Player>>> {
            if self.hangs == "logits" {
                return Ok(Some(Box::new(Scripted { hangs: "logits", ..scripted() })));
            }
            self.answer("auditor").await;
            Ok(None)
        }
        async fn freeze(&mut self) -> Result<()> {
            self.answer("freeze").await;
            Ok(())
        }
        async fn thaw(&mut self) -> Result<()> {
            Ok(())
        }
        async fn spent(&mut self) -> Result<Work> {
            let gone = || Error::new(Kind::Unavailable, Fault::Infrastructure, "nobody counts");
            self.counts = self.counts.checked_sub(1).ok_or_else(gone)?;
            Ok(Work { cpu_millis: self.cpu_millis + self.steps, gpu_millis: 0 })
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
        assert_eq!(evidence.work.cpu_millis, 7 + 12);
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
    fn a_run_whose_work_is_not_known_at_its_end_is_no_evidence_unless_it_failed_before() {
        // Asked before each of 12 steps, before the held-out rows, after them, and at the end.
        let counting = |counts| play_with(Scripted { counts, ..scripted() }, |_| {}, &around());
        assert_eq!(counting(15).unwrap().work.cpu_millis, 7 + 12);
        assert_eq!(counting(14).unwrap_err().to_string(), "nobody counts");
        let fails = Some((8, Fault::Miner));
        let evidence = play_with(Scripted { counts: 9, fails, ..scripted() }, |_| {}, &around()).unwrap();
        assert_eq!((class(&evidence), evidence.work), (Some(FailureClass::MinerCode), Work::default()));
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
    fn a_call_that_is_never_answered_ends_with_the_runs_time() {
        let wall = |task: &mut TrainTask| task.budget.wall_millis = 60;
        for hangs in ["train", "claim", "snapshot", "freeze", "auditor", "logits", "save"] {
            let trusted = ["train", "claim"].contains(&hangs);
            let player = Scripted { hangs, trusted, ..scripted() };
            let kept = Arc::new(Newest::default());
            let around = around().with_checkpoints(kept, Duration::ZERO);
            let started = Instant::now();
            let change = |task: &mut TrainTask| {
                wall(task);
                // A point that is not audited comes before any that is.
                task.measuring.audits = if hangs == "save" { vec![0; 3] } else { vec![6; 3] };
            };
            let player = if hangs == "save" { Scripted { trusted: true, ..player } } else { player };
            let evidence = play_with(player, change, &around).unwrap();
            assert_eq!(class(&evidence), Some(FailureClass::Resource), "{hangs}");
            assert!(started.elapsed() >= Duration::from_millis(60), "{hangs}");
        }
    }

    /// What somebody was told last.
    #[derive(Debug, Default)]
    struct Newest(Mutex<Option<Digest>>);

    #[async_trait]
    impl Checkpoints for Newest {
        async fn newest(&self, checkpoint: Digest) -> Result<()> {
            *self.0.lock().unwrap() = Some(checkpoint);
            Ok(())
        }
    }

    /// A run whose attempts share artifacts and what was told of checkpoints.
    struct Attempts {
        task: TrainTask,
        artifacts: Arc<MemoryArtifacts>,
        newest: Arc<Newest>,
        seen: Arc<Mutex<Vec<(&'static str, Rows)>>>,
    }

    impl Attempts {
        fn new() -> Self {
            let task = task(&stand_in().unwrap());
            Self { task, artifacts: Arc::default(), newest: Arc::default(), seen: Arc::default() }
        }

        fn checkpoint(&self) -> Option<Digest> {
            *self.newest.0.lock().unwrap()
        }

        fn attempt(&self, attempt: u32, fails: Option<(u64, Fault)>) -> Result<Evidence> {
            let checkpoint = self.checkpoint();
            let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&self.artifacts))
                .with_checkpoints(Arc::<Newest>::clone(&self.newest), Duration::ZERO)
                .in_attempt(attempt, checkpoint);
            let mut player = Scripted { saves: true, fails, seen: Arc::clone(&self.seen), ..scripted() };
            block_on(async {
                let Some(digest) = checkpoint else {
                    let mut rows = Dealer::new(&stand_in().unwrap(), &self.task)?;
                    return run(Box::new(player), &self.task, &mut rows, &around).await;
                };
                let from = Checkpoint::open(&*self.artifacts, digest, &self.task).await?;
                let mut rows = Dealer::resumed(&stand_in().unwrap(), &self.task, &from.resumes(attempt))?;
                let state = self.artifacts.read(from.state().state, 8).await?;
                player.steps = u64::from_le_bytes(state.try_into().unwrap());
                assert_eq!(player.steps, from.step());
                // What it counts itself starts anew with every player.
                player.cpu_millis = 7 - player.steps.min(7);
                resume(Box::new(player), &self.task, &mut rows, &around, from).await
            })
        }

        fn rows_of(&self, call: &str) -> Vec<Vec<u32>> {
            let seen = self.seen.lock().unwrap();
            seen.iter()
                .filter(|seen| seen.0 == call)
                .flat_map(|seen| seen.1.tokens.chunks(33).map(<[u32]>::to_vec))
                .collect()
        }
    }

    #[test]
    fn a_run_that_its_machine_fails_goes_on_from_the_last_checkpoint_on_rows_that_nobody_saw() {
        let run = Attempts::new();
        let error = run.attempt(1, Some((8, Fault::Infrastructure))).unwrap_err();
        assert_eq!(error.fault(), Fault::Infrastructure);
        let (trained, claimed) = (run.rows_of("train"), run.rows_of("claim"));
        let first: BTreeSet<Vec<u32>> = trained.iter().chain(&claimed).cloned().collect();
        run.seen.lock().unwrap().clear();

        let evidence = run.attempt(2, None).unwrap();
        assert_eq!(evidence.outcome, RunOutcome::Completed);
        assert_eq!((evidence.resumed, evidence.counters["own_rows_from"]), (1, 5));
        // Points 0 and 5 stay as they were taken; the one at 10 is taken now, and the held-out rows.
        assert_eq!(evidence.points.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 5, 10]);
        assert_eq!(run.rows_of("claim").len(), 6 + 5);
        assert_eq!(evidence.series["gradient_norm"].steps, (1..=12).collect::<Vec<_>>());
        assert_eq!(evidence.counters["tokens"], 12 * 128);
        let own: BTreeSet<Vec<u32>> = [run.rows_of("train"), run.rows_of("claim")].concat().into_iter().collect();
        assert_eq!(run.rows_of("train").len(), 7 * 4);
        assert!(own.is_disjoint(&first), "rows were seen before");
        // Up to the checkpoint 7 + 5; lost after it 3 more steps; then 2 for the player and 12 as its steps.
        assert_eq!(evidence.work.cpu_millis, 12 + 3 + (2 + 12));
    }

    #[test]
    fn a_run_may_be_resumed_again_and_again_and_counts_it() {
        let run = Attempts::new();
        for (attempt, step) in [(1, 7), (2, 9), (3, 11)] {
            run.attempt(attempt, Some((step, Fault::Infrastructure))).unwrap_err();
        }
        let evidence = run.attempt(4, None).unwrap();
        assert_eq!((evidence.resumed, evidence.counters["own_rows_from"]), (3, 5));
        let all = run.rows_of("train");
        assert_eq!(all.len(), (7 + 1 + (9 + 1 - 5) + (11 + 1 - 5) + (12 - 10)) * 4);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a row was trained on twice");
    }

    #[test]
    fn a_run_without_a_checkpoint_starts_anew_on_everybodys_rows() {
        let run = Attempts::new();
        run.attempt(1, Some((4, Fault::Infrastructure))).unwrap_err();
        assert_eq!(run.checkpoint(), None);
        let evidence = run.attempt(2, None).unwrap();
        assert_eq!((evidence.resumed, evidence.counters.get("own_rows_from")), (0, None));
        let clean = play_with(scripted(), |_| {}, &around()).unwrap();
        assert_eq!(evidence.points, clean.points);
    }

    #[test]
    fn what_a_miners_code_does_is_final() {
        let run = Attempts::new();
        let evidence = run.attempt(1, Some((8, Fault::Miner))).unwrap();
        assert_eq!(class(&evidence), Some(FailureClass::MinerCode));
    }

    #[test]
    fn checkpoints_are_as_far_apart_as_they_are_asked_for() {
        let player = Scripted { saves: true, ..scripted() };
        let kept = Arc::new(Newest::default());
        let around = around().with_checkpoints(Arc::<Newest>::clone(&kept), Duration::from_secs(3600));
        assert_eq!(play_with(player, |_| {}, &around).unwrap().outcome, RunOutcome::Completed);
        assert_eq!(*kept.0.lock().unwrap(), None);
    }

    #[test]
    fn a_checkpoint_that_was_altered_or_is_anothers_is_refused() {
        let run = Attempts::new();
        run.attempt(1, Some((8, Fault::Infrastructure))).unwrap_err();
        let digest = run.checkpoint().unwrap();
        let open = |digest, task: &TrainTask| block_on(Checkpoint::open(&*run.artifacts, digest, task)).map(|_| ());
        assert!(open(digest, &run.task).is_ok());
        assert_eq!(open(Digest::of(b"none"), &run.task).unwrap_err().kind(), Kind::NotFound);
        let mut other = run.task.clone();
        other.seed = other.seed.stream("other");
        assert_eq!(open(digest, &other).unwrap_err().kind(), Kind::Corrupt);
        let text = String::from_utf8(block_on(run.artifacts.read(digest, 1 << 24)).unwrap()).unwrap();
        assert!(text.contains("\"step\":5,\"resumes\""), "{text}");
        for altered in [
            text.replace("\"step\":5,\"resumes\"", "\"step\":6,\"resumes\""),
            text.replace("\"schema\":1,\"task\":{", "\"schema\":2,\"task\":{"),
            text.replace("\"lost\"", "\"more\":0,\"lost\""),
            text.replace("{\"step\":0,", "{\"step\":1,"),
        ] {
            assert_ne!(altered, text);
            let altered = block_on(run.artifacts.keep_bytes(altered.as_bytes())).unwrap();
            assert_eq!(open(altered, &run.task).unwrap_err().kind(), Kind::Corrupt);
        }
        // Forgotten with its state.
        let state = block_on(Checkpoint::open(&*run.artifacts, digest, &run.task)).unwrap().state().state;
        block_on(Checkpoint::forget(&*run.artifacts, digest, None)).unwrap();
        for gone in [digest, state] {
            assert_eq!(block_on(run.artifacts.open(gone)).unwrap_err().kind(), Kind::NotFound);
        }
    }

    #[test]
    fn a_task_that_contradicts_itself_is_an_error_and_no_evidence() {
        let error = play_with(scripted(), |task| task.budget.tokens = 1, &around()).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Validator));
    }
}
