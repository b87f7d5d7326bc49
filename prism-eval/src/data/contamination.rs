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

/// What a dataset's folder holds beside its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contamination {
    /// Words of a run.
    pub words: usize,
    /// Each held-out part.
    pub splits: BTreeMap<Split, Shared>,
}

/// What a held-out part shares with the training text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Documents in it.
    pub documents: u64,
    /// Those with a shared run.
    pub touched: u64,
    /// Different runs in it.
    pub runs: u64,
    /// Those that stand in the training text too.
    pub shared: u64,
}

/// Runs of the held-out text, and which of them were met.
#[derive(Debug, Default)]
pub(super) struct HeldOut {
    met: HashMap<u64, bool>,
    documents: Vec<(Split, Vec<u64>)>,
}

impl HeldOut {
    /// Takes a held-out document.
    pub(super) fn take(&mut self, split: Split, text: &str) {
        let mut runs = Vec::new();
        each_run(text, |run| runs.push(run));
        runs.sort_unstable();
        runs.dedup();
        self.met.extend(runs.iter().map(|run| (*run, false)));
        self.documents.push((split, runs));
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
        let met = |run: &&u64| self.met.get(run).copied().unwrap_or(false);
        for (split, runs) in &self.documents {
            let of = splits.entry(*split).or_default();
            let shared = runs.iter().filter(met).count() as u64;
            of.documents += 1;
            of.touched += u64::from(shared > 0);
            of.runs += runs.len() as u64;
            of.shared += shared;
        }
        Contamination { words: WORDS, splits }
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
        let validation = Shared { documents: 1, touched: 1, runs: 28, shared: 3 };
        assert_eq!(report.splits[&Split::Validation], validation);
        assert_eq!(report.splits[&Split::Test], Shared { documents: 1, ..Shared::default() });
    }
}
