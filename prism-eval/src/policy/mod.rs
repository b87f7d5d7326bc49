//! The numbers of the prism subnet: what is run, what it is worth, what is paid. Each has a default, a range and a
//! reason; an operator overrides them by name.
mod error;
mod numbers;
mod plan;
mod probe;

pub use error::PolicyError;
pub use numbers::{DiagnosticThresholds, DuplicateNumbers, PrequentialNumbers, RewardNumbers, ScoreNumbers};
pub use plan::PlanPolicy;
pub use probe::{Axis, Probe, Trial};

use prism_core::{Digest, Finite, plan::RunMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole policy. Its parts change for different reasons: a new plan measures anew, new score numbers and
/// thresholds only score anew, new reward numbers only pay anew, new duplicate numbers judge what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrismPolicy {
    /// What is run. Its digest is part of every task.
    pub plan: PlanPolicy,
    /// What evidence is worth.
    pub score: ScoreNumbers,
    /// What is paid.
    pub reward: RewardNumbers,
    /// Where diagnostics warn.
    pub diagnostics: DiagnosticThresholds,
    /// How bits are ranked where that is the scorer.
    pub prequential: PrequentialNumbers,
    /// What a copy is.
    pub duplicate: DuplicateNumbers,
}

impl PrismPolicy {
    /// The policy of a mode. What is measured as `local_cpu_smoke` is never eligible.
    #[must_use]
    pub fn of_mode(mode: RunMode) -> Self {
        let score = match mode {
            // Early in training ideas differ by more than they do at the end.
            RunMode::LocalCpuSmoke => ScoreNumbers { scale: number(0.5), ..ScoreNumbers::default() },
            _ => ScoreNumbers::default(),
        };
        Self { plan: PlanPolicy::of_mode(mode), score, ..Self::default() }
    }

    /// A policy small enough for a laptop and for a development chain: it shows that everything is wired, in seconds a
    /// run. It pays for that, and without a confirmation in a second cohort, so a lucky seed can win; its cards say so.
    /// Not for a chain with money on it: there, [`of_mode`](Self::of_mode).
    #[must_use]
    pub fn smoke() -> Self {
        let policy = Self::of_mode(RunMode::LocalCpuSmoke);
        let score = ScoreNumbers { require_confirmation: Finite::ZERO, pay_smoke: Finite::ONE, ..policy.score };
        // Nobody is there to look at what would be held.
        let duplicate = DuplicateNumbers { hold: Finite::ZERO, ..policy.duplicate };
        let reward = RewardNumbers { confirmations: Finite::ONE, ..policy.reward };
        Self { score, duplicate, reward, ..policy }
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// The first number out of range, by name.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.plan.check()?;
        self.score.check()?;
        self.reward.check()?;
        self.diagnostics.check()?;
        self.prequential.check()?;
        self.duplicate.check()
    }

    /// The numbers of scoring, rewards, diagnostics and duplicates by name, as [`Round`](prism_core::scorer::Round) and
    /// [`RewardContext`](prism_core::reward::RewardContext) carry them.
    #[must_use]
    pub fn numbers(&self) -> BTreeMap<String, Finite> {
        let mut numbers = self.score.numbers();
        numbers.extend(self.reward.numbers());
        numbers.extend(self.diagnostics.numbers());
        numbers.extend(self.prequential.numbers());
        numbers.extend(self.duplicate.numbers());
        numbers
    }

    /// The digest of the whole policy, for receipts and boards.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Numbers are finite by type and all keys are strings: there is no value that JSON can't carry.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

fn number(value: f64) -> Finite {
    Finite::new(value).unwrap_or(Finite::ONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_a_valid_policy_and_only_the_explicit_one_pays_for_smoke() {
        for mode in RunMode::ALL {
            let policy = PrismPolicy::of_mode(mode);
            policy.check().unwrap();
            assert_eq!(policy.plan.mode, mode);
            assert!(!policy.score.pays_smoke() && policy.score.requires_confirmation());
        }
        assert_eq!(PrismPolicy::default(), PrismPolicy::of_mode(RunMode::GpuProxyEval));
        assert_eq!(PrismPolicy::smoke().plan, PrismPolicy::of_mode(RunMode::LocalCpuSmoke).plan);
        assert!(PrismPolicy::smoke().score.pays_smoke());
    }

    #[test]
    fn both_shipped_policies_are_valid_and_only_the_small_one_pays_unconfirmed() {
        let official = PrismPolicy::default();
        let smoke = PrismPolicy::smoke();
        official.check().unwrap();
        smoke.check().unwrap();
        assert!(official.score.requires_confirmation());
        assert!(!smoke.score.requires_confirmation());
        assert_ne!(official.digest(), smoke.digest());
    }

    #[test]
    fn score_numbers_do_not_change_what_is_run() {
        let mut other = PrismPolicy::default();
        other.score.z = Finite::new(3.0).unwrap();
        assert_eq!(other.plan.digest(), PrismPolicy::default().plan.digest());
        assert_ne!(other.digest(), PrismPolicy::default().digest());
    }

    #[test]
    fn a_policy_survives_json_and_a_partial_one_is_filled_with_defaults() {
        let policy = PrismPolicy::smoke();
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<PrismPolicy>(&text).unwrap(), policy);
        let partial: PrismPolicy = serde_json::from_str(r#"{"plan":{"steps":7}}"#).unwrap();
        assert_eq!(partial.plan.steps, 7);
        assert_eq!(partial.reward, RewardNumbers::default());
        assert!(serde_json::from_str::<PrismPolicy>(r#"{"plan":{"stepz":7}}"#).is_err());
    }

    #[test]
    fn numbers_go_through_the_map_and_back() {
        let policy = PrismPolicy::smoke();
        let numbers = policy.numbers();
        assert_eq!(ScoreNumbers::from_numbers(&numbers).unwrap(), policy.score);
        assert_eq!(RewardNumbers::from_numbers(&numbers).unwrap(), policy.reward);
        assert_eq!(DiagnosticThresholds::from_numbers(&numbers).unwrap(), policy.diagnostics);
        assert_eq!(DuplicateNumbers::from_numbers(&numbers).unwrap(), policy.duplicate);
    }
}
