//! `prism policy`: read, check and set the policy rows of a validator's database, beside a validator that runs.
use super::{config, eval::mode, validator::DATABASE};
use clap::{Args, Subcommand};
use prism_core::{Block, Error, Fault, Kind, Result, plan::RunMode};
use prism_eval::policy::{MAX_ROW_BYTES, PrismPolicy, Section};
use prism_neurons::{
    config::{Overrides, ValidatorConfig},
    store::{
        Store,
        alarms::Alarm,
        policy::{Moment, NewPolicyRow, PolicyReading, PolicyRow, Refused},
    },
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    io::Read as _,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Read, check and set the policy rows of a validator's database.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: PolicyCommand,
    /// The configuration file; `prism config print` shows what it may hold.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// The folder of the validator's database.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// The mode whose policy the rows are over, as of the validator.
    #[arg(long, global = true, value_parser = mode)]
    mode: Option<RunMode>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Show what is in force for the next cohort, which rows are refused, and which alarms stand.
    Show {
        /// One section only.
        section: Option<String>,
        /// As of this finalized block, instead of the newest on record.
        #[arg(long)]
        block: Option<u64>,
    },
    /// Add a row, if it is valid and fits the rest: it counts from the next cohort on.
    Set {
        /// The section.
        section: String,
        /// The keys to replace, as a JSON object; `-` reads standard input.
        value: String,
        /// Why.
        #[arg(long)]
        note: Option<String>,
        /// Who.
        #[arg(long)]
        author: Option<String>,
        /// Count from this block on.
        #[arg(long)]
        from_block: Option<u64>,
        /// Count from this time on, Unix seconds.
        #[arg(long)]
        from_time: Option<u64>,
        /// Add it switched off.
        #[arg(long)]
        disabled: bool,
    },
    /// List rows, newest first.
    History {
        /// One section only.
        section: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u64,
    },
    /// Check every row of the database, or one that is not in it yet; change nothing.
    Check {
        /// The section of a row that is not in the database yet.
        #[arg(requires = "value")]
        section: Option<String>,
        /// Its value, as for `set`.
        value: Option<String>,
    },
    /// Switch a row on.
    Enable {
        /// Which.
        row: u64,
    },
    /// Switch a row off: what was in force before it is in force again.
    Disable {
        /// Which.
        row: u64,
    },
}

/// The policy that a validator has without any row.
pub(crate) fn own(config: &ValidatorConfig, mode: RunMode) -> PrismPolicy {
    let mut policy = PrismPolicy::of_mode(mode);
    policy.sandbox.memory = config.guest.memory;
    policy
}

impl Policy {
    pub(crate) async fn run(self) -> Result<()> {
        let flags = Overrides::default().set_some("data.folder", self.data.as_ref());
        let config = config::load(self.config.as_deref(), &flags)?;
        let (own, json) = (own(&config, self.mode.unwrap_or(config.evaluation.mode)), self.json);
        let place = config.data.folder.join(DATABASE);
        let store = || Store::beside(&place).map_err(Error::from);
        match self.command {
            PolicyCommand::Show { section, block } => {
                let section = section.as_deref().map(str::parse::<Section>).transpose()?;
                let store = store()?;
                let shown = Shown::of(&store, &own, block).await?;
                shown.print(section, json)
            }
            PolicyCommand::Set { section, value, note, author, from_block, from_time, disabled } => {
                let section: Section = section.parse()?;
                let row = NewPolicyRow {
                    section,
                    value: text(value)?,
                    note,
                    author,
                    effective_block: from_block.map(Block),
                    effective_at: from_time.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.min(MOST_SECONDS))),
                    enabled: !disabled,
                };
                let store = store()?;
                let version = add(&store, &own, row).await?;
                match json {
                    true => print_json(&serde_json::json!({ "row": version, "section": section })),
                    false => {
                        println!("row {version} of {section} counts from the next cohort on");
                        Ok(())
                    }
                }
            }
            PolicyCommand::History { section, limit } => {
                let section = section.as_deref().map(str::parse::<Section>).transpose()?;
                let rows = store()?.policy_rows(section, limit).await?;
                match json {
                    true => print_json(&rows),
                    false => {
                        rows.iter().for_each(print_row);
                        Ok(())
                    }
                }
            }
            PolicyCommand::Check { section: Some(section), value } => {
                let section: Section = section.parse()?;
                let whole = own.with_row(section, &text(value.unwrap_or_default())?)?;
                whole.check()?;
                match json {
                    true => print_json(&serde_json::json!({ "section": section, "digest": whole.digest() })),
                    false => {
                        println!("{section}: valid");
                        Ok(())
                    }
                }
            }
            PolicyCommand::Check { section: None, .. } => check(&store()?, &own, json).await,
            PolicyCommand::Enable { row } => Ok(store()?.enable_policy(row, true).await?),
            PolicyCommand::Disable { row } => Ok(store()?.enable_policy(row, false).await?),
        }
    }
}

/// Later than any row's time.
const MOST_SECONDS: u64 = 1 << 40;

/// A row's text, as given or from standard input.
fn text(value: String) -> Result<String> {
    if value != "-" {
        return Ok(value);
    }
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_ROW_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|e| Error::new(Kind::Invalid, Fault::Validator, "standard input is no text").because(e))?;
    Ok(text)
}

