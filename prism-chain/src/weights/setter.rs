//! The weight setter of a Subtensor chain with commit-reveal off.
use crate::{
    client::{ChainClient, Tip},
    error::ChainError,
    extrinsic::{Outcome, Place, extrinsic_hash, outcome, sign, signer_of, subtensor},
    metagraph::storage_index,
    rejection::Remedy,
    runtime::{AtBlock, number, subnet},
    signer::Signer,
    weights::{
        conform::{Conformed, Slots, conform, hotkeys},
        error::WeightsError,
        preflight::Standing,
        quantize::max_upscale,
    },
};
use async_trait::async_trait;
use prism_core::{
    Block, Digest, Hotkey, Receipt, Result, Uid, WeightIntent, WeightSetter,
    receipt::{RECEIPT_SCHEMA, Stage},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Guard, PoisonError},
    time::Duration,
};
use subxt::dynamic::Value;
use tokio::sync::Mutex;

/// How weights are set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SetterConfig {
    /// Blocks for which a signature is valid: a power of two from 8 to 2048. The official SDK has 128; a shorter one
    /// is known to be void sooner.
    pub period: u64,
    /// Whose slot is burned, instead of the subnet owner's.
    pub burn_hotkey: Option<Hotkey>,
}

impl Default for SetterConfig {
    fn default() -> Self {
        Self { period: 64, burn_hotkey: None }
    }
}

impl SetterConfig {
    /// The same with another slot to burn than the subnet owner's.
    #[must_use]
    pub fn burn_to(mut self, hotkey: Hotkey) -> Self {
        self.burn_hotkey = Some(hotkey);
        self
    }
}

/// Sets weights by `set_mechanism_weights`, one extrinsic at a time.
///
/// The signature covers a nonce and an era, so that the same bytes land at most once and not after the era. While a
/// receipt of this setter is unfinished, `prepare` gives that receipt again for the same intent and refuses any other
/// one. The pinned block is the newest final one: a reorganisation can't void the signature.
#[derive(Debug)]
pub struct SubtensorWeightSetter {
    client: ChainClient,
    signer: Arc<dyn Signer>,
    config: SetterConfig,
    /// The unfinished receipt, as far as this process has taken it.
    lane: Mutex<Option<Receipt>>,
    /// Final blocks up to which an extrinsic was looked for in vain. Only saves work.
    searched: Guard<BTreeMap<Digest, u64>>,
}

impl SubtensorWeightSetter {
    /// A setter for one hotkey.
    pub fn new(client: ChainClient, signer: Arc<dyn Signer>, config: SetterConfig) -> Self {
        let period = config.period.clamp(8, 2048).next_power_of_two();
        let config = SetterConfig { period, ..config };
        Self { client, signer, config, lane: Mutex::new(None), searched: Guard::default() }
    }

    /// Reads, conforms and checks an intent at the newest final block.
    pub(crate) async fn conform(&self, intent: &WeightIntent) -> Result<Plan, WeightsError> {
        let pinned = self.client.at_finalized().await?;
        let best = self.client.at_best().await?;
        if best.number.saturating_sub(pinned.number) > self.config.period / 2 {
            return Err(WeightsError::Stalled { finalized: pinned.block(), best: best.block() });
        }
        let hotkey = self.signer.hotkey();
        let standing = Standing::read(&pinned, best.block(), hotkey, intent).await?;
        standing.check(intent)?;
        let burn = self.config.burn_hotkey.or(standing.owner);
        let wanted = hotkeys(intent, hotkey, burn);
        let uids = pinned.uids(intent.netuid, &wanted).await?;
        let slots = Slots {
            netuid: intent.netuid,
            uids: wanted.into_iter().zip(uids).filter_map(|(hotkey, uid)| Some((hotkey, uid?))).collect(),
            burn,
            signer: hotkey,
            max_weights_limit: standing.rules.max_weights_limit,
            min_weights: standing.rules.min_allowed_weights.min(standing.rules.neurons),
        };
        Ok(Plan { conformed: conform(intent, &slots)?, pinned, best })
    }

