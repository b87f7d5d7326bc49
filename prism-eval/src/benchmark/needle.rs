//! Needle retrieval: something that was said once, somewhere in the context, is asked for at its end.
use super::{BenchmarkError, EvaluationTask, MAX_CHOICES, MAX_QUESTIONS, Question};
use crate::data::{Corpus, CorpusError, Split, Tokenizer};
use prism_core::{Finite, Seed, seed::Draws};
use serde::Deserialize;

/// A code is said for a name at some depth of a text of the test split, and the text ends with the question for it. The
/// choices are it and other codes that nobody said. Texts fill the model's row, so that depth is distance.
///
/// What a file says, as a JSON object: `questions`, 2 to 2000; `choices`, 2 to 16; `depths`, 1 to 16 numbers from 0 (the
/// beginning of the row) to 1 (its end), taken in turn. The first version asked at .1, .5 and .9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    file: File,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    questions: usize,
    choices: usize,
    depths: Vec<Finite>,
}

/// Most documents of filling, however long the row.
const MOST_DOCUMENTS: usize = 64;
/// Bytes of filling that are taken for each token of a row.
const BYTES_PER_TOKEN: usize = 8;

impl Needle {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not of the form, or a number out of range.
    pub fn parse(bytes: &[u8]) -> Result<Self, BenchmarkError> {
        let read: Result<File, _> = serde_json::from_slice(bytes);
        let file = read.map_err(|error| BenchmarkError::Form(format!("it is no needle task: {error}")))?;
        let within = |depth: &Finite| (Finite::ZERO..=Finite::ONE).contains(depth);
        let rules = [
            ((2..=MAX_QUESTIONS).contains(&file.questions), "questions must be 2 to 2000"),
            ((2..=MAX_CHOICES).contains(&file.choices), "choices must be 2 to 16"),
            ((1..=16).contains(&file.depths.len()), "there must be 1 to 16 depths"),
            (file.depths.iter().all(within), "depths must be from 0 to 1"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(BenchmarkError::Form(rule.to_owned())),
            None => Ok(Self { file }),
        }
    }
}

impl EvaluationTask for Needle {
    fn questions(&self, corpus: &Corpus, seed: &Seed, columns: usize) -> Result<Vec<Question>, CorpusError> {
        let mut draws = seed.draws();
        let documents = corpus.indices(Split::Test);
        let mut questions = Vec::new();
        for depth in self.file.depths.iter().cycle().take(self.file.questions) {
            let name = word(&mut draws, b"bcdfgklmnprstvz", b"aeiou");
            let mut codes: Vec<String> = Vec::new();
            while codes.len() < self.file.choices {
                let code = format!(" {:04}", draws.below(10_000));
                if !codes.contains(&code) {
                    codes.push(code);
                }
            }
            let answer = usize::try_from(draws.below(codes.len() as u64)).unwrap_or_default();
            let code = codes.get(answer).map_or("", String::as_str);
            let hay = Hay {
                text: filling(corpus, &documents, columns.saturating_mul(BYTES_PER_TOKEN), &mut draws)?,
                needle: format!(" The code of {name} is{code}. "),
                asks: format!("\nThe code of {name} is"),
                depth: depth.get(),
            };
            let context = hay.fill(corpus.tokenizer(), code, columns);
            questions.push(Question { context, choices: codes, answer });
        }
        Ok(questions)
    }
}

/// Two syllables.
fn word(draws: &mut Draws, first: &[u8], second: &[u8]) -> String {
    let letter = |of: &[u8]| {
        let place = usize::try_from(draws.below(of.len() as u64)).unwrap_or_default();
        of.get(place).map_or('a', |letter| char::from(*letter))
    };
    [first, second, first, second].map(letter).into_iter().collect()
}

/// Text of documents drawn at random, one after the other, of so many bytes or as many as there are.
fn filling(corpus: &Corpus, documents: &[usize], bytes: usize, draws: &mut Draws) -> Result<String, CorpusError> {
    let mut text = String::new();
    for _ in 0..MOST_DOCUMENTS {
        let place = usize::try_from(draws.below(documents.len() as u64)).unwrap_or_default();
        let document = documents.get(place).map(|index| corpus.document(*index)).transpose()?.flatten();
        if let Some(document) = document {
            text.push_str(&document.text);
            text.push('\n');
        }
        if text.len() >= bytes {
            break;
        }
    }
    Ok(text)
}

struct Hay {
    text: String,
    needle: String,
    asks: String,
    depth: f64,
}

impl Hay {
    /// With so many characters of filling.
    fn of(&self, characters: usize) -> String {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let before = (characters as f64 * self.depth) as usize;
        let mut letters = self.text.chars();
        let head: String = letters.by_ref().take(before).collect();
        let tail: String = letters.take(characters.saturating_sub(before)).collect();
        format!("{head}{}{tail}{}", self.needle, self.asks)
    }

