//! Weights under thousands of schedules of faults: whatever goes wrong between a validator and the chain, no weight
//! lands twice for one epoch, and every receipt ends as the chain's own ledger has it.
//!
//! A schedule is a seed. It decides the subnet, what fails and when, and where the validator's process dies; a process
//! that dies forgets everything but the receipts it stored. `PRISM_SCHEDULES` sets how many are run (default 2,000).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prism_chain::devnet::{
    Devnet, DevnetConfig, Fault, GenesisNeuron, LandedWeights, RuntimeMetadata, RuntimeUpgrade, SubnetConfig,
    SubnetOwner,
};
use prism_chain::{ChainClient, ChainConfig, CommitScheme, Keypair, SetterConfig, SubtensorWeightSetter};
use prism_core::receipt::Stage;
use prism_core::{Block, Digest, Finite, Hotkey, MechanismId, Netuid, Receipt, Uid, WeightIntent, WeightSetter};

const NETUID: Netuid = Netuid(1);
const SCHEDULES: u64 = 2_000;
/// Schedules that run at the same time: most of a schedule is waiting for deadlines and new connections.
const AT_ONCE: usize = 64;
/// Steps of a schedule in which things go wrong; then all is mended, and what is open has to come to its end.
const STEPS: u32 = 40;
const STEPS_TO_END: u32 = 400;

/// SplitMix64: a schedule's choices.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the validator does with a submission whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// It keeps the receipt, as the contract says.
    Kept,
    /// It signs the same weights anew, as if nothing had been sent.
    Removed,
}

/// One validator on one chain.
struct Schedule {
    choices: Choices,
    guard: Guard,
    devnet: Devnet,
    config: SetterConfig,
    client: ChainClient,
    setter: SubtensorWeightSetter,
    /// What the validator has stored: receipts in order of preparation.
    stored: Vec<Receipt>,
    /// Which intent each mark stands for: the weight of neuron `b` tells which vector it is.
    epochs: BTreeMap<u16, u64>,
    faults: BTreeMap<&'static str, u32>,
    upgrades: u32,
    signed_anew: u32,
}

fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

fn hotkey(name: &str) -> Hotkey {
    key(name).hotkey()
}

/// Neuron `b` gets `mark` of 65535 of what `a` gets, which is half of all; the owner's slot gets the rest.
fn intent(epoch: u64, mark: u16) -> WeightIntent {
    let share = |value: f64| Finite::new(value).unwrap();
    let b = f64::from(mark) / 65_535.0 / 2.0;
    WeightIntent {
        netuid: NETUID,
        mechanism: MechanismId(0),
        epoch: prism_core::Epoch(epoch),
        shares: [(hotkey("a"), share(0.5)), (hotkey("b"), share(b))].into(),
        burn: share(0.5 - b),
        version_key: 0,
        policy: Digest::of(b"policy"),
    }
}

const B: Uid = Uid(3);

fn mark(weights: &[(u16, u16)]) -> u16 {
    weights.iter().find(|(uid, _)| *uid == B.0).map_or(0, |(_, weight)| *weight)
}

