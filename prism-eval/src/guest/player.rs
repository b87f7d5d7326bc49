//! Python in a sandbox as a [`Player`]: asks over the channel, believes nothing, and takes the class of a failure from
//! the sandbox's outcome.
use super::{
    GuestBundle, Pool,
    line::Line,
    pool::Guest,
    protocol::{
        Build, Built, Claimed, Empty, GuestBudget, Kind, Length, MAX_BLOB, Predict, Predicted, ProtocolError, Saved,
        Train, Trained, Welcome, floats, words,
    },
    spool::{Spool, Spooled},
    weights::Weights,
};
use crate::{
    graph::Context,
    player::{Claims, Logits, Measuring, Observation, Player, Rows, Snapshot, StepReport},
    recipe::Recipe,
};
use async_trait::async_trait;
use prism_core::{
    Artifacts, Error, Fault, Finite, Kind as ErrorKind, Result, TrainTask, evidence::Work, submission::FailureClass,
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Names, shapes and padding of a snapshot beside its values.
const SNAPSHOT_HEADER: u64 = 1 << 20;
/// Decimal, as the contract says; and the archive's own header.
const CHECKPOINT: u64 = 10_000_000_000 + (1 << 20);
/// How long a guest may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a guest is told to build: the same for a player and for its auditors.
#[derive(Debug, Clone)]
pub struct Assignment {
    build: Build,
    bundle: Vec<u8>,
    /// The same for every prediction of a run: what is drawn depends on shapes alone.
    predict: u64,
    wall: Duration,
    peak_memory: u64,
    snapshot: u64,
    context: Context,
    measuring: Measuring,
}

impl Assignment {
    /// The assignment of a task.
    ///
    /// `ctx.seed` is drawn from the stream `guest` of the run's seed, one way; the seed of predictions from another.
    ///
    /// # Errors
    /// `Invalid` (validator) when the task has no usable context, or its vocabulary is another one.
    pub fn new(task: &TrainTask, bundle: &GuestBundle, recipe: Option<Recipe>, attempt: u32) -> Result<Self> {
        let invalid = |text: String| Error::new(ErrorKind::Invalid, Fault::Validator, text);
        let context =
            Context::from_map(&task.context).map_err(|e| invalid("task has no usable context".into()).because(e))?;
        let (said, data) = (context.vocab_size, task.data.vocabulary);
        if said != data {
            return Err(invalid(format!("context says {said} tokens, the task has {data}")));
        }
        let budget = &task.budget;
        // Generators of Python take any number below 2^63.
        let number = |purpose| task.seed.stream(purpose).draws().next_u64() >> 1;
        let wall = Duration::from_millis(budget.wall_millis);
        Ok(Self {
            build: Build {
                context: context.to_map(),
                budget: GuestBudget { tokens: budget.tokens, steps: budget.steps, seconds: wall.as_secs_f64() },
                seed: number("guest"),
                batch_size: budget.batch,
                attempt,
                recipe,
            },
            bundle: bundle.canonical_bytes(),
            predict: number("predict"),
            wall,
            peak_memory: budget.peak_memory,
            snapshot: context.max_parameters.saturating_mul(4).saturating_add(SNAPSHOT_HEADER),
            context,
            measuring: bundle.architecture.measuring,
        })
    }
}

/// Python in a sandbox, playing.
///
/// It is given no more time to answer than the task's wall clock has in all, building included; the loop that asks it
/// ([`measure::run`](crate::measure::run())) keeps that clock for the whole run. Anything but the answer that is due ends
/// the guest.
#[derive(Debug)]
pub struct GuestPlayer {
    pool: Arc<Pool>,
    assignment: Arc<Assignment>,
    line: Line,
    said: Welcome,
    parameters: u64,
    built_in: Duration,
    step: u64,
    snapshot: Option<Spooled>,
    /// The snapshot whose weights were read last.
    weighed: Option<Spooled>,
    auditing: bool,
    frozen: bool,
}

impl GuestPlayer {
    /// Takes a guest of the pool and lets it build the model.
    ///
    /// # Errors
    /// The miner's fault when its code can't; `Infrastructure` when no guest starts.
    pub async fn build(pool: Arc<Pool>, assignment: Assignment) -> Result<Self> {
        Self::start(pool, Arc::new(assignment), None, false).await
    }

    /// The same, going on after so many steps from what a player of an attempt before has saved
    /// ([`GuestPlayer::checkpoint`]).
    ///
    /// # Errors
    /// As [`GuestPlayer::build`].
    pub async fn resume(pool: Arc<Pool>, assignment: Assignment, checkpoint: &Spooled, steps: u64) -> Result<Self> {
        let player = Self::start(pool, Arc::new(assignment), Some(checkpoint), false).await?;
        Ok(Self { step: steps, ..player })
    }

    async fn start(
        pool: Arc<Pool>,
        assignment: Arc<Assignment>,
        checkpoint: Option<&Spooled>,
        auditing: bool,
    ) -> Result<Self> {
        let (rows, processes) = (assignment.build.batch_size, pool.settings().processes);
        if rows % processes != 0 {
            let text = format!("{rows} rows per step can't be shared by {processes} processes");
            return Err(Error::new(ErrorKind::Invalid, Fault::Validator, text));
        }
        let Guest { running, link, said } = pool.take(!auditing && assignment.build.recipe.is_none()).await?;
        let mut line = Line::new(link, running, assignment.wall).await?;
        if let Some(checkpoint) = checkpoint {
            line.give("take its checkpoint", Kind::Resume, checkpoint).await?;
        }
        let (link, left) = line.begin()?;
        let asked = timeout(left, link.ask(Kind::Build, &assignment.build, &assignment.bundle, 0)).await;
        let (Built { parameters }, _) = line.settle("build", asked).await?;
        let built_in = line.asked();
        Ok(Self {
            pool,
            assignment,
            line,
            said,
            parameters,
            built_in,
            step: 0,
            snapshot: None,
            weighed: None,
            auditing,
            frozen: false,
        })
    }

    /// What the guest said before any code of a miner was there.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.said
    }

    /// Parameters, as the guest counts; the host counts the bytes of a snapshot.
    #[must_use]
    pub fn reported_parameters(&self) -> u64 {
        self.parameters
    }

    /// Lets it save, and fetches what it saved. Under a declared recipe the runner saves model, optimizer and generators;
    /// under a recipe of its own its hook does, and `None` comes where it has none, or none that loads, or the hook
    /// records nothing.
    ///
    /// # Errors
    /// The miner's fault when the rules of checkpoints are broken.
    pub async fn checkpoint(&mut self) -> Result<Option<Spooled>> {
        self.may_learn()?;
        let mut spool = Spool::new(&self.pool.settings().folder)?;
        let (link, left) = self.line.begin()?;
        let asked = timeout(left, link.fetch(Kind::Checkpoint, CHECKPOINT, &mut spool)).await;
        let (Saved { path, .. }, _) = self.line.settle("save a checkpoint", asked).await?;
        Ok(path.map(|_| spool.done()))
    }

    /// Checks rows before they are sent: what is wrong with them is the host's fault.
    fn check(&self, rows: &Rows) -> Result<()> {
        let invalid = |text| Err(Error::new(ErrorKind::Invalid, Fault::Validator, text));
        let context = &self.assignment.context;
        let count = u64::from(rows.rows) * u64::from(rows.columns);
        if rows.tokens.len() as u64 != count || rows.rows == 0 || rows.columns < 2 {
            return invalid(format!("{} tokens as {} rows of {}", rows.tokens.len(), rows.rows, rows.columns));
        }
        if rows.columns - 1 > context.sequence_length {
            let (got, most) = (rows.columns - 1, context.sequence_length);
            return invalid(format!("rows of {got} positions do not fit a context of {most}"));
        }
        match rows.tokens.iter().find(|token| **token >= context.vocab_size) {
            Some(token) => invalid(format!("token {token} is outside the vocabulary of {}", context.vocab_size)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Player for GuestPlayer {
    fn trusted(&self) -> bool {
        false
    }

    fn measuring(&self) -> Measuring {
        self.assignment.measuring
    }

    fn built_in(&self) -> Duration {
        self.built_in
    }

    async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
        self.check(rows)?;
        let positions = rows.columns - 1;
        let due = bytes_of(rows.rows, positions)?;
        let request = Predict { rows: rows.rows, columns: rows.columns, seed: self.assignment.predict };
        let tokens = words(&rows.tokens);
        let (link, left) = self.line.begin()?;
        let asked = timeout(left, link.ask::<Claimed>(Kind::Claim, &request, &tokens, due)).await;
        // The length of the blob was due; the shape says the same or the guest is beside itself.
        let asked = asked.map(|asked| {
            asked.and_then(|(said, blob)| shape((said.rows, said.positions), (rows.rows, positions), blob))
        });
        let blob = self.line.settle("predict", asked).await?;
        Ok(Claims { values: floats(&blob), rows: rows.rows, positions })
    }

    async fn logits_at(&mut self, rows: &Rows, positions: &[u32]) -> Result<Logits> {
        self.check(rows)?;
        if positions.len() != rows.rows as usize || positions.iter().any(|p| *p >= rows.columns - 1) {
            let text = format!(
                "{} positions do not name one below {} in each of {} rows",
                positions.len(),
                rows.columns - 1,
                rows.rows
            );
            return Err(Error::new(ErrorKind::Invalid, Fault::Validator, text));
        }
        let vocabulary = self.assignment.context.vocab_size;
        let due = bytes_of(rows.rows, vocabulary)?;
        let request = Predict { rows: rows.rows, columns: rows.columns, seed: self.assignment.predict };
        let mut blob = words(&rows.tokens);
        blob.extend(words(positions));
        let (link, left) = self.line.begin()?;
        let asked = timeout(left, link.ask::<Predicted>(Kind::Logits, &request, &blob, due)).await;
        let asked = asked.map(|asked| {
            asked.and_then(|(said, blob)| shape((said.rows, said.vocabulary), (rows.rows, vocabulary), blob))
        });
        let blob = self.line.settle("predict", asked).await?;
        let values = floats(&blob);
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::invalid("logits hold values that are not finite"));
        }
        Ok(Logits { values, rows: rows.rows, vocabulary })
    }

    /// Reads the weights of its last snapshot from the host's file. The guest is not asked.
    async fn observe(&mut self, _: &Rows) -> Result<Observation> {
        let known = |snapshot: &Spooled| self.weighed.as_ref().map(Spooled::digest) == Some(snapshot.digest());
        let Some(snapshot) = self.snapshot.clone().filter(|snapshot| !known(snapshot)) else {
            return Ok(Observation::default());
        };
        let before = self.weighed.replace(snapshot.clone());
        let read = move || Weights::of(snapshot.path(), before.as_ref().map(Spooled::path));
        // A file that is no snapshot is no guest's to load either: its auditor says so.
        let Ok(Ok(weights)) = tokio::task::spawn_blocking(read).await else { return Ok(Observation::default()) };
        let named = [("weight_norm", Some(weights.norm)), ("update_norm", weights.update)];
        let finite = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Finite::new(value?)?)));
        Ok(Observation(finite.collect()))
    }

    async fn train(&mut self, batch: &Rows) -> Result<StepReport> {
        self.may_learn()?;
        self.check(batch)?;
        let request = Train { rows: batch.rows, columns: batch.columns, step: self.step };
        let tokens = words(&batch.tokens);
        let (link, left) = self.line.begin()?;
        let asked = timeout(left, link.ask(Kind::Train, &request, &tokens, 0)).await;
        let (said, _): (Trained, _) = self.line.settle("train", asked).await?;
        self.step += 1;
        let named = [("loss", said.loss), ("gradient_norm", said.gradient_norm), ("learning_rate", said.learning_rate)];
        let finite = named.into_iter().filter_map(|(name, value)| Some((name, Finite::new(value?)?)));
        Ok(StepReport(finite.collect()))
    }

    /// The state, in a file of this host until the next one is taken.
    async fn snapshot(&mut self) -> Result<Snapshot> {
        self.may_learn()?;
        let mut spool = Spool::new(&self.pool.settings().folder)?;
        let (link, left) = self.line.begin()?;
        let asked = timeout(left, link.fetch(Kind::Save, self.assignment.snapshot, &mut spool)).await;
        let asked = asked.map(|asked| {
            asked.and_then(|(said, total): (Length, u64)| {
                let differ = || ProtocolError::Malformed(format!("state of {} bytes came as {total}", said.bytes));
                if said.bytes == total { Ok(()) } else { Err(differ()) }
            })
        });
        self.line.settle("save its state", asked).await?;
        let spooled = spool.done();
        let snapshot = Snapshot { state: spooled.digest(), bytes: spooled.bytes() };
        self.snapshot = Some(spooled);
        Ok(snapshot)
    }

    async fn save(&mut self, artifacts: &dyn Artifacts) -> Result<Option<Snapshot>> {
        let Some(spooled) = self.checkpoint().await? else { return Ok(None) };
        let state = artifacts.keep(&mut *spooled.read().await?, CHECKPOINT).await?;
        if state != spooled.digest() {
            return Err(Error::bug("a checkpoint has other bytes than were hashed while they came"));
        }
        Ok(Some(Snapshot { state, bytes: spooled.bytes() }))
    }

    /// A guest of the pool that builds the same and loads the last snapshot. It can predict only.
    async fn auditor(&self, snapshot: Snapshot) -> Result<Option<Box<dyn Player>>> {
        let Some(spooled) = self.snapshot.as_ref().filter(|spooled| spooled.digest() == snapshot.state) else {
            return Err(Error::bug(format!("snapshot {} is not the last one", snapshot.state.short())));
        };
        let (pool, assignment) = (Arc::clone(&self.pool), Arc::clone(&self.assignment));
        let mut auditor = Self::start(pool, assignment, None, true).await?;
        auditor.line.give("load a snapshot", Kind::Load, spooled).await?;
        Ok(Some(Box::new(auditor)))
    }

    async fn freeze(&mut self) -> Result<()> {
        self.frozen = true;
        match self.line.running() {
            Some(running) => running.freeze().await,
            None => Ok(()),
        }
    }

    async fn thaw(&mut self) -> Result<()> {
        if let Some(running) = self.line.running() {
            running.thaw().await?;
        }
        self.frozen = false;
        Ok(())
    }

    async fn spent(&mut self) -> Result<Work> {
        let usage = self.line.usage().await?;
        // Beyond what Python and PyTorch took before the bundle was there.
        let memory = usage.peak_memory.saturating_sub(self.line.before().peak_memory);
        if memory > self.assignment.peak_memory {
            let text = format!("run used {memory} bytes of memory, its budget is {}", self.assignment.peak_memory);
            return Err(Error::new(ErrorKind::Limit, Fault::Miner, text));
        }
        let exclusive = !self.pool.settings().gpus.is_empty();
        let device = if exclusive { self.line.asked().as_millis() } else { 0 };
        Ok(Work {
            cpu_millis: usage.cpu_millis.saturating_sub(self.line.before().cpu_millis),
            gpu_millis: u64::try_from(device).unwrap_or(u64::MAX),
        })
    }

    /// Says goodbye, or kills. What it was asked until now is known: nothing that it does on leaving matters. A frozen one
    /// never runs again.
    async fn finish(mut self: Box<Self>) -> Result<()> {
        let frozen = self.frozen;
        if let Some((link, _)) = self.line.begin().ok().filter(|_| !frozen) {
            let _ = timeout(GOODBYE, link.ask::<Empty>(Kind::Finish, &Empty {}, &[], 0)).await;
        }
        self.line.end(FailureClass::Cancelled, "no longer needed").await;
        Ok(())
    }
}

