//! `prism held`: what a validator holds for its operator, and what becomes of it. It works on the validator's database,
//! whether the validator runs or not.
use super::{config, validator::DATABASE};
use clap::{Args, Subcommand, ValueEnum};
use prism_core::{Clock as _, Error, FamilyId, Fault, Finite, Kind, Result, SubmissionId};
use prism_eval::duplicate::DuplicateReport;
use prism_neurons::{
    clock::SystemClock,
    config::Overrides,
    held,
    store::{Store, holds::Ending},
    wire::{HoldView, Resolve},
};
use serde::Serialize;
use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Most holds of a list.
const MOST: usize = 500;

/// List, show and answer what a validator holds for its operator.
///
/// Exit codes: 0 done; 1 no such submission or family; 3 it was answered otherwise before.
#[derive(Debug, Args)]
pub(crate) struct Held {
    #[command(subcommand)]
    command: HeldCommand,
    /// The validator's configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// The folder of its database, instead of the configuration's.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum HeldCommand {
    /// List what is held, oldest first.
    List,
    /// Show one submission: its holds, what it resembles, what reviewers found.
    Show {
        /// The submission's id.
        submission: String,
    },
    /// Answer a hold. Who answered, what and why stays on record.
    Resolve {
        /// The submission's id.
        submission: String,
        /// `allow`: a family of its own. `attach`: a member of --family. `reject`: no.
        answer: Answer,
        /// The family that it belongs to, by its id.
        #[arg(long, required_if_eq("answer", "attach"))]
        family: Option<String>,
        /// Why; the miner of a rejected submission reads it.
        #[arg(long)]
        reason: String,
        /// Who says so.
        #[arg(long)]
        operator: String,
        /// The hold that is meant, by its number; the open one without it.
        #[arg(long)]
        hold: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Answer {
    Allow,
    Attach,
    Reject,
}

impl Held {
    pub(crate) async fn run(self) -> Result<()> {
        let flags = Overrides::default().set_some("data.folder", self.data.as_ref());
        let config = config::load(self.config.as_deref(), &flags)?;
        let store = Store::beside(config.data.folder.join(DATABASE))?;
        let now = SystemClock::new().now();
        match self.command {
            HeldCommand::List => {
                let list = held::list(&store, MOST).await?;
                if self.json {
                    return print(&list);
                }
                for hold in &list.held {
                    line(hold, now);
                }
                if list.held.is_empty() {
                    println!("nothing is held");
                }
            }
            HeldCommand::Show { submission } => {
                let detail = held::show(&store, id(&submission)?).await?;
                if self.json {
                    return print(&detail);
                }
                for hold in &detail.holds {
                    line(hold, now);
                }
                for found in &detail.findings {
                    let finding = &found.finding;
                    println!(
                        "{:<12} {}:{} {}: {}",
                        found.reviewer, finding.file, finding.line, finding.rule, finding.text
                    );
                }
                if let Some(report) = &detail.report {
                    describe(report);
                }
            }
            HeldCommand::Resolve { submission, answer, family, reason, operator, hold } => {
                let answer = match answer {
                    Answer::Allow => Ending::Allow,
                    Answer::Attach => Ending::Attach,
                    Answer::Reject => Ending::Reject,
                };
                let family = family.map(|text| digest(&text, "family").map(FamilyId)).transpose()?;
                let said = Resolve { answer, family, hold, operator, reason };
                let done = held::resolve(&store, id(&submission)?, said, now).await?;
                if self.json {
                    return print(&done);
                }
                line(&done, now);
            }
        }
        Ok(())
    }
}

fn id(text: &str) -> Result<SubmissionId> {
    digest(text, "submission").map(SubmissionId)
}

fn digest(text: &str, what: &str) -> Result<[u8; 32]> {
    let parsed: std::result::Result<SubmissionId, _> = text.parse();
    parsed
        .map(|id| id.0)
        .map_err(|error| Error::new(Kind::Invalid, Fault::Validator, format!("{what} {text:?}: {error}")))
}

fn print<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    println!("{}", text.map_err(|error| Error::bug("an answer is not JSON").because(error))?);
    Ok(())
}

fn line(hold: &HoldView, now: SystemTime) {
    println!("{:>6} {} {} {}", hold.hold, hold.submission, hold.status.as_str(), hold.hotkey);
    println!("       {}: {}", hold.rule, hold.reason);
    let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
    let ago = now.duration_since(at(hold.since)).unwrap_or_default();
    match (&hold.answer, hold.expires, hold.expiry) {
        (Some(answer), _, _) => {
            let by = answer.operator.as_deref().unwrap_or("nobody");
            println!("       {} by {by}: {}", answer.answer.as_str(), answer.reason);
        }
        (None, Some(expires), Some(ending)) => {
            let left = at(expires).duration_since(now).unwrap_or_default();
            println!("       held for {}, in {} it ends: {}", hours(ago), hours(left), ending.as_str());
        }
        _ => println!("       held for {}, until what is missing is there", hours(ago)),
    }
}

fn hours(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    format!("{} h {:02} min", minutes / 60, minutes % 60)
}

fn describe(report: &DuplicateReport) {
    println!("{:<12} {}", report.grade.as_str(), report.reason);
    for one in &report.closest {
        let whose = one.hotkey.map_or_else(|| "published".to_owned(), |hotkey| hotkey.to_string());
        let (similarity, error) = (one.similarity.get(), one.standard_error.get());
        let (submission, grade, part) = (one.submission, one.grade.as_str(), one.part.as_str());
        println!("{grade:<12} {submission} {part} {similarity:.2} ± {error:.2} {whose}");
    }
    if let Some(losses) = &report.losses {
        let figure = |value: Finite| format!("{:.3}", value.get());
        let (correlation, advantage) = (figure(losses.correlation), figure(losses.advantage));
        println!(
            "{:<12} correlation {correlation} over {} rows, {advantage} bits per byte better",
            "losses", losses.rows
        );
    }
}
