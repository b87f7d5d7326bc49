//! `prism demo`: a whole subnet on one machine, from submissions to weights read back.
mod cast;
mod report;
mod subnet;

use crate::progress::Progress;
use cast::Role;
use clap::Args;
use prism_chain::signer::Keypair;
use prism_core::{Cancel, Error, Fault, Finite, Hotkey, Kind, Result, SubmissionId, receipt::Stage};
use prism_neurons::{
    clock::SystemClock,
    miner::{Miner, MinerError},
    wire::SubmissionRequest,
};
use report::{CurvePoint, Entry, ReceiptSummary, Report, Weights};
use std::{sync::Arc, time::Instant};
use subnet::Subnet;

/// Run a whole subnet on this machine: chain, validator and miners, from submissions to weights read back.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print one JSON object at the end instead of tables.
    #[arg(long)]
    json: bool,
    /// The word that every random number follows from: which rows are drawn, how weights begin.
    #[arg(long, default_value = "prism")]
    seed: String,
    /// Leave chain and validator up until interrupted.
    #[arg(long)]
    keep_running: bool,
    /// Optimizer steps of each run; fewer are faster and noisier.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(16..=100_000))]
    steps: u64,
    /// Runs at the same time; one for each processor core by default.
    #[arg(long)]
    workers: Option<usize>,
}

/// What a request came to before anything was measured.
enum Sent {
    Accepted(SubmissionId),
    Refused { rule: String, message: String },
}

impl Demo {
    pub(crate) async fn run(self) -> Result<()> {
        let start = Instant::now();
        let progress = Arc::new(Progress::new(self.json));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = subnet::Settings {
            seed: self.seed.clone(),
            steps: self.steps,
            workers: self.workers.unwrap_or(cores).max(1),
        };

        progress.say("starting a development chain and a validator");
        let cast = cast::cast()?;
        let subnet = Subnet::start(&settings, &cast, Arc::clone(&progress)).await?;
        progress.say(&format!("chain at {}, validator at {}", subnet.chain_url(), subnet.http_url()));

        let mut sent = Vec::new();
        for role in &cast {
            sent.extend(self.act(&subnet, role, &progress).await?);
        }

        let cancel = Cancel::new();
        progress.expect_runs(subnet.expected_runs(&cast));
        subnet.validator().run_cohort(&cancel).await?;
        progress.finish();

        let mut report = self.report(&subnet, sent).await?;
        report.elapsed_seconds = start.elapsed().as_secs_f64();
        report.peak_rss_bytes = peak_rss_bytes();
        if self.json {
            let text =
                serde_json::to_string_pretty(&report).map_err(|e| Error::bug("report is not JSON").because(e))?;
            println!("{text}");
        } else {
            println!("{report}");
        }
        if self.keep_running {
            self.stay(&subnet, &cancel).await?;
        }
        let landed = report.receipt.is_some_and(|receipt| receipt.stage == "read_back");
        subnet.stop().await;
        if landed {
            return Ok(());
        }
        Err(Error::new(Kind::Unavailable, Fault::Infrastructure, "the weights did not reach the chain"))
    }

    /// Sends what a role sends; once more, word for word, if it replays.
    async fn act(&self, subnet: &Subnet, role: &Role, progress: &Progress) -> Result<Vec<(String, Hotkey, Sent)>> {
        let key = Keypair::from_uri(&subnet::miner_uri(role.name))?;
        let hotkey = key.hotkey();
        let miner = Miner::new(Arc::new(key), Arc::new(SystemClock::new()), subnet.http_url())?;
        let request = miner.sign(&role.payload, Some(role.name)).await?;
        let mut outcomes = vec![(role.name.to_owned(), hotkey, send(&miner, &request).await?)];
        if role.replays {
            outcomes.push((format!("{} (replayed)", role.name), hotkey, send(&miner, &request).await?));
        }
        for (name, _, outcome) in &outcomes {
            progress.say(&match outcome {
                Sent::Accepted(id) => format!("{name}: accepted as {}", id.short()),
                Sent::Refused { rule, message } => format!("{name}: refused by {rule}: {message}"),
            });
        }
        Ok(outcomes)
    }

