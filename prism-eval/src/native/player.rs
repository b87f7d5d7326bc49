//! The native player: a network learning under a recipe, in trusted code.
use super::{
    loss::{Additions, cross_entropy, negative_log_likelihoods},
    network::Network,
    observe::{self, Layers, Seen},
    operators::{Constants, Gradients, Shard},
    optimizer::Optimizers,
    usage, weights,
};
use crate::{
    player::{Claims, Logits, Observation, Player, Rows, Snapshot, StepReport},
    recipe::Recipe,
};
use async_trait::async_trait;
use burn::tensor::{Device, Int, Tensor, TensorData};
use prism_core::{Cancel, Error, Fault, Finite, Kind, Result, Seed, evidence::Work, plan::Budget};
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};
use std::{
    f64::consts::LN_2,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// Tokens that are computed together. A batch is cut into shards of this size, whose gradients are added in order, so
/// that bits do not depend on the number of threads and a shard's values stay in the processor's cache.
const SHARD_TOKENS: usize = 512;

/// How a [`NativePlayer`] computes. Nothing here changes a bit of what it computes.
#[derive(Debug, Clone)]
pub struct PlayerSettings {
    /// Threads of its own, at least 1 and at most as many as the budget's memory allows. Several runs side by side use
    /// processors better than several threads.
    pub threads: usize,
    /// Ends a call between two shards.
    pub cancel: Cancel,
}

impl Default for PlayerSettings {
    fn default() -> Self {
        Self { threads: 1, cancel: Cancel::new() }
    }
}

/// A network that learns under a recipe, on Burn's CPU backend. Its calls compute on its own threads and block the
/// caller: an async caller gives it a thread.
#[derive(Debug)]
pub struct NativePlayer {
    engine: Engine,
    pool: ThreadPool,
    /// A panic may have left weights half updated.
    broken: bool,
}

#[derive(Debug, Clone)]
struct Engine {
    network: Network,
    weights: Vec<Tensor<2>>,
    optimizers: Optimizers,
    additions: Additions,
    constants: Constants,
    device: Device,
    cancel: Cancel,
    step: u64,
}

/// Inputs and targets of some rows.
#[derive(Debug)]
struct Part {
    rows: usize,
    inputs: Vec<i64>,
    targets: Vec<u32>,
}

/// What one shard adds to a step.
#[derive(Debug)]
struct Learnt {
    nats: f64,
    squares: f64,
    gradients: Gradients,
}

impl NativePlayer {
    /// Draws the weights from the stream `init` of `seed` and stands ready for the first step.
    ///
    /// # Errors
    /// `Invalid`: by the miner when the recipe cannot train the network, by the validator when the budget's rows are
    /// longer than the graph was resolved for;
    /// `Limit` (miner) when the run would need more than `budget.peak_memory`, before anything is allocated.
    pub fn new(
        network: Network,
        recipe: &Recipe,
        budget: &Budget,
        seed: Seed,
        settings: PlayerSettings,
    ) -> Result<Self> {
        let optimizers = Optimizers::new(recipe, network.graph(), budget.steps)?;
        if budget.sequence == 0 || budget.sequence > network.graph().sequence {
            let (rows, graph) = (budget.sequence, network.graph().sequence);
            let text = format!("graph was resolved for {graph} positions and the rows have {rows}");
            return Err(Error::new(Kind::Invalid, Fault::Validator, text));
        }
        let needed = |threads: usize| Self::peak_memory(&network, recipe, budget, threads);
        // Memory that more threads would need takes threads away and no evidence.
        let affordable = (1..=settings.threads.max(1)).rev().find(|threads| needed(*threads) <= budget.peak_memory);
        let Some(threads) = affordable else {
            let text = format!("run would need {} bytes of memory, its budget is {}", needed(1), budget.peak_memory);
            return Err(Error::new(Kind::Limit, Fault::Miner, text));
        };
        let pool = start(threads)?;
        let device = Device::flex();
        let engine = Engine {
            weights: weights::draw(network.graph(), seed.stream("init"), &device)?,
            constants: Constants::new(&network, budget.sequence as usize, &device),
            additions: Additions {
                z_loss: recipe.loss.z_loss.get(),
                label_smoothing: recipe.loss.label_smoothing.get(),
            },
            optimizers,
            network,
            device,
            cancel: settings.cancel,
            step: 0,
        };
        Ok(Self { engine, pool, broken: false })
    }

    /// Bytes that a run needs at its peak, from shapes alone: weights with their gradients and what optimizers
    /// remember, two copies of a gradient per thread while sums are made, and the values of one shard per thread.
    #[must_use]
    pub fn peak_memory(network: &Network, recipe: &Recipe, budget: &Budget, threads: usize) -> u64 {
        let threads = threads.max(1) as u64;
        let cost = network.cost();
        let per_parameter = 4 * (5 + 2 * threads) + Optimizers::bytes_per_parameter(recipe);
        let tokens = shard_rows(budget.sequence as usize) as u64 * u64::from(budget.sequence);
        let values = cost.bytes_per_token.saturating_mul(tokens).saturating_mul(threads);
        cost.parameters.saturating_mul(per_parameter).saturating_add(values)
    }

    /// Another player that stands where this one stands, on as many threads of its own: what it predicts and learns is
    /// the same bit for bit, and nothing that either does later reaches the other.
    ///
    /// # Errors
    /// When its threads can't be started.
    pub fn replica(&self) -> Result<Self> {
        let pool = start(self.pool.current_num_threads())?;
        Ok(Self { engine: self.engine.clone(), pool, broken: self.broken })
    }

    /// The network that learns.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.engine.network
    }

    /// Computes on the player's own threads. A panic of the arithmetic is the subject's failure: the code is the same
    /// for all subjects, and this one broke it.
    fn compute<T: Send>(&mut self, what: &str, call: impl FnOnce(&mut Engine) -> Result<T> + Send) -> Result<T> {
        if self.broken {
            return Err(Error::bug("native player was used after it failed"));
        }
        let engine = &mut self.engine;
        let step = engine.step;
        match self.pool.install(|| catch_unwind(AssertUnwindSafe(|| call(engine)))) {
            Ok(result) => result,
            Err(_) => {
                self.broken = true;
                let text = format!("arithmetic panicked while it should {what} after step {step}");
                Err(Error::new(Kind::Invalid, Fault::Miner, text))
            }
        }
    }
}