impl GuestPlayer {
    fn may_learn(&self) -> Result<()> {
        if self.auditing { Err(Error::bug("auditor was asked to do more than predict")) } else { Ok(()) }
    }
}

/// Bytes of `rows * columns` numbers, within what a frame carries.
fn bytes_of(rows: u32, columns: u32) -> Result<usize> {
    let bytes = u64::from(rows) * u64::from(columns) * 4;
    let fits = usize::try_from(bytes).ok().filter(|bytes| *bytes <= MAX_BLOB);
    fits.ok_or_else(|| {
        let text = format!("{rows} rows of {columns} numbers do not fit a frame of {MAX_BLOB} bytes");
        Error::new(ErrorKind::Invalid, Fault::Validator, text)
    })
}

/// The blob, when the shape is the one that is due.
fn shape(said: (u32, u32), due: (u32, u32), blob: Vec<u8>) -> Result<Vec<u8>, ProtocolError> {
    if said == due {
        return Ok(blob);
    }
    Err(ProtocolError::Malformed(format!("shape [{}, {}], expected [{}, {}]", said.0, said.1, due.0, due.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::fixture::stand_in, guest::GuestPart, measure::tasks::task};
    use prism_core::Seed;

    fn assignment(change: impl Fn(&mut TrainTask), attempt: u32) -> Result<Assignment> {
        let mut task = task(&stand_in().unwrap());
        change(&mut task);
        let architecture = GuestPart { entrypoint: "model.py".into(), files: [].into(), measuring: Measuring::Claims };
        Assignment::new(&task, &GuestBundle { architecture, training: None }, None, attempt)
    }

    #[test]
    fn the_guests_seed_is_the_runs_and_says_nothing_of_other_streams() {
        let seeds = |build: &Assignment| (build.build.seed, build.predict);
        let first = assignment(|_| {}, 1).unwrap();
        assert_eq!(seeds(&first), seeds(&assignment(|_| {}, 2).unwrap()), "attempts are alike");
        let task = task(&stand_in().unwrap());
        let guest = task.seed.stream("guest");
        assert_eq!(first.build.seed, guest.draws().next_u64() >> 1);
        for other in
            [task.seed, task.cohort, task.seed.stream("init"), task.cohort.stream("rows"), guest.stream("predict")]
        {
            assert_ne!(first.build.seed, other.draws().next_u64() >> 1);
        }
        let another = assignment(|task| task.seed = Seed::of("test", &[b"another run"]), 1).unwrap();
        assert_ne!(seeds(&first).0, seeds(&another).0);
        assert_ne!(seeds(&first).1, seeds(&another).1);
    }

    #[test]
    fn a_task_whose_context_is_of_other_data_is_the_validators_fault() {
        let error = assignment(|task| task.data.vocabulary = 300, 1).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (ErrorKind::Invalid, Fault::Validator));
        let error = assignment(|task| task.context.clear(), 1).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (ErrorKind::Invalid, Fault::Validator));
    }

    #[test]
    fn a_snapshot_may_be_as_large_as_the_most_parameters() {
        let few = |task: &mut TrainTask| {
            task.context.insert("max_parameters".into(), 1000);
        };
        let most = assignment(few, 1).unwrap().snapshot;
        assert_eq!(most, 4000 + SNAPSHOT_HEADER);
    }
}
