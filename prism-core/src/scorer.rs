//! Turning evidence into scores.
use crate::{
    error::Result,
    evidence::Evidence,
    finite::Finite,
    id::{Epoch, FamilyId, SubmissionId},
    score::ScoreCard,
    submission::{Precedence, SubmissionKind},
};
use std::{collections::BTreeMap, fmt, fmt::Debug, sync::Arc};

/// All that was measured on the same rows in one cohort: win rates and paired differences need the others.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Round<'a> {
    /// The cohort.
    pub epoch: Epoch,
    /// Numbers that an operator may set, by name.
    pub policy: &'a BTreeMap<String, Finite>,
    /// The submissions, and the title holders measured again.
    pub candidates: &'a [Candidate<'a>],
    /// The published baselines.
    pub baselines: &'a [Candidate<'a>],
}

impl<'a> Round<'a> {
    /// A round.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        policy: &'a BTreeMap<String, Finite>,
        candidates: &'a [Candidate<'a>],
        baselines: &'a [Candidate<'a>],
    ) -> Self {
        Self { epoch, policy, candidates, baselines }
    }

    /// A policy number, or its default.
    #[must_use]
    pub fn number(&self, name: &str, default: f64) -> f64 {
        self.policy.get(name).map_or(default, |value| value.get())
    }
}

/// One submission or baseline with its runs.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Which.
    pub submission: SubmissionId,
    /// What it claims to bring.
    pub kind: SubmissionKind,
    /// When it came.
    pub precedence: Precedence,
    /// The family it was measured as.
    pub family: FamilyId,
    /// Its runs.
    pub runs: &'a [Evidence],
    /// Whether it holds a title.
    pub incumbent: bool,
}

/// A pure, synchronous function from a round to one score card for each candidate.
///
/// 1. Pure: same round, same cards, bit for bit; no clock, no I/O, no globals, no threads left behind.
/// 2. One card for each candidate, in order, naming its submission and family.
/// 3. The order of candidates doesn't matter to a card.
/// 4. Totals are in `[0, 1]`, or absent with a reason.
/// 5. Values marked `Guest` change nothing.
/// 6. Empty, odd or huge evidence gives a card or an `Invalid` error that names the submission, never a panic.
pub trait Scorer: Debug + Send + Sync + 'static {
    /// The scorer's name.
    fn name(&self) -> &str;
    /// Grows with every change that can move a score.
    fn version(&self) -> u32;
    /// Scores a round.
    fn score(&self, round: &Round<'_>) -> Result<Vec<ScoreCard>>;
}

/// A scorer from a function of one candidate: see [`scorer_fn`].
pub struct ScorerFn<F> {
    name: String,
    version: u32,
    score: F,
}

impl<F> Debug for ScorerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScorerFn").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// The ten-line swap: a scorer from a function of one candidate, with the round at hand.
pub fn scorer_fn<F>(name: &str, version: u32, score: F) -> ScorerFn<F>
where
    F: Fn(&Candidate<'_>, &Round<'_>) -> Result<ScoreCard> + Send + Sync + 'static,
{
    ScorerFn { name: name.to_owned(), version, score }
}

impl<F> Scorer for ScorerFn<F>
where
    F: Fn(&Candidate<'_>, &Round<'_>) -> Result<ScoreCard> + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }
    fn version(&self) -> u32 {
        self.version
    }
    fn score(&self, round: &Round<'_>) -> Result<Vec<ScoreCard>> {
        round.candidates.iter().map(|candidate| (self.score)(candidate, round)).collect()
    }
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    impl<T: Scorer + ?Sized> Scorer for $pointer<T> {
        fn name(&self) -> &str {
            (**self).name()
        }
        fn version(&self) -> u32 {
            (**self).version()
        }
        fn score(&self, round: &Round<'_>) -> Result<Vec<ScoreCard>> {
            (**self).score(round)
        }
    }
)* } }
forward!(Box, Arc);