fn start(threads: usize) -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("native-{n}"));
    pool.build().map_err(|e| {
        Error::new(Kind::Unavailable, Fault::Infrastructure, "threads of the native trainer not startable").because(e)
    })
}

fn shard_rows(positions: usize) -> usize {
    (SHARD_TOKENS / positions.max(1)).max(1)
}

impl Engine {
    /// Cuts rows into shards of the size that is computed together.
    fn parts(&mut self, rows: &Rows) -> Result<Vec<Part>> {
        self.parts_of(rows, shard_rows((rows.columns as usize).saturating_sub(1)))
    }

    /// Cuts rows into shards, checks every token, and makes the constants fit the rows.
    fn parts_of(&mut self, rows: &Rows, per_shard: usize) -> Result<Vec<Part>> {
        let columns = rows.columns as usize;
        let graph = self.network.graph();
        let refuse = |text: String| Err(Error::new(Kind::Invalid, Fault::Validator, text));
        if columns < 2 || columns - 1 > graph.sequence as usize {
            return refuse(format!("rows of {columns} tokens do not fit a graph of {} positions", graph.sequence));
        }
        if rows.tokens.len() != columns * rows.rows as usize {
            return refuse(format!("{} tokens are not {} rows of {columns}", rows.tokens.len(), rows.rows));
        }
        if let Some(token) = rows.tokens.iter().find(|token| **token >= graph.vocabulary) {
            return refuse(format!("token {token} is outside the vocabulary of {}", graph.vocabulary));
        }
        if columns - 1 != self.constants.positions() {
            self.constants = Constants::new(&self.network, columns - 1, &self.device);
        }
        let parts = rows.tokens.chunks(columns * per_shard).map(|tokens| {
            let rows = tokens.chunks_exact(columns);
            Part {
                rows: rows.len(),
                inputs: rows.clone().flat_map(|row| row.iter().take(columns - 1)).map(|t| i64::from(*t)).collect(),
                targets: rows.flat_map(|row| row.iter().skip(1)).copied().collect(),
            }
        });
        Ok(parts.collect())
    }

