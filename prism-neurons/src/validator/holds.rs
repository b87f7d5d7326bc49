//! What a submission resembles, how long it is held for it, and what becomes of holds that nobody answers.
use super::{
    Validator,
    baseline::baseline_id,
    examine::{NO_SANDBOX, REVIEW_FAILED},
};
use crate::store::{
    cohorts::CohortStatus,
    duplicates::{FingerprintRecord, Provenance},
    holds::{Ending, Expiry, Holding, Rulings},
    submissions::SubmissionRecord,
};
use prism_core::{
    Block, Hotkey, Result, SubmissionId,
    observer::Event,
    submission::{Precedence, SubmissionStatus},
};
use prism_eval::{
    duplicate::{Fingerprint, Subject, likeness, report, tuned},
    examination::Examination,
    policy::DuplicateNumbers,
};
use std::{collections::BTreeSet, time::SystemTime};

/// The rule that holds what nobody can call a copy or an idea of its own without looking.
pub(super) const BORDERLINE: &str = "duplicate.borderline";

impl Validator {
    /// What a submission resembles among those that came before it, and which of its author's own it is a tune of where it
    /// has to be looked at; none where the family it targets is not on record.
    pub(super) async fn provenance(
        &self,
        record: &SubmissionRecord,
        examination: &Examination,
        numbers: &DuplicateNumbers,
    ) -> Result<Option<(Provenance, Vec<SubmissionId>)>> {
        let family = match (examination.family(), examination.target()) {
            (Some(family), _) => Some(family),
            (None, Some(target)) => self.0.store.family(target).await?.map(|family| family.id),
            (None, None) => None,
        };
        let Some(family) = family else { return Ok(None) };
        let fingerprint = Fingerprint::of(examination, family)?;
        let entries = self.0.store.alike(&fingerprint).await?;
        let (submission, precedence) = (record.submission.id, record.submission.precedence);
        let subject = Subject { submission, precedence, fingerprint: &fingerprint };
        let (report, own) = (report(&subject, &entries, numbers), tuned(&subject, &entries, numbers));
        Ok(Some((Provenance { fingerprint, family, report }, own)))
    }

    /// The first of an operator's rulings on what these submissions resemble.
    pub(super) async fn lent(&self, own: &[SubmissionId]) -> Result<Option<Rulings>> {
        for id in own {
            let answers = self.0.store.answers(*id).await?;
            if answers.compared {
                return Ok(Some(answers));
            }
        }
        Ok(None)
    }

    /// How a hold ends when nobody answers.
    ///
    /// - What lies in the band of similarity ends, by policy, in the family that it resembles: measured and paid for what
    ///   it adds to the frontier, as everybody is, but without a family of its own to hold a title to. Nobody should lose
    ///   an idea because an operator slept; a copy has nothing to win by waiting. By policy it may be rejected instead.
    /// - A suspicion that nobody cleared ends in a rejection: it fails closed.
    /// - A reviewer that failed is asked again.
    /// - What waits for a sandbox waits: the lack is the validator's own.
    pub(super) fn expiry(&self, holding: &Holding, numbers: &DuplicateNumbers, now: SystemTime) -> Option<Expiry> {
        let family = holding.provenance.as_ref().and_then(|provenance| provenance.report.family);
        let (ending, family) = match holding.reason.rule.as_str() {
            NO_SANDBOX => return None,
            REVIEW_FAILED => (Ending::Examine, None),
            BORDERLINE if numbers.attaches_expired() => (Ending::Attach, family),
            _ => (Ending::Reject, None),
        };
        Some(Expiry { at: now + numbers.hold_span(), ending, family })
    }

    /// Ends the holds whose time is over. Whether there were any.
    pub(super) async fn expire_step(&self) -> Result<bool> {
        let ended = self.0.store.expire_holds(self.0.clock.now()).await?;
        for (submission, ending) in &ended {
            tracing::info!(submission = %submission, ending = ending.as_str(), "hold ended unanswered");
            let status = match ending {
                Ending::Reject => SubmissionStatus::Rejected,
                _ => SubmissionStatus::Pending,
            };
            self.0.observer.on(&Event::Phase { submission: *submission, phase: status.as_str() });
        }
        Ok(!ended.is_empty())
    }

    /// Puts the fingerprints of published architectures on record: prior work of nobody.
    pub(super) async fn keep_published(&self, families: Vec<(SubmissionId, Fingerprint)>) -> Result<()> {
        let precedence = Precedence { block: Block(0), extrinsic: 0, hotkey: Hotkey([0; 32]), local: false };
        let record = |(submission, fingerprint): (SubmissionId, Fingerprint)| FingerprintRecord {
            submission,
            family: fingerprint.family,
            precedence,
            published: true,
            fingerprint,
        };
        Ok(self.0.store.keep_fingerprints(families.into_iter().map(record).collect()).await?)
    }

    /// Adds to the reports of the newest settled cohort how the losses of each submission and of the closest that was
    /// measured beside it compare, row by row. Evidence for a person who looks: nothing follows from it.
    pub(super) async fn compare_losses(&self) {
        if let Err(error) = self.add_losses().await {
            tracing::error!(error = error.chain(), "losses not compared; the next start tries again");
        }
    }

    async fn add_losses(&self) -> Result<()> {
        let cohorts = self.0.store.cohorts(64).await?;
        let Some(cohort) = cohorts.into_iter().find(|cohort| cohort.status == CohortStatus::Settled) else {
            return Ok(());
        };
        let reports = self.0.store.reports_without_losses(cohort.number).await?;
        if reports.is_empty() {
            return Ok(());
        }
        let entrants = self.0.store.entrants(cohort.number).await?;
        let entrants: BTreeSet<SubmissionId> = entrants.into_iter().map(|entrant| entrant.submission).collect();
        let (store, number) = (&self.0.store, cohort.number);
        let mut baselines = Vec::new();
        for family in self.published_families().await? {
            let id = baseline_id(family.id);
            baselines.push((id, store.evidence_of(number, id).await?));
        }
        for mut report in reports {
            let beside = |id: &SubmissionId| *id != report.submission && entrants.contains(id);
            let Some(closest) = report.closest.iter().map(|one| one.submission).find(beside) else { continue };
            let own = store.evidence_of(number, report.submission).await?;
            let other = store.evidence_of(number, closest).await?;
            let mut baselines = baselines.iter().filter(|(id, _)| *id != closest);
            let found = baselines.find_map(|(_, baseline)| likeness(&own, &other, baseline));
            if found.is_some() {
                report.losses = found;
                self.0.store.amend_report(report).await?;
            }
        }
        Ok(())
    }
}
