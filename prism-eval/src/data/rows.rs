//! Dealing rows: the same for every run of a cohort, drawn from its seed.
use super::{
    alphabet::Alphabet,
    corpus::{Corpus, CorpusError},
    split::Split,
};
use crate::player::Rows;
use prism_core::{Error, Fault, Kind, TrainTask, seed::Draws};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
};

/// One training document in so many is kept back: its rows stand where an auditor must not see the truth.
const DECOYS: usize = 32;

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
    #[error("task names the tokenizer {named}, the dataset is in {vocabulary} tokens of {here}")]
    Tokenizer {
        /// The task's, shortened.
        named: String,
        /// Ours, shortened.
        here: String,
        /// Our number of ids.
        vocabulary: u32,
    },
    /// No document is long enough.
    #[error("no document of the {split:?} split has the {tokens} tokens of a row")]
    Short {
        /// Which part of the dataset.
        split: Split,
        /// Tokens of a row.
        tokens: usize,
    },
    /// Rows of one document are no independent sample.
    #[error("{rows} held-out rows of {tokens} tokens are asked for, and only {documents} documents are that long")]
    HeldOut {
        /// Rows asked for.
        rows: u32,
        /// Tokens of a row.
        tokens: usize,
        /// Documents of the validation split that are long enough.
        documents: usize,
    },
    /// The corpus is too small to keep a document back.
    #[error("no training document is left for decoys")]
    Decoys,
    /// A document can't be read any more, or is not what it was.
    #[error(transparent)]
    Text(#[from] CorpusError),
}

impl From<DealerError> for Error {
    fn from(error: DealerError) -> Self {
        let kind = match error {
            DealerError::Text(error) => return error.into(),
            DealerError::Dataset { .. } | DealerError::Tokenizer { .. } => Kind::NotFound,
            DealerError::Short { .. } | DealerError::HeldOut { .. } | DealerError::Decoys => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, "rows of the task cannot be dealt").because(error)
    }
}

/// Where an attempt went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Which attempt.
    pub attempt: u32,
    /// Steps done before.
    pub step: u64,
}

/// Rows with the bytes of raw text that their predicted positions cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deal {
    /// The tokens.
    pub rows: Rows,
    /// Bytes per row.
    pub bytes: Vec<u32>,
}

/// The documents in the tokens of a cohort.
#[derive(Debug)]
struct Text {
    corpus: Arc<Corpus>,
    alphabet: Alphabet,
    /// Tokens of a row.
    tokens: usize,
}

/// Where a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    document: usize,
    token: usize,
}

impl Text {
    /// Indices of the documents that have a row.
    fn eligible(&self, split: Split) -> Result<Vec<usize>, DealerError> {
        let entries = self.corpus.entries().iter().enumerate();
        let fits = entries.filter(|(_, entry)| entry.split == split && entry.tokens as usize >= self.tokens);
        let eligible: Vec<usize> = fits.map(|(index, _)| index).collect();
        if eligible.is_empty() { Err(DealerError::Short { split, tokens: self.tokens }) } else { Ok(eligible) }
    }

    /// A row of a document, at a uniform offset: where a token begins.
    fn place(&self, document: usize, draws: &mut Draws) -> Place {
        let tokens = self.corpus.entries().get(document).map_or(0, |entry| entry.tokens as usize);
        let offsets = tokens.saturating_sub(self.tokens) as u64 + 1;
        Place { document, token: usize::try_from(draws.below(offsets)).unwrap_or_default() }
    }

    /// Reads rows. The bytes of a row are those of the tokens that are predicted; its first is given.
    #[allow(clippy::cast_possible_truncation)] // A row has at most `u32::MAX` predicted positions, and one more token.
    fn deal(&self, places: impl ExactSizeIterator<Item = Place>) -> Result<Deal, DealerError> {
        let rows = places.len() as u32;
        let (mut tokens, mut bytes) = (Vec::new(), Vec::new());
        for Place { document, token } in places {
            let document = self.corpus.tokens(document)?;
            let row = document.get(token..token.saturating_add(self.tokens)).unwrap_or_default();
            let tokenizer = self.corpus.tokenizer();
            // A document has fewer than `u32::MAX` bytes.
            bytes.push(row.iter().skip(1).map(|id| tokenizer.piece_len(*id)).sum::<usize>() as u32);
            tokens.extend(row.iter().map(|id| self.alphabet.token(*id)));
        }
        Ok(Deal { rows: Rows { tokens, rows, columns: self.tokens as u32 }, bytes })
    }
}

/// Documents visited again and again, each pass in a new order, so that neighbouring rows come from different ones.
#[derive(Debug)]
struct Passes {
    documents: Vec<usize>,
    /// What is left of this pass, from the back.
    pass: Vec<usize>,
    /// Documents that a row was dealt from.
    shown: BTreeSet<usize>,
    draws: Draws,
}

impl Passes {
    fn new(documents: Vec<usize>, draws: Draws) -> Self {
        Self { documents, pass: Vec::new(), shown: BTreeSet::new(), draws }
    }

