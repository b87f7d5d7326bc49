//! `prism commit`: what a hotkey puts on the chain for all to read.
use super::{
    chain::{self, ChainArgs},
    key::{self, KeyArgs},
};
use clap::{Args, Subcommand};
use prism_chain::{
    client::ChainClient,
    commitments::{Commitments, Field, Space, space_of},
};
use prism_core::{Block, Error, Fault, Hotkey, Kind, Netuid, Result};
use prism_neurons::config::{Overrides, ValidatorConfig};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Longest text that is read from a file, bytes; the chain takes less.
const MOST: u64 = 4096;

/// Put a commitment on the chain, or read what hotkeys have put there.
///
/// Exit codes: 0 done; 1 no such hotkey or commitment; 2 wrong arguments; 3 refused: too long, no space left in this epoch,
/// not registered, a rule of the chain; 4 the chain did not answer.
#[derive(Debug, Args)]
pub(crate) struct Commit {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Commit to a text, in place of the commitment that is there.
    Set(Set),
    /// Show what one hotkey has committed, revealed texts included, and the space that is left to it.
    Show(Show),
    /// List what all hotkeys of the subnet have committed.
    List(List),
}

#[derive(Debug, Args)]
struct Set {
    /// The text: up to 512 bytes, or some 780 under a timelock.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// A file that holds it, to the last byte.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Keep it from everybody for this many seconds.
    #[arg(long, value_name = "SECONDS", conflicts_with = "round")]
    reveal_in: Option<u64>,
    /// Keep it from everybody until this round of the beacon is out.
    #[arg(long)]
    round: Option<u64>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// Whose; the configured key's without it.
    hotkey: Option<Hotkey>,
    /// The state after this block; after the newest final one without it.
    #[arg(long)]
    block: Option<u64>,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// The state after this block; after the newest final one without it.
    #[arg(long)]
    block: Option<u64>,
    #[command(flatten)]
    chain: ChainArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Commit {
    pub(crate) async fn run(self) -> Result<()> {
        match self.what {
            What::Set(set) => set.run().await,
            What::Show(show) => show.run().await,
            What::List(list) => list.run().await,
        }
    }
}

async fn connect(config: &ValidatorConfig) -> Result<(ChainClient, Netuid)> {
    Ok((chain::connect(config).await?, config.chain.netuid))
}

impl Set {
    async fn run(self) -> Result<()> {
        let config = self.chain.over(Overrides::default())?;
        let bytes = match (&self.text, &self.file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => super::wallet::read(file, MOST)?.to_vec(),
            (None, None) => return Err(wrong("there is nothing to commit to")),
        };
        let signer = key::load(&self.key.over(config.key.clone()))?;
        let (client, netuid) = connect(&config).await?;
        let field = match (self.round, self.reveal_in) {
            (None, None) => Field::of(bytes)?,
            (round, seconds) => {
                let beacon = client.beacon().await?;
                let at = SystemTime::now() + Duration::from_secs(seconds.unwrap_or(0));
                let unix = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                // The round after the last one that is out by then.
                let round = round.unwrap_or_else(|| beacon.opening_round(unix).saturating_add(1));
                client.timelocked_field(&bytes, round).await?
            }
        };
        let fields = [field];
        let committed = client.set_commitment(&signer, netuid, &fields).await?;
        let (block, extrinsic) = (committed.block, committed.extrinsic);
        if self.json {
            let hotkey = signer.hotkey();
            let fields: Vec<_> = fields.iter().map(shown).collect();
            let space = space(&committed.space);
            println!(
                "{}",
                json!({ "hotkey": hotkey, "netuid": netuid, "block": block, "extrinsic": extrinsic, "fields": fields, "space": space })
            );
        } else {
            println!("committed in block {block}, extrinsic {extrinsic}; it may not be final yet");
            println!("{} of {} bytes are left in this epoch", committed.space.left(), committed.space.most);
        }
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Result<()> {
        let config = self.chain.over(Overrides::default())?;
        let hotkey = match self.hotkey {
            Some(hotkey) => hotkey,
            None => key::load(&self.key.over(config.key.clone()))?.hotkey(),
        };
        let (client, netuid) = connect(&config).await?;
        let commitments = client.commitments_of(netuid, hotkey, self.block.map(Block)).await?;
        let left = client.commitment_space(netuid, hotkey).await?;
        if self.json {
            let mut value = described(&hotkey, &commitments);
            if let Some(value) = value.as_object_mut() {
                value.insert("netuid".into(), netuid.0.into());
                value.insert("space".into(), space(&left));
            }
            println!("{value}");
        } else {
            print(&hotkey, &commitments);
            println!("{} of {} bytes are left in epoch {}", left.left(), left.most, left.epoch);
        }
        if commitments.current.is_none() && commitments.revealed.is_empty() {
            let text = format!("hotkey {hotkey} has committed nothing on subnet {netuid}");
            return Err(Error::new(Kind::NotFound, Fault::Validator, text));
        }
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let (client, netuid) = connect(&self.chain.over(Overrides::default())?).await?;
        let all = client.commitments(netuid, self.block.map(Block)).await?;
        if self.json {
            let hotkeys: Vec<_> = all.by_hotkey.iter().map(|(hotkey, of)| described(hotkey, of)).collect();
            println!("{}", json!({ "netuid": netuid, "block": all.block, "commitments": hotkeys }));
            return Ok(());
        }
        println!("{} hotkeys have committed on subnet {netuid}, at block {}", all.by_hotkey.len(), all.block);
        for (hotkey, commitments) in &all.by_hotkey {
            print(hotkey, commitments);
        }
        Ok(())
    }
}

fn space(space: &Space) -> Value {
    json!({ "used": space.used, "left": space.left(), "most": space.most, "epoch": space.epoch, "renewed": space.renewed })
}

/// Text where it is one, hexadecimal digits where it isn't.
fn content(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": hex::encode(bytes) }),
    }
}

fn shown(field: &Field) -> Value {
    let (kind, mut value) = match field {
        Field::Raw(bytes) => ("raw", content(bytes)),
        Field::BigRaw(bytes) => ("big_raw", content(bytes)),
        Field::Timelocked { encrypted, reveal_round } => {
            ("timelocked", json!({ "reveal_round": reveal_round, "encrypted_bytes": encrypted.len() }))
        }
        Field::Other(name) => ("other", json!({ "name": name })),
        _ => ("other", json!({})),
    };
    if let Some(value) = value.as_object_mut() {
        value.insert("kind".into(), kind.into());
    }
    value
}

fn described(hotkey: &Hotkey, commitments: &Commitments) -> Value {
    let current = commitments.current.as_ref().map(|current| {
        let fields: Vec<_> = current.fields.iter().map(shown).collect();
        json!({ "block": current.block, "fields": fields, "space": space_of(&current.fields) })
    });
    let revealed = commitments.revealed.iter().map(|revealed| {
        let mut value = content(revealed.content());
        if let Some(value) = value.as_object_mut() {
            value.insert("block".into(), revealed.block.0.into());
        }
        value
    });
    let revealed: Vec<_> = revealed.collect();
    json!({ "hotkey": hotkey, "last": commitments.last, "current": current, "revealed": revealed })
}

fn print(hotkey: &Hotkey, commitments: &Commitments) {
    println!("{hotkey}");
    // What others wrote goes to a terminal: no control characters of theirs.
    let plain = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => format!("0x{}", hex::encode(bytes)),
    };
    for revealed in &commitments.revealed {
        println!("  revealed at block {}: {}", revealed.block, plain(revealed.content()));
    }
    for (current, field) in
        commitments.current.iter().flat_map(|current| current.fields.iter().map(move |f| (current, f)))
    {
        let text = match field {
            Field::Timelocked { reveal_round, .. } => format!("hidden until round {reveal_round} of the beacon"),
            Field::Other(name) => format!("a field of kind {name}"),
            field => plain(field.bytes().unwrap_or_default()),
        };
        println!("  block {}: {text}", current.block);
    }
}

fn wrong(text: &str) -> Error {
    Error::new(Kind::Invalid, Fault::Validator, text)
}
