//! The weight setter of a Subtensor chain.
use crate::{
    client::{ChainClient, Tip},
    error::ChainError,
    extrinsic::{Call, extrinsic_hash, sign, signer_of, subtensor},
    metagraph::storage_index,
    runtime::{AtBlock, number, subnet},
    signer::Signer,
    timelock::Beacon,
    weights::{
        commit::{COMMIT_VERSION, WeightsTlockPayload, commit_hash, reveal_round, salt},
        conform::{Conformed, Slots, conform, hotkeys},
        entropy::Entropy,
        error::WeightsError,
        preflight::{CommitRules, Standing},
    },
};
use async_trait::async_trait;
use prism_core::{
    Block, Digest, Hotkey, Receipt, Result, WeightIntent, WeightSetter,
    receipt::{Commitment, Opening, RECEIPT_SCHEMA, Stage},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Guard},
};
use subxt::dynamic::Value;
use tokio::sync::Mutex;

mod read_back;
mod reveal;
mod sending;

/// How a vector is committed where the subnet asks for commitments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommitScheme {
    /// Encrypted for a beacon's round; the chain itself reveals. What the official SDK does.
    #[default]
    Timelock,
    /// By hash, and a second extrinsic in the very reveal epoch: for chains that a beacon doesn't reach. A validator
    /// that is away in that epoch loses the vector.
    Hash,
}

/// How weights are set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SetterConfig {
    /// Blocks for which a signature is valid: a power of two from 8 to 2048. The official SDK has 128; a shorter one
    /// is known to be void sooner.
    pub period: u64,
    /// Whose slot is burned, instead of the subnet owner's.
    pub burn_hotkey: Option<Hotkey>,
    /// How vectors are committed.
    pub commit: CommitScheme,
    /// The beacon to encrypt for, instead of the one that the chain names.
    pub beacon: Option<Beacon>,
    /// Where the randomness of commitments comes from.
    pub entropy: Entropy,
}

impl Default for SetterConfig {
    fn default() -> Self {
        let (commit, entropy) = (CommitScheme::default(), Entropy::default());
        Self { period: 64, burn_hotkey: None, commit, beacon: None, entropy }
    }
}

impl SetterConfig {
    /// The same with another slot to burn than the subnet owner's.
    #[must_use]
    pub fn burn_to(mut self, hotkey: Hotkey) -> Self {
        self.burn_hotkey = Some(hotkey);
        self
    }

    /// The same with another way to commit.
    #[must_use]
    pub fn commit_by(mut self, scheme: CommitScheme) -> Self {
        self.commit = scheme;
        self
    }

    /// The same with a beacon of one's own.
    #[must_use]
    pub fn beacon(mut self, beacon: Beacon) -> Self {
        self.beacon = Some(beacon);
        self
    }

    /// The same with other randomness.
    #[must_use]
    pub fn entropy(mut self, entropy: Entropy) -> Self {
        self.entropy = entropy;
        self
    }
}

/// Sets weights, one extrinsic at a time: by `set_mechanism_weights`, or where the subnet asks for commitments by
/// `commit_timelocked_mechanism_weights` (or `commit_mechanism_weights` and `reveal_mechanism_weights`, as configured).
///
/// The signature covers a nonce and an era, so that the same bytes land at most once and not after the era; a commitment
/// is encrypted once, before its extrinsic is signed. While an extrinsic of one receipt may be on its way, `prepare` gives
/// that receipt again for the same intent and refuses any other one; commitments of further epochs can follow one that
/// waits for its reveal. The pinned block is the newest final one: a reorganisation can't void the signature.
#[derive(Debug)]
pub struct SubtensorWeightSetter {
    client: ChainClient,
    signer: Arc<dyn Signer>,
    config: SetterConfig,
    /// The unfinished receipts, as far as this process has taken them.
    open: Mutex<Vec<Receipt>>,
    /// Final blocks up to which an extrinsic was looked for in vain. Only saves work.
    searched: Guard<BTreeMap<Digest, u64>>,
}

impl SubtensorWeightSetter {
    /// A setter for one hotkey.
    pub fn new(client: ChainClient, signer: Arc<dyn Signer>, config: SetterConfig) -> Self {
        let period = config.period.clamp(8, 2048).next_power_of_two();
        let config = SetterConfig { period, ..config };
        Self { client, signer, config, open: Mutex::default(), searched: Guard::default() }
    }

