//! Reading a submission before it runs. Reviewers return findings; the verdict is a rule of this file.
use crate::{cancel::Cancel, error::Result, id::SubmissionId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, sync::Arc};

/// How much a finding proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Worth knowing.
    Note,
    /// Needs a person's eye.
    Suspicion,
    /// Anyone who looks at the place sees the same.
    Proof,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's stable name.
    pub rule: String,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 for the whole file.
    pub line: u32,
    /// For people.
    pub text: String,
    /// How much it proves.
    pub grade: Grade,
}

/// What is reviewed.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Which submission.
    pub submission: SubmissionId,
    /// Its files, by path.
    pub files: &'a [(String, Vec<u8>)],
}

/// Reads files and returns what it found. An error is not a pass: the caller holds the submission.
///
/// 1. Findings name a file of the source, and a rule.
/// 2. A reviewer whose `may_prove` is false returns no `Proof`.
/// 3. Ends within 5 s of cancellation.
#[async_trait]
pub trait Reviewer: Debug + Send + Sync + 'static {
    /// The reviewer's name.
    fn name(&self) -> &str;
    /// Whether its findings can be deterministic evidence.
    fn may_prove(&self) -> bool;
    /// Reviews a submission.
    async fn review(&self, source: &Source<'_>, cancel: &Cancel) -> Result<Vec<Finding>>;
}

/// What follows from all findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing stands against it.
    Pass,
    /// A suspicion needs a person.
    Hold(Finding),
    /// A proof rejects it.
    Reject(Finding),
}

/// The verdict: the first proof rejects, else the first suspicion holds. A finding of a reviewer that may not prove
/// counts as a suspicion at most.
#[must_use]
pub fn verdict(findings: &[(bool, Finding)]) -> Verdict {
    let proof = findings.iter().find(|(may_prove, f)| *may_prove && f.grade == Grade::Proof);
    if let Some((_, finding)) = proof {
        return Verdict::Reject(finding.clone());
    }
    match findings.iter().find(|(_, f)| f.grade >= Grade::Suspicion) {
        Some((_, finding)) => Verdict::Hold(finding.clone()),
        None => Verdict::Pass,
    }
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: Reviewer + ?Sized> Reviewer for $pointer<T> {
        fn name(&self) -> &str {
            (**self).name()
        }
        fn may_prove(&self) -> bool {
            (**self).may_prove()
        }
        async fn review(&self, source: &Source<'_>, cancel: &Cancel) -> Result<Vec<Finding>> {
            (**self).review(source, cancel).await
        }
    }
)* } }
forward!(Box, Arc);

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(grade: Grade) -> Finding {
        Finding { rule: "no-network".into(), file: "model.py".into(), line: 3, text: "opens a socket".into(), grade }
    }

    #[test]
    fn only_proof_by_one_who_may_prove_rejects() {
        assert_eq!(verdict(&[(true, finding(Grade::Note))]), Verdict::Pass);
        assert_eq!(verdict(&[(true, finding(Grade::Suspicion))]), Verdict::Hold(finding(Grade::Suspicion)));
        assert_eq!(verdict(&[(false, finding(Grade::Proof))]), Verdict::Hold(finding(Grade::Proof)));
        let both = [(true, finding(Grade::Suspicion)), (true, finding(Grade::Proof))];
        assert_eq!(verdict(&both), Verdict::Reject(finding(Grade::Proof)));
    }
}
