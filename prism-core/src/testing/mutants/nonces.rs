use super::assert_covers;
use crate::{
    error::{Error, Fault, Kind, Result},
    hotkey::Hotkey,
    nonces::Nonces,
    testing::{
        Report, block_on,
        drive::yield_once,
        fakes::{ManualClock, MemoryNonces},
        nonces::{NoncesDriver, run},
    },
};
use async_trait::async_trait;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

struct Driver<F> {
    store: MemoryNonces,
    nonces: Box<dyn Nonces>,
    over: F,
}

#[async_trait]
impl<F: Fn(MemoryNonces) -> Box<dyn Nonces> + Send + Sync> NoncesDriver for Driver<F> {
    fn nonces(&self) -> &dyn Nonces {
        &*self.nonces
    }
    async fn restart(&mut self) -> Result<()> {
        self.nonces = (self.over)(self.store.clone());
        Ok(())
    }
}

fn report(over: impl Fn(MemoryNonces) -> Box<dyn Nonces> + Copy + Send + Sync) -> Report {
    block_on(run(async || {
        let store = MemoryNonces::new(Arc::new(ManualClock::default()));
        Ok(Driver { nonces: over(store.clone()), store, over })
    }))
}

#[derive(Debug)]
struct Mutant {
    inner: MemoryNonces,
    breaks: u8,
    seen: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Nonces for Mutant {
    async fn spend(&self, hotkey: Hotkey, nonce: &str, keep_until: SystemTime) -> Result<bool> {
        match self.breaks {
            // Looks, waits, then writes: of many at once each is the first.
            1 => {
                let new = self.inner.spend(hotkey, nonce, SystemTime::UNIX_EPOCH).await?;
                yield_once().await;
                self.inner.spend(hotkey, nonce, keep_until).await?;
                Ok(new)
            }
            2 => self.inner.spend(Hotkey([0; 32]), nonce, keep_until).await,
            3 => Ok(self.seen.lock().unwrap().insert(format!("{hotkey}{nonce}"))),
            // Holds the key unique, expired or not.
            4 if keep_until < SystemTime::UNIX_EPOCH + Duration::from_secs(1000) => {
                if self.seen.lock().unwrap().insert(nonce.to_owned()) {
                    return Ok(true);
                }
                Err(Error::new(Kind::Conflict, Fault::Validator, "nonce is stored already"))
            }
            _ => self.inner.spend(hotkey, nonce, keep_until).await,
        }
    }
}

fn mutant(breaks: u8) -> Report {
    report(move |inner| Box::new(Mutant { inner, breaks, seen: Mutex::default() }))
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|nonces| Box::new(nonces)).assert_ok();
    report(|nonces| Box::new(Box::new(nonces))).assert_ok();
    report(|nonces| Box::new(Arc::new(nonces))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../nonces.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
}