    /// Those that no row was dealt from.
    fn unseen(&self) -> Vec<usize> {
        self.documents.iter().copied().filter(|document| !self.shown.contains(document)).collect()
    }

    fn row(&mut self, text: &Text) -> Place {
        let document = self.pass.pop().unwrap_or_else(|| {
            self.pass.clone_from(&self.documents);
            self.draws.shuffle(&mut self.pass);
            self.pass.pop().unwrap_or_default()
        });
        self.shown.insert(document);
        text.place(document, &mut self.draws)
    }
}

/// The training stream: passes over documents, and where rows are measured, rows of documents that come once.
#[derive(Debug)]
struct Training {
    passes: Passes,
    /// Documents of the measured rows, from the back; empty when the corpus is too small to set any apart.
    once: Vec<usize>,
    /// Places of the measured rows in the stream, ascending; those that are past are gone.
    measured: VecDeque<Range<u64>>,
    dealt: u64,
}

impl Training {
    fn row(&mut self, text: &Text) -> Place {
        let place = self.dealt;
        self.dealt += 1;
        while self.measured.front().is_some_and(|range| range.end <= place) {
            self.measured.pop_front();
        }
        let measured = self.measured.front().is_some_and(|range| range.contains(&place));
        match if measured { self.once.pop() } else { None } {
            Some(document) => text.place(document, &mut self.passes.draws),
            None => self.passes.row(text),
        }
    }
}

/// Deals the rows of one run: its training stream, which can be looked ahead, and its held-out rows.
///
/// Documents of the training split have one of three uses, drawn from the cohort's stream `documents`. One in 32 is a
/// decoy and is never dealt. As many as there are measured rows are dealt once, there: what is measured was not seen
/// before. The rest is trained on, pass after pass. A corpus of which that would take more than half is too small: its
/// measured rows are of documents that may have come before at another offset ([`Dealer::measures_unseen`]).
#[derive(Debug)]
pub struct Dealer {
    text: Text,
    training: Training,
    ahead: VecDeque<Place>,
    held_out: Passes,
    decoys: Vec<usize>,
}

impl Dealer {
    /// A dealer for a task. Training rows come from the stream `rows` of the task's cohort, held-out rows from its
    /// stream `held_out` over the validation split; a row has one token more than it predicts. Tokens are those of the
    /// cohort's [`Alphabet`].
    ///
    /// # Errors
    /// When the task names other data, no document is long enough, or there are fewer documents than held-out rows.
    pub fn new(corpus: &Arc<Corpus>, task: &TrainTask) -> Result<Self, DealerError> {
        if task.data.dataset != corpus.fingerprint() {
            let (named, here) = (task.data.dataset.short(), corpus.fingerprint().short());
            return Err(DealerError::Dataset { named, here });
        }
        let tokenizer = corpus.tokenizer();
        let (here, vocabulary) = (tokenizer.fingerprint(), tokenizer.vocabulary());
        if task.data.tokenizer != here || task.data.vocabulary != vocabulary {
            let (named, here) = (task.data.tokenizer.short(), here.short());
            return Err(DealerError::Tokenizer { named, here, vocabulary });
        }
        let tokens = task.budget.sequence as usize + 1;
        let text = Text { corpus: Arc::clone(corpus), alphabet: Alphabet::of(&task.cohort, tokenizer), tokens };
        let (mut documents, held_out) = (text.eligible(Split::Train)?, text.eligible(Split::Validation)?);
        let rows = task.measuring.held_out_rows;
        if rows as usize > held_out.len() {
            return Err(DealerError::HeldOut { rows, tokens, documents: held_out.len() });
        }
        let draws = |purpose| task.cohort.stream(purpose).draws();
        let eligible = documents.len();
        draws("documents").shuffle(&mut documents);
        let decoys = documents.split_off(eligible - (eligible / DECOYS).max(usize::from(eligible > 1)));
        let wanted = task.measuring.points.len().saturating_mul(task.measuring.rows as usize);
        let once = if wanted <= documents.len() / 2 { documents.split_off(documents.len() - wanted) } else { vec![] };
        let measured = spans(task, &task.measuring.points);
        Ok(Self {
            training: Training { passes: Passes::new(documents, draws("rows")), once, measured, dealt: 0 },
            ahead: VecDeque::new(),
            held_out: Passes::new(held_out, draws("held_out")),
            decoys,
            text,
        })
    }

    /// A dealer for a task that goes on in a further attempt, after the last of these steps. Its rows are that attempt's
    /// own: those that any attempt before may have been shown, wherever it ended, are not dealt again. What is measured is
    /// of documents that nobody saw, and training begins with those. Where the corpus has no more of them, measured are
    /// other offsets of the documents that were set apart for the same points, which the run that goes on has not met.
    ///
    /// # Errors
    /// As [`Dealer::new`].
    pub fn resumed(corpus: &Arc<Corpus>, task: &TrainTask, resumes: &[Resume]) -> Result<Self, DealerError> {
        let first = Self::new(corpus, task)?;
        Ok(resumes.iter().fold(first, |dealer, resume| dealer.go_on(task, *resume)))
    }

