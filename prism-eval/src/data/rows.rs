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
mod tests {
    use super::*;
    use crate::{
        data::{
            Limits,
            fixture::stand_in,
            tokenizer::{Tokenizer, small},
        },
        measure::tasks::task,
    };
    use prism_core::Seed;
    use std::collections::BTreeSet;

    /// The text of each row, as it stands in its document.
    fn words(dealer: &Dealer, rows: &Rows) -> Vec<String> {
        let character = |token: &u32| char::from(dealer.alphabet().id(*token).unwrap() as u8);
        rows.tokens.chunks(rows.columns as usize).map(|row| row.iter().map(character).collect()).collect()
    }

    fn small_corpus(lines: &str) -> Arc<Corpus> {
        Arc::new(Corpus::read(lines.as_bytes(), Limits::default()).unwrap())
    }

    fn text(corpus: &Arc<Corpus>, tokens: usize) -> Text {
        let alphabet = Alphabet::of(&Seed::of("test", &[]), corpus.tokenizer());
        Text { corpus: Arc::clone(corpus), alphabet, tokens }
    }

    #[test]
    fn one_pass_visits_every_long_document_once_and_the_next_in_another_order() {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYabcdefghijklmno".chars();
        let line = |letter: char| format!("{{\"id\":\"{letter}\",\"text\":\"{}\"}}\n", letter.to_string().repeat(9));
        let lines: String = letters.map(line).collect();
        let short = "{\"id\":\"short\",\"text\":\"zzzz\"}\n";
        let corpus = small_corpus(&format!("{short}{lines}"));
        let text = text(&corpus, 5);
        let documents = text.eligible(Split::Train).unwrap();
        let long = corpus.of(Split::Train).filter(|d| d.as_ref().unwrap().text.len() == 9).count();
        assert_eq!(documents.len(), long);
        let mut passes = Passes::new(documents, Seed::of("test", &[]).draws());
        let mut pass = || (0..long).map(|_| passes.row(&text)).collect::<Vec<_>>();
        let (first, second) = (pass(), pass());
        assert_eq!(first.iter().map(|place| place.document).collect::<BTreeSet<_>>().len(), long);
        assert_ne!(first, second);
        let deal = text.deal(first.into_iter()).unwrap();
        assert!(deal.rows.columns == 5 && !deal.rows.tokens.contains(&text.alphabet.token(u32::from(b'z'))));
    }

    #[test]
    fn every_offset_of_a_document_is_dealt() {
        let text = text(&small_corpus("{\"id\":\"a\",\"text\":\"0123456789\"}"), 4);
        let mut draws = Seed::of("test", &[]).draws();
        let starts: BTreeSet<usize> = (0..200).map(|_| text.place(0, &mut draws).token).collect();
        assert_eq!(starts, (0..=6).collect());
        let deal =
            text.deal((0..=6).map(|token| Place { document: 0, token }).collect::<Vec<_>>().into_iter()).unwrap();
        let first: Vec<u32> = deal.rows.tokens.chunks(4).map(|row| row[0]).collect();
        assert_eq!(first, (b'0'..=b'6').map(|byte| text.alphabet.token(u32::from(byte))).collect::<Vec<_>>());
    }

