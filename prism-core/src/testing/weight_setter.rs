//! The suite of [`WeightSetter`].
use super::{Broken, Check};
use crate::{
    error::Result,
    id::{Block, Digest, Uid},
    receipt::{Receipt, Stage, WeightIntent},
    weight_setter::WeightSetter,
};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// Weights that have not reached their end by then never will.
const GIVE_UP: u32 = 1000;
/// Blocks after which a step more than one is there to be taken.
const SEVERAL: u32 = 8;

/// What the chain shows of this setter's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// How often a node took an extrinsic of it: the same bytes counted each time, or once where that can't be told.
    pub taken: u64,
    /// Hashes of its weight extrinsics in blocks of the best chain, in order.
    pub included: Vec<Digest>,
    /// The newest final block.
    pub finalized: Block,
    /// Its row.
    pub weights: BTreeMap<Uid, u16>,
}

/// Makes the chain under a setter move.
#[async_trait]
pub trait WeightSetterDriver: Send + Sync {
    /// The setter under test.
    fn setter(&self) -> &dyn WeightSetter;
    /// Puts a new setter over the same chain and account, as after a crash.
    async fn restart(&mut self) -> Result<()>;
    /// Weights that can land: a share for at least one registered hotkey.
    fn intent(&self) -> WeightIntent;
    /// Lets the chain make one block and the setter's view notice it. Finality may follow later.
    async fn next_block(&mut self) -> Result<()>;
    /// Whether blocks are made without the extrinsics that wait for one.
    async fn withhold(&mut self, yes: bool) -> Result<()>;
    /// What the chain shows.
    async fn ledger(&self) -> Result<Ledger>;
}

suite!(
    "WeightSetter", WeightSetterDriver,
    1 => clause_1_preparing_touches_nothing_on_the_chain,
    2 => clause_2_advances_one_step_with_one_effect_at_most,
    3 => clause_3_an_older_receipt_reaches_the_same_end_and_lands_once,
    4 => clause_4_a_stage_is_entered_only_when_the_chain_shows_it,
    5 => clause_5_returns_the_receipt_unchanged_when_nothing_moved,
    6 => clause_6_does_nothing_after_a_terminal_stage,
);

/// Advances with a block after every call until a terminal stage.
async fn drive(driver: &mut dyn WeightSetterDriver, from: Receipt) -> Result<Receipt, Broken> {
    let mut receipt = from;
    for _ in 0..GIVE_UP {
        if receipt.stage.is_terminal() {
            return Ok(receipt);
        }
        receipt = driver.setter().advance(&receipt).await?;
        driver.next_block().await?;
    }
    Err(Broken(format!("after {GIVE_UP} blocks the receipt is still {}", receipt.stage.name())))
}

fn read_back(receipt: &Receipt) -> Check {
    let read = matches!(receipt.stage, Stage::ReadBack { .. });
    ensure!(read, "weights that can land ended as {:?}", receipt.stage);
    Ok(())
}

/// Compares the chain before and after, and some blocks later. Reads are not seen.
pub async fn clause_1_preparing_touches_nothing_on_the_chain(driver: &mut dyn WeightSetterDriver) -> Check {
    driver.next_block().await?;
    let (intent, before) = (driver.intent(), driver.ledger().await?);
    let receipt = driver.setter().prepare(intent.clone()).await?;
    ensure!(matches!(receipt.stage, Stage::Prepared { .. }), "a prepared receipt is {}", receipt.stage.name());
    ensure!(receipt.intent == intent, "the receipt has another intent: {:?}", receipt.intent);
    ensure!(!receipt.signed.is_empty(), "nothing is signed");
    for _ in 0..3 {
        driver.next_block().await?;
    }
    let after = Ledger { finalized: before.finalized, ..driver.ledger().await? };
    ensure!(after == before, "preparing turned {before:?} into {after:?}");
    Ok(())
}

/// Leaves several blocks between the calls, so that more than one step is there to be taken.
pub async fn clause_2_advances_one_step_with_one_effect_at_most(driver: &mut dyn WeightSetterDriver) -> Check {
    let mut receipt = driver.setter().prepare(driver.intent()).await?;
    for _ in 0..GIVE_UP {
        if receipt.stage.is_terminal() {
            break;
        }
        let before = driver.ledger().await?;
        let next = driver.setter().advance(&receipt).await?;
        let sent = driver.ledger().await?.taken.saturating_sub(before.taken);
        ensure!(sent <= 1, "one call sent {sent} times");
        let fixed = |r: &Receipt| (r.signed.clone(), r.hash, r.nonce, r.vector.clone(), r.intent.clone());
        ensure!(fixed(&next) == fixed(&receipt), "a call changed what was signed: {next:?}");
        let mut step = receipt.history.clone();
        if next.stage != receipt.stage || next.history.len() > step.len() {
            step.extend(next.history.last().map(|(at, _)| (*at, receipt.stage.clone())));
        }
        ensure!(next.history == step, "one call went from {:?} to {next:?}", receipt.stage);
        receipt = next;
        for _ in 0..SEVERAL {
            driver.next_block().await?;
        }
    }
    let strange = driver.ledger().await?.included.into_iter().find(|hash| *hash != receipt.hash);
    ensure!(strange.is_none(), "extrinsic {strange:?} landed, which isn't the receipt's");
    Ok(())
}

