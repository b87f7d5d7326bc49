//! What evidence is worth.
use crate::{
    evidence::Estimate,
    finite::Finite,
    id::{FamilyId, SubmissionId},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a submission can be rewarded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Track {
    /// The architecture, under the reference recipe.
    Architecture,
    /// The recipe, against the tuned reference recipe on the same family.
    Training,
}

/// One part of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// In `[0, 1]`; one half is the baseline.
    pub value: Finite,
    /// Its part of the track's score; the shares of a track sum to 1.
    pub share: Finite,
    /// Standard error of `value`.
    pub standard_error: Finite,
}

/// One track's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackScore {
    /// `q` in `[0, 1]`.
    pub quality: Finite,
    /// Paired advantage over the hardest baseline on the same rows, bits per byte saved; negative when worse.
    pub advantage: Estimate,
    /// What `quality` is made of, by name.
    pub components: BTreeMap<String, Component>,
}

/// A submission's result in one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreCard {
    /// Whose.
    pub submission: SubmissionId,
    /// The family it was measured as.
    pub family: FamilyId,
    /// Name and version of the scorer, as `name/version`.
    pub scorer: String,
    /// In `[0, 1]`, or absent with a reason.
    pub total: Option<Finite>,
    /// Standard error of `total`.
    pub standard_error: Option<Finite>,
    /// Bits per byte on the measured rows, for the boards.
    pub bits_per_byte: Option<Estimate>,
    /// The tracks that were measured.
    pub tracks: BTreeMap<Track, TrackScore>,
    /// Whether rewards may follow from it.
    pub eligible: bool,
    /// Why there is no total, why it isn't eligible, what was left out.
    pub reasons: Vec<String>,
}

impl ScoreCard {
    /// A card without a total.
    #[must_use]
    pub fn without_total(submission: SubmissionId, family: FamilyId, scorer: &str, reason: impl Into<String>) -> Self {
        Self {
            submission,
            family,
            scorer: scorer.to_owned(),
            total: None,
            standard_error: None,
            bits_per_byte: None,
            tracks: BTreeMap::new(),
            eligible: false,
            reasons: vec![reason.into()],
        }
    }
}