    /// As dealt when all rows were bytes of documents in memory: digests of that program's rows.
    #[test]
    fn rows_of_bytes_are_those_that_they_always_were() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let resume = Resume { attempt: 2, step: 5 };
        let golden = [
            "6d8757ba082f71bdcaf7bf792efe90bc3f97ce89373faaa50dee33dea1f3adbb",
            "94bf1322536c35c7afe4d3dd0990a22b9a391d60982785965c5bdf292c21e67e",
        ];
        for (resumes, golden) in [&[][..], &[resume]].into_iter().zip(golden) {
            let mut dealer = Dealer::resumed(&corpus, &task, resumes).unwrap();
            let mut tokens = dealer.upcoming(6).unwrap().rows.tokens;
            tokens.extend(dealer.training(40).unwrap().rows.tokens);
            tokens.extend(dealer.held_out(5).unwrap().rows.tokens);
            tokens.extend(dealer.decoys(5, &mut task.seed.draws()).unwrap().tokens);
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            assert_eq!(prism_core::Digest::of(&bytes).to_string(), golden);
        }
    }

    /// What the tokens of rows stand for is found in a document as it is, and the bytes that are counted are those.
    #[test]
    fn rows_in_the_tokens_of_a_file_are_cut_at_their_borders_and_count_their_bytes() {
        let text = "na\u{ef}ve caf\u{e9} \u{20ac}5 \u{1d11e}\u{1d122} the other words of the text are these ";
        let lines: String = (0..400)
            .map(|n| {
                serde_json::json!({ "id": n.to_string(), "text": format!("{n} {}", text.repeat(4)) }).to_string() + "\n"
            })
            .collect();
        let plain = small_corpus(&lines);
        for file in [small::byte_level(), small::byte_fallback()] {
            let (corpus, left_out) = plain.tokenized(Tokenizer::File(file)).unwrap();
            assert_eq!((left_out, corpus.len()), (0, 400));
            let corpus = Arc::new(corpus);
            let mut task = task(&corpus);
            task.data = corpus.data_ref();
            assert_ne!(task.data.tokenizer, plain.data_ref().tokenizer);
            assert_eq!(task.data.dataset, plain.fingerprint());
            let mut dealer = Dealer::new(&corpus, &task).unwrap();
            let all: Vec<Vec<u8>> = corpus.documents().map(|document| document.unwrap().text.into_bytes()).collect();
            let (mut dealt, mut split) = (0, 0);
            for deal in [dealer.training(60).unwrap(), dealer.held_out(5).unwrap()] {
                for (row, bytes) in deal.rows.tokens.chunks(33).zip(&deal.bytes) {
                    let ids: Vec<u32> = row.iter().map(|token| dealer.alphabet().id(*token).unwrap()).collect();
                    let piece = |id: &u32| corpus.tokenizer().piece(*id).into_owned();
                    let (first, rest) = (piece(&ids[0]), ids[1..].iter().flat_map(piece).collect::<Vec<u8>>());
                    assert_eq!(rest.len(), *bytes as usize);
                    // A space before the document may be part of its first token.
                    let whole = [first, rest].concat();
                    let found = |row: &[u8]| all.iter().any(|text| text.windows(row.len()).any(|window| window == row));
                    assert!(found(&whole) || found(&whole[1..]));
                    dealt += 1;
                    split += usize::from(std::str::from_utf8(&whole).is_err());
                }
            }
            assert!(dealt == 65 && split > 5, "{split} of {dealt} rows begin or end within a character");
        }
    }

    #[test]
    fn looking_ahead_changes_nothing_that_is_dealt() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let (mut plain, mut peeking) = (Dealer::new(&corpus, &task).unwrap(), Dealer::new(&corpus, &task).unwrap());
        let ahead = peeking.upcoming(7).unwrap();
        assert_eq!(ahead, peeking.upcoming(7).unwrap());
        let mut dealt = peeking.training(3).unwrap().rows.tokens;
        dealt.extend(peeking.training(4).unwrap().rows.tokens);
        assert_eq!(dealt, ahead.rows.tokens);
        assert_eq!(dealt, plain.training(7).unwrap().rows.tokens);
        assert_eq!(peeking.training(2).unwrap(), plain.training(2).unwrap());
    }

    #[test]
    fn held_out_rows_are_of_the_validation_split_and_do_not_depend_on_training() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let (mut a, mut b) = (Dealer::new(&corpus, &task).unwrap(), Dealer::new(&corpus, &task).unwrap());
        a.training(50).unwrap();
        let rows = a.held_out(20).unwrap();
        assert_eq!(rows, b.held_out(20).unwrap());
        let within = |row: &String| corpus.of(Split::Validation).any(|document| document.unwrap().text.contains(row));
        assert!(words(&a, &rows.rows).iter().all(within));
        assert_eq!(rows.bytes, vec![task.budget.sequence; 20]);
    }

    /// Which documents the rows are of; a row of a few dozen bytes is in one document alone.
    fn documents(dealer: &Dealer, corpus: &Corpus, rows: &Rows) -> BTreeSet<String> {
        let all: Vec<_> = corpus.documents().map(Result::unwrap).collect();
        let of = |row: String| all.iter().find(|document| document.text.contains(&row)).unwrap().id.clone();
        words(dealer, rows).into_iter().map(of).collect()
    }

    #[test]
    fn measured_documents_come_once_and_decoys_never() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let mut dealer = Dealer::new(&corpus, &task).unwrap();
        assert!(dealer.measures_unseen());
        let decoys = dealer.decoys(39, &mut Seed::of("test", &[b"decoys"]).draws()).unwrap();
        let decoys = documents(&dealer, &corpus, &decoys);
        assert_eq!(decoys.len(), 39);
        let (mut before, mut measured) = (BTreeSet::new(), BTreeSet::new());
        for step in 0..12u64 {
            if task.measuring.points.contains(&step) {
                let rows = dealer.upcoming(task.measuring.rows).unwrap().rows;
                let here = documents(&dealer, &corpus, &rows);
                assert_eq!(here.len(), 6);
                assert!(here.is_disjoint(&before) && here.is_disjoint(&measured), "before step {step}");
                measured.extend(here);
            }
            let rows = dealer.training(task.budget.batch).unwrap().rows;
            before.extend(documents(&dealer, &corpus, &rows));
        }
        // Long after the last point, in later passes, they do not come again.
        let rows = dealer.training(1500).unwrap().rows;
        let later = documents(&dealer, &corpus, &rows);
        assert!(later.is_disjoint(&measured) && later.is_disjoint(&decoys) && before.is_disjoint(&decoys));
        assert!(later.len() > 1000);
    }

    #[test]
    fn a_corpus_too_small_to_set_documents_apart_is_dealt_all_the_same() {
        let corpus = stand_in().unwrap();
        let mut task = task(&corpus);
        task.measuring.rows = 400;
        let mut dealer = Dealer::new(&corpus, &task).unwrap();
        assert!(!dealer.measures_unseen());
        assert_eq!(dealer.upcoming(400).unwrap().rows.rows, 400);
    }

    #[test]
    fn more_held_out_rows_than_documents_are_refused_and_so_is_a_corpus_without_a_decoy() {
        let corpus = stand_in().unwrap();
        let mut greedy = task(&corpus);
        greedy.measuring.held_out_rows = 41;
        let error = Dealer::new(&corpus, &greedy).unwrap_err();
        assert_eq!(error, DealerError::HeldOut { rows: 41, tokens: 33, documents: 40 });
        assert_eq!(Error::from(error).fault(), Fault::Validator);
        let text = "x".repeat(40);
        let corpus =
            small_corpus(&format!("{{\"id\":\"a\",\"text\":\"{text}\"}}\n{{\"id\":\"b\",\"text\":\"{text}\"}}"));
        let mut lone = task(&corpus);
        lone.measuring.held_out_rows = 1;
        let dealer = Dealer::new(&corpus, &lone).unwrap();
        assert_eq!(dealer.decoys(1, &mut lone.seed.draws()), Err(DealerError::Decoys));
    }

    #[test]
    fn rows_follow_the_cohort_and_not_the_runs_seed() {
        let corpus = stand_in().unwrap();
        let base = task(&corpus);
        let dealt = |task: &TrainTask| Dealer::new(&corpus, task).unwrap().training(4).unwrap();
        let mut other = base.clone();
        other.seed = Seed::of("test", &[b"another run"]);
        assert_eq!(dealt(&base), dealt(&other));
        other.cohort = Seed::of("test", &[b"another cohort"]);
        assert_ne!(dealt(&base), dealt(&other));
    }

    #[test]
    fn rows_after_a_resume_are_the_attempts_own_and_nobody_saw_them_before() {
        let corpus = stand_in().unwrap();
        let task = task(&corpus);
        let rows = |dealer: &mut Dealer, steps: u64| -> Vec<Vec<u32>> {
            let mut dealt = Vec::new();
            for step in steps..12 {
                if task.measuring.points.iter().any(|point| *point == step && step > steps) {
                    dealt.push(dealer.upcoming(task.measuring.rows).unwrap().rows);
                }
                dealt.push(dealer.training(task.budget.batch).unwrap().rows);
            }
            dealt.push(dealer.held_out(task.measuring.held_out_rows).unwrap().rows);
            dealt.iter().flat_map(|rows| rows.tokens.chunks(33).map(<[u32]>::to_vec)).collect()
        };
        let resume = |attempt, step| Resume { attempt, step };
        // The third attempt went on from where the second did, the fourth from further on.
        let chains: [&[Resume]; 4] =
            [&[], &[resume(2, 5)], &[resume(2, 5), resume(3, 5)], &[resume(2, 5), resume(3, 5), resume(4, 10)]];
        let mut seen: BTreeSet<Vec<u32>> = BTreeSet::new();
        let mut documents_seen = BTreeSet::new();
        for chain in chains {
            let mut dealer = Dealer::resumed(&corpus, &task, chain).unwrap();
            let start = chain.last().map_or(0, |resume| resume.step);
            let own: BTreeSet<Vec<u32>> = rows(&mut dealer, start).into_iter().collect();
            assert!(own.is_disjoint(&seen), "{chain:?}");
            let tokens: Vec<u32> = own.iter().flatten().copied().collect();
            let all = Rows { rows: own.len() as u32, columns: 33, tokens };
            let here = documents(&dealer, &corpus, &all);
            assert!(here.is_disjoint(&documents_seen), "{chain:?}");
            let again = Dealer::resumed(&corpus, &task, chain).unwrap();
            assert_eq!(rows(&mut { again }, start).into_iter().collect::<BTreeSet<_>>(), own, "drawn anew alike");
            seen.extend(own);
            documents_seen.extend(here);
        }
        assert_eq!(
            Dealer::resumed(&corpus, &task, &[]).unwrap().training(4).unwrap(),
            Dealer::new(&corpus, &task).unwrap().training(4).unwrap()
        );
    }

    #[test]
    fn a_corpus_without_unseen_documents_goes_on_with_other_offsets() {
        let corpus = stand_in().unwrap();
        let mut task = task(&corpus);
        task.budget.steps = 1000;
        task.measuring.points = vec![0, 500, 900];
        let mut first = Dealer::new(&corpus, &task).unwrap();
        let mut measured = Vec::new();
        for step in 0..1000 {
            if task.measuring.points.contains(&step) {
                measured.push(first.upcoming(6).unwrap().rows);
            }
            first.training(4).unwrap();
        }
        let resume = Resume { attempt: 2, step: 500 };
        let mut dealer = Dealer::resumed(&corpus, &task, &[resume]).unwrap();
        let mut trained = BTreeSet::new();
        for _ in 500..900 {
            let rows = dealer.training(4).unwrap().rows;
            trained.extend(documents(&dealer, &corpus, &rows));
        }
        let here = dealer.upcoming(6).unwrap().rows;
        assert_ne!(here, measured[2]);
        assert_eq!(documents(&dealer, &corpus, &here), documents(&dealer, &corpus, &measured[2]));
        assert!(trained.len() > 1000 && trained.is_disjoint(&documents(&dealer, &corpus, &here)));
    }

    #[test]
    fn a_task_over_other_data_is_refused() {
        let corpus = stand_in().unwrap();
        let mut foreign = task(&corpus);
        foreign.data.dataset = corpus.tokenizer().fingerprint();
        assert!(matches!(Dealer::new(&corpus, &foreign), Err(DealerError::Dataset { .. })));
        let mut foreign = task(&corpus);
        foreign.data.vocabulary = 50_000;
        let error = Dealer::new(&corpus, &foreign).unwrap_err();
        assert!(matches!(error, DealerError::Tokenizer { vocabulary: 256, .. }), "{error}");
        let mut long = task(&corpus);
        long.budget.sequence = 100_000;
        let error = Dealer::new(&corpus, &long).unwrap_err();
        assert_eq!(error, DealerError::Short { split: Split::Train, tokens: 100_001 });
    }
}
