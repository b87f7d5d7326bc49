//! What becomes of doubt, and which text is measured on.
use super::{error::PolicyError, limits::within};
use prism_core::{
    Digest,
    plan::DataRef,
    reviewer::{Finding, Verdict, verdict},
};
use serde::{Deserialize, Serialize};

/// Most fingerprints that are listed.
const MAX_PINNED: u64 = 64;

/// What becomes of a submission that a reviewer doubts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewPolicy {
    /// Whether a suspicion holds a submission until an operator looks. Otherwise it is on record and measured: behind a
    /// sandbox and an auditor a wrong pass costs a run, a wrong hold an idea.
    pub hold_suspicions: bool,
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        Self { hold_suspicions: true }
    }
}

impl ReviewPolicy {
    /// The verdict on findings, each with whether its reviewer may prove. Proof rejects under every policy.
    #[must_use]
    pub fn verdict(&self, findings: &[(bool, Finding)]) -> Verdict {
        match verdict(findings) {
            Verdict::Hold(_) if !self.hold_suspicions => Verdict::Pass,
            verdict => verdict,
        }
    }
}

/// The text that may be measured on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetPolicy {
    /// Fingerprints of datasets, as `prism data verify` prints them. None: whichever the validator was started with.
    pub fingerprints: Vec<Digest>,
}

/// Which losses may be compared. All are in bits per byte of raw text and paired row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossComparability {
    /// Fingerprints of tokenizers under which losses count as comparable. None: all, for bits per byte of the raw text
    /// know no tokens.
    pub tokenizers: Vec<Digest>,
}

impl DatasetPolicy {
    /// Checks that the list can be read by people.
    ///
    /// # Errors
    /// A list that is too long.
    pub fn check(&self) -> Result<(), PolicyError> {
        within("dataset_configs.fingerprints", self.fingerprints.len() as u64, 0, MAX_PINNED)
    }

    /// Whether a dataset may be measured on.
    ///
    /// # Errors
    /// One that is not listed.
    pub fn admit(&self, data: &DataRef) -> Result<(), PolicyError> {
        if self.fingerprints.is_empty() || self.fingerprints.contains(&data.dataset) {
            return Ok(());
        }
        let rule = format!("dataset {} is not listed", data.dataset);
        Err(PolicyError::Rule { place: "dataset_configs.fingerprints", rule })
    }
}

impl LossComparability {
    /// Checks that the list can be read by people.
    ///
    /// # Errors
    /// A list that is too long.
    pub fn check(&self) -> Result<(), PolicyError> {
        within("loss_comparability.tokenizers", self.tokenizers.len() as u64, 0, MAX_PINNED)
    }

    /// Whether losses under a tokenizer are comparable.
    ///
    /// # Errors
    /// One that is not listed.
    pub fn admit(&self, data: &DataRef) -> Result<(), PolicyError> {
        if self.tokenizers.is_empty() || self.tokenizers.contains(&data.tokenizer) {
            return Ok(());
        }
        let rule = format!("losses under tokenizer {} are not comparable", data.tokenizer);
        Err(PolicyError::Rule { place: "loss_comparability.tokenizers", rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::reviewer::Grade;

    #[test]
    fn a_suspicion_holds_by_default_and_a_proof_rejects_under_every_policy() {
        let finding = |grade| {
            let text = "why".to_owned();
            (true, Finding { rule: "r".into(), file: "a.py".into(), line: 1, text, grade })
        };
        let lenient = ReviewPolicy { hold_suspicions: false };
        let suspicion = [finding(Grade::Suspicion)];
        assert!(matches!(ReviewPolicy::default().verdict(&suspicion), Verdict::Hold(_)));
        assert_eq!(lenient.verdict(&suspicion), Verdict::Pass);
        assert!(matches!(lenient.verdict(&[finding(Grade::Proof)]), Verdict::Reject(_)));
    }

    #[test]
    fn only_listed_text_is_measured_on_where_any_is_listed() {
        let of = Digest::of;
        let data = DataRef { dataset: of(b"text"), tokenizer: of(b"bytes"), vocabulary: 256 };
        DatasetPolicy::default().admit(&data).unwrap();
        DatasetPolicy { fingerprints: vec![of(b"other"), of(b"text")] }.admit(&data).unwrap();
        let refused = DatasetPolicy { fingerprints: vec![of(b"other")] }.admit(&data).unwrap_err().to_string();
        assert!(refused.starts_with("`dataset_configs.fingerprints`: dataset "), "{refused}");
        LossComparability::default().admit(&data).unwrap();
        assert!(LossComparability { tokenizers: vec![of(b"gpt2")] }.admit(&data).is_err());
    }
}
