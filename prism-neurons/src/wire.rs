//! The JSON that miners, operators and validators exchange. Fields are only ever added.
use crate::store::holds::Ending;
use prism_core::{
    Block, Digest, Epoch, FamilyId, Finite, Hotkey, SubmissionId,
    reviewer::Finding,
    standings::Class,
    submission::{SubmissionKind, SubmissionStatus},
};
use prism_eval::duplicate::DuplicateReport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// `GET /v1/submissions/{id}`. Scores appear once the weights that follow from them are revealed.
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

/// `GET /v1/leaderboard`: one settled cohort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// The cohort; absent while none is settled.
    pub cohort: Option<u64>,
    /// Highest score first, equal ones in order of arrival, those without a score last.
    pub entries: Vec<LeaderboardEntry>,
}

/// A row of the leaderboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderboardEntry {
    /// From 1.
    pub rank: u32,
    /// Whose row.
    #[serde(flatten)]
    pub submission: SubmissionView,
}

/// `GET /v1/architectures`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architectures {
    /// Oldest first.
    pub architectures: Vec<ArchitectureView>,
}

/// An architecture family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchitectureView {
    /// Digest of the canonical, name-free architecture: what a `training_for_arch` names.
    pub id: FamilyId,
    /// Its published name, if it is a baseline.
    pub name: Option<String>,
    /// The submission that brought it first.
    pub submission: SubmissionId,
    /// Who sent that; absent for a baseline.
    pub hotkey: Option<Hotkey>,
    /// Who showed an advantage above the margin first.
    pub owner: Option<Hotkey>,
    /// The best architecture quality of its members.
    pub q_arch: Option<Finite>,
    /// What its operators make it, by the host; absent for Python and for what has shown nothing yet.
    #[serde(default)]
    pub class: Option<Class>,
    /// How many architectures of it were measured.
    #[serde(default)]
    pub versions: u64,
    /// How many recipes for it were measured.
    #[serde(default)]
    pub variants: u64,
    /// The best architecture of it.
    #[serde(default)]
    pub best: Option<HolderView>,
    /// Who showed a recipe for it above the margin first.
    #[serde(default)]
    pub training_owner: Option<Hotkey>,
    /// The best recipe for it.
    #[serde(default)]
    pub best_training: Option<HolderView>,
}

/// Whose work is the best of a family on a track. A later one takes its place only by a step beyond margin and noise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// The submission.
    pub submission: SubmissionId,
    /// Whose.
    pub hotkey: Hotkey,
    /// Bits per byte saved, the mean over its confirmations.
    pub advantage: Finite,
    /// Of `advantage`.
    pub standard_error: Finite,
}

/// `GET /v1/architectures/{id}`: the files of an architecture, as last written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchitectureFiles {
    /// The family.
    pub id: FamilyId,
    /// Its published name, if it is a baseline.
    pub name: Option<String>,
    /// SHA-256 of the graph with sorted keys and no whitespace: the identity that run manifests name.
    pub graph_sha256: Digest,
    /// `architecture_graph.json`.
    pub graph: serde_json::Value,
    /// `architecture_metadata.v1.json`.
    pub metadata: serde_json::Value,
    /// The flowchart, in Mermaid.
    pub mermaid: String,
}

/// `GET /v1/training-variants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingVariants {
    /// Newest cohort first, best first within it.
    pub variants: Vec<TrainingVariantView>,
}

/// A recipe that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingVariantView {
    /// The submission that brought it.
    pub submission: SubmissionId,
    /// Whose.
    pub hotkey: Hotkey,
    /// The family it trains.
    pub family: FamilyId,
    /// The cohort that measured it.
    pub cohort: u64,
    /// Recipe quality.
    pub q_recipe: Finite,
    /// Bits per byte saved against the hardest reference on the same rows.
    pub advantage: Finite,
    /// Of `advantage`.
    pub standard_error: Finite,
    /// Whether it is the best on record for its family.
    #[serde(default)]
    pub best: bool,
}

/// `GET /v1/epochs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    /// Newest first.
    pub epochs: Vec<EpochView>,
}

/// What an epoch pays. Shares appear once its weights are on the chain for everyone to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochView {
    /// The epoch.
    pub epoch: Epoch,
    /// The block at which it was decided.
    pub block: Block,
    /// The reward policy.
    pub policy: String,
    /// How far its weights have come; absent when there was nothing to send.
    pub stage: Option<String>,
    /// Shares by hotkey.
    pub shares: Option<BTreeMap<Hotkey, Finite>>,
    /// The share that nobody earned.
    pub burn: Option<Finite>,
    /// Why everything is burned, or the last vector stays.
    pub reason: Option<String>,
}

/// `GET /healthz` and `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or what is not.
    pub status: String,
    /// What an operator has to look at, though requests are served: which alarms stand, not what they say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
}

/// `GET /internal/v1/held`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldList {
    /// The open holds, oldest first.
    pub held: Vec<HoldView>,
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Its number.
    pub hold: u64,
    /// Of which submission.
    pub submission: SubmissionId,
    /// Whose.
    pub hotkey: Hotkey,
    /// The name it was sent with.
    pub name: Option<String>,
    /// What the manifest claims.
    pub kind: Option<SubmissionKind>,
    /// Where the submission stands now.
    pub status: SubmissionStatus,
    /// The rule that held it.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// Since when, Unix milliseconds.
    pub since: u64,
    /// When it ends by itself, Unix milliseconds; absent where it waits for what is missing.
    pub expires: Option<u64>,
    /// What it ends in then.
    pub expiry: Option<Ending>,
    /// How it ended.
    pub answer: Option<HoldAnswer>,
}

/// How a hold ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldAnswer {
    /// In what.
    pub answer: Ending,
    /// The family that the submission was attached to.
    pub family: Option<FamilyId>,
    /// Who answered; absent where nobody did.
    pub operator: Option<String>,
    /// Why.
    pub reason: String,
    /// When, Unix milliseconds.
    pub at: u64,
}

/// `GET /internal/v1/held/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldDetail {
    /// Every hold of the submission, oldest first; none of one that goes its way and resembles another all the same.
    pub holds: Vec<HoldView>,
    /// What it resembles; absent where nothing is alike, or nobody could look yet.
    pub report: Option<DuplicateReport>,
    /// What reviewers found.
    pub findings: Vec<FindingView>,
}

/// What a reviewer found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// Who.
    pub reviewer: String,
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
}

/// The body of `POST /internal/v1/held/{id}/resolve`, answered by the [`HoldView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// `allow`, `attach` or `reject`.
    pub answer: Ending,
    /// The family, for `attach`.
    #[serde(default)]
    pub family: Option<FamilyId>,
    /// The hold that is meant; whichever is open when absent.
    #[serde(default)]
    pub hold: Option<u64>,
    /// Who says so.
    pub operator: String,
    /// Why.
    pub reason: String,
}
