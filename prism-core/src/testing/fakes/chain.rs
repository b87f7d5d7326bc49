use crate::{
    chain_view::{ChainView, Head, Neuron},
    error::{Error, Fault, Kind, Result},
    hotkey::Hotkey,
    id::{Block, Digest, Epoch, Netuid, Uid},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Blocks per epoch.
const TEMPO: u64 = 10;
/// Blocks from the best to the newest final one.
const FINALITY_LAG: u64 = 2;

/// A signed weight vector, as the fake chain takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightExtrinsic {
    /// Hash of the signed bytes.
    pub hash: Digest,
    /// Whose row.
    pub signer: Hotkey,
    /// The account's nonce.
    pub nonce: u64,
    /// The first block in which it is void.
    pub expires: Block,
    /// The row.
    pub vector: BTreeMap<Uid, u16>,
}

/// One subnet's chain in memory; every block is made by hand. It checks nonces and eras, takes the same bytes once, lags
/// behind with finality and can change its mind about what isn't final. No signatures, stake or consensus: those are
/// devnet's.
#[derive(Debug, Clone)]
pub struct FakeChain(Arc<Mutex<Chain>>);

#[derive(Debug)]
struct Chain {
    netuid: Netuid,
    genesis: Made,
    /// Blocks 1 and on.
    blocks: Vec<Made>,
    finalized: u64,
    pool: Vec<WeightExtrinsic>,
    taken: u64,
    withholds: bool,
    forks: u64,
}

#[derive(Debug, Clone)]
struct Made {
    hash: [u8; 32],
    extrinsics: Vec<WeightExtrinsic>,
    after: Arc<Ledger>,
}

#[derive(Debug, Clone, Default)]
struct Ledger {
    neurons: Vec<Neuron>,
    nonces: BTreeMap<Hotkey, u64>,
    weights: BTreeMap<Hotkey, BTreeMap<Uid, u16>>,
}

impl Chain {
    fn best(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn tip(&self) -> &Made {
        self.blocks.last().unwrap_or(&self.genesis)
    }

    fn at(&self, block: Block) -> Option<&Made> {
        match block.0.checked_sub(1) {
            None => Some(&self.genesis),
            Some(index) => self.blocks.get(usize::try_from(index).ok()?),
        }
    }

    /// A block over the tip, with what the pool holds and one change more.
    fn make(&mut self, change: impl FnOnce(&mut Ledger)) {
        let number = self.best() + 1;
        let mut after = Arc::clone(&self.tip().after);
        let ledger = Arc::make_mut(&mut after);
        change(ledger);
        let mut extrinsics = Vec::new();
        if !self.withholds {
            for extrinsic in std::mem::take(&mut self.pool) {
                let nonce = ledger.nonces.entry(extrinsic.signer).or_default();
                if extrinsic.nonce != *nonce || extrinsic.expires.0 <= number {
                    continue;
                }
                *nonce += 1;
                ledger.weights.insert(extrinsic.signer, extrinsic.vector.clone());
                extrinsics.push(extrinsic);
            }
        }
        let parts: [&[u8]; 3] = [&self.tip().hash, &number.to_le_bytes(), &self.forks.to_le_bytes()];
        let hash = Digest::of_parts("fake chain", &parts).0;
        self.blocks.push(Made { hash, extrinsics, after });
        self.finalized = self.finalized.max(number.saturating_sub(FINALITY_LAG));
    }
}

impl FakeChain {
    /// A chain at block 0 with one subnet and nobody on it.
    #[must_use]
    pub fn new(netuid: Netuid) -> Self {
        let hash = Digest::of_parts("fake chain", &[&netuid.0.to_le_bytes()]).0;
        let genesis = Made { hash, extrinsics: Vec::new(), after: Arc::default() };
        let (blocks, pool) = (Vec::new(), Vec::new());
        let chain = Chain { netuid, genesis, blocks, finalized: 0, pool, taken: 0, withholds: false, forks: 0 };
        Self(Arc::new(Mutex::new(chain)))
    }