/// Loses the receipt of the sending in a crash, later that of everything.
pub async fn clause_3_an_older_receipt_reaches_the_same_end_and_lands_once(
    driver: &mut dyn WeightSetterDriver,
) -> Check {
    let first = driver.setter().prepare(driver.intent()).await?;
    driver.setter().advance(&first).await?;
    driver.restart().await?;
    driver.setter().advance(&first).await?;
    driver.next_block().await?;
    let end = drive(driver, first.clone()).await?;
    read_back(&end)?;
    driver.restart().await?;
    let again = drive(driver, first).await?;
    read_back(&again)?;
    let included = driver.ledger().await?.included;
    ensure!(included == [end.hash], "the chain took {included:?}, the receipt's extrinsic is {:?}", end.hash);
    Ok(())
}

/// Withholds the extrinsic for three blocks, then compares each stage with the chain.
pub async fn clause_4_a_stage_is_entered_only_when_the_chain_shows_it(driver: &mut dyn WeightSetterDriver) -> Check {
    driver.withhold(true).await?;
    let mut receipt = driver.setter().prepare(driver.intent()).await?;
    for _ in 0..3 {
        receipt = driver.setter().advance(&receipt).await?;
        let waits = matches!(receipt.stage, Stage::Prepared { .. } | Stage::Submitted { .. } | Stage::Expired);
        ensure!(waits, "the receipt is {:?} while no block has the extrinsic", receipt.stage);
        driver.next_block().await?;
    }
    driver.withhold(false).await?;
    for _ in 0..GIVE_UP {
        receipt = driver.setter().advance(&receipt).await?;
        let Ledger { taken, included, finalized, weights } = driver.ledger().await?;
        let shown = match &receipt.stage {
            Stage::Submitted { .. } => taken > 0,
            Stage::Included { .. } | Stage::Committed { .. } => included.contains(&receipt.hash),
            Stage::Finalized { block, .. } => included.contains(&receipt.hash) && finalized >= *block,
            Stage::ReadBack { uids, .. } => weights == *uids,
            _ => true,
        };
        ensure!(shown, "the receipt is {:?}, the chain shows {included:?}, {weights:?}", receipt.stage);
        if receipt.stage.is_terminal() {
            break;
        }
        driver.next_block().await?;
    }
    Ok(())
}

/// Advances without a block until nothing moves, at every stage.
pub async fn clause_5_returns_the_receipt_unchanged_when_nothing_moved(driver: &mut dyn WeightSetterDriver) -> Check {
    let mut receipt = driver.setter().prepare(driver.intent()).await?;
    for _ in 0..GIVE_UP {
        if receipt.stage.is_terminal() {
            return Ok(());
        }
        let mut calls = 0..SEVERAL;
        let rests = loop {
            let next = driver.setter().advance(&receipt).await?;
            let stays = next == receipt;
            receipt = next;
            if stays || receipt.stage.is_terminal() {
                break true;
            }
            if calls.next().is_none() {
                break false;
            }
        };
        ensure!(rests, "without a block the receipt changed {SEVERAL} times; it is {receipt:?}");
        driver.next_block().await?;
    }
    Ok(())
}

/// Advances a receipt that was read back, and copies of a fresh one that ended otherwise.
pub async fn clause_6_does_nothing_after_a_terminal_stage(driver: &mut dyn WeightSetterDriver) -> Check {
    let fresh = driver.setter().prepare(driver.intent()).await?;
    let mut ended: Vec<Receipt> = [
        Stage::Expired,
        Stage::Failed { error: "SomeError".into() },
        Stage::RevealMissed,
        Stage::Superseded { reason: "another vector".into() },
    ]
    .into_iter()
    .map(|stage| fresh.enter(fresh.pinned, stage))
    .collect();
    for done in [false, true] {
        if done {
            ended.push(drive(driver, fresh.clone()).await?);
        }
        let before = driver.ledger().await?;
        for receipt in &ended {
            let next = driver.setter().advance(receipt).await?;
            ensure!(next == *receipt, "{} became {:?}", receipt.stage.name(), next.stage);
            driver.next_block().await?;
        }
        let after = driver.ledger().await?.taken;
        ensure!(after == before.taken, "receipts that had ended were sent {} times", after.abs_diff(before.taken));
    }
    Ok(())
}
