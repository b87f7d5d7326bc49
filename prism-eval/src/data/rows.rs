//! Dealing rows: the same for every run of a cohort, drawn from its seed.
use super::{
    corpus::{Corpus, Document},
    split::Split,
    tokenizer::Bytes,
};
use crate::player::Rows;
use prism_core::{Error, Fault, Kind, TrainTask, seed::Draws};
use std::{collections::VecDeque, sync::Arc};

/// Why no rows can be dealt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DealerError {
    /// The task names another dataset.
    #[error("task names the dataset {named}, at hand is {here}")]
    Dataset {
        /// The task's, shortened.
        named: String,
        /// Ours, shortened.
        here: String,
    },
    /// The task names another tokenizer or vocabulary.
    #[error("task names a tokenizer other than bytes with {} ids", Bytes::VOCABULARY)]
    Tokenizer,
    /// No document is long enough.
    #[error("no document of the {split:?} split has the {tokens} tokens of a row")]
    Short {
        /// Which part of the dataset.
        split: Split,
        /// Tokens of a row.
        tokens: usize,
    },
}

impl From<DealerError> for Error {
    fn from(error: DealerError) -> Self {
        let kind = match error {
            DealerError::Dataset { .. } | DealerError::Tokenizer => Kind::NotFound,
            DealerError::Short { .. } => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, "rows of the task cannot be dealt").because(error)
    }
}

/// Rows with the bytes of raw text that their predicted positions cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deal {
    /// The tokens.
    pub rows: Rows,
    /// Bytes per row.
    pub bytes: Vec<u32>,
}

/// Endless rows of one split. Each pass visits the documents in a new order and takes one row of each, at a uniform
/// offset, so that neighbouring rows come from different documents.
#[derive(Debug)]
struct Stream {
    corpus: Arc<Corpus>,
    /// Indices of the documents that are long enough.
    eligible: Vec<usize>,
    /// What is left of this pass, from the back.
    pass: Vec<usize>,
    draws: Draws,
    tokens: usize,
}

impl Stream {
    fn new(corpus: &Arc<Corpus>, split: Split, tokens: usize, draws: Draws) -> Result<Self, DealerError> {
        let fits = |document: &Document| document.split == split && document.text.len() >= tokens;
        let indices = corpus.documents().iter().enumerate().filter(|(_, document)| fits(document));
        let eligible: Vec<usize> = indices.map(|(index, _)| index).collect();
        if eligible.is_empty() {
            return Err(DealerError::Short { split, tokens });
        }
        Ok(Self { corpus: Arc::clone(corpus), eligible, pass: Vec::new(), draws, tokens })
    }

    fn row(&mut self) -> Vec<u8> {
        let index = self.pass.pop().unwrap_or_else(|| {
            self.pass.clone_from(&self.eligible);
            self.draws.shuffle(&mut self.pass);
            self.pass.pop().unwrap_or_default()
        });
        let text = self.corpus.documents().get(index).map_or(&[][..], |document| document.text.as_bytes());
        let offsets = text.len().saturating_sub(self.tokens) as u64 + 1;
        let offset = usize::try_from(self.draws.below(offsets)).unwrap_or_default();
        text.iter().skip(offset).take(self.tokens).copied().collect()
    }
}

/// Deals the rows of one run: its training stream, which can be looked ahead, and its held-out rows.
#[derive(Debug)]
pub struct Dealer {
    training: Stream,
    ahead: VecDeque<Vec<u8>>,
    held_out: Stream,
}

impl Dealer {
    /// A dealer for a task. Training rows come from the stream `rows` of the task's cohort, held-out rows from its
    /// stream `held_out` over the validation split; a row has one token more than it predicts.
    ///
    /// # Errors
    /// When the task names other data, or no document is long enough.
    pub fn new(corpus: &Arc<Corpus>, task: &TrainTask) -> Result<Self, DealerError> {
        if task.data.dataset != corpus.fingerprint() {
            let (named, here) = (task.data.dataset.short(), corpus.fingerprint().short());
            return Err(DealerError::Dataset { named, here });
        }
        if task.data.tokenizer != Bytes::fingerprint() || task.data.vocabulary != Bytes::VOCABULARY {
            return Err(DealerError::Tokenizer);
        }
        let tokens = task.budget.sequence as usize + 1;
        let stream = |split, purpose| Stream::new(corpus, split, tokens, task.cohort.stream(purpose).draws());
        Ok(Self {
            training: stream(Split::Train, "rows")?,
            ahead: VecDeque::new(),
            held_out: stream(Split::Validation, "held_out")?,
        })
    }

    /// The next rows to train on.
    pub fn training(&mut self, rows: u32) -> Deal {
        let count = rows as usize;
        self.look_ahead(count);
        let rows: Vec<_> = self.ahead.drain(..count).collect();
        deal(rows.iter(), self.training.tokens)
    }

    /// The rows that [`Dealer::training`] will deal next, without dealing them.
    pub fn upcoming(&mut self, rows: u32) -> Deal {
        self.look_ahead(rows as usize);
        deal(self.ahead.iter().take(rows as usize), self.training.tokens)
    }

    /// The next held-out rows.
    pub fn held_out(&mut self, rows: u32) -> Deal {
        let rows: Vec<_> = (0..rows).map(|_| self.held_out.row()).collect();
        deal(rows.iter(), self.held_out.tokens)
    }

