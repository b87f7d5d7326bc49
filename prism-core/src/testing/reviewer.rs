//! The suite of [`Reviewer`].
use super::{Broken, Check, within};
use crate::{
    cancel::Cancel,
    error::{Kind, Result},
    id::SubmissionId,
    reviewer::{Finding, Grade, Reviewer, Source},
};
use std::time::Duration;

/// The clause's own figure.
const AFTER_CANCEL: Duration = Duration::from_secs(5);

/// Files by path, as in [`Source`].
pub type Files = Vec<(String, Vec<u8>)>;

/// Supplies a reviewer with what it reads.
pub trait ReviewerDriver: Send + Sync {
    /// The reviewer under test.
    fn reviewer(&self) -> &dyn Reviewer;
    /// Files in which it finds something, the gravest it knows included.
    fn guilty(&self) -> Files;
    /// Files over which it sits for longer than it may after a cancellation, if there are any.
    fn endless(&self) -> Files {
        self.guilty()
    }
}

suite!(
    "Reviewer", ReviewerDriver,
    1 => clause_1_findings_name_a_file_of_the_source_and_a_rule,
    2 => clause_2_who_may_not_prove_returns_no_proof,
    3 => clause_3_ends_soon_after_cancellation,
);

async fn review(driver: &dyn ReviewerDriver, files: &Files, cancel: &Cancel) -> Result<Vec<Finding>> {
    let submission = SubmissionId::of_parts("reviewer suite", &[]);
    driver.reviewer().review(&Source { submission, files }, cancel).await
}

/// The guilty files, and with them one that is empty and one that is no text.
pub async fn clause_1_findings_name_a_file_of_the_source_and_a_rule(driver: &mut dyn ReviewerDriver) -> Check {
    let mut files = driver.guilty();
    files.push(("empty.py".into(), vec![]));
    files.push(("no text.json".into(), vec![0xff, 0, 0xfe]));
    let findings = review(driver, &files, &Cancel::new()).await?;
    ensure!(!findings.is_empty(), "nothing was found in the guilty files");
    for Finding { rule, file, .. } in findings {
        ensure!(!rule.is_empty(), "a finding in {file:?} names no rule");
        ensure!(
            files.iter().any(|(path, _)| *path == file),
            "rule {rule} found something in {file:?}, which isn't there"
        );
    }
    Ok(())
}

/// The guilty files. Sees nothing of a reviewer that may prove.
pub async fn clause_2_who_may_not_prove_returns_no_proof(driver: &mut dyn ReviewerDriver) -> Check {
    if driver.reviewer().may_prove() {
        return Ok(());
    }
    let findings = review(driver, &driver.guilty(), &Cancel::new()).await?;
    match findings.into_iter().find(|finding| finding.grade == Grade::Proof) {
        Some(finding) => Err(Broken(format!("rule {} proves, and the reviewer may not", finding.rule))),
        None => Ok(()),
    }
}

/// Cancels before the start and in the middle.
pub async fn clause_3_ends_soon_after_cancellation(driver: &mut dyn ReviewerDriver) -> Check {
    let files = driver.endless();
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        let cancel = Cancel::new();
        let mut reviewing = Box::pin(review(driver, &files, &cancel));
        let done = if pause.is_zero() { None } else { within(pause, &mut reviewing).await };
        cancel.cancel();
        let done = match done {
            Some(result) => Some(result),
            None => within(AFTER_CANCEL, &mut reviewing).await,
        };
        match done {
            None => return Err(Broken(format!("goes on {} s after cancellation", AFTER_CANCEL.as_secs()))),
            Some(Err(error)) if error.kind() != Kind::Cancelled => return Err(error.into()),
            Some(_) => {}
        }
    }
    Ok(())
}
