//! Commitments as a source of submissions.
use super::{Commitments, SubnetCommitments};
use crate::{client::ChainClient, error::ChainError, extrinsic::signer_of};
use async_trait::async_trait;
use prism_core::{
    Block, Error, Fault, Hotkey, Kind, Netuid, Result, SubmissionId, SubmissionSource,
    source::{Batch, Cursor, Disposition},
    submission::{Precedence, Submission},
};
use std::{collections::BTreeMap, str::FromStr};

/// How many revealed fields of a hotkey the chain keeps.
const KEPT_REVEALED: u32 = 10;

/// What the hotkeys of a subnet have committed, as references to published models: the first field of each commitment that
/// is plain text, and each text that the chain has revealed.
///
/// Final blocks only. A commitment is in force until its hotkey makes another; one that was replaced before it was polled
/// for is gone. What was under a timelock comes when it is revealed, with the precedence of that block, not of the block of
/// the commitment: nobody could have read it before. Within a block the order is by extrinsic; of several of one hotkey's
/// the last counts. What isn't UTF-8, or empty, is no submission.
#[derive(Debug, Clone)]
pub struct ChainCommitments {
    client: ChainClient,
    netuid: Netuid,
    name: String,
}

impl ChainCommitments {
    /// The commitments of a subnet.
    #[must_use]
    pub fn new(client: ChainClient, netuid: Netuid) -> Self {
        Self { client, netuid, name: format!("commitments/{netuid}") }
    }
}

/// A submission's place: unlike a precedence it tells apart what one hotkey has revealed and committed in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    block: u64,
    extrinsic: u32,
    hotkey: Hotkey,
    /// Revealed things come before the block's extrinsics.
    committed: bool,
}

impl From<Place> for Cursor {
    fn from(place: Place) -> Self {
        let kind = if place.committed { 'c' } else { 'r' };
        Self(format!("{}.{}.{}.{kind}", place.block, place.extrinsic, place.hotkey))
    }
}

impl FromStr for Place {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::new(Kind::Invalid, Fault::Validator, format!("cursor {text:?} is not one of commitments"));
        let parts: Vec<&str> = text.split('.').collect();
        let [block, extrinsic, hotkey, kind] = parts.as_slice() else { return Err(wrong()) };
        Ok(Self {
            block: block.parse().map_err(|_| wrong())?,
            extrinsic: extrinsic.parse().map_err(|_| wrong())?,
            hotkey: hotkey.parse().map_err(|_| wrong())?,
            committed: match *kind {
                "c" => true,
                "r" => false,
                _ => return Err(wrong()),
            },
        })
    }
}

/// What is to be handed out, with its block; the place in it is still to be found for what is not revealed.
fn texts(subnet: &SubnetCommitments) -> Vec<(Block, Hotkey, Option<u32>, &str)> {
    let mut found = Vec::new();
    for (hotkey, Commitments { current, revealed, .. }) in &subnet.by_hotkey {
        // Counted from the end: the chain forgets from the front, and nothing is added to a block that is over.
        let mut behind = BTreeMap::<Block, u32>::new();
        for entry in revealed.iter().rev() {
            let behind = behind.entry(entry.block).or_default();
            if let Some(text) = text(entry.content()) {
                found.push((entry.block, *hotkey, Some(KEPT_REVEALED.saturating_sub(*behind)), text));
            }
            *behind = behind.saturating_add(1);
        }
        if let Some(current) = current
            && let Some(text) = current.fields.iter().find_map(|field| field.bytes()).and_then(text)
        {
            found.push((current.block, *hotkey, None, text));
        }
    }
    found.sort_unstable_by_key(|(block, ..)| *block);
    found
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

impl ChainCommitments {
    /// The index of the last extrinsic that each account signed in a block.
    async fn signers(&self, block: Block) -> Result<BTreeMap<Hotkey, u32>, ChainError> {
        let tip = self.client.tip_at(block).await?;
        let extrinsics = self.client.extrinsics(tip.hash).await?;
        let signed = (0_u32..).zip(&extrinsics).filter_map(|(index, bytes)| Some((signer_of(bytes)?, index)));
        Ok(signed.collect())
    }
}

#[async_trait]
impl SubmissionSource for ChainCommitments {
    fn name(&self) -> &str {
        &self.name
    }

    async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch> {
        let start = from.filter(|cursor| !cursor.0.is_empty()).map(|cursor| cursor.0.parse::<Place>()).transpose()?;
        let unmoved = || from.cloned().unwrap_or_else(|| Cursor(String::new()));
        if max == 0 {
            return Ok(Batch { submissions: Vec::new(), next: unmoved() });
        }
        let subnet = self.client.commitments(self.netuid, None).await?;
        let texts = texts(&subnet);
        let first = start.map_or(0, |start| start.block);
        let texts = texts.into_iter().filter(|(block, ..)| block.0 >= first);
        let mut ready: Vec<(Place, &str)> = Vec::new();
        let mut signers: Option<(Block, BTreeMap<Hotkey, u32>)> = None;
        for (block, hotkey, revealed, text) in texts {
            // Blocks come in order: with enough of the earlier ones there is no need to look into this one.
            let before = ready.iter().filter(|(place, _)| place.block < block.0).count();
            if before >= max {
                break;
            }
            let extrinsic = match revealed {
                Some(index) => index,
                None => {
                    if signers.as_ref().is_none_or(|(of, _)| *of != block) {
                        signers = Some((block, self.signers(block).await?));
                    }
                    // In another's name, as through a proxy: after all that have signed.
                    signers.as_ref().and_then(|(_, signers)| signers.get(&hotkey).copied()).unwrap_or(u32::MAX)
                }
            };
            let place = Place { block: block.0, extrinsic, hotkey, committed: revealed.is_none() };
            if start.is_none_or(|start| place > start) {
                ready.push((place, text));
            }
        }
        ready.sort_unstable();
        ready.truncate(max);
        let next = ready.last().map_or_else(unmoved, |(place, _)| Cursor::from(*place));
        let submissions = ready.into_iter().map(|(place, text)| {
            let Place { block, extrinsic, hotkey, .. } = place;
            let precedence = Precedence { block: Block(block), extrinsic, hotkey, local: false };
            Submission::published(hotkey, precedence, text.to_owned())
        });
        Ok(Batch { submissions: submissions.collect(), next })
    }

    /// Nothing to do: the chain knows what is on it, and the caller what became of it.
    async fn settle(&self, _: SubmissionId, _: &Disposition) -> Result<()> {
        Ok(())
    }
}
