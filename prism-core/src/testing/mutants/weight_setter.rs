use super::assert_covers;
use crate::{
    error::Result,
    finite::Finite,
    hotkey::Hotkey,
    id::{Block, Digest, Epoch, MechanismId, Netuid},
    receipt::{Receipt, Stage, WeightIntent},
    testing::{
        Report, block_on,
        fakes::{FakeChain, RecordingSetter},
        weight_setter::{Ledger, WeightSetterDriver, run},
    },
    weight_setter::WeightSetter,
};
use async_trait::async_trait;
use std::sync::Arc;

const VALIDATOR: Hotkey = Hotkey([1; 32]);
const MINER: Hotkey = Hotkey([2; 32]);

struct Driver<F> {
    chain: FakeChain,
    setter: Box<dyn WeightSetter>,
    over: F,
}

#[async_trait]
impl<F: Fn(FakeChain) -> Box<dyn WeightSetter> + Send + Sync> WeightSetterDriver for Driver<F> {
    fn setter(&self) -> &dyn WeightSetter {
        &*self.setter
    }
    async fn restart(&mut self) -> Result<()> {
        self.setter = (self.over)(self.chain.clone());
        Ok(())
    }
    fn intent(&self) -> WeightIntent {
        WeightIntent {
            netuid: self.chain.netuid(),
            mechanism: MechanismId(0),
            epoch: Epoch(0),
            shares: [(MINER, Finite::ONE)].into(),
            burn: Finite::ZERO,
            version_key: 0,
            policy: Digest::of(b"policy"),
        }
    }
    async fn next_block(&mut self) -> Result<()> {
        self.chain.next_block();
        Ok(())
    }
    async fn withhold(&mut self, yes: bool) -> Result<()> {
        self.chain.withhold(yes);
        Ok(())
    }
    async fn ledger(&self) -> Result<Ledger> {
        Ok(Ledger {
            taken: self.chain.taken(),
            included: self.chain.included(),
            finalized: self.chain.tip().finalized,
            weights: self.chain.weights(VALIDATOR),
        })
    }
}

fn report(over: impl Fn(FakeChain) -> Box<dyn WeightSetter> + Copy + Send + Sync) -> Report {
    block_on(run(async || {
        let chain = FakeChain::new(Netuid(1));
        chain.register(VALIDATOR, true, 1000);
        chain.register(MINER, false, 0);
        Ok(Driver { setter: over(chain.clone()), chain, over })
    }))
}

#[derive(Debug)]
struct Mutant {
    chain: FakeChain,
    inner: RecordingSetter,
    breaks: u8,
}

#[async_trait]
impl WeightSetter for Mutant {
    fn name(&self) -> &str {
        "mutant"
    }
    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
        let receipt = self.inner.prepare(intent).await?;
        if self.breaks == 1 {
            self.inner.advance(&receipt).await?;
        }
        Ok(receipt)
    }
    async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
        let head = self.chain.tip().block;
        match (self.breaks, &receipt.stage) {
            (2, _) => {
                let once = self.inner.advance(receipt).await?;
                return self.inner.advance(&once).await;
            }
            // Signs anew what it finds on the chain.
            (3, Stage::Prepared { .. }) if self.chain.find(receipt.hash).is_some() => {
                let fresh = self.inner.prepare(receipt.intent.clone()).await?;
                return self.inner.advance(&fresh).await;
            }
            // Believes that the block after the sending has it.
            (4, Stage::Submitted { .. }) if receipt.history.last().is_some_and(|(block, _)| *block < head) => {
                return Ok(receipt.enter(head, Stage::Included { block: head, extrinsic: 0 }));
            }
            (6, Stage::ReadBack { uids, .. }) => {
                return Ok(receipt.enter(head, Stage::ReadBack { block: Block(head.0), uids: uids.clone() }));
            }
            _ => {}
        }
        let mut next = self.inner.advance(receipt).await?;
        if self.breaks == 5 && !receipt.stage.is_terminal() {
            next.alarms.push("still waiting".into());
        }
        Ok(next)
    }
}

fn mutant(breaks: u8) -> Report {
    report(move |chain| {
        let inner = RecordingSetter::new(chain.clone(), VALIDATOR);
        Box::new(Mutant { chain, inner, breaks })
    })
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    let setter = |chain| RecordingSetter::new(chain, VALIDATOR);
    report(|chain| Box::new(setter(chain))).assert_ok();
    report(|chain| Box::new(Box::new(setter(chain)))).assert_ok();
    report(|chain| Box::new(Arc::new(setter(chain)))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../weight_setter.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
    mutant_5_fails_exactly_clause_5 5
    mutant_6_fails_exactly_clause_6 6
}
