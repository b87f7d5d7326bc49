//! `prism weights`: set weights by hand, and read what a hotkey has set.
use super::{
    chain::{self, ChainArgs},
    key::{self, KeyArgs},
};
use clap::{Args, Subcommand, ValueEnum};
use prism_chain::{
    CommitScheme, SubtensorView,
    client::ChainClient,
    weights::{DryRunSetter, SetterConfig, Shares, SubtensorWeightSetter, WeightsRow},
};
use prism_core::{
    ChainView, Digest, Error, Fault, Hotkey, Kind, Receipt, Result, WeightIntent, WeightSetter,
    receipt::{Opening, Stage},
};
use prism_neurons::{
    clock::SystemClock,
    config::{Overrides, ValidatorConfig},
    receipt_file::ReceiptFile,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Set weights by hand, or read what a hotkey has set.
#[derive(Debug, Args)]
pub(crate) struct Weights {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set weights from a file of shares, and follow them until the chain shows them.
    Set(Set),
    /// Show a hotkey's weights, and its commitments that wait for their reveal.
    Show(Show),
}

/// Which chain, subnet and key.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    chain: ChainArgs,
    /// The mechanism within it.
    #[arg(long)]
    mechanism: Option<u8>,
    #[command(flatten)]
    key: KeyArgs,
}

impl Place {
    fn config(&self) -> Result<ValidatorConfig> {
        let mut config = self.chain.over(Overrides::default().set_some("chain.mechanism", self.mechanism))?;
        config.key = self.key.clone().over(config.key);
        Ok(config)
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, Fault::Validator, text)
}

#[derive(Debug, Args)]
struct Set {
    /// A JSON object of hotkeys and numbers, as in {"5Grw...": 3, "5FHn...": 1}; `-` reads standard input. Weights are
    /// in proportion to the numbers.
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    shares: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// The part of the whole that nobody earned, 0 to 1; it goes to the burn hotkey's slot.
    #[arg(long, default_value_t = 0.0)]
    burn: f64,
    /// The weights version that is claimed.
    #[arg(long, default_value_t = 1)]
    version_key: u64,
    /// How weights are committed where the subnet asks for it, instead of the configuration's way.
    #[arg(long, value_enum)]
    commit: Option<Commit>,
    /// The file that the receipt is kept in, before and after every step.
    #[arg(long, default_value = "weights-receipt.json")]
    receipt: PathBuf,
    /// Go on with the receipt of that file.
    #[arg(long)]
    resume: bool,
    /// How far to follow the weights.
    #[arg(long, value_enum, default_value_t = Until::End)]
    until: Until,
    /// The longest time to follow them, in seconds.
    #[arg(long, default_value_t = 14_400)]
    wait: u64,
    /// Work out and sign, but send nothing and keep nothing.
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// Print the receipt at its last stage as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Commit {
    Timelock,
    Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// A block has them.
    Included,
    /// That block, or the commitment in it, is final.
    Final,
    /// They were read back from the chain.
    End,
}

impl Until {
    fn is_reached(self, receipt: &Receipt) -> bool {
        match self {
            Self::Included => !matches!(receipt.stage, Stage::Prepared { .. } | Stage::Submitted { .. }),
            Self::Final => matches!(
                receipt.stage,
                Stage::Finalized { .. } | Stage::Committed { .. } | Stage::Revealing { .. } | Stage::Revealed { .. }
            ),
            Self::End => false,
        }
    }
}

impl Weights {
    pub(crate) async fn run(self) -> Result<()> {
        match self.what {
            What::Set(set) => set.run().await,
            What::Show(show) => show.run().await,
        }
    }
}

impl Set {
    async fn run(self) -> Result<()> {
        let config = self.place.config()?;
        let signer = Arc::new(key::load(&config.key)?);
        let file = ReceiptFile::new(&self.receipt);
        let known = if self.dry_run { None } else { file.load()? };
        if let Some(open) = known.as_ref().filter(|known| !known.stage.is_terminal() && !self.resume) {
            let (stage, path) = (open.stage.name(), file.path().display());
            let text =
                format!("{path} holds a receipt that is {stage}: go on with --resume, or name another --receipt");
            return Err(Error::new(Kind::Conflict, Fault::Validator, text));
        }
        let shares = self.shares.as_ref().map(read).transpose()?;
        let client = chain::connect(&config).await?;
        let mut setting = SetterConfig::default();
        setting.burn_hotkey = config.chain.burn_hotkey;
        setting.commit = match self.commit {
            None => config.chain.commit,
            Some(Commit::Timelock) => CommitScheme::Timelock,
            Some(Commit::Hash) => CommitScheme::Hash,
        };
        let receipt = match (&shares, known) {
            (Some(shares), _) => {
                let intent = self.intent(&config, &client, shares).await?;
                if self.dry_run {
                    let receipt = DryRunSetter::new(client, signer, setting).prepare(intent).await?;
                    self.show(&receipt);
                    return self.report(&receipt);
                }
                let setter = SubtensorWeightSetter::new(client, signer, setting);
                let receipt = setter.prepare(intent).await?;
                self.follow(&file, &setter, receipt).await?
            }
            (None, Some(receipt)) => {
                let setter = SubtensorWeightSetter::new(client, signer, setting);
                self.follow(&file, &setter, receipt).await?
            }
            (None, None) => return Err(wrong(format!("{} is not there to go on with", file.path().display()))),
        };
        self.report(&receipt)?;
        match &receipt.stage {
            Stage::ReadBack { .. } => Ok(()),
            stage if !stage.is_terminal() => Ok(()),
            stage => {
                let text = format!("weights ended as {}{}", stage.name(), reason(stage));
                Err(Error::new(Kind::Refused, Fault::Validator, text))
            }
        }
    }