    pub(crate) async fn signed(&self, intent: WeightIntent, plan: Plan) -> Result<Receipt, WeightsError> {
        let Plan { conformed, pinned, best, .. } = plan;
        let (uids, weights): (Vec<_>, Vec<_>) = conformed.vector.iter().map(|(uid, w)| (uid.0, *w)).unzip();
        let list = |values: Vec<u16>| Value::unnamed_composite(values.into_iter().map(number));
        let call = subtensor(
            "set_mechanism_weights",
            [
                ("netuid", subnet(intent.netuid)),
                ("mecid", number(intent.mechanism.0)),
                ("dests", list(uids)),
                ("weights", list(weights)),
                ("version_key", number(intent.version_key)),
            ],
        );
        // At the best block: an extrinsic of this account that isn't final yet has used its nonce too.
        let nonce = best.account(&self.signer.hotkey()).await?.nonce;
        let birth = Tip { number: pinned.number, hash: pinned.hash };
        let signed = sign(&best, birth, self.config.period, nonce, &call, &*self.signer).await?;
        Ok(Receipt {
            schema: RECEIPT_SCHEMA,
            intent,
            signed: signed.bytes,
            hash: Digest(signed.hash),
            nonce,
            pinned: pinned.block(),
            vector: conformed.vector,
            holders: conformed.holders,
            stage: Stage::Prepared { expires: Block(signed.expires) },
            history: vec![],
            alarms: conformed.alarms,
        })
    }

    async fn step(&self, receipt: &Receipt) -> Result<Receipt, WeightsError> {
        check(receipt, self.signer.hotkey())?;
        // In this order, so that the best block isn't behind the final one.
        let finalized = self.client.finalized().await?;
        let best = self.client.best().await?;
        if best.number < receipt.pinned.0.max(finalized.number) {
            let expected = receipt.pinned.0.max(finalized.number);
            return Err(ChainError::Behind { what: "best", block: best.number, expected }.into());
        }
        let heads = Heads { finalized, best };
        match receipt.stage {
            Stage::Prepared { expires } | Stage::Submitted { expires } => self.seek(receipt, &heads, expires).await,
            Stage::Included { block, .. } => self.settle(receipt, &heads, block).await,
            Stage::Finalized { block, .. } => self.read_back(receipt, &heads, block).await,
            ref stage if stage.is_terminal() => Ok(receipt.clone()),
            ref stage => Err(WeightsError::Receipt(format!("stage {} is not one of a plain vector", stage.name()))),
        }
    }

    /// Prepared or submitted: it is in a block, or void, or still to be taken.
    async fn seek(&self, receipt: &Receipt, heads: &Heads, expires: Block) -> Result<Receipt, WeightsError> {
        if let Some(place) = self.locate(receipt, heads, expires).await? {
            return self.found(receipt, heads, place).await;
        }
        let now = Block(heads.best.number);
        // The era's last block is final, and it isn't in any.
        if heads.finalized.number.saturating_add(1) >= expires.0 {
            return Ok(receipt.enter(now, Stage::Expired));
        }
        // In the next block it would be void; whether it is in this one's siblings is for finality to show.
        if heads.best.number.saturating_add(1) >= expires.0 {
            return Ok(receipt.clone());
        }
        let at = self.client.at(heads.finalized).await?;
        let account = at.account(&self.signer.hotkey()).await?;
        if account.nonce > receipt.nonce {
            let reason = format!("another extrinsic of the hotkey used nonce {}", receipt.nonce);
            return Ok(receipt.enter(now, Stage::Superseded { reason }));
        }
        self.submit(receipt, now, expires, at.block_time()?).await
    }