    fn shard(&self, part: &Part) -> Result<Shard<'_>> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, Fault::Policy, "run was cancelled"));
        }
        let data = TensorData::new(part.inputs.clone(), [part.inputs.len()]);
        Ok(Shard {
            weights: &self.weights,
            constants: &self.constants,
            tokens: Tensor::<1, Int>::from_data(data, &self.device),
            rows: part.rows,
            positions: self.constants.positions(),
        })
    }

    /// Logits of a shard: `[rows * positions, vocabulary]`.
    fn logits(&self, part: &Part) -> Result<Vec<f32>> {
        let logits = self.network.forward(&self.shard(part)?, false)?.logits.into_data();
        logits.try_into_vec().map_err(|e| Error::bug("logits are not f32").because(e))
    }

    fn learn(&self, part: &Part, scale: f64) -> Result<Learnt> {
        let shard = self.shard(part)?;
        let forward = self.network.forward(&shard, true)?;
        let tokens = part.targets.len();
        let loss = cross_entropy(forward.logits, &part.targets, self.additions, scale);
        let (nats, gradient) = loss.ok_or_else(|| Error::bug("logits are not f32"))?;
        let gradients = self.network.backward(&shard, forward.saved, gradient)?;
        #[allow(clippy::cast_precision_loss)]
        let squares = forward.mean_square * tokens as f64;
        Ok(Learnt { nats, squares, gradients })
    }

    fn train(&mut self, batch: &Rows) -> Result<StepReport> {
        let parts = self.parts(batch)?;
        let tokens: usize = parts.iter().map(|part| part.targets.len()).sum();
        #[allow(clippy::cast_precision_loss)]
        let tokens = tokens as f64;
        let (mut nats, mut squares) = (0.0, 0.0);
        let mut sum = Gradients::none(self.weights.len());
        // One wave of shards at a time bounds the memory; adding in order keeps the bits.
        for wave in parts.chunks(rayon::current_num_threads()) {
            let learnt: Vec<Result<Learnt>> = wave.par_iter().map(|part| self.learn(part, 1.0 / tokens)).collect();
            for learnt in learnt {
                let learnt = learnt?;
                nats += learnt.nats;
                squares += learnt.squares;
                sum = sum.plus(learnt.gradients);
            }
        }
        let loss = Finite::new(nats / tokens / LN_2).ok_or_else(|| {
            Error::new(Kind::Invalid, Fault::Miner, format!("loss is not finite at step {}", self.step))
        })?;
        let stepped = self.optimizers.step(self.step, &mut self.weights, sum.into_inner())?;
        self.step += 1;
        let finite = |value: f64| Finite::new(value).unwrap_or_default();
        let report = [
            ("loss", loss),
            ("gradient_norm", finite(stepped.norm)),
            ("activation_rms", finite((squares / tokens).sqrt())),
            ("learning_rate", finite(stepped.rate)),
        ];
        Ok(StepReport(report.into()))
    }

    fn claim(&mut self, rows: &Rows) -> Result<Claims> {
        let parts = self.parts(rows)?;
        let columns = self.network.graph().vocabulary as usize;
        let claim = |part: &Part| Ok(negative_log_likelihoods(&self.logits(part)?, columns, &part.targets));
        let claims: Vec<Vec<f64>> = parts.par_iter().map(claim).collect::<Result<_>>()?;
        #[allow(clippy::cast_possible_truncation)]
        let values = claims.into_iter().flatten().map(|nats| nats as f32).collect();
        Ok(Claims { values, rows: rows.rows, positions: rows.columns - 1 })
    }

    /// Looks at the first rows, one by one.
    fn observe(&mut self, rows: &Rows) -> Result<Observation> {
        let parts = self.parts_of(rows, 1)?;
        let parts = parts.get(..parts.len().min(observe::ROWS)).unwrap_or_default();
        let layers = Layers::of(&self.network);
        let mut seen = Seen::default();
        let mut sum = Gradients::none(self.weights.len());
        for wave in parts.chunks(rayon::current_num_threads()) {
            let look = |part: &Part| self.look(part, &layers, parts.len());
            let looks: Vec<Result<(Seen, Gradients)>> = wave.par_iter().map(look).collect();
            for look in looks {
                let (next, gradients) = look?;
                seen.add(next);
                sum = sum.plus(gradients);
            }
        }
        seen.observation(&self.network, &layers, &sum, &self.weights)
    }

    fn look(&self, part: &Part, layers: &Layers, rows: usize) -> Result<(Seen, Gradients)> {
        let shard = self.shard(part)?;
        let mut seen = Seen::default();
        let look = |step, value: &Tensor<2>, saved: &_| seen.look(layers, rows, step, value, saved);
        let forward = self.network.forward_seen(&shard, true, look)?;
        #[allow(clippy::cast_precision_loss)]
        let scale = 1.0 / part.targets.len().max(1) as f64;
        let loss = cross_entropy(forward.logits, &part.targets, self.additions, scale);
        let (_, gradient) = loss.ok_or_else(|| Error::bug("logits are not f32"))?;
        let gradients = self.network.backward(&shard, forward.saved, gradient)?;
        seen.weigh(&self.network, &gradients)?;
        Ok((seen, gradients))
    }

    fn logits_at(&mut self, rows: &Rows, positions: &[u32]) -> Result<Logits> {
        let parts = self.parts(rows)?;
        let per_row = self.constants.positions();
        if positions.len() != rows.rows as usize || positions.iter().any(|p| *p as usize >= per_row) {
            let text =
                format!("{} positions do not name one below {per_row} in each of {} rows", positions.len(), rows.rows);
            return Err(Error::new(Kind::Invalid, Fault::Validator, text));
        }
        let vocabulary = self.network.graph().vocabulary;
        let mut values = Vec::new();
        let mut positions = positions.iter();
        for part in &parts {
            let logits = self.logits(part)?;
            for (row, position) in logits.chunks_exact(per_row * vocabulary as usize).zip(&mut positions) {
                values.extend(row.chunks_exact(vocabulary as usize).nth(*position as usize).into_iter().flatten());
            }
        }
        Ok(Logits { values, rows: rows.rows, vocabulary })
    }
}

