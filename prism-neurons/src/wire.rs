//! The JSON that miners and validators exchange. Fields are only ever added.
use prism_core::{
    FamilyId, Finite, Hotkey, SubmissionId,
    submission::{SubmissionKind, SubmissionStatus},
};
use serde::{Deserialize, Serialize};

/// Longest body of `POST /v1/submissions`: a payload of 7,500,000 bytes and the fields around it.
pub const MAX_BODY_BYTES: usize = 7_500_000 + 4096;

/// The body of `POST /v1/submissions` in its JSON form. What is signed:
/// `prism:{hotkey}:{nonce}:{timestamp}:{sha256hex(decoded code)}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmissionRequest {
    /// Who sends it, ss58.
    pub hotkey: String,
    /// The sr25519 signature, 128 hexadecimal digits, with or without `0x`.
    pub signature: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// Used once per hotkey.
    pub nonce: String,
    /// The bundle, base64.
    pub code: String,
    /// A name to show. Never trusted, never scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The answer to an accepted submission (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The submission's id; the same bundle of the same hotkey has the same id.
    pub id: SubmissionId,
    /// Whose it is.
    pub hotkey: Hotkey,
    /// What the manifest claims.
    pub kind: SubmissionKind,
    /// Where it stands.
    pub status: SubmissionStatus,
}

/// The answer to anything refused: `{"error": {..}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What is wrong.
    pub error: Refusal,
}

/// What is wrong, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule's stable name, as in `bundle.symlink`.
    pub rule: String,
    /// A lowercase fragment that names the thing and the place.
    pub message: String,
    /// Who has to act: `miner`, `policy`, `infrastructure` or `validator`.
    pub fault: String,
}

/// `GET /v1/submissions/{id}`. Scores appear once the cohort is closed and scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionView {
    /// Which.
    pub id: SubmissionId,
    /// Whose.
    pub hotkey: Hotkey,
    /// The name it was sent with.
    pub name: Option<String>,
    /// What the manifest claims.
    pub kind: Option<SubmissionKind>,
    /// Where it stands.
    pub status: SubmissionStatus,
    /// Why, where there is a reason.
    pub reason: Option<String>,
    /// The family it was measured as.
    pub family: Option<FamilyId>,
    /// Architecture quality.
    pub q_arch: Option<Finite>,
    /// Recipe quality.
    pub q_recipe: Option<Finite>,
    /// The score.
    pub final_score: Option<Finite>,
    /// On the measured rows.
    pub bits_per_byte: Option<Finite>,
    /// Of `bits_per_byte`.
    pub standard_error: Option<Finite>,
}

/// One point of `GET /v1/submissions/{id}/curve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Optimizer steps done.
    pub step: u64,
    /// On the training rows of that step, before they were trained on.
    pub bits_per_byte: Finite,
}

/// `GET /v1/submissions/{id}/curve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Curve {
    /// Whose curve.
    pub id: SubmissionId,
    /// By step.
    pub points: Vec<CurvePoint>,
}