    /// As long as a row with its answer can be.
    fn fill(&self, tokenizer: &Tokenizer, answer: &str, columns: usize) -> String {
        let fits = |characters: usize| {
            let text = format!("{}{answer}", self.of(characters));
            // Text that is lost in the tokenizer fits nowhere.
            tokenizer.encode(&text).is_ok_and(|tokens| tokens.len() <= columns)
        };
        let (mut fit, mut beyond) = (0, self.text.chars().count() + 1);
        while beyond - fit > 1 {
            let middle = fit + (beyond - fit) / 2;
            if fits(middle) { fit = middle } else { beyond = middle }
        }
        self.of(fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{fixture::stand_in, tokenizer::small};
    use std::sync::Arc;

    fn needle(text: &str) -> Result<Needle, String> {
        Needle::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn needles_stand_at_their_depths_of_texts_as_long_as_a_row() {
        let task = needle(r#"{"questions":12,"choices":4,"depths":[0.1,0.5,0.9]}"#).unwrap();
        let plain = stand_in().unwrap();
        let (other, _) = plain.tokenized(Tokenizer::File(small::byte_level())).unwrap();
        for (corpus, columns) in [(&plain, 257), (&Arc::new(other), 129)] {
            let seed = Seed::of("test", &[]);
            let questions = task.questions(corpus, &seed, columns).unwrap();
            assert_eq!(questions, task.questions(corpus, &seed, columns).unwrap());
            assert_ne!(questions, task.questions(corpus, &Seed::of("test", &[b"other"]), columns).unwrap());
            assert_eq!(questions.len(), 12);
            let mut answers = [0; 4];
            for (question, depth) in questions.iter().zip([0.1, 0.5, 0.9].into_iter().cycle()) {
                let answer = &question.choices[question.answer];
                let tokens = corpus.tokenizer().encode(&format!("{}{answer}", question.context)).unwrap().len();
                assert!(tokens <= columns && tokens + 3 > columns, "{tokens} of {columns}");
                let (said, asks) = question.context.rsplit_once('\n').unwrap();
                let needle = said.find(&format!("{asks}{answer}. ")).unwrap() as f64;
                let place = needle / (said.len() - asks.len()) as f64;
                assert!((place - depth).abs() < 0.1, "{place} for {depth}: {question:?}");
                for wrong in question.choices.iter().filter(|choice| *choice != answer) {
                    assert!(wrong.len() == answer.len() && !question.context.contains(wrong.as_str()));
                }
                answers[question.answer] += 1;
            }
            assert!(answers.iter().filter(|count| **count > 0).count() > 1, "{answers:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_and_other_documents_are_refused() {
        let with = |questions: &str, choices: &str, depths: &str| {
            let text = format!(r#"{{"questions":{questions},"choices":{choices},"depths":{depths}}}"#);
            needle(&text).unwrap_err()
        };
        assert_eq!(with("1", "4", "[0.5]"), "questions must be 2 to 2000");
        assert_eq!(with("9", "17", "[0.5]"), "choices must be 2 to 16");
        assert_eq!(with("9", "4", "[]"), "there must be 1 to 16 depths");
        assert_eq!(with("9", "4", "[1.1]"), "depths must be from 0 to 1");
        for bad in
            [with("9", "4", "[1e999]"), with("-9", "4", "[0]"), needle("{}").unwrap_err(), needle("").unwrap_err()]
        {
            assert!(bad.starts_with("it is no needle task: "), "{bad}");
        }
        assert!(needle(r#"{"questions":9,"choices":4,"depths":[0],"seed":1}"#).unwrap_err().contains("unknown field"));
    }
}