#[async_trait]
impl Player for NativePlayer {
    fn trusted(&self) -> bool {
        true
    }

    async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
        self.compute("predict", |engine| engine.claim(rows))
    }

    async fn logits_at(&mut self, rows: &Rows, positions: &[u32]) -> Result<Logits> {
        self.compute("predict", |engine| engine.logits_at(rows, positions))
    }

    async fn train(&mut self, batch: &Rows) -> Result<StepReport> {
        self.compute("learn", |engine| engine.train(batch))
    }

    async fn observe(&mut self, rows: &Rows) -> Result<Observation> {
        self.compute("be looked at", |engine| engine.observe(rows))
    }

    /// The weights as little-endian `f32` in canonical order: their digest and size. They are kept nowhere.
    async fn snapshot(&mut self) -> Result<Snapshot> {
        let (state, bytes) = self.compute("be written", |engine| weights::digest(&engine.weights))?;
        Ok(Snapshot { state, bytes })
    }

    async fn auditor(&self, _: Snapshot) -> Result<Option<Box<dyn Player>>> {
        Ok(None)
    }

    /// Nothing of it runs between calls.
    async fn freeze(&mut self) -> Result<()> {
        Ok(())
    }

    async fn thaw(&mut self) -> Result<()> {
        Ok(())
    }

    /// Processor time of its threads; 0 where the kernel does not tell.
    async fn spent(&mut self) -> Result<Work> {
        let times = self.pool.broadcast(|_| usage::of_this_thread());
        let total: Duration = times.into_iter().flatten().sum();
        Ok(Work { cpu_millis: u64::try_from(total.as_millis()).unwrap_or(u64::MAX), gpu_millis: 0 })
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::graphs::{adamw, gpt, recipe};

    #[test]
    fn a_panic_of_the_arithmetic_is_the_subjects_failure_and_ends_the_player() {
        let network = Network::new(gpt(8, 1, 1, 16, 8)).unwrap();
        let budget = Budget {
            tokens: 8,
            steps: 1,
            batch: 1,
            sequence: 8,
            wall_millis: 1000,
            cpu_millis: 1000,
            peak_memory: 1 << 30,
        };
        let (seed, settings) = (Seed::of("test", &[]), PlayerSettings::default());
        let mut player = NativePlayer::new(network, &recipe(adamw(0.1), adamw(0.1)), &budget, seed, settings).unwrap();
        let shapes_differ = |engine: &mut Engine| Ok(engine.weights[0].clone().add(engine.weights[1].clone()).dims());
        let error = player.compute("learn", shapes_differ).unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Miner));
        assert_eq!(player.compute("learn", |_| Ok(())).unwrap_err().kind(), Kind::Bug);
    }
}
