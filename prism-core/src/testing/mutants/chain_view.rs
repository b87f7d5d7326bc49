use super::assert_covers;
use crate::{
    chain_view::{ChainView, Head, Neuron},
    error::Result,
    hotkey::Hotkey,
    id::{Block, Epoch, Netuid},
    testing::{
        Report, block_on,
        chain_view::{ChainViewDriver, run},
        fakes::FakeChain,
    },
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex};

struct Driver {
    chain: FakeChain,
    view: Box<dyn ChainView>,
}

#[async_trait]
impl ChainViewDriver for Driver {
    fn view(&self) -> &dyn ChainView {
        &*self.view
    }
    fn netuid(&self) -> Netuid {
        self.chain.netuid()
    }
    async fn next_block(&mut self) -> Result<()> {
        self.chain.next_block();
        Ok(())
    }
    async fn reorganise(&mut self) -> Result<()> {
        self.chain.reorganise();
        Ok(())
    }
}

fn report(over: impl Fn(FakeChain) -> Box<dyn ChainView>) -> Report {
    block_on(run(async || {
        let chain = FakeChain::new(Netuid(3));
        for key in [9, 4, 6] {
            chain.register(Hotkey([key; 32]), true, 1);
        }
        Ok(Driver { view: over(chain.clone()), chain })
    }))
}

#[derive(Debug)]
struct Mutant {
    inner: FakeChain,
    breaks: u8,
    seen: Mutex<Block>,
}

#[async_trait]
impl ChainView for Mutant {
    async fn head(&self) -> Result<Head> {
        let mut head = self.inner.head().await?;
        let before = std::mem::replace(&mut *self.seen.lock().unwrap(), head.block);
        if self.breaks == 4 && before == head.block {
            // Counts back from the best block, which another one has replaced.
            head.finalized = Block(head.finalized.0.saturating_sub(1));
        }
        Ok(head)
    }
    async fn finalized_hash(&self, block: Block) -> Result<[u8; 32]> {
        let hash = self.inner.finalized_hash(block).await;
        // An answer for whatever is asked.
        if self.breaks == 1 { Ok(hash.unwrap_or_default()) } else { hash }
    }
    async fn epoch_at(&self, netuid: Netuid, block: Block) -> Result<Epoch> {
        let epoch = self.inner.epoch_at(netuid, block).await?;
        Ok(if self.breaks == 2 { Epoch(block.0 % 7) } else { epoch })
    }
    async fn neurons(&self, netuid: Netuid, at: Block) -> Result<Vec<Neuron>> {
        let mut neurons = self.inner.neurons(netuid, at).await?;
        if self.breaks == 3 {
            neurons.sort_by_key(|n| n.hotkey);
        }
        Ok(neurons)
    }
}

fn mutant(breaks: u8) -> Report {
    report(|inner| Box::new(Mutant { inner, breaks, seen: Mutex::default() }))
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|chain| Box::new(chain)).assert_ok();
    report(|chain| Box::new(Box::new(chain))).assert_ok();
    report(|chain| Box::new(Arc::new(chain))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../chain_view.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
}