    async fn intent(&self, config: &ValidatorConfig, client: &ChainClient, shares: &Shares) -> Result<WeightIntent> {
        let (shares, burn) = shares.with_burn(self.burn)?;
        let view = SubtensorView::new(client.clone());
        let head = view.head().await?;
        let netuid = config.chain.netuid;
        Ok(WeightIntent {
            netuid,
            mechanism: config.chain.mechanism,
            epoch: view.epoch_at(netuid, head.finalized).await?,
            shares,
            burn,
            version_key: self.version_key,
            policy: Digest::of(b"prism weights set"),
        })
    }

    async fn follow(&self, file: &ReceiptFile, setter: &dyn WeightSetter, receipt: Receipt) -> Result<Receipt> {
        let show = |shown: std::result::Result<&Receipt, &Error>| match shown {
            Ok(receipt) => self.show(receipt),
            Err(error) => eprintln!("waiting: {}", error.chain()),
        };
        let enough = |receipt: &Receipt| self.until.is_reached(receipt);
        file.follow(setter, receipt, &SystemClock::new(), Duration::from_secs(self.wait), enough, show).await
    }

    /// One line for a stage, for people.
    fn show(&self, receipt: &Receipt) {
        if self.json {
            return;
        }
        match &receipt.stage {
            Stage::Prepared { expires } => {
                let weights = receipt.vector.len();
                println!("prepared    {weights} weights at block {}, good until block {expires}", receipt.pinned);
                if let Some(commitment) = &receipt.commitment {
                    let opening = match &commitment.opening {
                        Opening::Round(round) => format!("for beacon round {round}"),
                        _ => "by hash".to_owned(),
                    };
                    println!("            a commitment {opening}, to be revealed in block {}", commitment.due);
                }
                for (uid, weight) in &receipt.vector {
                    let holder = receipt.holders.get(uid).map(Hotkey::ss58).unwrap_or_default();
                    println!("            {uid:>5} {weight:>6} {holder}");
                }
            }
            stage => println!("{:<11} {}", stage.name(), place(stage)),
        }
        for alarm in &receipt.alarms {
            println!("            alarm: {alarm}");
        }
    }

    fn report(&self, receipt: &Receipt) -> Result<()> {
        if self.json {
            let text = serde_json::to_string(receipt);
            println!("{}", text.map_err(|error| Error::bug("a receipt is no JSON").because(error))?);
        }
        Ok(())
    }
}

fn place(stage: &Stage) -> String {
    match stage {
        Stage::Included { block, extrinsic } | Stage::Finalized { block, extrinsic } => {
            format!("in block {block}, extrinsic {extrinsic}")
        }
        Stage::Committed { epoch, due, .. } => format!("for epoch {epoch}, revealed about block {due}"),
        Stage::Revealing { expires, .. } => format!("signed, good until block {expires}"),
        Stage::Revealed { block } => format!("in block {block}"),
        Stage::ReadBack { block, uids } => format!("{} weights at block {block}", uids.len()),
        stage => reason(stage).trim_start_matches(": ").to_owned(),
    }
}

fn reason(stage: &Stage) -> String {
    match stage {
        Stage::Failed { error } => format!(": {error}"),
        Stage::Superseded { reason } => format!(": {reason}"),
        _ => String::new(),
    }
}

fn read(path: &PathBuf) -> Result<Shares> {
    let text =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|error| {
        Error::new(Kind::NotFound, Fault::Validator, format!("{} can't be read", path.display())).because(error)
    })?;
    Ok(Shares::from_json(&text)?)
}

#[derive(Debug, Args)]
struct Show {
    /// Whose weights; the configured key's without it.
    #[arg(long)]
    hotkey: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    async fn run(self) -> Result<()> {
        let config = self.place.config()?;
        let hotkey = match &self.hotkey {
            Some(text) => text.parse::<Hotkey>().map_err(|error| wrong(format!("hotkey {text:?}: {error}")))?,
            None => key::load(&config.key)?.hotkey(),
        };
        let client = chain::connect(&config).await?;
        let netuid = config.chain.netuid;
        let row = client.weights_row(netuid, config.chain.mechanism, hotkey).await?.ok_or_else(|| {
            let text = format!("hotkey {hotkey} is not registered on subnet {netuid}");
            Error::new(Kind::NotFound, Fault::Validator, text)
        })?;
        if self.json {
            println!("{}", serde_json::json!(row));
        } else {
            print(&row);
        }
        Ok(())
    }
}

fn print(row: &WeightsRow) {
    let permit = if row.validator_permit { "with" } else { "without" };
    println!("hotkey {} at uid {}, {permit} a validator permit", row.hotkey, row.uid);
    println!("block {}; weights set, committed, or hotkey registered in block {}", row.block, row.last_update);
    for weight in &row.weights {
        let holder = weight.hotkey.as_ref().map_or_else(|| "nobody".to_owned(), Hotkey::ss58);
        println!("{:>5} {:>6} {holder}", weight.uid, weight.weight);
    }
    for commit in &row.timelocked {
        let (block, epoch, round, bytes) = (commit.block, commit.epoch, commit.round, commit.bytes);
        println!("committed in block {block}, epoch {epoch}: {bytes} bytes that beacon round {round} opens");
    }
    if row.hashed > 0 {
        println!("{} commitments by hash wait for their reveal", row.hashed);
    }
}
