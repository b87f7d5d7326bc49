use super::assert_covers;
use crate::{
    error::{Error, Fault, Kind, Result},
    hotkey::Hotkey,
    id::{Block, Digest, SubmissionId},
    source::{Batch, Cursor, Disposition, SubmissionSource},
    submission::{Precedence, Submission},
    testing::{
        Report, block_on,
        drive::yield_once,
        fakes::MemorySource,
        source::{SourceDriver, run},
    },
};
use async_trait::async_trait;
use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
};

struct Driver<F> {
    log: MemorySource,
    source: Box<dyn SubmissionSource>,
    over: F,
}

#[async_trait]
impl<F: Fn(MemorySource) -> Box<dyn SubmissionSource> + Send + Sync> SourceDriver for Driver<F> {
    fn source(&self) -> &dyn SubmissionSource {
        &*self.source
    }
    async fn add(&mut self) -> Result<SubmissionId> {
        let place = self.log.poll(None, usize::MAX).await?.submissions.len() as u64;
        let hotkey = Hotkey([7; 32]);
        let precedence = Precedence { block: Block(place), extrinsic: 0, hotkey, local: false };
        let submission = Submission::bundle(hotkey, precedence, Digest::of(&place.to_le_bytes()), 8);
        let id = submission.id;
        self.log.push(submission)?;
        Ok(id)
    }
    async fn restart(&mut self) -> Result<()> {
        self.source = (self.over)(self.log.clone());
        Ok(())
    }
}

fn report(over: impl Fn(MemorySource) -> Box<dyn SubmissionSource> + Copy + Send + Sync) -> Report {
    block_on(run(async || {
        let log = MemorySource::new();
        Ok(Driver { source: over(log.clone()), log, over })
    }))
}

#[derive(Debug)]
struct Mutant {
    inner: MemorySource,
    breaks: u8,
    given: Mutex<BTreeSet<SubmissionId>>,
    settled: Mutex<BTreeSet<SubmissionId>>,
    in_hand: Mutex<bool>,
}

#[async_trait]
impl SubmissionSource for Mutant {
    fn name(&self) -> &str {
        "mutant"
    }
    async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch> {
        let mut batch = self.inner.poll(from, if self.breaks == 4 { usize::MAX } else { max }).await?;
        match self.breaks {
            1 if from.is_none() => batch.submissions.retain(|s| self.given.lock().unwrap().insert(s.id)),
            2 if from.is_some() && !batch.submissions.is_empty() => drop(batch.submissions.remove(0)),
            3 if self.inner.poll(from, 1).await?.submissions.is_empty() => pending().await,
            6 => {
                if *self.in_hand.lock().unwrap() {
                    batch.submissions.clear();
                }
                *self.in_hand.lock().unwrap() = true;
                yield_once().await;
                *self.in_hand.lock().unwrap() = false;
            }
            _ => {}
        }
        Ok(batch)
    }
    async fn settle(&self, id: SubmissionId, _: &Disposition) -> Result<()> {
        if self.breaks == 5 && !self.settled.lock().unwrap().insert(id) {
            return Err(Error::new(Kind::Conflict, Fault::Validator, "settled already"));
        }
        Ok(())
    }
}

fn mutant(breaks: u8) -> Report {
    report(move |inner| {
        let (given, settled, in_hand) = Default::default();
        Box::new(Mutant { inner, breaks, given, settled, in_hand })
    })
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|source| Box::new(source)).assert_ok();
    report(|source| Box::new(Box::new(source))).assert_ok();
    report(|source| Box::new(Arc::new(source))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../source.rs"));
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
