//! Multiple choice: questions from a file of JSON lines.
use super::{BenchmarkError, EvaluationTask, MAX_CHOICES, MAX_LINE, MAX_QUESTIONS, Question};
use crate::data::{Corpus, CorpusError};
use prism_core::Seed;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Questions as they stand in a file, one JSON object a line: `context`, `choices` (2 to 16, different, none empty) and
/// `answer`, the index of the right one. A choice goes on where the context ends: where a space belongs between them, it
/// is part of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipleChoice {
    questions: Vec<Question>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    context: String,
    choices: Vec<String>,
    answer: usize,
}

impl MultipleChoice {
    /// Reads a file. Empty lines are skipped.
    ///
    /// # Errors
    /// The first line that is no question; fewer than two questions or more than 2000.
    pub fn parse(bytes: &[u8]) -> Result<Self, BenchmarkError> {
        let mut questions = Vec::new();
        for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |reason: String| BenchmarkError::Line { line, reason };
            if bytes.len() > MAX_LINE {
                return Err(wrong(format!("it has more than {MAX_LINE} bytes")));
            }
            if questions.len() == MAX_QUESTIONS {
                return Err(BenchmarkError::Limit { what: "questions", limit: MAX_QUESTIONS as u64 });
            }
            let Line { context, choices, answer } =
                serde_json::from_slice(bytes).map_err(|error| wrong(format!("it is no question: {error}")))?;
            let rules = [
                (!context.is_empty(), "its context is empty"),
                ((2..=MAX_CHOICES).contains(&choices.len()), "it must have 2 to 16 choices"),
                (choices.iter().all(|choice| !choice.is_empty()), "a choice is empty"),
                (choices.iter().collect::<BTreeSet<_>>().len() == choices.len(), "a choice stands there twice"),
                (answer < choices.len(), "its answer is none of the choices"),
            ];
            if let Some((_, rule)) = rules.into_iter().find(|(holds, _)| !holds) {
                return Err(wrong(rule.to_owned()));
            }
            questions.push(Question { context, choices, answer });
        }
        if questions.len() < 2 {
            return Err(BenchmarkError::Form("there must be at least 2 questions".into()));
        }
        Ok(Self { questions })
    }
}

impl EvaluationTask for MultipleChoice {
    fn questions(&self, _: &Corpus, _: &Seed, _: usize) -> Result<Vec<Question>, CorpusError> {
        Ok(self.questions.clone())
    }

    fn texts(&self) -> Vec<String> {
        let text = |question: &Question| {
            let answer = question.choices.get(question.answer).map_or("", String::as_str);
            format!("{}{answer}", question.context)
        };
        self.questions.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"context":"The sky is","choices":[" blue"," green"],"answer":0}"#;

    fn refused(text: &str) -> String {
        MultipleChoice::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn questions_are_read_and_their_right_answers_are_what_must_not_be_trained_on() {
        let second = r#"{"choices":[" green"," blue"],"context":"Grass is","answer":0}"#;
        let task = MultipleChoice::parse(format!("{GOOD}\n\n{second}\n").as_bytes()).unwrap();
        assert_eq!(task.texts(), ["The sky is blue", "Grass is green"]);
    }

    #[test]
    fn whatever_is_no_question_names_its_line() {
        let second = |text: &str| refused(&format!("{GOOD}\n{text}"));
        assert!(second("{").starts_with("line 2: it is no question: EOF"), "{}", second("{"));
        assert!(second("\u{7}").starts_with("line 2: it is no question"));
        let unknown = r#"{"context":"a","choices":["b","c"],"answer":0,"hint":1}"#;
        assert!(second(unknown).contains("unknown field `hint`"), "{}", second(unknown));
        let with = |context: &str, choices: &str, answer: &str| {
            second(&format!(r#"{{"context":"{context}","choices":{choices},"answer":{answer}}}"#))
        };
        assert_eq!(with("", r#"["b","c"]"#, "0"), "line 2: its context is empty");
        assert_eq!(with("a", r#"["b"]"#, "0"), "line 2: it must have 2 to 16 choices");
        assert_eq!(with("a", r#"["b",""]"#, "0"), "line 2: a choice is empty");
        assert_eq!(with("a", r#"["b","b"]"#, "0"), "line 2: a choice stands there twice");
        assert_eq!(with("a", r#"["b","c"]"#, "2"), "line 2: its answer is none of the choices");
        assert!(with("a", r#"["b","c"]"#, "-1").contains("line 2: it is no question"));
        assert_eq!(with(&"a".repeat(70_000), r#"["b","c"]"#, "0"), "line 2: it has more than 65536 bytes");
        assert_eq!(refused(GOOD), "there must be at least 2 questions");
        assert_eq!(refused(""), "there must be at least 2 questions");
        let many = format!("{GOOD}\n").repeat(2001);
        assert_eq!(refused(&many), "more than 2000 questions");
        assert!(MultipleChoice::parse(b"\xff\xfe").is_err());
    }
}
