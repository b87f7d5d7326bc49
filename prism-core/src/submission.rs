//! What a miner sends, and where it stands.
use crate::{
    hotkey::Hotkey,
    id::{Block, Digest, SubmissionId},
};
use serde::{Deserialize, Serialize};

/// What a bundle claims to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionKind {
    /// An architecture and its training or inference code.
    #[default]
    Full,
    /// An architecture, no training claim.
    ArchitectureOnly,
    /// A recipe for an existing family, whose model it can't change.
    TrainingForArch,
}

impl SubmissionKind {
    /// Whether an architecture comes with it.
    #[must_use]
    pub fn brings_architecture(self) -> bool {
        self != Self::TrainingForArch
    }

    /// Whether a recipe of the miner's own is measured.
    #[must_use]
    pub fn brings_recipe(self) -> bool {
        self != Self::ArchitectureOnly
    }
}

/// Order of arrival that every validator can agree on: block, then extrinsic index, then hotkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Precedence {
    /// Block of the commitment, or the finalized head at acceptance.
    pub block: Block,
    /// Extrinsic index within the block, or the arrival number.
    pub extrinsic: u32,
    /// Whose it is.
    pub hotkey: Hotkey,
    /// Whether block and index are this validator's own (no commitment on the chain).
    pub local: bool,
}

/// What is to be measured: bytes at hand, or a published model still to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Payload {
    /// A bundle, kept in [`Artifacts`](crate::Artifacts).
    Bundle {
        /// SHA-256 of the bytes as they came.
        archive: Digest,
        /// Their number.
        bytes: u64,
    },
    /// A model on a hub.
    Published {
        /// The commitment's text.
        reference: String,
    },
}

/// One submission, as a source hands it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Its identity: see [`Submission::bundle`].
    pub id: SubmissionId,
    /// Who sent it.
    pub hotkey: Hotkey,
    /// Its place in the order of arrival.
    pub precedence: Precedence,
    /// What it brings.
    pub payload: Payload,
}

impl Submission {
    /// A submission of a bundle. Its id is the digest of hotkey and bundle: the same work sent twice is one submission.
    #[must_use]
    pub fn bundle(hotkey: Hotkey, precedence: Precedence, archive: Digest, bytes: u64) -> Self {
        let id = SubmissionId::of_parts("prism/submission/1", &[&hotkey.0, &archive.0]);
        Self { id, hotkey, precedence, payload: Payload::Bundle { archive, bytes } }
    }

    /// A submission of a published model.
    #[must_use]
    pub fn published(hotkey: Hotkey, precedence: Precedence, reference: String) -> Self {
        let id = SubmissionId::of_parts("prism/published/1", &[&hotkey.0, reference.as_bytes()]);
        Self { id, hotkey, precedence, payload: Payload::Published { reference } }
    }
}

/// Where a submission stands. Moved in one transaction of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionStatus {
    /// Accepted, nothing done yet.
    Pending,
    /// Being measured.
    Running,
    /// Measured.
    Completed,
    /// Measuring ended without a result.
    Failed,
    /// Breaks a rule; never measured.
    Rejected,
    /// Waits for an operator or a missing part.
    Held,
}

impl SubmissionStatus {
    /// The word used in JSON, SQL and on the page.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Held => "held",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Rejected, Self::Held]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// Why a run ended without success, from the host's evidence only, gravest first: the first that applies is the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// This machine failed; the only class that is retried.
    Infrastructure,
    /// Somebody asked to stop.
    Cancelled,
    /// A limit on time, memory, processes or bytes was hit.
    Resource,
    /// A rule of measuring was broken.
    Policy,
    /// The subject's own code failed.
    MinerCode,
}

impl FailureClass {
    /// The word used in JSON, SQL and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::Cancelled => "cancelled",
            Self::Resource => "resource",
            Self::Policy => "policy",
            Self::MinerCode => "miner_code",
        }
    }

    /// Whether the subject brought it about: then it stands, and is never tried again.
    #[must_use]
    pub fn is_subjects(self) -> bool {
        !matches!(self, Self::Infrastructure | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bundle_of_the_same_hotkey_is_one_submission() {
        let place = |hotkey, block| Precedence { block: Block(block), extrinsic: 0, hotkey, local: true };
        let (alice, bob) = (Hotkey([1; 32]), Hotkey([2; 32]));
        let archive = Digest::of(b"bundle");
        let first = Submission::bundle(alice, place(alice, 1), archive, 6);
        assert_eq!(first.id, Submission::bundle(alice, place(alice, 9), archive, 6).id);
        assert_ne!(first.id, Submission::bundle(bob, place(bob, 1), archive, 6).id);
    }

    #[test]
    fn every_status_is_found_by_its_word() {
        for status in ["pending", "running", "completed", "failed", "rejected", "held"] {
            assert_eq!(SubmissionStatus::parse(status).unwrap().as_str(), status);
        }
        assert_eq!(SubmissionStatus::parse("Pending"), None);
    }
}