impl Schedule {
    async fn start(seed: u64, guard: Guard) -> Self {
        let mut choices = Choices(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let coldkey = hotkey("coldkey").0;
        let neuron = |name, stake, permit| GenesisNeuron { hotkey: hotkey(name), coldkey, stake, permit };
        let commit_reveal = choices.percent(50);
        let subnet = SubnetConfig {
            owner: Some(SubnetOwner { hotkey: hotkey("owner"), coldkey }),
            neurons: vec![neuron("validator", 1000, true), neuron("a", 0, false), neuron("b", 0, false)],
            weights_rate_limit: choices.below(4),
            tempo: 12 + u16::try_from(choices.below(10)).unwrap(),
            commit_reveal,
            ..SubnetConfig::default()
        };
        let older = choices.percent(30);
        let devnet = DevnetConfig {
            metadata: if older { RuntimeMetadata::BareIntegers } else { RuntimeMetadata::Own },
            spec_version: 425,
            finality_lag: 1 + choices.below(4),
            endowments: vec![(coldkey, 10_000_000_000)],
            subnets: vec![subnet],
            ..DevnetConfig::default()
        };
        let devnet = Devnet::start(devnet).await.unwrap();
        devnet.produce_blocks(6).await;
        let mut config = SetterConfig::default();
        config.period = 8 << choices.below(3);
        if choices.percent(25) {
            config = config.commit_by(CommitScheme::Hash);
        }
        let client = loop {
            // On a busy machine even a handshake may be late.
            if let Some(client) = connect(&devnet).await {
                break client;
            }
        };
        let setter = SubtensorWeightSetter::new(client.clone(), Arc::new(key("validator")), config.clone());
        Self {
            choices,
            guard,
            devnet,
            config,
            client,
            setter,
            stored: Vec::new(),
            epochs: BTreeMap::new(),
            faults: BTreeMap::new(),
            upgrades: 0,
            signed_anew: 0,
        }
    }

    /// The process dies; the next one knows what was stored.
    async fn crash(&mut self) {
        if self.choices.percent(30)
            && let Some(client) = connect(&self.devnet).await
        {
            self.client = client;
        }
        self.setter = SubtensorWeightSetter::new(self.client.clone(), Arc::new(key("validator")), self.config.clone());
        let stored = serde_json::to_string(&self.stored).unwrap();
        self.stored = serde_json::from_str(&stored).unwrap();
    }

    fn fault(&mut self) -> (&'static str, Fault) {
        let newest = self.devnet.newest_round();
        match self.choices.below(17) {
            0 => ("drop", Fault::Drop),
            1..=2 => ("drop before submit", Fault::DropBeforeSubmit),
            3..=5 => ("drop after submit", Fault::DropAfterSubmit),
            6 => ("half-dead socket", Fault::HalfDead),
            7 => ("rate limit", Fault::RateLimit { calls: 1 + u32::try_from(self.choices.below(8)).unwrap() }),
            8..=9 => ("pool loss", Fault::PoolLoss),
            10 => ("finality stall", Fault::FinalityStall),
            11..=13 => ("reorg", Fault::Reorg { blocks: 1 + self.choices.below(4) }),
            14 if self.upgrades < 2 => {
                self.upgrades += 1;
                let to = RuntimeUpgrade::to(425 + self.upgrades).error_before("SettingWeightsTooFast");
                let bare = self.choices.percent(50);
                let terms = if bare { RuntimeMetadata::BareIntegers } else { RuntimeMetadata::Own };
                ("upgrade", Fault::Upgrade(to.metadata(terms)))
            }
            15 => {
                let first = newest + self.choices.below(100);
                ("lost rounds", Fault::LostRounds(first..=first + self.choices.below(60)))
            }
            _ => ("beacon silence", Fault::BeaconSilence),
        }
    }

    fn is_open(&self) -> bool {
        self.stored.iter().any(|receipt| !receipt.stage.is_terminal())
    }

    /// Takes every open receipt one step. Whether none of them failed to be taken.
    async fn advance(&mut self, crashes: bool) -> bool {
        let mut whole = true;
        for place in 0..self.stored.len() {
            let receipt = self.stored[place].clone();
            if receipt.stage.is_terminal() {
                continue;
            }
            match self.setter.advance(&receipt).await {
                // It dies between what it did and storing that.
                Ok(_) if crashes && self.choices.percent(7) => {
                    self.crash().await;
                    whole = false;
                }
                Ok(next) => self.stored[place] = next,
                Err(_)
                    if self.guard == Guard::Removed
                        && self.signed_anew < 3
                        && matches!(receipt.stage, Stage::Prepared { .. }) =>
                {
                    // What the contract forbids: the answer was lost, so the weights are signed anew.
                    self.signed_anew += 1;
                    self.crash().await;
                    if let Ok(again) = self.setter.prepare(receipt.intent.clone()).await {
                        self.stored.push(again);
                    }
                }
                Err(_) => whole = false,
            }
        }
        whole
    }

    /// Prepares this epoch's weights when they neither landed nor are on their way.
    async fn prepare(&mut self) {
        let epoch = self.devnet.epoch(NETUID).unwrap().0;
        let of_epoch = self.stored.iter().rev().find(|receipt| receipt.intent.epoch.0 == epoch);
        let is_due = of_epoch.is_none_or(|receipt| matches!(receipt.stage, Stage::Expired | Stage::Failed { .. }));
        if !is_due {
            return;
        }
        // Large enough that no rounding makes two marks the same weight.
        let mark = u16::try_from(self.epochs.len()).unwrap() * 64 + 64;
        if let Ok(receipt) = self.setter.prepare(intent(epoch, mark)).await {
            if receipt.intent.epoch.0 != epoch || receipt.intent != intent(epoch, mark) {
                return;
            }
            self.epochs.insert(mark, epoch);
            if self.choices.percent(5) {
                // It dies before it has stored the receipt: nothing was sent.
                self.crash().await;
            } else {
                self.stored.push(receipt);
            }
        }
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            let mut is_half_dead = false;
            if self.choices.percent(30) {
                let (name, fault) = self.fault();
                is_half_dead = fault == Fault::HalfDead;
                *self.faults.entry(name).or_default() += 1;
                self.devnet.inject(fault).unwrap();
            }
            if self.choices.percent(8) {
                self.crash().await;
            }
            if self.advance(true).await {
                self.prepare().await;
            }
            // A dead socket costs a deadline with every call: one step of it shows all that there is to see.
            if is_half_dead || self.choices.percent(30) {
                self.devnet.mend();
            }
            let blocks = self.choices.below(4);
            self.devnet.produce_blocks(u32::try_from(blocks).unwrap()).await;
        }
        self.devnet.mend();
        for _ in 0..STEPS_TO_END {
            if !self.is_open() {
                break;
            }
            self.advance(false).await;
            self.devnet.produce_blocks(1).await;
        }
    }