    /// The dealer of the attempt after this one's.
    fn go_on(mut self, task: &TrainTask, Resume { attempt, step }: Resume) -> Self {
        // Taken from the back: what is left for points to come stands in front.
        let kept = self.training.once.clone();
        // No attempt sees more than a whole run.
        let batch = u64::from(task.budget.batch);
        while self.training.dealt < task.budget.steps.saturating_mul(batch) {
            self.training.row(&self.text);
        }
        for _ in 0..task.measuring.held_out_rows {
            self.held_out.row(&self.text);
        }

        let draws = |purpose| task.cohort.stream(purpose).stream(&format!("attempt {attempt}")).draws();
        let passes = self.training.passes;
        let mut unseen = passes.unseen();
        draws("documents").shuffle(&mut unseen);
        let later: Vec<u64> = task.measuring.points.iter().copied().filter(|point| *point > step).collect();
        let wanted = later.len().saturating_mul(task.measuring.rows as usize);
        let once = if wanted <= unseen.len() {
            unseen.split_off(unseen.len() - wanted)
        } else {
            // No run ever trained on these before the step that this one goes on from.
            let mut kept = kept.get(..wanted).map(<[usize]>::to_vec).unwrap_or_default();
            draws("documents").shuffle(&mut kept);
            kept
        };
        let apart: BTreeSet<usize> = once.iter().copied().collect();
        let documents = passes.documents.into_iter().filter(|document| !apart.contains(document)).collect();
        let passes = Passes { documents, pass: unseen, shown: passes.shown, draws: draws("rows") };

        let mut unseen = self.held_out.unseen();
        draws("held_out documents").shuffle(&mut unseen);
        let pass = if unseen.len() < task.measuring.held_out_rows as usize { vec![] } else { unseen };
        let Passes { documents, shown, .. } = self.held_out;
        Self {
            training: Training { passes, once, measured: spans(task, &later), dealt: step.saturating_mul(batch) },
            ahead: VecDeque::new(),
            held_out: Passes { documents, pass, shown, draws: draws("held_out") },
            ..self
        }
    }

    /// Whether measured rows are of documents that no row was dealt from before.
    #[must_use]
    pub fn measures_unseen(&self) -> bool {
        !self.training.once.is_empty()
    }

    /// What stands for what in every row of this dealer.
    #[must_use]
    pub fn alphabet(&self) -> &Alphabet {
        &self.text.alphabet
    }

    /// The dataset that rows are dealt from.
    #[must_use]
    pub fn corpus(&self) -> &Corpus {
        &self.text.corpus
    }

    /// The next rows to train on.
    ///
    /// # Errors
    /// [`DealerError::Text`], as all that reads rows.
    pub fn training(&mut self, rows: u32) -> Result<Deal, DealerError> {
        let count = rows as usize;
        self.look_ahead(count);
        self.text.deal(self.ahead.drain(..count))
    }

    /// The rows that [`Dealer::training`] will deal next, without dealing them.
    ///
    /// # Errors
    /// [`DealerError::Text`].
    pub fn upcoming(&mut self, rows: u32) -> Result<Deal, DealerError> {
        self.look_ahead(rows as usize);
        self.text.deal(self.ahead.iter().take(rows as usize).copied())
    }

    /// The next held-out rows.
    ///
    /// # Errors
    /// [`DealerError::Text`].
    pub fn held_out(&mut self, rows: u32) -> Result<Deal, DealerError> {
        let places: Vec<Place> = (0..rows).map(|_| self.held_out.row(&self.text)).collect();
        self.text.deal(places.into_iter())
    }

    /// Rows of documents that this cohort never deals, by draws of the caller's own: each of another document as long
    /// as there are enough.
    ///
    /// # Errors
    /// When no document was kept back, and [`DealerError::Text`].
    pub fn decoys(&self, rows: u32, draws: &mut Draws) -> Result<Rows, DealerError> {
        if self.decoys.is_empty() {
            return Err(DealerError::Decoys);
        }
        let mut passes = Passes::new(self.decoys.clone(), draws.clone());
        let places: Vec<Place> = (0..rows).map(|_| passes.row(&self.text)).collect();
        *draws = passes.draws;
        Ok(self.text.deal(places.into_iter())?.rows)
    }

    fn look_ahead(&mut self, rows: usize) {
        while self.ahead.len() < rows {
            let row = self.training.row(&self.text);
            self.ahead.push_back(row);
        }
    }
}

/// Where the rows of these points stand in the training stream.
fn spans(task: &TrainTask, points: &[u64]) -> VecDeque<Range<u64>> {
    let span = |step: &u64| {
        let start = step.saturating_mul(u64::from(task.budget.batch));
        start..start.saturating_add(u64::from(task.measuring.rows))
    };
    points.iter().map(span).collect()
}

#[cfg(test)]
mod tests;