    /// Sends the bytes, for the first time or again: a pool may have lost them.
    async fn submit(
        &self,
        receipt: &Receipt,
        now: Block,
        expires: Block,
        wait: Duration,
    ) -> Result<Receipt, WeightsError> {
        let first = matches!(receipt.stage, Stage::Prepared { .. });
        match self.client.send(&receipt.signed).await {
            Ok(()) if first => Ok(receipt.enter(now, Stage::Submitted { expires })),
            Ok(()) => Ok(receipt.clone()),
            Err(ChainError::Rejected(rejection)) => match rejection.remedy() {
                Remedy::Never if first => Ok(receipt.enter(now, Stage::Failed { error: rejection.to_string() })),
                // A pool had it once: its block, or the era's end, will tell.
                _ if !first => Ok(receipt.clone()),
                _ => Err(WeightsError::NotYet { rejection, wait }),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the extrinsic in the blocks of its era.
    async fn locate(&self, receipt: &Receipt, heads: &Heads, expires: Block) -> Result<Option<Place>, WeightsError> {
        let done = self.searched().get(&receipt.hash).copied().unwrap_or(0).max(receipt.pinned.0);
        let last = heads.best.number.min(expires.0.saturating_sub(1));
        let place = self.client.locate(&receipt.signed, done.saturating_add(1)..=last).await?;
        if place.is_none() {
            self.searched().insert(receipt.hash, heads.finalized.number.min(last).max(done));
        }
        Ok(place)
    }

    fn searched(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.searched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a block: did the call succeed there?
    async fn found(&self, receipt: &Receipt, heads: &Heads, place: Place) -> Result<Receipt, WeightsError> {
        let at = self.client.at(place.tip).await?;
        let block = Block(place.tip.number);
        match outcome(&at, place.index).await? {
            Outcome::Success(_) => Ok(receipt.enter(block, Stage::Included { block, extrinsic: place.index })),
            Outcome::Failed(error) if place.tip.number <= heads.finalized.number => {
                Ok(receipt.enter(block, Stage::Failed { error: error.name().to_owned() }))
            }
            // Another block at this height may run it with another end.
            Outcome::Failed(_) => Ok(receipt.clone()),
        }
    }

    /// Included: final, or reorganised away.
    async fn settle(&self, receipt: &Receipt, heads: &Heads, block: Block) -> Result<Receipt, WeightsError> {
        let tip = self.client.tip_at(block).await?;
        let index = self.client.index_in(&receipt.signed, tip.hash).await?;
        let Some(index) = index else {
            let expires = expiry(receipt)?;
            return Ok(receipt.enter(Block(heads.best.number), Stage::Submitted { expires }));
        };
        if block.0 > heads.finalized.number {
            return Ok(receipt.clone());
        }
        let at = self.client.at(tip).await?;
        match outcome(&at, index).await? {
            Outcome::Success(_) => {
                Ok(receipt.enter(Block(heads.finalized.number), Stage::Finalized { block, extrinsic: index }))
            }
            Outcome::Failed(error) => {
                let error = error.name().to_owned();
                Ok(receipt.enter(Block(heads.finalized.number), Stage::Failed { error }))
            }
        }
    }

    /// Final: the chain's weights equal the vector, or something took its place.
    async fn read_back(&self, receipt: &Receipt, heads: &Heads, included: Block) -> Result<Receipt, WeightsError> {
        let at = self.client.at(heads.finalized).await?;
        let (netuid, block) = (receipt.intent.netuid, at.block());
        let superseded = |reason: String| receipt.enter(block, Stage::Superseded { reason });
        let hotkey = self.signer.hotkey();
        let Some(own) = at.uid(netuid, &hotkey).await? else {
            return Ok(superseded(format!("hotkey {hotkey} is no longer registered on subnet {netuid}")));
        };
        let index = storage_index(netuid, receipt.intent.mechanism);
        let (row, last_update) = tokio::try_join!(at.weights(index, own), at.last_update(index, own))?;
        let (moved, alarms) = self.changed_hands(&at, receipt).await?;
        let read: BTreeMap<Uid, u16> = row.into_iter().collect();
        // A slot that changed hands loses the weights that were set for its former holder.
        let kept = |uid: &Uid| !moved.contains(uid);
        let stored = stored(&receipt.vector);
        let same = stored.iter().filter(|(uid, _)| kept(uid)).eq(read.iter().filter(|(uid, _)| kept(uid)));
        let mut next = if same {
            receipt.enter(block, Stage::ReadBack { block, uids: read })
        } else if last_update > included.0 {
            superseded(format!("another extrinsic set weights in block {last_update}"))
        } else {
            superseded(format!("the chain holds other weights than those it took in block {included}"))
        };
        next.alarms.extend(alarms.into_iter().filter(|alarm| !receipt.alarms.contains(alarm)));
        Ok(next)
    }

    /// The slots of the vector that another hotkey holds by now, and an alarm for each.
    async fn changed_hands(&self, at: &AtBlock, receipt: &Receipt) -> Result<(Vec<Uid>, Vec<String>), WeightsError> {
        let uids: Vec<Uid> = receipt.holders.keys().copied().collect();
        let now = at.holders(receipt.intent.netuid, &uids).await?;
        let moved = receipt.holders.iter().zip(now).filter(|((_, then), now)| *now != Some(**then));
        let (uids, alarms) = moved
            .map(|((uid, then), now)| {
                let now = now.map_or_else(|| "nobody".to_owned(), |hotkey| hotkey.to_string());
                (
                    *uid,
                    format!(
                        "slot {uid} changed hands: {then} held it at block {}, {now} at {}",
                        receipt.pinned, at.number
                    ),
                )
            })
            .unzip();
        Ok((uids, alarms))
    }
}

/// All that is known before signing.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) conformed: Conformed,
    pub(crate) pinned: AtBlock,
    best: AtBlock,
}

#[derive(Debug, Clone, Copy)]
struct Heads {
    finalized: Tip,
    best: Tip,
}

/// The vector as the chain keeps it.
fn stored(vector: &BTreeMap<Uid, u16>) -> BTreeMap<Uid, u16> {
    let weights: Vec<u16> = vector.values().copied().collect();
    vector.keys().copied().zip(max_upscale(&weights)).collect()
}

/// The first block in which the receipt's signature is void.
fn expiry(receipt: &Receipt) -> Result<Block, WeightsError> {
    let stages = std::iter::once(&receipt.stage).chain(receipt.history.iter().map(|(_, stage)| stage));
    let mut expires = stages.filter_map(|stage| match stage {
        Stage::Prepared { expires } | Stage::Submitted { expires } => Some(*expires),
        _ => None,
    });
    expires.next().ok_or_else(|| WeightsError::Receipt("its history has no stage with an expiry".into()))
}

/// A receipt comes back from a store: it must be whole, and this hotkey's.
fn check(receipt: &Receipt, hotkey: Hotkey) -> Result<(), WeightsError> {
    if receipt.schema != RECEIPT_SCHEMA {
        return Err(WeightsError::Receipt(format!("schema is {}, expected {RECEIPT_SCHEMA}", receipt.schema)));
    }
    if extrinsic_hash(&receipt.signed) != receipt.hash.0 {
        return Err(WeightsError::Receipt("its extrinsic does not have its hash".into()));
    }
    match signer_of(&receipt.signed) {
        Some(signer) if signer == hotkey => Ok(()),
        Some(signer) => Err(WeightsError::Receipt(format!("hotkey {signer} signed it, not {hotkey}"))),
        None => Err(WeightsError::Receipt("it holds no signed extrinsic".into())),
    }
}

#[async_trait]
impl WeightSetter for SubtensorWeightSetter {
    fn name(&self) -> &str {
        "subtensor"
    }

    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
        let mut lane = self.lane.lock().await;
        let plan = match &*lane {
            None => self.conform(&intent).await?,
            Some(receipt) if receipt.intent == intent => return Ok(receipt.clone()),
            Some(receipt) => {
                let finalized = self.client.finalized().await.map_err(WeightsError::from)?;
                let expires = expiry(receipt)?;
                let unsent = matches!(receipt.stage, Stage::Prepared { .. });
                // One that was never sent is void when its era is over.
                if !(unsent && finalized.number.saturating_add(1) >= expires.0) {
                    return Err(WeightsError::InFlight {
                        epoch: receipt.intent.epoch.0,
                        hash: format!("0x{}", receipt.hash),
                        stage: receipt.stage.name(),
                        expires,
                        wait: self.client.block_time().await.map_err(WeightsError::from)?,
                    }
                    .into());
                }
                self.conform(&intent).await?
            }
        };
        let receipt = self.signed(intent, plan).await?;
        *lane = Some(receipt.clone());
        Ok(receipt)
    }

    async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
        if receipt.stage.is_terminal() {
            return Ok(receipt.clone());
        }
        let mut lane = self.lane.lock().await;
        let next = self.step(receipt).await?;
        let ours = lane.as_ref().is_none_or(|known| known.hash == next.hash);
        if next.stage.is_terminal() {
            self.searched().remove(&next.hash);
            if ours {
                *lane = None;
            }
        } else if ours {
            *lane = Some(next.clone());
        }
        Ok(next)
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