    /// Reads, conforms and checks an intent at the newest final block.
    pub(crate) async fn conform(&self, intent: &WeightIntent) -> Result<Plan, WeightsError> {
        let pinned = self.client.at_finalized().await?;
        let best = self.client.at_best().await?;
        if best.number.saturating_sub(pinned.number) > self.config.period / 2 {
            return Err(WeightsError::Stalled { finalized: pinned.block(), best: best.block() });
        }
        let hotkey = self.signer.hotkey();
        let standing = Standing::read(&pinned, &best, hotkey, intent, self.config.commit).await?;
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
        Ok(Plan { conformed: conform(intent, &slots)?, commit: standing.commit, pinned, best })
    }

    pub(crate) async fn signed(&self, intent: WeightIntent, plan: Plan) -> Result<Receipt, WeightsError> {
        let (call, commitment) = match &plan.commit {
            None => (set_call(&intent, &plan.conformed), None),
            Some(rules) => {
                let (call, commitment) = self.commit_call(&intent, &plan, rules).await?;
                (call, Some(commitment))
            }
        };
        let Plan { conformed, pinned, best, .. } = plan;
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
            commitment,
            stage: Stage::Prepared { expires: Block(signed.expires) },
            history: vec![],
            alarms: conformed.alarms,
        })
    }

    /// The call that commits to the vector, and what the commitment waits for.
    async fn commit_call(
        &self,
        intent: &WeightIntent,
        plan: &Plan,
        rules: &CommitRules,
    ) -> Result<(Call, Commitment), WeightsError> {
        let due = rules.reveal.ok_or(WeightsError::NoEpochs(intent.netuid))?;
        let hotkey = self.signer.hotkey();
        let (uids, values) = plan.conformed.columns();
        let mut rng = self.config.entropy.generator()?;
        let (netuid, mecid) = (subnet(intent.netuid), number(intent.mechanism.0));
        let (call, opening) = match rules.scheme {
            CommitScheme::Timelock => {
                let best = &plan.best;
                let beacon = match self.config.beacon {
                    Some(beacon) => beacon,
                    None => best.beacon().await?.ok_or(WeightsError::NoBeacon)?,
                };
                let now = best.now_millis().await?;
                let round = reveal_round(&beacon, now, best.block(), due, best.block_time()?);
                let version_key = intent.version_key;
                let payload = WeightsTlockPayload { hotkey: hotkey.0.to_vec(), uids, values, version_key };
                let commit = payload.seal(&beacon, round, &mut rng)?;
                let arguments = [
                    ("netuid", netuid),
                    ("mecid", mecid),
                    ("commit", Value::from_bytes(commit)),
                    ("reveal_round", number(round)),
                    ("commit_reveal_version", number(COMMIT_VERSION)),
                ];
                (subtensor("commit_timelocked_mechanism_weights", arguments), Opening::Round(round))
            }
            CommitScheme::Hash => {
                let salt = salt(&mut rng);
                let index = storage_index(intent.netuid, intent.mechanism);
                let hash = commit_hash(&hotkey, index, &uids, &values, &salt, intent.version_key);
                let arguments = [("netuid", netuid), ("mecid", mecid), ("commit_hash", Value::from_bytes(hash))];
                (subtensor("commit_mechanism_weights", arguments), Opening::Salt(salt))
            }
        };
        Ok((call, Commitment { opening, epoch: rules.epoch, due }))
    }

    /// `is_alone`: no other receipt of this hotkey has an extrinsic on its way.
    async fn step(&self, receipt: &Receipt, is_alone: bool) -> Result<Receipt, WeightsError> {
        check(receipt, self.signer.hotkey())?;
        // In this order, so that the best block isn't behind the final one.
        let finalized = self.client.finalized().await?;
        let best = self.client.best().await?;
        if best.number < receipt.pinned.0.max(finalized.number) {
            let expected = receipt.pinned.0.max(finalized.number);
            return Err(ChainError::Behind { what: "best", block: best.number, expected }.into());
        }
        let heads = Heads { finalized, best };
        match (&receipt.stage, &receipt.commitment) {
            (Stage::Prepared { expires } | Stage::Submitted { expires }, _) => {
                self.seek(receipt, &heads, *expires).await
            }
            (Stage::Included { block, .. }, _) => self.settle(receipt, &heads, *block).await,
            (Stage::Finalized { block, .. }, None) => self.read_back(receipt, &heads, *block).await,
            (Stage::Finalized { block, .. }, Some(commitment)) => {
                self.committed(receipt, &heads, *block, commitment).await
            }
            (Stage::Committed { epoch, .. }, Some(Commitment { opening: Opening::Round(_), .. })) => {
                self.await_reveal(receipt, &heads, *epoch).await
            }
            (Stage::Committed { epoch, .. }, Some(Commitment { opening: Opening::Salt(salt), .. })) => {
                self.sign_reveal(receipt, &heads, *epoch, salt, is_alone).await
            }
            (Stage::Revealing { signed, nonce, birth, expires }, Some(_)) => {
                let reveal = reveal::Reveal { signed, nonce: *nonce, birth: *birth, expires: *expires };
                self.reveal(receipt, &heads, &reveal).await
            }
            (Stage::Revealed { block }, Some(_)) => self.read_back(receipt, &heads, *block).await,
            (stage, _) if stage.is_terminal() => Ok(receipt.clone()),
            (stage, _) => Err(WeightsError::Receipt(format!("stage {} does not fit what was signed", stage.name()))),
        }
    }

    /// Whether an intent may be prepared while these receipts are open; the receipt when it is one of theirs.
    async fn admit(&self, open: &mut Vec<Receipt>, intent: &WeightIntent) -> Result<Option<Receipt>, WeightsError> {
        if let Some(known) = open.iter().find(|receipt| receipt.intent == *intent) {
            return Ok(Some(known.clone()));
        }
        let same = |other: &WeightIntent| {
            (other.netuid, other.mechanism, other.epoch) == (intent.netuid, intent.mechanism, intent.epoch)
        };
        let Some(at) = open.iter().position(|receipt| receipt.stage.is_sending() || same(&receipt.intent)) else {
            return Ok(None);
        };
        let Some(receipt) = open.get(at).cloned() else { return Ok(None) };
        let until = match receipt.stage {
            Stage::Committed { due, .. } => due,
            Stage::Revealing { expires, .. } => expires,
            _ => expiry(&receipt)?,
        };
        // One that was never sent is void when its era is over.
        let unsent = matches!(receipt.stage, Stage::Prepared { .. });
        if unsent && self.client.finalized().await?.number.saturating_add(1) >= until.0 {
            open.swap_remove(at);
            return Ok(None);
        }
        Err(WeightsError::InFlight {
            epoch: receipt.intent.epoch,
            hash: format!("0x{}", receipt.hash),
            stage: receipt.stage.name(),
            until,
            wait: self.client.block_time().await?,
        })
    }
}

