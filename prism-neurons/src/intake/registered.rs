//! Who is registered, as of a recent finalized block.
use super::IntakeError;
use prism_core::{Block, ChainView, Clock, Error, Fault, Hotkey, Kind, Netuid, Result};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How long what was read counts: about a block.
const FRESH: Duration = Duration::from_secs(12);
/// A hotkey that is not among those read may be newer than them; the chain is asked again, at most this often.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for the chain.
const DEADLINE: Duration = Duration::from_secs(6);

/// The registered hotkeys, read again when they are old or somebody is missing. Requests that come meanwhile wait for one
/// reading, and share its failure.
#[derive(Debug)]
pub(super) struct Registered {
    chain: Arc<dyn ChainView>,
    netuid: Netuid,
    clock: Arc<dyn Clock>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    reading: Option<Reading>,
    failed_at: Option<Duration>,
}

#[derive(Debug)]
struct Reading {
    at: Duration,
    block: Block,
    hotkeys: HashSet<Hotkey>,
}

impl Registered {
    pub(super) fn new(chain: Arc<dyn ChainView>, netuid: Netuid, clock: Arc<dyn Clock>) -> Self {
        Self { chain, netuid, clock, last: Mutex::default() }
    }

    /// The finalized block at which the hotkey is registered.
    pub(super) async fn check(&self, hotkey: Hotkey) -> Result<Block, IntakeError> {
        let mut last = self.last.lock().await;
        let since = |at: Duration| self.clock.monotonic().saturating_sub(at);
        let good = last
            .reading
            .as_ref()
            .is_some_and(|reading| since(reading.at) < if reading.hotkeys.contains(&hotkey) { FRESH } else { AGAIN });
        if !good {
            if last.failed_at.is_some_and(|at| since(at) < AGAIN) {
                let text = "chain could not be read a moment ago";
                return Err(IntakeError::Chain(Error::new(Kind::Unavailable, Fault::Infrastructure, text)));
            }
            match self.read().await {
                Ok(reading) => *last = Last { reading: Some(reading), failed_at: None },
                Err(error) => {
                    last.failed_at = Some(self.clock.monotonic());
                    return Err(IntakeError::Chain(error));
                }
            }
        }
        match last.reading.as_ref() {
            Some(reading) if reading.hotkeys.contains(&hotkey) => Ok(reading.block),
            _ => Err(IntakeError::Unregistered { hotkey, netuid: self.netuid }),
        }
    }

    async fn read(&self) -> Result<Reading> {
        let reading = async {
            let block = self.chain.head().await?.finalized;
            let neurons = self.chain.neurons(self.netuid, block).await?;
            let hotkeys = neurons.into_iter().map(|neuron| neuron.hotkey).collect();
            Ok(Reading { at: self.clock.monotonic(), block, hotkeys })
        };
        let late = || {
            let text = format!("registered hotkeys of subnet {} not read within {DEADLINE:?}", self.netuid);
            Error::new(Kind::Deadline, Fault::Infrastructure, text)
        };
        crate::deadline::within(&*self.clock, DEADLINE, reading).await.unwrap_or_else(|| Err(late()))
    }
}
