//! The report: what a submission resembles, and what follows. Ids and figures, nothing of anybody's source.
use super::{fingerprint::Part, losses::LossLikeness};
use prism_core::{Error, FamilyId, Fault, Finite, Hotkey, Kind, SubmissionId};
use serde::{Deserialize, Serialize};

/// What the key `schema` says.
pub const DUPLICATE_SCHEMA: &str = "duplicate_report.v1";

/// Longest report that is read, bytes.
const MAX_BYTES: usize = 65_536;

/// How alike two submissions are, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nothing that says anything.
    None,
    /// In the band in which nobody can say without looking.
    Borderline,
    /// One was made of the other, or both of a third.
    Near,
    /// The same canonical structure: the same family, or the same recipe of one family.
    Structural,
    /// The same canonical form of all that is run.
    Exact,
}

impl Grade {
    /// The word used in JSON and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Borderline => "borderline",
            Self::Near => "near",
            Self::Structural => "structural",
            Self::Exact => "exact",
        }
    }
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: it goes its way.
    Allow,
    /// It goes its way, and the report says where it comes from.
    Attribute,
    /// It belongs to the family that was there.
    Attach,
    /// An operator looks first.
    Hold,
}

/// One earlier submission, or a published architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Which; a published architecture goes by the id of its baseline runs.
    pub submission: SubmissionId,
    /// Whose; absent for a published architecture, which is nobody's.
    pub hotkey: Option<Hotkey>,
    /// The family it belongs to.
    pub family: FamilyId,
    /// The part that is alike.
    pub part: Part,
    /// How alike.
    pub grade: Grade,
    /// Estimate of the share of all shapes that both have, 0 to 1.
    pub similarity: Finite,
    /// Of `similarity`; zero where digests are equal.
    pub standard_error: Finite,
    /// Why this match has no consequence: `own` work, `explained` by own earlier work or by a published architecture.
    pub without_consequence: Option<Excuse>,
}

/// Why a match has no consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excuse {
    /// It is the author's own.
    Own,
    /// The author had something as alike on record before it came.
    OwnBefore,
    /// A published architecture is at least as alike: what both took from it is nobody's.
    Published,
}

/// The numbers that it was graded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Near from here on.
    pub near: Finite,
    /// Borderline from here on.
    pub borderline_low: Finite,
    /// And below this.
    pub borderline_high: Finite,
}

/// What a submission resembles, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuplicateReport {
    /// [`DUPLICATE_SCHEMA`].
    pub schema: String,
    /// Of which submission.
    pub submission: SubmissionId,
    /// How alike the nearest that has a consequence is.
    pub grade: Grade,
    /// What follows.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
    /// The family that it belongs to or comes from; none when nothing is alike.
    pub family: Option<FamilyId>,
    /// The closest few, the most alike first.
    pub closest: Vec<Match>,
    /// What it was graded by.
    pub thresholds: Thresholds,
    /// How alike the losses of both are on the same rows, once both were measured in one cohort. Evidence for a person
    /// who looks, and never more.
    #[serde(default)]
    pub losses: Option<LossLikeness>,
}

/// Why bytes are no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// More than is read.
    #[error("duplicate report has {0} bytes, at most {MAX_BYTES} are read")]
    Size(usize),
    /// Not the JSON of a report.
    #[error("duplicate report: {0}")]
    Form(String),
    /// Another version.
    #[error("duplicate report has schema {0:?}, expected {DUPLICATE_SCHEMA:?}")]
    Schema(String),
}

impl From<ReportError> for Error {
    fn from(error: ReportError) -> Self {
        Self::new(Kind::Corrupt, Fault::Validator, error.to_string())
    }
}

impl DuplicateReport {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers are finite by type and there are no maps: nothing that JSON can't carry.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a report: every field of this version and no other.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        if text.len() > MAX_BYTES {
            return Err(ReportError::Size(text.len()));
        }
        let report: Self = serde_json::from_str(text).map_err(|error| ReportError::Form(error.to_string()))?;
        if report.schema != DUPLICATE_SCHEMA {
            return Err(ReportError::Schema(report.schema));
        }
        Ok(report)
    }
}