    fn look_ahead(&mut self, rows: usize) {
        while self.ahead.len() < rows {
            let row = self.training.row();
            self.ahead.push_back(row);
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // A row has at most `u32::MAX` predicted positions, and one more token.
fn deal<'a>(rows: impl ExactSizeIterator<Item = &'a Vec<u8>>, tokens: usize) -> Deal {
    let count = rows.len() as u32;
    let ids = rows.flatten().map(|byte| u32::from(*byte)).collect();
    let rows = Rows { tokens: ids, rows: count, columns: tokens as u32 };
    // A token is a byte, and the first of a row is given.
    Deal { rows, bytes: vec![tokens as u32 - 1; count as usize] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{Limits, fixture::stand_in},
        measure::tasks::task,
    };
    use prism_core::Seed;
    use std::collections::BTreeSet;

    fn words(deal: &Deal) -> Vec<String> {
        let columns = deal.rows.columns as usize;
        let text = |row: &[u32]| row.iter().map(|t| char::from(u8::try_from(*t).unwrap())).collect();
        deal.rows.tokens.chunks(columns).map(text).collect()
    }

    #[test]
    fn one_pass_visits_every_long_document_once_and_the_next_in_another_order() {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYabcdefghijklmno".chars();
        let line = |letter: char| format!("{{\"id\":\"{letter}\",\"text\":\"{}\"}}\n", letter.to_string().repeat(9));
        let lines: String = letters.map(line).collect();
        let short = "{\"id\":\"short\",\"text\":\"zzzz\"}\n";
        let corpus = Arc::new(Corpus::read(format!("{short}{lines}").as_bytes(), Limits::default()).unwrap());
        let draws = Seed::of("test", &[]).draws();
        let mut stream = Stream::new(&corpus, Split::Train, 5, draws).unwrap();
        let long = corpus.of(Split::Train).filter(|d| d.text.len() == 9).count();
        let mut pass = || (0..long).map(|_| stream.row()).collect::<Vec<_>>();
        let (first, second) = (pass(), pass());
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), long);
        assert_ne!(first, second);
        assert!(first.iter().all(|row| row.len() == 5 && !row.contains(&b'z')));
    }

    #[test]
    fn every_offset_of_a_document_is_dealt() {
        let corpus = Corpus::read("{\"id\":\"a\",\"text\":\"0123456789\"}".as_bytes(), Limits::default()).unwrap();
        let mut stream = Stream::new(&Arc::new(corpus), Split::Train, 4, Seed::of("test", &[]).draws()).unwrap();
        let starts: BTreeSet<u8> = (0..200).map(|_| stream.row()[0]).collect();
        assert_eq!(starts, (b'0'..=b'6').collect());
    }

    #[test]
    fn looking_ahead_changes_nothing_that_is_dealt() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let (mut plain, mut peeking) = (Dealer::new(&corpus, &task).unwrap(), Dealer::new(&corpus, &task).unwrap());
        let ahead = peeking.upcoming(7);
        assert_eq!(ahead, peeking.upcoming(7));
        let mut dealt = words(&peeking.training(3));
        dealt.extend(words(&peeking.training(4)));
        assert_eq!(dealt, words(&ahead));
        assert_eq!(dealt, words(&plain.training(7)));
        assert_eq!(peeking.training(2), plain.training(2));
    }

    #[test]
    fn held_out_rows_are_of_the_validation_split_and_do_not_depend_on_training() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let (mut a, mut b) = (Dealer::new(&corpus, &task).unwrap(), Dealer::new(&corpus, &task).unwrap());
        a.training(50);
        let rows = a.held_out(20);
        assert_eq!(rows, b.held_out(20));
        let within = |row: &String| corpus.of(Split::Validation).any(|document| document.text.contains(row));
        assert!(words(&rows).iter().all(within));
        assert_eq!(rows.bytes, vec![task.budget.sequence; 20]);
    }

    #[test]
    fn rows_follow_the_cohort_and_not_the_runs_seed() {
        let corpus = stand_in().unwrap();
        let base = task(&corpus);
        let dealt = |task: &TrainTask| Dealer::new(&corpus, task).unwrap().training(4);
        let mut other = base.clone();
        other.seed = Seed::of("test", &[b"another run"]);
        assert_eq!(dealt(&base), dealt(&other));
        other.cohort = Seed::of("test", &[b"another cohort"]);
        assert_ne!(dealt(&base), dealt(&other));
    }

    #[test]
    fn a_task_over_other_data_is_refused() {
        let corpus = stand_in().unwrap();
        let mut foreign = task(&corpus);
        foreign.data.dataset = Bytes::fingerprint();
        assert!(matches!(Dealer::new(&corpus, &foreign), Err(DealerError::Dataset { .. })));
        let mut foreign = task(&corpus);
        foreign.data.vocabulary = 50_000;
        assert_eq!(Dealer::new(&corpus, &foreign).unwrap_err(), DealerError::Tokenizer);
        let mut long = task(&corpus);
        long.budget.sequence = 100_000;
        let error = Dealer::new(&corpus, &long).unwrap_err();
        assert_eq!(error, DealerError::Short { split: Split::Train, tokens: 100_001 });
    }
}
