//! `prism smoke`: a bundle trained for a moment on this machine, to see that all of it is wired; never a score.
use crate::{
    eval::{Bench, Place, RunSummary},
    progress::Progress,
};
use clap::Args;
use prism_core::{Cancel, Error, Fault, Finite, Kind, Result, SubmissionId, evidence::RunOutcome};
use prism_eval::{
    data::fixture,
    examination::Examination,
    policy::{PlanPolicy, PrismPolicy},
};
use prism_neurons::miner::pack_folder;
use serde_json::json;
use std::{path::PathBuf, sync::Arc};

/// Train a bundle for a moment, to see that all of it is wired; never a score.
#[derive(Debug, Args)]
pub(crate) struct Smoke {
    /// A folder, a ZIP archive, or a Python file.
    bundle: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Optimizer steps.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(16..=1_000))]
    steps: u64,
    #[command(flatten)]
    place: Place,
}

impl Smoke {
    pub(crate) async fn run(self) -> Result<()> {
        let progress = Arc::new(Progress::new(self.json));
        let bench = Bench::new(policy(self.steps), "smoke", fixture::stand_in()?, 1, Arc::clone(&progress)).await?;
        let archive = pack_folder(&self.bundle)?;
        let examination = Examination::of(&archive, &bench.context(), &bench.limits()).inspect_err(|error| {
            if self.json {
                println!("{}", report(Some(format!("{}: {error}", error.rule())), &[]));
            }
        })?;
        let bench = bench.prepared_for(&examination, &self.place).await?;
        let subject = bench.subject(&examination, SubmissionId::of_parts("prism/smoke/1", &[&archive])).await?;
        let runs = bench.first_runs(&subject, &Cancel::new()).await?;
        progress.finish();

        let failed = runs.iter().find_map(|run| match &run.outcome {
            RunOutcome::Failed { class, reason } => Some(format!("{}: {reason}", class.as_str())),
            RunOutcome::Completed => None,
        });
        let summaries: Vec<RunSummary> = runs.iter().map(RunSummary::of).collect();
        if self.json {
            println!("{}", report(failed.clone(), &summaries));
        } else {
            summaries.iter().for_each(|run| println!("{run}"));
        }
        match failed {
            Some(reason) => Err(Error::new(Kind::Refused, Fault::Miner, reason)),
            None => {
                if !self.json {
                    println!("all of it is wired; this is no score");
                }
                Ok(())
            }
        }
    }
}

fn report(failed: Option<String>, runs: &[RunSummary]) -> serde_json::Value {
    let validation = json!({ "passed": failed.is_none(), "reason": failed, "score_eligible": false });
    json!({ "validation": validation, "runs": runs })
}

/// A moment: two points and one rate.
fn policy(steps: u64) -> PrismPolicy {
    let plan = PlanPolicy {
        steps,
        batch: 4,
        points: 2,
        rows: 8,
        audits: 8,
        held_out_rows: 8,
        rates: vec![Finite::ONE],
        work: vec![],
        probes: vec![],
        ..PlanPolicy::smoke()
    };
    PrismPolicy { plan, ..PrismPolicy::smoke() }
}
