//! Whether the ranking can be believed: published baselines and other architectures, better, worse and copied, measured at a
//! proxy budget over seeds and again at four times the tokens.
//!
//! Prints the ranking with its confidence, what each component of the score contributed, how well two seeds agree, and how well the
//! proxy's ranking predicts that of the larger budget (Spearman's rank correlation, with a bootstrap over architectures).
//! Python, the prior baseline among it, is measured too where `PRISM_GUEST_RUNTIME` names a runtime. `PRISM_DATASET` names
//! a folder of `prism data prepare`; the stand-in otherwise. `PRISM_RANKING` names a folder that keeps the evidence, so
//! that a stopped bench goes on. Some forty minutes on two cores.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#[path = "../tests/ground/mod.rs"]
mod ground;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use prism_core::{
    Block, Epoch, Evidence, FamilyId, Finite, Hotkey, ScoreCard, Scorer, Seed, SubmissionId, TaskId, TrainTask,
    Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    evidence::Estimate,
    plan::RunRole,
    score::Track,
    scorer::{Candidate, Round},
    submission::{Precedence, SubmissionKind},
    trainer::Surroundings,
};
use prism_eval::{
    data::{Corpus, dataset, fixture::stand_in},
    graph::{self, GraphSpec, baselines},
    guest::{GuestBundle, GuestPart, GuestTrainer},
    plan_of_runs::{
        Architecture, Cohort, Entrant, Measured as OnRecord, Role, plan_further, plan_of_repeats, plan_of_runs,
    },
    player::Measuring,
    policy::{PlanPolicy, PrismPolicy, ScoreNumbers},
    score::{Measured, PrismScorer, mean_bits_per_byte, paired_over_seeds, tuned_reference},
    trainer::NativeTrainer,
};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// How many times the proxy's tokens the larger budget has.
const FACTOR: u64 = 4;
/// What everybody is scored against; the harder published families are ranked as others are.
const BASELINE: &str = "gpt";
/// Seeds at the larger budget; three at the proxy.
const SEEDS_OF_LARGE: usize = 2;
const GRAPHS: [(&str, &str); 13] = [
    ("token_shift", "better"),
    ("short_convolution", "better"),
    ("qk_norm", "variant"),
    ("squared_relu", "variant"),
    ("parallel_branches", "variant"),
    ("deep_narrow", "variant"),
    ("one_block", "worse"),
    ("quarter_width", "worse"),
    ("no_positions", "worse"),
    ("no_attention", "worse"),
    ("no_residual", "worse"),
    ("renamed_copy", "copy"),
    ("doubled_stream", "copy"),
];
/// Of `tests/red_team`: the honest one, then cheats.
const PYTHON: [(&str, &str); 4] = [
    ("honest", "variant"),
    ("knows_the_text", "prior baseline"),
    ("reparametrises_the_rate", "cheat"),
    ("optimizes_in_forward", "cheat"),
];

struct Entry {
    name: String,
    kind: &'static str,
    family: FamilyId,
    architecture: Architecture,
    baseline: bool,
}

struct Bench {
    plan: PlanPolicy,
    artifacts: Arc<MemoryArtifacts>,
    trainers: Vec<Arc<dyn Trainer>>,
    folder: Option<PathBuf>,
}

fn finite(value: f64) -> Finite {
    Finite::new(value).expect("finite")
}

fn policy() -> PrismPolicy {
    let plan = PlanPolicy {
        steps: 300,
        batch: 16,
        sequence: 64,
        wall_millis: 3_600_000,
        cpu_millis: 3_600_000,
        points: 8,
        rows: 64,
        audits: 64,
        held_out_rows: 64,
        rates: vec![finite(1.0), finite(3.0), finite(10.0)],
        climb: vec![finite(30.0)],
        repeats: 2,
        work: vec![2],
        probes: vec![],
        ..PlanPolicy::smoke()
    };
    let score = ScoreNumbers { require_confirmation: Finite::ZERO, pay_smoke: Finite::ONE, ..ScoreNumbers::default() };
    PrismPolicy { plan, score, ..PrismPolicy::smoke() }
}

