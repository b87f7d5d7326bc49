//! Questions as rows of tokens, and what the bits of them answer.
use super::Benchmark;
use crate::{
    data::{Alphabet, Corpus, Deal, DealerError, Tokenizer, TokenizerError},
    player::Rows,
};
use prism_core::{Finite, Seed, evidence::TaskAnswers};
use std::ops::Range;

/// The questions of a task, a row for each choice. The choice stands as far to the left as its context lets it, and
/// after it comes nothing but line feeds: a model that looks ahead learns nothing there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) deal: Deal,
    /// The predicted positions of each row that the choice is scored at.
    pub(crate) spans: Vec<Range<u32>>,
    questions: Vec<Shape>,
    left_out: u32,
}

/// What is known of a question when the bits of its rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    choices: usize,
    answer: usize,
}

/// A choice with its context, in tokens.
struct Laid {
    tokens: Vec<u32>,
    /// Where the choice begins.
    from: usize,
}

impl Laid {
    /// Tokens of a context and what goes on. The choice is all tokens that end after the context's end: one that covers
    /// the end of both is of the choice.
    fn of(tokenizer: &Tokenizer, context: &str, choice: &str) -> Result<Self, TokenizerError> {
        let text = format!("{context}{choice}");
        let tokens = tokenizer.encode(&text)?;
        let all: usize = tokens.iter().map(|token| tokenizer.piece_len(*token)).sum();
        let mut end = 0;
        // A tokenizer's own space before the text is no part of the context.
        let context = context.len() + all.saturating_sub(text.len());
        let before = tokens.iter().take_while(|token| {
            end += tokenizer.piece_len(**token);
            end <= context
        });
        let from = before.count();
        Ok(Self { tokens, from })
    }
}

impl Asked {
    /// The rows of a task's questions. Left out are questions of which the tokenizer loses something, and those whose
    /// choices leave no room for a token of context.
    pub(crate) fn of(
        benchmark: &Benchmark,
        corpus: &Corpus,
        alphabet: &Alphabet,
        cohort: &Seed,
        columns: u32,
    ) -> Result<Self, DealerError> {
        let tokenizer = corpus.tokenizer();
        let width = columns as usize;
        let blank = tokenizer.encode("\n").ok().and_then(|tokens| tokens.last().copied()).unwrap_or_default();
        let mut asked = Self {
            deal: Deal { rows: Rows { tokens: vec![], rows: 0, columns }, bytes: vec![] },
            spans: vec![],
            questions: vec![],
            left_out: 0,
        };
        for question in benchmark.questions(corpus, cohort, width)? {
            let laid = question.choices.iter().map(|choice| Laid::of(tokenizer, &question.context, choice));
            let laid: Result<Vec<Laid>, TokenizerError> = laid.collect();
            let laid = match laid {
                Ok(laid) => laid,
                Err(TokenizerError::Lossy { .. }) => vec![],
                Err(error) => {
                    let id = format!("question of {}", benchmark.name());
                    return Err(DealerError::Text(crate::data::CorpusError::Tokens { id, error }));
                }
            };
            // The same is cut off before all choices of a question.
            let cut = laid.iter().map(|laid| laid.tokens.len().saturating_sub(width)).max().unwrap_or_default();
            let fits = |laid: &Laid| laid.from > cut && laid.tokens.len() > laid.from;
            if laid.len() < 2 || question.answer >= laid.len() || !laid.iter().all(fits) {
                asked.left_out += 1;
                continue;
            }
            asked.questions.push(Shape { choices: laid.len(), answer: question.answer });
            for Laid { tokens, from } in laid {
                let row = tokens.iter().skip(cut).copied().chain(std::iter::repeat(blank)).take(width);
                asked.deal.rows.tokens.extend(row.map(|id| alphabet.token(id)));
                // No more than the columns of a row.
                let (start, end) = ((from - cut - 1) as u32, (tokens.len() - cut - 1) as u32);
                asked.spans.push(start..end);
                let bytes: usize = tokens.iter().skip(from).map(|id| tokenizer.piece_len(*id)).sum();
                asked.deal.bytes.push(bytes as u32);
                asked.deal.rows.rows += 1;
            }
        }
        Ok(asked)
    }

    /// The rows in batches of at most so many, each with its spans.
    pub(crate) fn batches(&self, rows: u32) -> impl Iterator<Item = (Deal, &[Range<u32>])> {
        let rows = rows.max(1) as usize;
        let columns = self.deal.rows.columns;
        let tokens = self.deal.rows.tokens.chunks((rows * columns as usize).max(1));
        let parts = tokens.zip(self.deal.bytes.chunks(rows)).zip(self.spans.chunks(rows));
        parts.map(move |((tokens, bytes), spans)| {
            let rows = Rows { tokens: tokens.to_vec(), rows: spans.len() as u32, columns };
            (Deal { rows, bytes: bytes.to_vec() }, spans)
        })
    }

