//! How much of what is held out stands in the training text too.
//!
//! Runs of 13 words, lower case, as in Brown et al. 2020, appendix C. A held-out document is *touched* when one of its
//! runs stands in a training document.
use super::split::Split;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Words of a run.
const WORDS: usize = 13;
/// Most runs of a part that are held in memory while they are compared, some 25 bytes each.
const MOST_RUNS: usize = 16 << 20;

/// What a dataset's folder holds beside its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contamination {
    /// Words of a run.
    pub words: usize,
    /// Each held-out part.
    pub splits: BTreeMap<Split, Shared>,
    /// Each evaluation task, its questions with their right answers as documents. One shorter than a run has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub benchmarks: BTreeMap<String, Shared>,
}

/// What a held-out part shares with the training text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Documents in it.
    pub documents: u64,
    /// Of them, those that were not compared, because the runs of those before took all the memory there is for them.
    /// Documents come in the order of their hashes, so what was compared is a fair sample.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_compared: u64,
    /// Those with a shared run.
    pub touched: u64,
    /// Different runs in it.
    pub runs: u64,
    /// Those that stand in the training text too.
    pub shared: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Runs of the held-out text, and which of them were met.
#[derive(Debug)]
pub(super) struct HeldOut {
    met: HashMap<u64, bool>,
    parts: BTreeMap<Part, Runs>,
    most: usize,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self { met: HashMap::new(), parts: BTreeMap::new(), most: MOST_RUNS }
    }
}

/// What is held out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Split(Split),
    Benchmark(String),
}

/// The runs of each document of a part.
#[derive(Debug, Default)]
struct Runs {
    documents: Vec<Vec<u64>>,
    runs: usize,
    not_compared: u64,
}

impl HeldOut {
    /// Takes a held-out document.
    pub(super) fn take(&mut self, split: Split, text: &str) {
        self.put(Part::Split(split), text);
    }

    /// Takes a question of an evaluation task.
    pub(super) fn take_question(&mut self, benchmark: &str, text: &str) {
        self.put(Part::Benchmark(benchmark.to_owned()), text);
    }

    fn put(&mut self, part: Part, text: &str) {
        let part = self.parts.entry(part).or_default();
        if part.runs >= self.most {
            part.not_compared += 1;
            return;
        }
        let mut runs = Vec::new();
        each_run(text, |run| runs.push(run));
        runs.sort_unstable();
        runs.dedup();
        part.runs += runs.len();
        self.met.extend(runs.iter().map(|run| (*run, false)));
        part.documents.push(runs);
    }

    /// Meets a training document.
    pub(super) fn meet(&mut self, text: &str) {
        each_run(text, |run| {
            if let Some(met) = self.met.get_mut(&run) {
                *met = true;
            }
        });
    }

    pub(super) fn report(&self) -> Contamination {
        let mut splits: BTreeMap<Split, Shared> =
            [Split::Validation, Split::Test].map(|split| (split, Shared::default())).into();
        let mut benchmarks = BTreeMap::new();
        for (part, runs) in &self.parts {
            let shared = self.shared(runs);
            match part {
                Part::Split(split) => splits.insert(*split, shared),
                Part::Benchmark(name) => benchmarks.insert(name.clone(), shared),
            };
        }
        Contamination { words: WORDS, splits, benchmarks }
    }

    fn shared(&self, part: &Runs) -> Shared {
        let not_compared = part.not_compared;
        let documents = part.documents.len() as u64 + not_compared;
        let mut of = Shared { documents, not_compared, ..Shared::default() };
        for runs in &part.documents {
            let shared = runs.iter().filter(|run| self.met.get(run).copied().unwrap_or(false)).count() as u64;
            of.touched += u64::from(shared > 0);
            of.runs += runs.len() as u64;
            of.shared += shared;
        }
        of
    }
}

/// The hash of every run of words. Two runs with one hash are taken for one: at 64 bits that counts nothing twice that
/// would change a report.
fn each_run(text: &str, mut each: impl FnMut(u64)) {
    let words: Vec<u64> = text
        .split_whitespace()
        .map(|word| {
            let mut hasher = DefaultHasher::new();
            word.to_lowercase().hash(&mut hasher);
            hasher.finish()
        })
        .collect();
    for run in words.windows(WORDS) {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        each(hasher.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_runs_are_found_whatever_their_case_and_place() {
        let words: Vec<String> = (0..40).map(|n| format!("Word{n}")).collect();
        let mut held_out = HeldOut::default();
        held_out.take(Split::Validation, &words.join(" "));
        held_out.take(Split::Test, "too short to have a run");
        held_out.meet(&format!("before {} after", words[5..20].join("\n").to_uppercase()));
        let report = held_out.report();
        let validation = Shared { documents: 1, not_compared: 0, touched: 1, runs: 28, shared: 3 };
        assert_eq!(report.splits[&Split::Validation], validation);
        assert_eq!(report.splits[&Split::Test], Shared { documents: 1, ..Shared::default() });
    }

    #[test]
    fn questions_are_compared_too_and_memory_has_an_end() {
        let words: Vec<String> = (0..40).map(|n| format!("word{n}")).collect();
        let mut held_out = HeldOut { most: 20, ..HeldOut::default() };
        for _ in 0..3 {
            held_out.take(Split::Test, &words.join(" "));
        }
        held_out.take_question("quiz", &words[..14].join(" "));
        held_out.meet(&words[1..20].join(" "));
        let report = held_out.report();
        let test = Shared { documents: 3, not_compared: 2, touched: 1, runs: 28, shared: 7 };
        assert_eq!(report.splits[&Split::Test], test);
        let quiz = Shared { documents: 1, not_compared: 0, touched: 1, runs: 2, shared: 1 };
        assert_eq!(report.benchmarks["quiz"], quiz);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Contamination>(&json).unwrap(), report);
        let old = r#"{"words":13,"splits":{"validation":{"documents":1,"touched":0,"runs":2,"shared":0}}}"#;
        assert_eq!(serde_json::from_str::<Contamination>(old).unwrap().benchmarks.len(), 0);
    }
}
