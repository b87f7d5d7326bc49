use super::{FakeChain, WeightExtrinsic};
use crate::{
    chain_view::ChainView,
    error::{Error, Fault, Kind, Result},
    hotkey::Hotkey,
    id::{Block, Digest, Uid},
    receipt::{RECEIPT_SCHEMA, Receipt, Stage, WeightIntent},
    weight_setter::WeightSetter,
};
use async_trait::async_trait;
use blake2::{Blake2b, Digest as _, digest::consts::U32};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Blocks for which a signature is good.
const ERA: u64 = 64;

/// A setter over a [`FakeChain`]; remembers what it was asked. Burned shares go to slot 0. Its "signature" is the plain
/// text of what would be signed.
#[derive(Debug, Clone)]
pub struct RecordingSetter {
    chain: FakeChain,
    hotkey: Hotkey,
    intents: Arc<Mutex<Vec<WeightIntent>>>,
}

impl RecordingSetter {
    /// Sets weights as this hotkey.
    #[must_use]
    pub fn new(chain: FakeChain, hotkey: Hotkey) -> Self {
        Self { chain, hotkey, intents: Arc::default() }
    }

    /// What was asked to be prepared, in order.
    #[must_use]
    pub fn intents(&self) -> Vec<WeightIntent> {
        self.intents.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, receipt: &Receipt, expires: Block) -> Result<()> {
        let Receipt { hash, nonce, vector, .. } = receipt.clone();
        self.chain.submit(WeightExtrinsic { hash, signer: self.hotkey, nonce, expires, vector })
    }
}

/// Shares scaled so that the greatest is 65535, as the chain stores them; what rounds to zero is left out.
fn quantize(shares: &BTreeMap<Uid, f64>) -> BTreeMap<Uid, u16> {
    let greatest = shares.values().copied().fold(0.0, f64::max);
    // The cast saturates; the quotient is between 0 and 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let units = shares.iter().map(|(uid, share)| (*uid, (share / greatest * f64::from(u16::MAX)).round() as u16));
    units.filter(|(_, unit)| *unit > 0).collect()
}

#[async_trait]
impl WeightSetter for RecordingSetter {
    fn name(&self) -> &str {
        "recording"
    }

    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
        self.intents.lock().unwrap_or_else(PoisonError::into_inner).push(intent.clone());
        let pinned = self.chain.tip().block;
        let neurons = self.chain.neurons(intent.netuid, pinned).await?;
        let holders: BTreeMap<Uid, Hotkey> = neurons.iter().map(|n| (n.uid, n.hotkey)).collect();
        let slots: BTreeMap<Hotkey, Uid> = neurons.iter().map(|n| (n.hotkey, n.uid)).collect();
        let (mut shares, mut alarms) = (BTreeMap::<Uid, f64>::new(), Vec::new());
        for (hotkey, share) in &intent.shares {
            match slots.get(hotkey) {
                Some(uid) => *shares.entry(*uid).or_default() += share.get(),
                None => alarms.push(format!("hotkey {hotkey} is not registered, its share is dropped")),
            }
        }
        if intent.burn.get() > 0.0 {
            *shares.entry(Uid(0)).or_default() += intent.burn.get();
        }
        let vector = quantize(&shares);
        if vector.is_empty() {
            let text = format!("no hotkey of the intent is registered on subnet {}", intent.netuid);
            return Err(Error::new(Kind::Refused, Fault::Validator, text));
        }
        let nonce = self.chain.nonce(self.hotkey);
        let expires = Block(pinned.0.saturating_add(ERA));
        let signed = format!("{} {nonce} {expires} {} {vector:?}", self.hotkey, intent.digest()).into_bytes();
        let hash = Digest(Blake2b::<U32>::digest(&signed).into());
        let stage = Stage::Prepared { expires };
        let (schema, history) = (RECEIPT_SCHEMA, Vec::new());
        let commitment = None;
        Ok(Receipt { schema, intent, signed, hash, nonce, pinned, vector, holders, commitment, stage, history, alarms })
    }

    async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
        let head = self.chain.tip();
        let found = self.chain.find(receipt.hash);
        let stage = match receipt.stage {
            // On the chain already: this receipt is older than a crash.
            Stage::Prepared { expires } if found.is_some() => Some(Stage::Submitted { expires }),
            Stage::Prepared { expires } | Stage::Submitted { expires } if found.is_none() && head.block >= expires => {
                Some(Stage::Expired)
            }
            Stage::Prepared { .. } | Stage::Submitted { .. }
                if found.is_none() && receipt.nonce < self.chain.nonce(self.hotkey) =>
            {
                Some(Stage::Superseded { reason: "another extrinsic used the nonce".into() })
            }
            Stage::Prepared { expires } => {
                self.send(receipt, expires)?;
                Some(Stage::Submitted { expires })
            }
            Stage::Submitted { .. } => found.map(|(block, extrinsic)| Stage::Included { block, extrinsic }),
            Stage::Included { .. } => found
                .filter(|(block, _)| *block <= head.finalized)
                .map(|(block, extrinsic)| Stage::Finalized { block, extrinsic }),
            Stage::Finalized { .. } => {
                let uids = self.chain.weights(self.hotkey);
                Some(if uids == receipt.vector {
                    Stage::ReadBack { block: head.block, uids }
                } else {
                    Stage::Superseded { reason: "the chain has another vector".into() }
                })
            }
            _ => None,
        };
        Ok(stage.map_or_else(|| receipt.clone(), |stage| receipt.enter(head.block, stage)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        finite::Finite,
        id::{Epoch, MechanismId, Netuid},
        testing::block_on,
    };

    #[test]
    fn shares_reach_the_slots_and_strangers_are_dropped_with_an_alarm() {
        let chain = FakeChain::new(Netuid(1));
        let keys = [1u8, 2, 3, 4].map(|n| Hotkey([n; 32]));
        for key in &keys[..3] {
            chain.register(*key, true, 1);
        }
        let finite = |v| Finite::new(v).unwrap();
        let intent = WeightIntent {
            netuid: Netuid(1),
            mechanism: MechanismId(0),
            epoch: Epoch(0),
            shares: [(keys[1], finite(0.5)), (keys[2], finite(0.2)), (keys[3], finite(0.1))].into(),
            burn: finite(0.2),
            version_key: 0,
            policy: Digest::of(b"policy"),
        };
        let setter = RecordingSetter::new(chain, keys[0]);
        let receipt = block_on(setter.prepare(intent.clone())).unwrap();
        assert_eq!(receipt.vector, [(Uid(0), 26214), (Uid(1), 65535), (Uid(2), 26214)].into());
        assert_eq!((receipt.alarms.len(), setter.intents()), (1, vec![intent]));
    }
}