    async fn report(&self, subnet: &Subnet, sent: Vec<(String, Hotkey, Sent)>) -> Result<Report> {
        let mut submissions = Vec::new();
        for (name, hotkey, outcome) in sent {
            submissions.push(match outcome {
                Sent::Accepted(id) => entry(subnet, name, id).await?,
                Sent::Refused { rule, message } => Entry {
                    status: "refused".into(),
                    reason: Some(format!("{rule}: {message}")),
                    ..Entry::unscored(name, hotkey)
                },
            });
        }
        let receipt = subnet.last_receipt().await?;
        let intended = receipt.as_ref().map(|r| r.intent.shares.clone()).unwrap_or_default();
        let burned = receipt.as_ref().map_or(Finite::ZERO, |r| r.intent.burn);
        let holders = subnet.holders().await?;
        let notes = vec![
            "a small budget, one seed per run and no confirmation in a second cohort: this shows that all is wired, \
             not which idea is better"
                .to_owned(),
            format!(
                "the word {:?} stands in for the hash of a finalized block, so that the run can be repeated",
                self.seed
            ),
        ];
        Ok(Report {
            submissions,
            weights: Weights { intended, burned, on_chain: subnet.weights_on_chain().await?, holders },
            receipt: receipt.map(|receipt| ReceiptSummary::of(&receipt)),
            seed: self.seed.clone(),
            notes,
            elapsed_seconds: 0.0,
            peak_rss_bytes: 0,
        })
    }

    async fn stay(&self, subnet: &Subnet, cancel: &Cancel) -> Result<()> {
        eprintln!("\nchain at {}, validator at {}; interrupt to stop", subnet.chain_url(), subnet.http_url());
        let interrupted = async {
            let _ = tokio::signal::ctrl_c().await;
            cancel.cancel();
            Ok(())
        };
        futures::future::try_join(subnet.validator().run(cancel), interrupted).await?;
        Ok(())
    }
}

async fn send(miner: &Miner, request: &SubmissionRequest) -> Result<Sent> {
    match miner.send(request).await {
        Ok(accepted) => Ok(Sent::Accepted(accepted.id)),
        Err(MinerError::Refused { refused, .. }) => {
            Ok(Sent::Refused { rule: refused.error.rule, message: refused.error.message })
        }
        Err(error) => Err(error.into()),
    }
}

/// One submission as the validator's own API shows it.
async fn entry(subnet: &Subnet, name: String, id: SubmissionId) -> Result<Entry> {
    let view = subnet.watcher().status(id).await?;
    let curve = match subnet.watcher().curve(id).await {
        Ok(curve) => curve.points,
        Err(MinerError::Refused { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(Entry {
        kind: view.kind.and_then(|kind| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned)),
        status: view.status.as_str().to_owned(),
        reason: view.reason,
        family: view.family.map(|family| family.to_string()),
        q_arch: view.q_arch,
        q_recipe: view.q_recipe,
        final_score: view.final_score,
        bits_per_byte: view.bits_per_byte,
        standard_error: view.standard_error,
        curve: curve.into_iter().map(|p| CurvePoint { step: p.step, bits_per_byte: p.bits_per_byte }).collect(),
        ..Entry::unscored(name, view.hotkey)
    })
}

impl Entry {
    fn unscored(name: String, hotkey: Hotkey) -> Self {
        Self {
            name,
            hotkey,
            kind: None,
            status: String::new(),
            reason: None,
            family: None,
            q_arch: None,
            q_recipe: None,
            final_score: None,
            bits_per_byte: None,
            standard_error: None,
            curve: Vec::new(),
        }
    }
}

impl ReceiptSummary {
    fn of(receipt: &prism_core::Receipt) -> Self {
        let stages = receipt.history.iter().map(|(_, stage)| stage).chain([&receipt.stage]);
        let place = stages.clone().find_map(|stage| match stage {
            Stage::Included { block, extrinsic } | Stage::Finalized { block, extrinsic } => Some((block.0, *extrinsic)),
            _ => None,
        });
        let (block, extrinsic) = place.unwrap_or_default();
        Self {
            stage: receipt.stage.name().to_owned(),
            block,
            extrinsic,
            hash: receipt.hash.to_string(),
            history: stages.map(|stage| stage.name().to_owned()).collect(),
        }
    }
}

/// The highest resident memory of this process so far, from `/proc/self/status`; 0 where that is not to be had.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default().saturating_mul(1024)
}
