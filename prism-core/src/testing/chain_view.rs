//! The suite of [`ChainView`].
use super::{Broken, Check};
use crate::{
    chain_view::{ChainView, Head},
    error::{Kind, Result},
    id::{Block, Netuid},
};
use async_trait::async_trait;

/// How far back and forth the clauses look.
const SPAN: u64 = 20;
/// Finality that is not there after so many blocks never comes.
const GIVE_UP: u64 = 200;

/// Makes a chain move.
#[async_trait]
pub trait ChainViewDriver: Send + Sync {
    /// The view under test.
    fn view(&self) -> &dyn ChainView;
    /// A subnet with at least two neurons.
    fn netuid(&self) -> Netuid;
    /// Lets the chain make one block and the view notice it. Finality may follow later.
    async fn next_block(&mut self) -> Result<()>;
    /// Replaces the newest block, if it isn't final, by another one. The default doesn't.
    async fn reorganise(&mut self) -> Result<()> {
        Ok(())
    }
}

suite!(
    "ChainView", ChainViewDriver,
    1 => clause_1_a_final_hash_is_one_answer_for_ever,
    2 => clause_2_epochs_do_not_fall_with_the_block,
    3 => clause_3_neurons_are_listed_once_in_order_of_uid,
    4 => clause_4_the_final_block_never_falls,
);

/// Goes on until at least one block after genesis is final.
async fn some_final(driver: &mut dyn ChainViewDriver) -> Result<Head, Broken> {
    for _ in 0..GIVE_UP {
        let head = driver.view().head().await?;
        if head.finalized > Block(0) {
            return Ok(head);
        }
        driver.next_block().await?;
    }
    Err(Broken(format!("no block was final after {GIVE_UP} blocks")))
}

/// Asks for final blocks before and after the chain has grown and, where the driver can, changed its mind; and for blocks
/// that are not there yet.
pub async fn clause_1_a_final_hash_is_one_answer_for_ever(driver: &mut dyn ChainViewDriver) -> Check {
    let head = some_final(driver).await?;
    let hash = driver.view().finalized_hash(head.finalized).await?;
    driver.reorganise().await?;
    for _ in 0..SPAN {
        driver.next_block().await?;
        let now = driver.view().finalized_hash(head.finalized).await?;
        ensure!(now == hash, "the hash of final block {} changed", head.finalized);
    }
    let head = driver.view().head().await?;
    let later = Block(head.block.0.saturating_add(1_000_000));
    for block in [Block(head.finalized.0.saturating_add(1)), later] {
        match driver.view().finalized_hash(block).await {
            Ok(_) => {
                // On a living chain the block may have become final meanwhile.
                let finalized = driver.view().head().await?.finalized;
                ensure!(
                    finalized >= block,
                    "block {block} has a final hash while block {finalized} is the newest final"
                );
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(Broken(format!("the hash of block {block}, which is not final, gave {error:?}"))),
        }
    }
    Ok(())
}

/// Asks for the epoch of the newest blocks, one by one.
pub async fn clause_2_epochs_do_not_fall_with_the_block(driver: &mut dyn ChainViewDriver) -> Check {
    for _ in 0..SPAN {
        driver.next_block().await?;
    }
    let head = driver.view().head().await?.block;
    let mut last = None;
    for block in head.0.saturating_sub(SPAN)..=head.0 {
        let epoch = driver.view().epoch_at(driver.netuid(), Block(block)).await?;
        ensure!(Some(epoch) >= last, "the epoch falls to {epoch} at block {block}");
        last = Some(epoch);
    }
    Ok(())
}

/// Looks at the neurons of the newest block.
pub async fn clause_3_neurons_are_listed_once_in_order_of_uid(driver: &mut dyn ChainViewDriver) -> Check {
    driver.next_block().await?;
    let head = driver.view().head().await?.block;
    let neurons = driver.view().neurons(driver.netuid(), head).await?;
    ensure!(neurons.len() >= 2, "{} neurons are listed, the driver's subnet has at least two", neurons.len());
    let uids: Vec<_> = neurons.iter().map(|n| n.uid).collect();
    ensure!(uids.is_sorted_by(|a, b| a < b), "UIDs come in the order {uids:?}");
    let mut hotkeys: Vec<_> = neurons.iter().map(|n| n.hotkey).collect();
    hotkeys.sort_unstable();
    ensure!(hotkeys.is_sorted_by(|a, b| a < b), "a hotkey is listed twice");
    Ok(())
}

/// Watches the head over blocks and, where the driver can, a change of mind.
pub async fn clause_4_the_final_block_never_falls(driver: &mut dyn ChainViewDriver) -> Check {
    let mut last = some_final(driver).await?.finalized;
    for step in 0..SPAN {
        if step % 3 == 0 {
            driver.reorganise().await?;
        } else {
            driver.next_block().await?;
        }
        let head = driver.view().head().await?;
        ensure!(head.finalized >= last, "the newest final block fell from {last} to {}", head.finalized);
        ensure!(head.finalized <= head.block, "final block {} is beyond the best, {}", head.finalized, head.block);
        last = head.finalized;
    }
    Ok(())
}
