//! `prism doctor`: whether weights could be set now, and what an upgrade of the chain took away.
use super::{
    chain::{self, ChainArgs},
    key::{self, KeyArgs},
};
use clap::Args;
use prism_chain::{
    Runtime,
    doctor::{Report, Row, Status, Subject, Topic, examine_keyfile},
    wallet::Password,
};
use prism_core::{Clock as _, Error, Fault, Hotkey, Kind, Result};
use prism_neurons::{clock::SystemClock, config::Overrides};
use serde_json::json;
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Longest file of metadata that is read, bytes.
const MOST: u64 = 32 << 20;

/// Say whether weights could be set now, and what an upgrade of the chain took away.
///
/// Exit codes: 0 they could; 3 they could not, and each row that says why says what to do; 4 no endpoint answered.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    chain: ChainArgs,
    /// The mechanism within it.
    #[arg(long)]
    mechanism: Option<u8>,
    /// The validator's hotkey by its address; that of the key without it.
    #[arg(long, value_name = "SS58")]
    address: Option<String>,
    /// The version key that goes with the weights; the subnet's own without it.
    #[arg(long)]
    version_key: Option<u64>,
    #[command(flatten)]
    key: KeyArgs,
    /// Look at a file of metadata instead of a chain: SCALE, as `state_getMetadata` gives it, in bytes or in digits.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "address"])]
    metadata: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<()> {
        if let Some(path) = &self.metadata {
            let runtime = Runtime::from_metadata(&read(path)?)?;
            return self.tell(&Report::of_runtime(&runtime));
        }
        let config = self.chain.over(Overrides::default().set_some("chain.mechanism", self.mechanism))?;
        let keys = self.key.clone().over(config.key.clone());
        let (mut hotkey, mut rows) = (None, Vec::new());
        if keys.hotkey_file.is_some() || keys.wallet.is_some() {
            let password = keys.password_file.as_deref().map(Password::from_file).transpose()?;
            let (address, row) = examine_keyfile(&key::keyfile(&keys)?, password.as_ref());
            hotkey = address;
            rows.push(row);
        }
        if let Some(text) = &self.address {
            let address: Hotkey =
                text.parse().map_err(|error| Error::new(Kind::Invalid, Fault::Validator, format!("{error}")))?;
            rows.extend(hotkey.filter(|key| *key != address).map(|key| {
                let found = format!("the key is {key}, the address is {address}");
                Row::new(Topic::Wallet, "address", Status::Bad, found).advise("give the key of this address").blocking()
            }));
            hotkey = Some(address);
        }
        if hotkey.is_none() {
            let row = Row::new(Topic::Wallet, "key", Status::Warning, "none was named");
            rows.push(row.advise("give --key, --wallet or --address to have the hotkey looked at"));
        }
        let client = chain::connect(&config).await?;
        let netuid = config.chain.netuid;
        let mut subject = Subject::new(netuid);
        subject.mechanism = config.chain.mechanism;
        subject.hotkey = hotkey;
        subject.version_key = match self.version_key {
            Some(key) => key,
            None => client.hyperparameters(netuid, None).await.map_or(0, |rules| rules.weights_version_key),
        };
        subject.now = SystemClock::new().now().duration_since(UNIX_EPOCH).ok();
        let mut report = client.examine(&subject).await?;
        report.rows.extend(rows);
        self.tell(&report)
    }

    fn tell(&self, report: &Report) -> Result<()> {
        if self.json {
            println!("{}", as_json(report));
        } else {
            for row in &report.rows {
                println!("{:<11} {:<44} {}", row.status.as_str(), row.item, row.found);
                if let Some(advice) = &row.advice {
                    println!("{:<11} -> {advice}", "");
                }
            }
        }
        let blocking: Vec<&str> = report.blocking().map(|row| row.item.as_str()).collect();
        if blocking.is_empty() {
            if !self.json {
                println!("weights can be set; the runtime is spec {}", report.spec_version);
            }
            return Ok(());
        }
        let text = format!("no weight could be set now: {}", blocking.join(", "));
        Err(Error::new(Kind::Refused, Fault::Validator, text))
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let mut object = json!(report);
    if let Some(fields) = object.as_object_mut() {
        fields.insert("can_set_weights".into(), report.can_set_weights().into());
    }
    object
}

/// A file of metadata, in bytes or in hexadecimal digits.
fn read(path: &Path) -> Result<Vec<u8>> {
    let unread = |e: std::io::Error| {
        Error::new(Kind::NotFound, Fault::Validator, format!("{} can't be read", path.display())).because(e)
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(unread)?.take(MOST + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > MOST {
        let text = format!("{} is longer than {MOST} bytes", path.display());
        return Err(Error::new(Kind::Limit, Fault::Validator, text));
    }
    let text = std::str::from_utf8(&bytes).ok().map(|text| text.trim().trim_matches('"'));
    match text.and_then(|text| text.strip_prefix("0x")).map(hex::decode) {
        Some(Ok(decoded)) => Ok(decoded),
        _ => Ok(bytes),
    }
}