    /// Its subnet.
    #[must_use]
    pub fn netuid(&self) -> Netuid {
        self.lock().netuid
    }

    /// Makes a block in which a neuron takes the next free slot.
    pub fn register(&self, hotkey: Hotkey, validator_permit: bool, stake: u64) -> Uid {
        let mut uid = Uid(0);
        self.lock().make(|ledger| {
            uid = Uid(u16::try_from(ledger.neurons.len()).unwrap_or(u16::MAX));
            ledger.neurons.push(Neuron { hotkey, uid, validator_permit, stake });
        });
        uid
    }

    /// Makes a block in which a slot changes hands, if anybody holds it.
    pub fn replace(&self, uid: Uid, hotkey: Hotkey) {
        self.lock().make(|ledger| {
            if let Some(neuron) = ledger.neurons.get_mut(usize::from(uid.0)) {
                *neuron = Neuron { hotkey, uid, validator_permit: false, stake: 0 };
            }
        });
    }

    /// Makes a block with all that waits for one.
    pub fn next_block(&self) {
        self.lock().make(|_| ());
    }

    /// Replaces the newest block, if it isn't final, by an empty one; what was in it waits again.
    pub fn reorganise(&self) {
        let mut chain = self.lock();
        if chain.best() <= chain.finalized {
            return;
        }
        let Some(gone) = chain.blocks.pop() else { return };
        let waiting = std::mem::take(&mut chain.pool);
        chain.forks += 1;
        chain.make(|_| ());
        chain.pool = gone.extrinsics.into_iter().chain(waiting).collect();
    }

    /// Whether blocks are made without what waits for one.
    pub fn withhold(&self, yes: bool) {
        self.lock().withholds = yes;
    }

    /// Takes an extrinsic, as a node does: it waits for a block. The same one again changes nothing.
    ///
    /// # Errors
    /// `Refused` when its nonce is used or its era is over.
    pub fn submit(&self, extrinsic: WeightExtrinsic) -> Result<()> {
        let mut chain = self.lock();
        let refused = |text: &str| {
            let text = format!("extrinsic {} {text}", extrinsic.hash.short());
            Err(Error::new(Kind::Refused, Fault::Validator, text))
        };
        if extrinsic.nonce < chain.tip().after.nonces.get(&extrinsic.signer).copied().unwrap_or_default() {
            return refused("has a used nonce");
        }
        if extrinsic.expires.0 <= chain.best() {
            return refused("is past its era");
        }
        chain.taken += 1;
        if !chain.pool.contains(&extrinsic) {
            chain.pool.push(extrinsic);
        }
        Ok(())
    }

    /// How often an extrinsic was taken, repetitions included.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Hashes of the extrinsics in blocks, in order.
    #[must_use]
    pub fn included(&self) -> Vec<Digest> {
        self.lock().blocks.iter().flat_map(|made| made.extrinsics.iter().map(|e| e.hash)).collect()
    }

    /// The block and place of an extrinsic.
    #[must_use]
    pub fn find(&self, hash: Digest) -> Option<(Block, u32)> {
        (1..).zip(&self.lock().blocks).find_map(|(number, made)| {
            let place = made.extrinsics.iter().position(|e| e.hash == hash)?;
            Some((Block(number), u32::try_from(place).ok()?))
        })
    }

    /// The next nonce of an account at the tip.
    #[must_use]
    pub fn nonce(&self, hotkey: Hotkey) -> u64 {
        self.lock().tip().after.nonces.get(&hotkey).copied().unwrap_or_default()
    }

    /// An account's row at the tip.
    #[must_use]
    pub fn weights(&self, hotkey: Hotkey) -> BTreeMap<Uid, u16> {
        self.lock().tip().after.weights.get(&hotkey).cloned().unwrap_or_default()
    }