impl Bench {
    async fn run(&self, task: TrainTask) -> Result<(TaskId, Evidence), prism_core::Error> {
        let id = task.id();
        let kept = self.folder.as_ref().map(|folder| folder.join(format!("{id}.json")));
        if let Some(bytes) = kept.as_ref().and_then(|file| fs::read(file).ok()) {
            return Ok((id, serde_json::from_slice(&bytes).expect("evidence")));
        }
        let trainer = self.trainers.iter().find(|trainer| trainer.info().takes(&task.subject)).expect("a trainer");
        let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&self.artifacts));
        let evidence = trainer.train(&task, &around).await?;
        if let Some(file) = kept {
            fs::write(file, serde_json::to_vec(&evidence).expect("JSON")).expect("written");
        }
        Ok((id, evidence))
    }

    /// All tasks, each once, two at a time.
    async fn carry_out(&self, tasks: Vec<TrainTask>, into: &mut BTreeMap<TaskId, Evidence>) {
        let new: BTreeMap<TaskId, TrainTask> =
            tasks.into_iter().map(|task| (task.id(), task)).filter(|(id, _)| !into.contains_key(id)).collect();
        let runs = stream::iter(new.into_values()).map(|task| self.run(task)).buffer_unordered(2);
        let done: Vec<_> = runs.try_collect().await.expect("this machine runs them");
        into.extend(done);
    }

    /// The plan of every entry, to its end.
    async fn measure(&self, cohort: &Cohort, entries: &[Entry]) -> Vec<Vec<Evidence>> {
        let mut evidence = BTreeMap::new();
        let mut runs: Vec<Vec<TrainTask>> =
            entries.iter().map(|entry| plan_of_runs(&self.plan, cohort, &entrant(entry)).expect("a plan")).collect();
        loop {
            let before = evidence.len();
            self.carry_out(runs.iter().flatten().cloned().collect(), &mut evidence).await;
            if evidence.len() == before {
                break;
            }
            for (entry, tasks) in entries.iter().zip(&mut runs) {
                let known: Vec<Evidence> = tasks.iter().map(|task| evidence[&task.id()].clone()).collect();
                // Without a trial nobody's plan depends on another's runs.
                let field = [OnRecord { entrant: &entrant(entry), runs: &known }];
                tasks.extend(plan_further(&self.plan, cohort, &field).expect("a plan").remove(0));
            }
        }
        let of = |tasks: Vec<TrainTask>| tasks.iter().map(|task| evidence[&task.id()].clone()).collect();
        runs.into_iter().map(of).collect()
    }
}

fn entrant(entry: &Entry) -> Entrant {
    let role = if entry.baseline { Role::Baseline } else { Role::Candidate };
    Entrant { role, ..Entrant::new(SubmissionKind::ArchitectureOnly, entry.architecture, None) }
}

/// The run that counts and its repeats.
fn seeds(runs: &[Evidence]) -> Vec<&Evidence> {
    let Some(best) = tuned_reference(runs) else { return vec![] };
    let of = best.task.id();
    let repeat = |run: &&Evidence| matches!(run.task.role, RunRole::Repeat { of: repeated, .. } if repeated == of);
    [best].into_iter().chain(runs.iter().filter(repeat)).filter(|run| run.is_completed()).collect()
}

/// Ranks from 1, least first; equal values share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |value: &f64| values.iter().filter(|other| *other < value).count() as f64;
    let equal = |value: &f64| values.iter().filter(|other| *other == value).count() as f64;
    values.iter().map(|value| below(value) + (equal(value) + 1.0) / 2.0).collect()
}

/// Spearman's rank correlation: Pearson's of the ranks.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// The 2.5 and 97.5 percentiles of the correlation over resampled architectures.
fn bootstrap(a: &[f64], b: &[f64]) -> (f64, f64) {
    let mut draws = Seed::of("bench/ranking", &[b"bootstrap"]).draws();
    let mut sample = || {
        let chosen: Vec<usize> = (0..a.len()).map(|_| draws.below(a.len() as u64) as usize).collect();
        let of = |values: &[f64]| chosen.iter().map(|place| values[*place]).collect::<Vec<_>>();
        spearman(&of(a), &of(b))
    };
    let mut all: Vec<f64> = (0..2_000).map(|_| sample()).filter(|value| value.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    (all[all.len() / 40], all[all.len() - 1 - all.len() / 40])
}

fn cards(entries: &[Entry], runs: &[Vec<Evidence>], policy: &PrismPolicy) -> Vec<ScoreCard> {
    let all: Vec<Candidate<'_>> = entries
        .iter()
        .zip(runs)
        .map(|(entry, runs)| {
            let submission = SubmissionId::of_parts("bench", &[entry.name.as_bytes()]);
            let precedence = Precedence { block: Block(1), extrinsic: 0, hotkey: Hotkey([1; 32]), local: true };
            let kind = SubmissionKind::ArchitectureOnly;
            Candidate { submission, kind, precedence, family: entry.family, runs, incumbent: false }
        })
        .collect();
    let baselines: Vec<Candidate<'_>> =
        all.iter().zip(entries).filter(|(_, entry)| entry.baseline).map(|(candidate, _)| candidate.clone()).collect();
    let numbers = policy.numbers();
    PrismScorer.score(&Round::new(Epoch(1), &numbers, &all, &baselines)).expect("cards")
}

fn shown(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| "-".into(), |e| format!("{:+.4} ± {:.4}", e.mean.get(), e.standard_error.get()))
}

