//! From standings to weights on the chain. The receipt is on record before anything is sent, and after every step.
use super::{Step, Validator, policy::policy_digest};
use crate::store::payments::{AllocationRecord, ReceiptRecord};
use prism_core::{
    Epoch, Error, Fault, Finite, Hotkey, Kind, Result, WeightIntent,
    receipt::Stage,
    reward::{Allocation, RewardContext},
};
use std::collections::{BTreeMap, BTreeSet};

/// Signed extrinsics for one epoch's weights, one after the other, before an operator has to look.
const ATTEMPTS: usize = 4;

impl Validator {
    /// One step towards this epoch's weights: advance a receipt that is open, or decide what is paid, or sign it. A
    /// commitment waits for its reveal while those of later epochs follow; when the reveal is missed, theirs replace it.
    pub(super) async fn pay_step(&self) -> Result<Step> {
        let parts = &self.0;
        let open = parts.store.open_receipts().await?;
        let mut trouble = None;
        for record in &open {
            match self.advance(record).await {
                Ok(true) => return Ok(Step::Moved),
                Ok(false) => {}
                // The others can go on.
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        if let Some(error) = trouble {
            return Err(error);
        }
        if open.iter().any(|record| record.receipt.stage.is_sending()) {
            return Ok(Step::Waiting);
        }
        let head = parts.chain.head().await?;
        let epoch = parts.chain.epoch_at(parts.netuid, head.finalized).await?;
        if open.iter().any(|record| record.receipt.intent.epoch == epoch) {
            return Ok(Step::Waiting);
        }
        let Some(allocation) = self.allocation(epoch).await? else { return Ok(Step::Done) };
        let receipts = parts.store.receipts(epoch).await?;
        if receipts.iter().any(|record| matches!(record.receipt.stage, Stage::ReadBack { .. })) {
            return Ok(Step::Done);
        }
        if receipts.len() >= ATTEMPTS {
            let last = receipts.last().map(|record| record.receipt.stage.name()).unwrap_or_default();
            let text = format!("weights of epoch {epoch} did not land in {ATTEMPTS} attempts, the last one {last}");
            return Err(Error::new(Kind::Limit, Fault::Validator, text));
        }
        let Some((shares, burn)) = self.shares(epoch, allocation).await? else { return Ok(Step::Done) };
        let intent = WeightIntent {
            netuid: parts.netuid,
            mechanism: parts.mechanism,
            epoch,
            shares,
            burn,
            version_key: VERSION_KEY,
            policy: policy_digest(&parts.policy, &self.last_policy().await?),
        };
        let receipt = parts.weight_setter.prepare(intent).await?;
        for alarm in &receipt.alarms {
            tracing::warn!(alarm, "weights prepared with an alarm");
        }
        parts.store.begin_receipt(receipt, parts.clock.now()).await?;
        Ok(Step::Moved)
    }

    /// Moves one open receipt on. Whether it moved.
    async fn advance(&self, record: &ReceiptRecord) -> Result<bool> {
        let parts = &self.0;
        let receipt = parts.weight_setter.advance(&record.receipt).await?;
        if receipt == record.receipt {
            return Ok(false);
        }
        let (epoch, stage) = (receipt.intent.epoch, receipt.stage.name());
        tracing::info!(%epoch, stage, hash = %receipt.hash, "weights moved");
        for alarm in receipt.alarms.iter().filter(|alarm| !record.receipt.alarms.contains(alarm)) {
            tracing::warn!(%epoch, stage, alarm, "weights have an alarm");
        }
        if matches!(receipt.stage, Stage::RevealMissed) {
            tracing::warn!(%epoch, "the weights were not revealed; those of the epoch that is going on take their place");
        }
        let record = ReceiptRecord { receipt, attempt: record.attempt };
        parts.store.update_receipt(record, parts.clock.now()).await?;
        Ok(true)
    }

    /// What this epoch pays: decided once, then kept. Nothing before the first cohort is settled.
    async fn allocation(&self, epoch: Epoch) -> Result<Option<Allocation>> {
        let parts = &self.0;
        if let Some(record) = parts.store.allocation(epoch).await? {
            return Ok(Some(record.allocation));
        }
        let settled = parts.store.cohorts(64).await?.into_iter().any(|cohort| cohort.settled_at.is_some());
        if !settled {
            return Ok(None);
        }
        let head = parts.chain.head().await?;
        let neurons = parts.chain.neurons(parts.netuid, head.finalized).await?;
        let registered: BTreeSet<Hotkey> = neurons.into_iter().map(|neuron| neuron.hotkey).collect();
        let previous = parts.store.last_allocation(epoch).await?.map(|record| record.allocation);
        let policy = self.last_policy().await?;
        let standings = parts.store.standings().await?;
        let context = RewardContext::new(head.finalized, epoch, &registered, previous.as_ref(), &policy.numbers);
        let allocation = parts.reward.allocate(&standings, &context)?;
        let policy = parts.reward.name().to_owned();
        let record = AllocationRecord { epoch, block: head.finalized, policy, allocation };
        Ok(Some(parts.store.allocate(record, parts.clock.now()).await?.allocation))
    }

    /// The policy of the newest settled cohort: what is paid follows the numbers it was scored under.
    async fn last_policy(&self) -> Result<crate::store::policy::Policy> {
        let cohorts = self.0.store.cohorts(64).await?;
        let settled = cohorts.into_iter().find(|cohort| cohort.settled_at.is_some());
        Ok(settled.and_then(|cohort| cohort.policy).unwrap_or_default())
    }

    /// Shares and burn of an allocation; `None` when there is nothing to keep.
    async fn shares(&self, epoch: Epoch, allocation: Allocation) -> Result<Option<(BTreeMap<Hotkey, Finite>, Finite)>> {
        Ok(match allocation {
            Allocation::Pay { shares, burn } => Some((shares, burn)),
            Allocation::Burn { reason } => {
                tracing::info!(reason, "everything is burned");
                Some((BTreeMap::new(), Finite::ONE))
            }
            Allocation::KeepPrevious { reason } => {
                tracing::info!(reason, "the last weights stay");
                match self.0.store.last_allocation(epoch).await?.map(|record| record.allocation) {
                    Some(Allocation::Pay { shares, burn }) => Some((shares, burn)),
                    Some(Allocation::Burn { .. }) => Some((BTreeMap::new(), Finite::ONE)),
                    _ => None,
                }
            }
        })
    }
}

/// The weights version of this program; a subnet owner may demand a higher one.
const VERSION_KEY: u64 = 1;
