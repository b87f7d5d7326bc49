use crate::{clock::Clock, error::Result, hotkey::Hotkey, nonces::Nonces};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Nonces in memory. The memory is the store: a restart is a clone, and the end of the process forgets everything.
#[derive(Debug, Clone)]
pub struct MemoryNonces {
    clock: Arc<dyn Clock>,
    spent: Arc<Mutex<HashMap<(Hotkey, String), SystemTime>>>,
}

impl MemoryNonces {
    /// Nothing spent yet; forgets by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, spent: Arc::default() }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl Nonces for MemoryNonces {
    async fn spend(&self, hotkey: Hotkey, nonce: &str, keep_until: SystemTime) -> Result<bool> {
        let now = self.clock.now();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, until| *until >= now);
        Ok(spent.insert((hotkey, nonce.to_owned()), keep_until).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{block_on, fakes::ManualClock};
    use std::time::Duration;

    #[test]
    fn what_has_expired_is_forgotten() {
        let clock = ManualClock::default();
        let nonces = MemoryNonces::new(Arc::new(clock.clone()));
        let minute = Duration::from_secs(60);
        let until = clock.now() + minute;
        assert!(block_on(nonces.spend(Hotkey([1; 32]), "n", until)).unwrap());
        clock.advance(minute);
        assert!(!block_on(nonces.spend(Hotkey([1; 32]), "n", until)).unwrap());
        clock.advance(minute);
        assert!(block_on(nonces.spend(Hotkey([2; 32]), "m", clock.now() + minute)).unwrap());
        assert_eq!(nonces.len(), 1);
    }
}