/// All that is known before signing.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) conformed: Conformed,
    /// None with commit-reveal off.
    pub(crate) commit: Option<CommitRules>,
    pub(crate) pinned: AtBlock,
    best: AtBlock,
}

#[derive(Debug, Clone, Copy)]
struct Heads {
    finalized: Tip,
    best: Tip,
}

fn list(values: Vec<u16>) -> Value {
    Value::unnamed_composite(values.into_iter().map(number))
}

/// The call that sets the vector at once.
fn set_call(intent: &WeightIntent, conformed: &Conformed) -> Call {
    let (uids, weights) = conformed.columns();
    let arguments = [
        ("netuid", subnet(intent.netuid)),
        ("mecid", number(intent.mechanism.0)),
        ("dests", list(uids)),
        ("weights", list(weights)),
        ("version_key", number(intent.version_key)),
    ];
    subtensor("set_mechanism_weights", arguments)
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
    if !(1..=RECEIPT_SCHEMA).contains(&receipt.schema) {
        return Err(WeightsError::Receipt(format!("schema is {}, expected {RECEIPT_SCHEMA}", receipt.schema)));
    }
    if extrinsic_hash(&receipt.signed) != receipt.hash.0 {
        return Err(WeightsError::Receipt("its extrinsic does not have its hash".into()));
    }
    let reveal = match &receipt.stage {
        Stage::Revealing { signed, .. } => Some(signed),
        _ => None,
    };
    for signed in std::iter::once(&receipt.signed).chain(reveal) {
        match signer_of(signed) {
            Some(signer) if signer == hotkey => {}
            Some(signer) => return Err(WeightsError::Receipt(format!("hotkey {signer} signed it, not {hotkey}"))),
            None => return Err(WeightsError::Receipt("it holds no signed extrinsic".into())),
        }
    }
    Ok(())
}

#[async_trait]
impl WeightSetter for SubtensorWeightSetter {
    fn name(&self) -> &str {
        "subtensor"
    }

    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
        let mut open = self.open.lock().await;
        if let Some(known) = self.admit(&mut open, &intent).await? {
            return Ok(known);
        }
        let plan = self.conform(&intent).await?;
        let receipt = self.signed(intent, plan).await?;
        open.push(receipt.clone());
        Ok(receipt)
    }

    async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
        if receipt.stage.is_terminal() {
            return Ok(receipt.clone());
        }
        let mut open = self.open.lock().await;
        let is_alone = !open.iter().any(|other| other.hash != receipt.hash && other.stage.is_sending());
        let next = self.step(receipt, is_alone).await?;
        open.retain(|known| known.hash != next.hash);
        if next.stage.is_terminal() {
            self.searched().remove(&next.hash);
        } else {
            open.push(next.clone());
        }
        Ok(next)
    }
}

#[cfg(test)]
mod commitments;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
