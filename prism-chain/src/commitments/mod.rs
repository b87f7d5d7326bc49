//! Commitments: what a hotkey has put on the chain for all to read, at once or when a beacon's round is out.
//!
//! A hotkey has one commitment per subnet, of up to three fields; a new one replaces it. A field is plain
//! ([`Field::Raw`], [`Field::BigRaw`]) or under a timelock ([`Field::Timelocked`]): then the chain itself decrypts it when
//! the round's signature is there, and moves it to the last ten revealed ones. What it can't decrypt is lost.
//! (subtensor, pallets/commitments.)
mod error;
mod field;
mod pages;
mod set;
mod source;
#[cfg(test)]
mod tests;

pub use error::CommitmentError;
pub use field::Field;
pub use set::{Committed, Space, space_of};
pub use source::ChainCommitments;

use crate::{
    client::ChainClient,
    error::ChainError,
    runtime::{AtBlock, Entry, account, subnet},
    timelock::Beacon,
};
use codec::{Compact, Decode as _};
use prism_core::{Block, Hotkey, Netuid};
use std::collections::{BTreeMap, BTreeSet};
use subxt::dynamic::Value;

const COMMITMENT_OF: Entry = Entry::new("Commitments", "CommitmentOf");
const LAST_COMMITMENT: Entry = Entry::new("Commitments", "LastCommitment");
const REVEALED: Entry = Entry::new("Commitments", "RevealedCommitments");

/// What a hotkey has committed and not yet replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commitment {
    /// The block in which it was made.
    pub block: Block,
    /// What is reserved for it, rao.
    pub deposit: u64,
    /// What it holds. Fields that were under a timelock and are revealed are no longer among these.
    pub fields: Vec<Field>,
}

/// A field that was under a timelock, decrypted by the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revealed {
    /// What was encrypted.
    pub bytes: Vec<u8>,
    /// The block in which the chain decrypted it.
    pub block: Block,
}

impl Revealed {
    /// The content. Texts are encrypted with their SCALE length before them, here as by the official SDK; where those bytes
    /// are the length of the rest, they are left out.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        let mut rest = self.bytes.as_slice();
        match Compact::<u32>::decode(&mut rest) {
            Ok(Compact(length)) if usize::try_from(length) == Ok(rest.len()) => rest,
            _ => &self.bytes,
        }
    }
}

/// All that a hotkey has committed on a subnet, as far as the chain keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Commitments {
    /// What it has committed last; `None` without, and when all of it was revealed.
    pub current: Option<Commitment>,
    /// The block of its last commitment, kept when all of that was revealed.
    pub last: Option<Block>,
    /// What was revealed, oldest first; the chain keeps ten.
    pub revealed: Vec<Revealed>,
}

/// The commitments of all hotkeys of a subnet, at one block. A hotkey that lost its slot may still be among them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubnetCommitments {
    /// The subnet.
    pub netuid: Netuid,
    /// The block.
    pub block: Block,
    /// By hotkey.
    pub by_hotkey: BTreeMap<Hotkey, Commitments>,
}

impl ChainClient {
    /// What a hotkey has committed, at a block; at the newest final one without it.
    ///
    /// # Errors
    /// Those of a read, with the entry's name.
    pub async fn commitments_of(
        &self,
        netuid: Netuid,
        hotkey: Hotkey,
        at: Option<Block>,
    ) -> Result<Commitments, ChainError> {
        self.at_or_final(at).await?.commitments_of(netuid, &hotkey).await
    }

    /// What all hotkeys of a subnet have committed, at a block; at the newest final one without it. Read in pages, all of
    /// them at that block.
    ///
    /// # Errors
    /// Those of a read, with the entry's name.
    pub async fn commitments(&self, netuid: Netuid, at: Option<Block>) -> Result<SubnetCommitments, ChainError> {
        self.at_or_final(at).await?.commitments(netuid).await
    }

    /// The beacon whose rounds the chain opens timelocks with, at the best block.
    ///
    /// # Errors
    /// Those of a read; `Missing` on a runtime without one.
    pub async fn beacon(&self) -> Result<Beacon, ChainError> {
        let at = self.at_best().await?;
        let missing = || ChainError::Missing { item: "storage entry Drand.BeaconConfig".into(), spec: at.spec() };
        at.beacon().await?.ok_or_else(missing)
    }
}

impl AtBlock {
    pub(crate) async fn commitments_of(&self, netuid: Netuid, hotkey: &Hotkey) -> Result<Commitments, ChainError> {
        let key = || vec![subnet(netuid), account(hotkey)];
        let (current, last, revealed) = tokio::try_join!(
            self.find::<Value>(COMMITMENT_OF, key()),
            self.find::<u32>(LAST_COMMITMENT, key()),
            self.find::<Vec<(Vec<u8>, u64)>>(REVEALED, key()),
        )?;
        Ok(Commitments {
            current: current.as_ref().map(commitment).transpose()?,
            last: last.map(|block| Block(block.into())),
            revealed: revealed.unwrap_or_default().into_iter().map(Revealed::from).collect(),
        })
    }

    pub(crate) async fn commitments(&self, netuid: Netuid) -> Result<SubnetCommitments, ChainError> {
        let (mut current, mut last, mut revealed) = tokio::try_join!(
            self.by_account::<Value>(COMMITMENT_OF, netuid),
            self.by_account::<u32>(LAST_COMMITMENT, netuid),
            self.by_account::<Vec<(Vec<u8>, u64)>>(REVEALED, netuid),
        )?;
        let hotkeys: BTreeSet<Hotkey> = current.keys().chain(last.keys()).chain(revealed.keys()).copied().collect();
        let mut by_hotkey = BTreeMap::new();
        for hotkey in hotkeys {
            let commitments = Commitments {
                current: current.remove(&hotkey).as_ref().map(commitment).transpose()?,
                last: last.remove(&hotkey).map(|block| Block(block.into())),
                revealed: revealed.remove(&hotkey).unwrap_or_default().into_iter().map(Revealed::from).collect(),
            };
            by_hotkey.insert(hotkey, commitments);
        }
        Ok(SubnetCommitments { netuid, block: self.block(), by_hotkey })
    }
}

impl From<(Vec<u8>, u64)> for Revealed {
    fn from((bytes, block): (Vec<u8>, u64)) -> Self {
        Self { bytes, block: Block(block) }
    }
}

/// Reads a `Registration`, by the names of its fields.
fn commitment(value: &Value) -> Result<Commitment, ChainError> {
    use subxt::dynamic::At as _;
    let wrong =
        |what: &str| ChainError::Decode { field: COMMITMENT_OF.to_string(), reason: format!("no {what} in it") };
    let number = |name: &str| value.at(name).and_then(|v| u64::try_from(field::number(v)?).ok());
    let info = value.at("info");
    let fields = info.at("fields").and_then(field::elements).ok_or_else(|| wrong("info.fields"))?;
    Ok(Commitment {
        block: Block(number("block").ok_or_else(|| wrong("block"))?),
        deposit: number("deposit").ok_or_else(|| wrong("deposit"))?,
        fields: fields
            .into_iter()
            .map(|v| Field::read(v).ok_or_else(|| wrong("known field")))
            .collect::<Result<_, _>>()?,
    })
}