    /// What the bits of each row's choice answer. A question counts what its answer is better than a guess, from
    /// `-1 / (choices - 1)` for a wrong one to 1 for the right one; where several choices are alike the best, it is the
    /// mean over them, so that a model that tells nothing apart is worth a guess.
    pub(crate) fn answers(&self, benchmark: &Benchmark, bits: &[Finite]) -> TaskAnswers {
        let mut rates = bits.iter().zip(&self.deal.bytes).map(|(bits, bytes)| bits.get() / f64::from((*bytes).max(1)));
        let mut scores = Vec::with_capacity(self.questions.len());
        for Shape { choices, answer } in &self.questions {
            let rates: Vec<f64> = rates.by_ref().take(*choices).collect();
            let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
            let best = rates.iter().filter(|rate| **rate <= least).count().max(1);
            let right = rates.get(*answer).is_some_and(|rate| *rate <= least);
            let (credit, choices) = (if right { 1.0 / best as f64 } else { 0.0 }, *choices as f64);
            scores.extend(Finite::new((credit * choices - 1.0) / (choices - 1.0)));
        }
        TaskAnswers {
            file: benchmark.digest(),
            scores,
            rows: self.deal.rows.rows,
            left_out: self.left_out,
            audits: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        benchmark::Kind,
        data::{fixture::stand_in, tokenizer::small},
    };

    const QUIZ: &str = concat!(
        r#"{"context":"The sky over the sea is","choices":[" blue"," a fish"," caf\u00e9"],"answer":0}"#,
        "\n",
        r#"{"context":"One and one is","choices":[" two"," three"],"answer":0}"#,
        "\n",
        r#"{"context":"x","choices":["a very long way to go on, longer than any row","b"],"answer":1}"#,
    );

    fn quiz() -> Benchmark {
        Benchmark::parse("quiz", Kind::MultipleChoice, QUIZ.as_bytes()).unwrap()
    }

    fn asked(tokenizer: Tokenizer, columns: u32) -> (Asked, Vec<String>) {
        let (corpus, _) = stand_in().unwrap().tokenized(tokenizer).unwrap();
        let cohort = Seed::of("test", &[]);
        let alphabet = Alphabet::of(&cohort, corpus.tokenizer());
        let asked = Asked::of(&quiz(), &corpus, &alphabet, &cohort, columns).unwrap();
        let rows = asked.deal.rows.tokens.chunks(columns as usize).zip(&asked.spans);
        // What stands at the predicted positions of each span.
        let spelt = rows.map(|(row, span)| {
            let tokens = &row[span.start as usize + 1..span.end as usize + 1];
            let bytes =
                tokens.iter().flat_map(|token| corpus.tokenizer().piece(alphabet.id(*token).unwrap()).into_owned());
            String::from_utf8(bytes.collect()).unwrap()
        });
        let spelt = spelt.collect();
        (asked, spelt)
    }

    #[test]
    fn the_positions_that_are_scored_are_those_of_the_choice_in_any_tokens() {
        let (asked, spelt) = asked(Tokenizer::Bytes, 33);
        assert_eq!(spelt, [" blue", " a fish", " caf\u{e9}", " two", " three"]);
        assert_eq!((asked.deal.bytes.clone(), asked.left_out), (vec![5, 7, 6, 4, 6], 1));
        for tokenizer in [small::byte_level(), small::byte_fallback()] {
            let (asked, spelt) = super::tests::asked(Tokenizer::File(tokenizer), 33);
            for (spelt, choice) in spelt.iter().zip([" blue", " a fish", " caf\u{e9}", " two", " three"]) {
                assert!(spelt.ends_with(choice), "{spelt:?} for {choice:?}");
            }
            let bytes: Vec<u32> = spelt.iter().map(|spelt| spelt.len() as u32).collect();
            assert_eq!(asked.deal.bytes[..], bytes);
        }
    }

    #[test]
    fn a_long_context_loses_its_beginning_alike_before_all_choices() {
        let (asked, spelt) = asked(Tokenizer::Bytes, 16);
        assert_eq!(spelt, [" blue", " a fish", " caf\u{e9}", " two", " three"]);
        // Nine bytes of context are left beside the longest choice of the first question.
        assert_eq!(asked.spans, [8..13, 8..15, 8..14, 9..13, 9..15]);
    }

    #[test]
    fn the_likeliest_choice_per_byte_answers_and_a_tie_is_a_guess() {
        let (asked, _) = asked(Tokenizer::Bytes, 33);
        let score = |bits: [f64; 5]| {
            let bits = bits.map(|bits| Finite::new(bits).unwrap());
            let answers = asked.answers(&quiz(), &bits);
            assert_eq!((answers.file, answers.rows, answers.left_out), (quiz().digest(), 5, 1));
            answers.scores.iter().map(|score| score.get()).collect::<Vec<_>>()
        };
        // Five bytes at one bit each against seven and six at more.
        assert_eq!(score([5.0, 7.7, 6.6, 4.0, 6.6]), [1.0, 1.0]);
        assert_eq!(score([5.5, 7.0, 6.6, 4.4, 6.0]), [-0.5, -1.0]);
        assert_eq!(score([0.0; 5]), [0.0, 0.0]);
        assert!((score([5.0, 7.0, 12.0, 4.0, 9.0])[0] - 0.25).abs() < 1e-12);
    }

    #[test]
    fn batches_are_all_rows_in_order() {
        let (asked, _) = asked(Tokenizer::Bytes, 33);
        let batches: Vec<_> = asked.batches(2).collect();
        assert_eq!(batches.iter().map(|(deal, _)| deal.rows.rows).collect::<Vec<_>>(), [2, 2, 1]);
        let tokens: Vec<u32> = batches.iter().flat_map(|(deal, _)| deal.rows.tokens.clone()).collect();
        assert_eq!(tokens, asked.deal.rows.tokens);
        let spans: Vec<_> = batches.iter().flat_map(|(_, spans)| spans.to_vec()).collect();
        assert_eq!(spans, asked.spans);
    }
}