    /// The tip, without waiting.
    #[must_use]
    pub fn tip(&self) -> Head {
        let chain = self.lock();
        Head { block: Block(chain.best()), hash: chain.tip().hash, finalized: Block(chain.finalized) }
    }

    fn lock(&self) -> MutexGuard<'_, Chain> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain, when it has this subnet and this block.
    fn with<T>(&self, netuid: Netuid, block: Block, read: impl FnOnce(&Made) -> T) -> Result<T> {
        let chain = self.lock();
        match chain.at(block) {
            Some(made) if chain.netuid == netuid => Ok(read(made)),
            Some(_) => Err(not_found(&format!("subnet {netuid}"))),
            None => Err(not_found(&format!("block {block}"))),
        }
    }
}

fn not_found(what: &str) -> Error {
    Error::new(Kind::NotFound, Fault::Validator, format!("{what} is not on this chain"))
}

#[async_trait]
impl ChainView for FakeChain {
    async fn head(&self) -> Result<Head> {
        Ok(self.tip())
    }
    async fn finalized_hash(&self, block: Block) -> Result<[u8; 32]> {
        let chain = self.lock();
        let made = chain.at(block).filter(|_| block.0 <= chain.finalized);
        made.map(|made| made.hash).ok_or_else(|| not_found(&format!("final block {block}")))
    }
    async fn epoch_at(&self, netuid: Netuid, block: Block) -> Result<Epoch> {
        self.with(netuid, block, |_| Epoch(block.0 / TEMPO))
    }
    async fn neurons(&self, netuid: Netuid, at: Block) -> Result<Vec<Neuron>> {
        self.with(netuid, at, |made| made.after.neurons.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Hotkey = Hotkey([1; 32]);

    fn extrinsic(nonce: u64, expires: u64) -> WeightExtrinsic {
        let hash = Digest::of(&[nonce.to_le_bytes(), expires.to_le_bytes()].concat());
        WeightExtrinsic { hash, signer: ALICE, nonce, expires: Block(expires), vector: [(Uid(0), 65535)].into() }
    }

    #[test]
    fn the_same_bytes_land_once_and_a_used_nonce_is_refused() {
        let chain = FakeChain::new(Netuid(1));
        for _ in 0..2 {
            chain.submit(extrinsic(0, 9)).unwrap();
        }
        chain.next_block();
        assert_eq!(chain.included().len(), 1);
        assert_eq!(chain.submit(extrinsic(0, 9)).unwrap_err().kind(), Kind::Refused);
        assert_eq!((chain.taken(), chain.nonce(ALICE)), (2, 1));
    }

    #[test]
    fn an_extrinsic_outlives_a_change_of_mind_but_not_its_era() {
        let chain = FakeChain::new(Netuid(1));
        chain.submit(extrinsic(0, 4)).unwrap();
        chain.next_block();
        chain.reorganise();
        assert_eq!((chain.find(extrinsic(0, 4).hash), chain.weights(ALICE).len()), (None, 0));
        chain.next_block();
        assert_eq!(chain.find(extrinsic(0, 4).hash), Some((Block(2), 0)));
        chain.submit(extrinsic(1, 4)).unwrap();
        chain.withhold(true);
        chain.next_block();
        chain.withhold(false);
        chain.next_block();
        assert_eq!(chain.find(extrinsic(1, 4).hash), None);
    }

    #[test]
    fn a_slot_that_changes_hands_keeps_its_past() {
        let chain = FakeChain::new(Netuid(1));
        let uid = chain.register(ALICE, true, 5);
        chain.replace(uid, Hotkey([2; 32]));
        let holder = |block| chain.with(Netuid(1), Block(block), |made| made.after.neurons[0].hotkey).unwrap();
        assert_eq!((holder(1), holder(2)), (ALICE, Hotkey([2; 32])));
    }
}
