//! `prism eval`: a validator's measurement of one bundle, at home and on public text.
mod bench;
mod manifest;
mod place;
mod report;
mod signals;

pub(crate) use bench::Bench;
pub(crate) use place::Place;
pub(crate) use report::RunSummary;

use crate::{check, progress::Progress, validator::dataset};
use bench::Subject;
use clap::Args;
use manifest::Home;
use prism_core::{Cancel, Error, Fault, Kind, Result, SubmissionId, plan::RunMode, scorer::Round};
use prism_eval::{
    data::fixture,
    examination::Examination,
    policy::PrismPolicy,
    run_manifest::DatasetRecord,
    score::{ScorerChoice, recipe_run, tuned_reference},
};
use prism_neurons::miner::pack_folder;
use report::Report;
use signals::SignalTable;
use std::{path::PathBuf, sync::Arc, time::Instant};

/// Measure a bundle as a validator would, on public text: curve, comparison and score.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// A folder, a ZIP archive, or a Python file.
    bundle: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The small budget of the demo, in place of the official one (hours): the mode `local_cpu_smoke`.
    #[arg(long, conflicts_with = "mode")]
    smoke: bool,
    /// The plan to measure under: `local_cpu_smoke`, `gpu_proxy_eval` or `full_scale_eval`; the validator's configuration
    /// says it where this does not.
    #[arg(long, value_parser = mode)]
    mode: Option<RunMode>,
    /// What evidence is worth: `prism` or `prequential`; the validator's configuration says it where this does not.
    #[arg(long)]
    scorer: Option<ScorerChoice>,
    /// The word that stands in for the hash of a block: rows, measuring points and starts follow from it.
    #[arg(long, default_value = "prism")]
    seed: String,
    /// Optimizer steps of each run, in place of the policy's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(16..=10_000_000))]
    steps: Option<u64>,
    /// Runs at the same time; one for each processor core by default.
    #[arg(long)]
    workers: Option<usize>,
    /// Write the run manifest and the files beside it into this folder.
    #[arg(long)]
    manifest_dir: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// A mode by its name.
pub(crate) fn mode(name: &str) -> Result<RunMode> {
    let names = || RunMode::ALL.map(RunMode::as_str).join(", ");
    RunMode::ALL.into_iter().find(|mode| mode.as_str() == name).ok_or_else(|| {
        Error::new(Kind::Invalid, Fault::Validator, format!("no mode is called {name:?}: there are {}", names()))
    })
}

impl Eval {
    pub(crate) async fn run(self) -> Result<()> {
        let start = Instant::now();
        let config = self.place.config()?;
        let mode = if self.smoke { RunMode::LocalCpuSmoke } else { self.mode.unwrap_or(config.evaluation.mode) };
        let scorer = self.scorer.unwrap_or(config.evaluation.scorer).scorer();
        let mut policy = PrismPolicy::of_mode(mode);
        policy.plan.steps = self.steps.unwrap_or(policy.plan.steps);
        let progress = Arc::new(Progress::new(self.json));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (corpus, record) = match config.data.dataset {
            Some(folder) => dataset(folder).await?,
            None => {
                let corpus = fixture::stand_in()?;
                let record = DatasetRecord::of(&corpus, None)?;
                (corpus, record)
            }
        };
        let workers = self.workers.unwrap_or(cores).max(1);
        let bench = Bench::new(policy, &self.seed, corpus, workers, Arc::clone(&progress)).await?;

        let archive = pack_folder(&self.bundle)?;
        let examination = Examination::of(&archive, &bench.context(), &bench.limits())?;
        let bench = bench.prepared_for(&examination, &self.place).await?;
        let submission = bench.subject(&examination, SubmissionId::of_parts("prism/eval/1", &[&archive])).await?;
        let baselines = bench.baselines().await?;
        let cancel = Cancel::new();
        let interrupted = cancel.clone();
        tokio::spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            interrupted.cancel();
        });
        let all: Vec<&Subject> = baselines.iter().chain([&submission]).collect();
        let mut others = bench.measure(&all, &cancel).await?;
        progress.finish();

        let own = others.pop().unwrap_or_default();
        let candidate = submission.candidate(&own);
        let rivals: Vec<_> = baselines.iter().zip(&others).map(|(subject, runs)| subject.candidate(runs)).collect();
        let numbers = bench.policy().numbers();
        let candidates = [candidate];
        let round = Round::new(prism_core::Epoch(1), &numbers, &candidates, &rivals);
        let card = scorer.score(&round)?.pop();
        let card = card.ok_or_else(|| Error::bug("scorer gave no card"))?;

        if let Some(folder) = &self.manifest_dir {
            let (examination, bench, submission) = (&examination, &bench, &submission);
            let home =
                Home { examination, bench, submission, dataset: &record, card: &card, runs: &own, baselines: &rivals };
            home.write(folder)?;
        }

        let counting = if submission.kind.brings_architecture() { tuned_reference(&own) } else { recipe_run(&own) };
        let rival = others.iter().filter_map(|runs| tuned_reference(runs)).next();
        let report = Report {
            bundle: check::describe(&examination),
            policy: mode.as_str(),
            seed: self.seed,
            runs: own.iter().map(RunSummary::of).collect(),
            baselines: others.iter().flatten().map(RunSummary::of).collect(),
            curve: counting.map(report::curve).unwrap_or_default(),
            baseline_curve: rival.map(report::curve).unwrap_or_default(),
            signals: SignalTable::of(&own, others.first().map(Vec::as_slice), &bench.policy().diagnostics),
            score: card,
            score_eligible: false,
            notes: vec![
                "public text and a seed that you chose: a validator's rows are others, and only paired differences on \
                 them are paid"
                    .to_owned(),
            ],
            elapsed_seconds: start.elapsed().as_secs_f64(),
        };
        if self.json {
            let text =
                serde_json::to_string_pretty(&report).map_err(|e| Error::bug("report is not JSON").because(e))?;
            println!("{text}");
        } else {
            println!("{report}");
        }
        Ok(())
    }
}