fn corpus() -> Arc<Corpus> {
    match env::var_os("PRISM_DATASET") {
        None => stand_in().expect("stand-in"),
        Some(folder) => Arc::new(dataset::open(Path::new(&folder), Default::default()).expect("dataset").0),
    }
}

fn main() {
    prism_eval::sandbox::launcher::enter();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(bench());
}

async fn bench() {
    let policy = policy();
    let corpus = corpus();
    let artifacts = Arc::new(MemoryArtifacts::new());
    let mut trainers: Vec<Arc<dyn Trainer>> = vec![Arc::new(NativeTrainer::new(Arc::clone(&corpus)))];
    let folder = tempfile::tempdir().expect("a folder");
    let python = env::var_os("PRISM_GUEST_RUNTIME").is_some();
    if python {
        let settings = ground::settings(folder.path(), 2);
        let guests = GuestTrainer::new(ground::sandbox(folder.path()), Arc::clone(&corpus), settings);
        trainers.push(Arc::new(guests.expect("a trainer of guests")));
    }
    let kept = env::var_os("PRISM_RANKING").map(PathBuf::from);
    if let Some(folder) = &kept {
        fs::create_dir_all(folder).expect("a folder");
    }
    let bench = Bench { plan: policy.plan.clone(), artifacts: Arc::clone(&artifacts), trainers, folder: kept };

    let (context, limits) = (policy.plan.context(corpus.data_ref().vocabulary), policy.plan.limits());
    let mut entries = Vec::new();
    let native = baselines::NAMES.iter().map(|name| (*name, "baseline")).chain(GRAPHS);
    for (name, kind) in native {
        let spec = match baselines::spec(name) {
            Some(spec) => spec,
            None => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ranking/{name}.graph.yaml"));
                GraphSpec::read(&fs::read(file).expect("a graph"), "model.graph.yaml")
            }
        };
        let graph = spec.and_then(|spec| spec.resolve(&context, &limits)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let digest = artifacts.keep_bytes(&graph.canonical_bytes()).await.expect("kept");
        let (family, architecture) = (graph::family(&graph), Architecture::Declared(digest));
        entries.push(Entry { name: name.to_owned(), kind, family, architecture, baseline: name == BASELINE });
    }
    for (name, kind) in PYTHON.into_iter().filter(|_| python) {
        let read = |name: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/red_team");
            let file =
                if name == "honest" { folder.join("honest.py") } else { folder.join(format!("bundles/{name}.py")) };
            (
                format!("{}.py", if name == "honest" { name } else { "attack" }),
                fs::read_to_string(file).expect("source"),
            )
        };
        let files: BTreeMap<String, String> = [read("honest"), read(name)].into();
        let entrypoint = if name == "honest" { "honest.py" } else { "attack.py" }.to_owned();
        let part = GuestPart { entrypoint, files, measuring: Measuring::Claims };
        let bundle = GuestBundle { architecture: part, training: None };
        let digest = artifacts.keep_bytes(&bundle.canonical_bytes()).await.expect("kept");
        let (family, architecture) = (FamilyId(digest.0), Architecture::Code(digest));
        // The honest one tells what work in Python takes; beside declared baselines nobody is compared with it.
        entries.push(Entry { name: format!("{name}.py"), kind, family, architecture, baseline: name == "honest" });
    }

    let cohort = Cohort::new(Seed::of("bench/ranking", &[]), corpus.data_ref(), &policy.plan, &*artifacts).await;
    let cohort = cohort.expect("a cohort");
    let started = Instant::now();
    let runs = bench.measure(&cohort, &entries).await;
    let proxy_seconds = started.elapsed().as_secs_f64();
    let cards = cards(&entries, &runs, &policy);

    // The tuned rate of each at the larger budget, over seeds.
    let started = Instant::now();
    let mut large = Vec::new();
    for (entry, runs) in entries.iter().zip(&runs) {
        let Some(best) = tuned_reference(runs) else {
            large.push(vec![]);
            continue;
        };
        let RunRole::Reference { rate } = best.task.role else { unreachable!("a reference run") };
        let plan =
            PlanPolicy { steps: FACTOR * policy.plan.steps, rates: vec![rate], climb: vec![], ..policy.plan.clone() };
        let cohort = Cohort::new(Seed::of("bench/ranking", &[]), corpus.data_ref(), &plan, &*artifacts).await;
        let first = plan_of_runs(&plan, &cohort.expect("a cohort"), &entrant(entry)).expect("a plan").remove(0);
        let repeats = plan_of_repeats(&plan, &first).into_iter().take(SEEDS_OF_LARGE - 1);
        large.push([first].into_iter().chain(repeats).collect::<Vec<TrainTask>>());
    }
    let mut evidence = BTreeMap::new();
    bench.carry_out(large.iter().flatten().cloned().collect(), &mut evidence).await;
    let large: Vec<Vec<Evidence>> = large
        .iter()
        .map(|tasks| tasks.iter().map(|task| evidence[&task.id()].clone()).filter(Evidence::is_completed).collect())
        .collect();
    let large_seconds = started.elapsed().as_secs_f64();

    let over_gpt = |of: &[&Evidence], gpt: &[&Evidence]| {
        paired_over_seeds(of, gpt, Measured::Prequential, policy.score.seed_deviation).ok()
    };
    let gpt = entries.iter().position(|entry| entry.name == BASELINE).expect("a GPT");
    let reference = seeds(&runs[gpt]);
    let at_proxy: Vec<Option<Estimate>> = runs.iter().map(|runs| over_gpt(&seeds(runs), &reference)).collect();
    let reference: Vec<&Evidence> = large[gpt].iter().collect();
    let at_large: Vec<Option<Estimate>> =
        large.iter().map(|runs| over_gpt(&runs.iter().collect::<Vec<_>>(), &reference)).collect();

    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(at_proxy[*place].map(|estimate| estimate.mean)));
    println!("advantage over `gpt` in bits per byte, prequential, tuned over the grid of rates, 3 seeds");
    println!(
        "{:<26} {:<15} {:>9} {:>5}  {:<18}  {:<18}  score",
        "architecture", "what", "weights", "rate", "proxy", "4x"
    );
    for place in &order {
        let (entry, card) = (&entries[*place], &cards[*place]);
        let best = tuned_reference(&runs[*place]);
        let rate = best.map_or_else(String::new, |run| match run.task.role {
            RunRole::Reference { rate } => format!("x{rate}"),
            _ => String::new(),
        });
        let weights = best.and_then(|run| run.counters.get("parameters")).copied().unwrap_or_default();
        let total = card.total.map_or_else(
            || card.reasons.join("; "),
            |total| format!("{:.3} ± {:.3}", total.get(), card.standard_error.map_or(0.0, Finite::get)),
        );
        let (proxy, large) = (shown(at_proxy[*place]), shown(at_large[*place]));
        println!("{:<26} {:<15} {weights:>9} {rate:>5}  {proxy:<18}  {large:<18}  {total}", entry.name, entry.kind);
    }

    println!("\nwhat each component added to the architecture track's quality, above or below the baseline's half");
    for place in &order {
        let Some(track) = cards[*place].tracks.get(&Track::Architecture) else { continue };
        let parts = track
            .components
            .iter()
            .map(|(name, component)| format!("{name} {:+.3}", component.share.get() * (component.value.get() - 0.5)));
        println!("{:<26} {:.3}: {}", entries[*place].name, track.quality.get(), parts.collect::<Vec<_>>().join(", "));
    }

    let both: Vec<usize> = order.into_iter().filter(|p| at_proxy[*p].is_some() && at_large[*p].is_some()).collect();
    let of = |values: &[Option<Estimate>]| -> Vec<f64> {
        both.iter().filter_map(|place| values[*place]).map(|estimate| estimate.mean.get()).collect()
    };
    let (proxy, large_means) = (of(&at_proxy), of(&at_large));
    let (low, high) = bootstrap(&proxy, &large_means);
    let correlation = spearman(&proxy, &large_means);
    println!(
        "\nrank correlation of {} architectures, proxy with 4x: {correlation:.3} (95 %: {low:.3} to {high:.3})",
        both.len()
    );
    let mean =
        |run: &Evidence| mean_bits_per_byte(run, Measured::Prequential).map(|e| e.mean.get()).unwrap_or(f64::NAN);
    for (what, all, count) in [("proxy", &runs, 3), ("4x", &large, SEEDS_OF_LARGE)] {
        let by_seed: Vec<Vec<f64>> = both
            .iter()
            .map(|place| {
                let runs = if what == "proxy" { seeds(&all[*place]) } else { all[*place].iter().collect() };
                runs.into_iter().map(mean).collect()
            })
            .filter(|seeds: &Vec<f64>| seeds.len() == count)
            .collect();
        let column = |index: usize| by_seed.iter().map(|seeds| seeds[index]).collect::<Vec<f64>>();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let pairs: Vec<String> = pairs.map(|(a, b)| format!("{:.3}", spearman(&column(a), &column(b)))).collect();
        let spread: f64 = by_seed
            .iter()
            .map(|seeds| {
                let center = seeds.iter().sum::<f64>() / count as f64;
                seeds.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (count - 1) as f64
            })
            .sum::<f64>();
        let deviation = (spread / by_seed.len() as f64).sqrt();
        println!(
            "seeds agree at {what}: rank correlations {}; pooled deviation over seeds {deviation:.4} bits per byte",
            pairs.join(", ")
        );
    }
    println!("{proxy_seconds:.0} s for the proxy's runs, {large_seconds:.0} s for those of four times the tokens");
}