async fn read(store: &Store, own: &PrismPolicy, block: Option<u64>) -> Result<(Block, PolicyReading)> {
    let block = match block {
        Some(block) => Block(block),
        None => store.last_block().await?.unwrap_or(Block(0)),
    };
    let at = Moment { block, time: SystemTime::now() };
    Ok((block, store.policy(own, at, |_| Ok(())).await?))
}

/// Checks a row alone and, where it would be in force by now, with the rest, and adds it.
async fn add(store: &Store, own: &PrismPolicy, row: NewPolicyRow) -> Result<u64> {
    let (_, reading) = read(store, own, None).await?;
    own.with_row(row.section, &row.value)?;
    if row.enabled {
        // Section by section over the program's own: the row takes the place of its section's former one.
        let mut whole = own.clone();
        let former = store.policy_rows(None, HISTORY).await?;
        for (section, version) in &reading.rows {
            let found = former.iter().find(|former| former.version == *version && *section != row.section);
            if let Some(former) = found {
                whole = whole.with_row(*section, &former.value)?;
            }
        }
        whole.with_row(row.section, &row.value)?.check()?;
    }
    Ok(store.set_policy(row, SystemTime::now()).await?)
}

/// Rows that are looked through.
const HISTORY: u64 = 10_000;

/// Checks every row, also those that are not in force.
async fn check(store: &Store, own: &PrismPolicy, json: bool) -> Result<()> {
    let mut refused = Vec::new();
    let rows = store.policy_rows(None, HISTORY).await?;
    for row in &rows {
        let checked = row.section.parse::<Section>().and_then(|section| own.with_row(section, &row.value));
        if let Err(defect) = checked {
            let (version, section) = (row.version, row.section.clone());
            refused.push(Refused { version, section, defect: defect.to_string() });
        }
    }
    let (_, reading) = read(store, own, None).await?;
    let report = Checked { rows: rows.len(), refused, inconsistent: reading.inconsistent };
    if json {
        print_json(&report)?;
    } else {
        for row in &report.refused {
            println!("row {} refused: {}", row.version, row.defect);
        }
        if let Some(defect) = &report.inconsistent {
            println!("sections don't fit together: {defect}");
        }
        println!("{} rows, {} refused", report.rows, report.refused.len());
    }
    if report.refused.is_empty() && report.inconsistent.is_none() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, Fault::Validator, "policy rows are refused"))
}

#[derive(Debug, Serialize)]
struct Checked {
    rows: usize,
    refused: Vec<Refused>,
    inconsistent: Option<String>,
}

/// What is in force.
#[derive(Debug, Serialize)]
struct Shown {
    block: Block,
    digest: prism_core::Digest,
    sections: BTreeMap<Section, ShownSection>,
    refused: Vec<Refused>,
    inconsistent: Option<String>,
    alarms: Vec<Alarm>,
}

#[derive(Debug, Serialize)]
struct ShownSection {
    /// The row it comes from; none for the program's own.
    row: Option<u64>,
    value: Map<String, Value>,
}

impl Shown {
    async fn of(store: &Store, own: &PrismPolicy, block: Option<u64>) -> Result<Self> {
        let (block, reading) = read(store, own, block).await?;
        let whole = reading.policy.whole.as_deref().unwrap_or(own);
        let section = |section: &Section| {
            let row = reading.rows.get(section).copied();
            (*section, ShownSection { row, value: whole.section(*section) })
        };
        Ok(Self {
            block,
            digest: whole.digest(),
            sections: Section::ALL.iter().map(section).collect(),
            alarms: store.alarms().await?,
            refused: reading.refused,
            inconsistent: reading.inconsistent,
        })
    }

    fn print(&self, only: Option<Section>, json: bool) -> Result<()> {
        if json {
            return match only.and_then(|section| self.sections.get(&section)) {
                Some(section) => print_json(section),
                None => print_json(self),
            };
        }
        println!("digest {} at block {}", self.digest, self.block);
        for (section, shown) in self.sections.iter().filter(|(section, _)| only.is_none_or(|only| only == **section)) {
            match shown.row {
                Some(row) => println!("[{section}] row {row}"),
                None => println!("[{section}]"),
            }
            for (key, value) in &shown.value {
                println!("  {key} = {value}");
            }
        }
        for row in &self.refused {
            println!("refused: row {} of {}: {}", row.version, row.section, row.defect);
        }
        if let Some(defect) = &self.inconsistent {
            println!("no cohort is seeded: {defect}");
        }
        for alarm in &self.alarms {
            println!("alarm: {}: {}: {}", alarm.kind, alarm.subject, alarm.text);
        }
        Ok(())
    }
}

fn print_row(row: &PolicyRow) {
    let value: String = row.value.chars().take(200).collect();
    let off = if row.enabled { "" } else { " (off)" };
    let from = match (row.effective_block, row.effective_at) {
        (None, None) => String::new(),
        (Some(block), _) => format!(" from block {block}"),
        (None, Some(at)) => format!(" from time {}", at / 1000),
    };
    println!("{:>4} {}{off}{from} {value}", row.version, row.section);
    if row.note.is_some() || row.author.is_some() {
        println!("     {} {}", row.author.as_deref().unwrap_or("-"), row.note.as_deref().unwrap_or_default());
    }
}

fn print_json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::bug("report is not JSON").because(e))?;
    println!("{text}");
    Ok(())
}
