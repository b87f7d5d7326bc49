//! The policy in force: read before every cohort, and what is wrong with it told until it is mended.
use super::{SeedRule, Validator};
use crate::store::{
    cohorts::CohortRecord,
    policy::{Moment, Policy, PolicyReading},
};
use prism_core::{Block, Error, Fault, Kind, Result};
use prism_eval::policy::{PolicyError, PrismPolicy};

/// The kind of alarms about policy rows.
const ALARM: &str = "policy";

impl Validator {
    /// Reads the policy rows that are in effect at the finalized head over this validator's own policy. Rows that are
    /// refused, and a whole that doesn't fit together, are logged once and stand as alarms until they are mended.
    pub(super) async fn read_policy(&self) -> Result<PolicyReading> {
        let block = self.0.chain.head().await?.finalized;
        self.read_policy_at(block).await
    }

    /// The same as of a block: for what need not wait for a chain that can't be reached.
    pub(super) async fn read_policy_at(&self, block: Block) -> Result<PolicyReading> {
        let parts = &self.0;
        let at = Moment { block, time: parts.clock.now() };
        let check = |whole: &PrismPolicy| {
            whole.admit(&parts.data)?;
            if whole.score.requires_confirmation() && matches!(parts.cohorts.seed, SeedRule::Fixed(_)) {
                let rule = "a second cohort under a fixed seed confirms nothing".into();
                return Err(PolicyError::Rule { place: "score_weights.require_confirmation", rule });
            }
            Ok(())
        };
        let reading = parts.store.policy(&parts.policy, at, check).await?;
        let refused = reading.refused.iter().map(|row| (format!("row {}", row.version), row.defect.clone()));
        let whole = reading.inconsistent.iter().map(|defect| ("whole".to_owned(), defect.clone()));
        let standing: Vec<_> = refused.chain(whole).collect();
        let new = parts.store.alarm(ALARM, standing.clone(), parts.clock.now()).await?;
        for (subject, defect) in standing.iter().filter(|(subject, _)| new.contains(subject)) {
            tracing::error!(subject, defect, "policy refused; the former one stays in force");
        }
        Ok(reading)
    }

    /// The policy that a cohort may be seeded under.
    ///
    /// # Errors
    /// `Invalid` for sections that don't fit together: nothing is measured under them.
    pub(super) async fn policy_in_force(&self) -> Result<Policy> {
        let reading = self.read_policy().await?;
        match reading.inconsistent {
            None => Ok(reading.policy),
            Some(defect) => {
                let text = format!("no cohort is seeded under a policy that doesn't fit together: {defect}");
                Err(Error::new(Kind::Invalid, Fault::Validator, text))
            }
        }
    }

    /// All sections that a cohort is measured under; this validator's own where only its numbers are on record.
    pub(super) fn policy_of<'a>(&'a self, cohort: &'a CohortRecord) -> &'a PrismPolicy {
        let whole = cohort.policy.as_ref().and_then(|policy| policy.whole.as_deref());
        whole.unwrap_or(&self.0.policy)
    }
}

/// One digest of all that a policy says, for weights and boards.
pub(super) fn policy_digest(own: &PrismPolicy, policy: &Policy) -> prism_core::Digest {
    match &policy.whole {
        Some(_) => policy.digest(),
        None => prism_core::Digest::of_parts("prism/policy/2", &[&own.plan.digest().0, &policy.digest().0]),
    }
}
