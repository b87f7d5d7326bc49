//! What precision costs: standard errors and time of measuring, by points, rows and audits.
//!
//! Two published baselines learn the stand-in text under one recipe, each inside a player that is not trusted, so that
//! every point is snapshot, claimed and audited by a replica. Errors are those of `prism_eval::score`; time is that of
//! the calls, measuring over training. Claims of the noisy player scatter by 0.03 bits a position, as bfloat16 in
//! kernels of unequal shapes does. What is left to gamblers: claim nothing at so few positions that one run in twenty
//! meets no audit. Some ten minutes.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used)]
use async_trait::async_trait;
use prism_core::{
    Evidence, Finite, Result, Seed, TrainTask,
    artifacts::MemoryArtifacts,
    evidence::{RunOutcome, Work},
    plan::{Budget, RunMode, RunRole, Subject, TASK_SCHEMA},
    seed::Draws,
    trainer::Surroundings,
};
use prism_eval::{
    data::{Corpus, Dealer, fixture::stand_in},
    graph::{Context, Limits, baselines},
    measure::{self, Cadence},
    native::{NativePlayer, Network, PlayerSettings},
    player::{Claims, Logits, Player, Rows, Snapshot, StepReport},
    recipe::Recipe,
    score::{Measured, mean_bits_per_byte, paired_difference},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const STEPS: u64 = 300;
const BATCH: u32 = 16;
const SEQUENCE: u32 = 64;
/// Points, rows a point, audits a point.
const CADENCES: [(u32, u32, u32); 8] =
    [(4, 32, 32), (8, 32, 32), (8, 64, 64), (15, 32, 32), (15, 64, 16), (15, 64, 64), (15, 128, 128), (30, 64, 64)];
/// Standard deviation of the noisy player's claims, bits per position.
const NOISE: f64 = 0.03;
/// What a gambler saves at a position: about the dearest that there are.
const DEAR_BITS: f64 = 8.0;
/// How often it gets away.
const SURVIVES: f64 = 0.05;

/// Nanoseconds spent in calls.
#[derive(Debug, Default)]
struct Clocks {
    training: AtomicU64,
    claiming: AtomicU64,
    auditing: AtomicU64,
}

impl Clocks {
    fn charge(clock: &AtomicU64, since: Instant) {
        clock.fetch_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Time of the one over that of training, percent.
    fn share(&self, clock: &AtomicU64) -> f64 {
        100.0 * clock.load(Ordering::Relaxed) as f64 / self.training.load(Ordering::Relaxed).max(1) as f64
    }
}

/// A native player that nobody trusts.
#[derive(Debug)]
struct Doubted {
    core: NativePlayer,
    saved: Option<NativePlayer>,
    noise: Option<Draws>,
    clocks: Arc<Clocks>,
}

#[async_trait]
impl Player for Doubted {
    fn trusted(&self) -> bool {
        false
    }

    async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
        let start = Instant::now();
        let mut claims = self.core.claim(rows).await?;
        Clocks::charge(&self.clocks.claiming, start);
        if let Some(noise) = &mut self.noise {
            for claim in &mut claims.values {
                // Uniform, of the wanted deviation.
                let unit = noise.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0;
                let nats = f64::from(*claim) + unit * 3f64.sqrt() * NOISE * std::f64::consts::LN_2;
                *claim = nats.max(0.0) as f32;
            }
        }
        Ok(claims)
    }

    async fn logits_at(&mut self, rows: &Rows, positions: &[u32]) -> Result<Logits> {
        let start = Instant::now();
        let logits = self.core.logits_at(rows, positions).await;
        Clocks::charge(&self.clocks.auditing, start);
        logits
    }

    async fn train(&mut self, batch: &Rows) -> Result<StepReport> {
        let start = Instant::now();
        let report = self.core.train(batch).await;
        Clocks::charge(&self.clocks.training, start);
        report
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        let start = Instant::now();
        self.saved = Some(self.core.replica()?);
        let snapshot = self.core.snapshot().await;
        Clocks::charge(&self.clocks.auditing, start);
        snapshot
    }

    async fn auditor(&self, _: Snapshot) -> Result<Option<Box<dyn Player>>> {
        let start = Instant::now();
        let core = self.saved.as_ref().expect("a snapshot comes first").replica()?;
        Clocks::charge(&self.clocks.auditing, start);
        Ok(Some(Box::new(Self { core, saved: None, noise: None, clocks: Arc::clone(&self.clocks) })))
    }

    async fn freeze(&mut self) -> Result<()> {
        Ok(())
    }

    async fn thaw(&mut self) -> Result<()> {
        Ok(())
    }

    async fn spent(&mut self) -> Result<Work> {
        self.core.spent().await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let corpus = stand_in().expect("the stand-in is read");
    println!(
        "{STEPS} steps of {BATCH} rows of {SEQUENCE}; llama against gpt, bits per byte; held-out: 40 rows, all audited"
    );
    println!(
        "points  rows  audits | se alone  se paired  se paired, noisy claims | claims  audits (share of training time) | left to gamblers | rows unseen"
    );
    for (points, rows, audits) in CADENCES {
        let task = task(&corpus, points, rows, audits);
        let play = |name, noisy| runtime.block_on(play(&corpus, &task, name, noisy));
        let (subject, clocks) = play("llama", false);
        let (baseline, _) = play("gpt", false);
        let (noisy, _) = play("llama", true);
        let alone = mean_bits_per_byte(&subject, Measured::Prequential).expect("rows were measured");
        let paired = |subject| paired_difference(subject, &baseline, Measured::Prequential).expect("rows are the same");
        let unseen = Dealer::new(&corpus, &task).expect("rows are dealt").measures_unseen();
        println!(
            "{points:6} {rows:5} {audits:7} | {:8.4} {:10.4} {:24.4} | {:5.1} % {:5.1} % | {:16.3} | {}",
            alone.standard_error,
            paired(&subject).standard_error,
            paired(&noisy).standard_error,
            clocks.share(&clocks.claiming),
            clocks.share(&clocks.auditing),
            DEAR_BITS * (1.0 - SURVIVES.powf(1.0 / f64::from(points * audits))),
            if unseen { "all" } else { "not all" }
        );
    }
}

fn task(corpus: &Corpus, points: u32, rows: u32, audits: u32) -> TrainTask {
    let budget = Budget {
        tokens: STEPS * u64::from(BATCH) * u64::from(SEQUENCE),
        steps: STEPS,
        batch: BATCH,
        sequence: SEQUENCE,
        wall_millis: 3_600_000,
        cpu_millis: 3_600_000,
        peak_memory: 4 << 30,
    };
    let cohort = Seed::of("bench", &[b"measuring"]);
    let alarm_bits = Finite::new(0.5).expect("a half is finite");
    let cadence = Cadence { points, window_tokens: 0, rows, audits, held_out_rows: 40, alarm_bits };
    let nothing = prism_core::Digest::of(b"made here");
    TrainTask {
        schema: TASK_SCHEMA,
        mode: RunMode::default(),
        role: RunRole::Recipe,
        subject: Subject::Guest { bundle: nothing, recipe: None },
        data: corpus.data_ref(),
        measuring: cadence.plan(&budget, &cohort).expect("the run is long enough"),
        budget,
        context: Context::new(256, SEQUENCE).to_map(),
        seed: cohort.stream("run"),
        cohort,
        policy: nothing,
    }
}

async fn play(corpus: &Arc<Corpus>, task: &TrainTask, name: &str, noisy: bool) -> (Evidence, Arc<Clocks>) {
    let spec = baselines::spec(name).expect("the baseline is known").expect("the baseline is well-formed");
    let graph = spec.resolve(&Context::new(256, SEQUENCE), &Limits::default()).expect("the baseline resolves");
    let network = Network::new(graph).expect("a resolved graph runs");
    let core = NativePlayer::new(network, &Recipe::reference(), &task.budget, task.seed, PlayerSettings::default());
    let clocks = Arc::new(Clocks::default());
    let noise = noisy.then(|| task.seed.stream("noise").draws());
    let core = core.expect("a player starts");
    let player = Doubted { core, saved: None, noise, clocks: Arc::clone(&clocks) };
    let mut dealer = Dealer::new(corpus, task).expect("rows are dealt");
    let around = Surroundings::new(Arc::new(MemoryArtifacts::new())).with_secret(task.seed.stream("secret"));
    let evidence = measure::run(Box::new(player), task, &mut dealer, &around).await.expect("this machine runs it");
    assert_eq!(evidence.outcome, RunOutcome::Completed, "{name}");
    (evidence, clocks)
}