    /// What the chain took, held against what the receipts say.
    fn verdict(&self) -> Result<(), String> {
        let ledger = self.devnet.ledger();
        let mut landed: BTreeMap<u64, Vec<&LandedWeights>> = BTreeMap::new();
        for weights in &ledger {
            let epoch = self.epochs.get(&mark(&weights.weights));
            let epoch = epoch.ok_or_else(|| format!("weights that no receipt has landed: {weights:?}"))?;
            landed.entry(*epoch).or_default().push(weights);
        }
        for (epoch, landed) in &landed {
            if landed.len() > 1 {
                let blocks: Vec<_> = landed.iter().map(|weights| weights.block.0).collect();
                return Err(format!("weights of epoch {epoch} landed in blocks {blocks:?}"));
            }
        }
        for receipt in &self.stored {
            let vector: Vec<(u16, u16)> = receipt.vector.iter().map(|(uid, weight)| (uid.0, *weight)).collect();
            let of = landed.get(&receipt.intent.epoch.0).and_then(|landed| landed.first());
            let of = of.filter(|weights| mark(&weights.weights) == mark(&vector));
            let claim = |reason: &str| Err(format!("{reason}: receipt {receipt:?}, ledger {of:?}"));
            match &receipt.stage {
                Stage::ReadBack { block, .. } => {
                    let Some(weights) = of else { return claim("it says landed, and did not") };
                    if weights.weights != vector || weights.block > *block {
                        return claim("other weights landed, or later");
                    }
                    let (at, extrinsic) = included(receipt).ok_or("read back without a final block")?;
                    let place = weights.committed.unwrap_or(weights.block);
                    let is_revealed_by_hand =
                        receipt.history.iter().any(|(_, stage)| matches!(stage, Stage::Revealing { .. }));
                    if !is_revealed_by_hand && (place, weights.extrinsic) != (at, extrinsic) {
                        return claim("it landed elsewhere");
                    }
                }
                Stage::Expired | Stage::Failed { .. } | Stage::RevealMissed if of.is_some() => {
                    return claim("it says that nothing landed");
                }
                stage if !stage.is_terminal() => return claim("it never ends"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where the extrinsic is that the receipt saw final.
fn included(receipt: &Receipt) -> Option<(Block, u32)> {
    let stages = receipt.history.iter().map(|(_, stage)| stage);
    stages
        .filter_map(
            |stage| if let Stage::Finalized { block, extrinsic } = stage { Some((*block, *extrinsic)) } else { None },
        )
        .next_back()
}

async fn connect(devnet: &Devnet) -> Option<ChainClient> {
    let config = ChainConfig::new(devnet.url()).deadlines(Duration::from_millis(250), Duration::from_millis(600));
    ChainClient::connect(config).await.ok()
}

#[derive(Debug, Default)]
struct Tally {
    schedules: u64,
    landed: usize,
    ends: BTreeMap<&'static str, u32>,
    faults: BTreeMap<&'static str, u32>,
    violations: Vec<String>,
}

async fn run(seeds: std::ops::Range<u64>, guard: Guard) -> Tally {
    let next = Arc::new(AtomicU64::new(seeds.start));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, end) = (Arc::clone(&next), seeds.end);
        workers.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return tally;
                }
                let mut schedule = Schedule::start(seed, guard).await;
                schedule.run().await;
                tally.schedules += 1;
                tally.landed += schedule.devnet.ledger().len();
                for receipt in &schedule.stored {
                    *tally.ends.entry(receipt.stage.name()).or_default() += 1;
                }
                for (name, count) in &schedule.faults {
                    *tally.faults.entry(name).or_default() += count;
                }
                if let Err(reason) = schedule.verdict() {
                    tally.violations.push(format!("schedule {seed}: {reason}"));
                }
                schedule.devnet.stop().await;
            }
        });
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        let tally = tally.unwrap();
        all.schedules += tally.schedules;
        all.landed += tally.landed;
        tally.ends.into_iter().for_each(|(name, count)| *all.ends.entry(name).or_default() += count);
        tally.faults.into_iter().for_each(|(name, count)| *all.faults.entry(name).or_default() += count);
        all.violations.extend(tally.violations);
    }
    all
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

#[test]
fn no_weight_lands_twice_and_every_receipt_is_what_the_ledger_says() {
    let schedules = std::env::var("PRISM_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(SCHEDULES);
    let began = Instant::now();
    let tally = runtime().block_on(run(0..schedules, Guard::Kept));
    println!(
        "{} schedules in {:.0?}: {} vectors landed; receipts {:?}; faults {:?}",
        tally.schedules,
        began.elapsed(),
        tally.landed,
        tally.ends,
        tally.faults
    );
    assert_eq!(tally.violations, Vec::<String>::new());
    assert_eq!(tally.schedules, schedules);
    // The schedules reach what they are for: weights land, commitments are missed, signatures expire.
    for end in ["read_back", "reveal_missed", "expired"] {
        assert!(tally.ends.contains_key(end), "no receipt ended as {end}");
    }
}

#[test]
fn a_validator_that_signs_anew_when_an_answer_is_lost_is_caught() {
    let tally = runtime().block_on(run(0..100, Guard::Removed));
    assert!(tally.violations.iter().any(|reason| reason.contains("landed in blocks")), "{:?}", tally.ends);
}
