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
/// reading.
#[derive(Debug)]
pub(super) struct Registered {
    chain: Arc<dyn ChainView>,
    netuid: Netuid,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Reading>>,
}

#[derive(Debug)]
struct Reading {
    at: Duration,
    block: Block,
    hotkeys: HashSet<Hotkey>,
}

impl Registered {
    pub(super) fn new(chain: Arc<dyn ChainView>, netuid: Netuid, clock: Arc<dyn Clock>) -> Self {
        Self { chain, netuid, clock, last: Mutex::new(None) }
    }

    /// The finalized block at which the hotkey is registered.
    pub(super) async fn check(&self, hotkey: Hotkey) -> Result<Block, IntakeError> {
        let mut last = self.last.lock().await;
        let age = last.as_ref().map(|reading| self.clock.monotonic().saturating_sub(reading.at));
        let known = last.as_ref().is_some_and(|reading| reading.hotkeys.contains(&hotkey));
        let good = age.is_some_and(|age| if known { age < FRESH } else { age < AGAIN });
        if !good {
            *last = Some(self.read().await.map_err(IntakeError::Chain)?);
        }
        match last.as_ref() {
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
