//! The policy of the prism subnet: what is run, what it is worth, what is paid, and under which limits. Every number has a
//! default, a range and a reason; an operator overrides them by [`Section`].
mod devices;
mod error;
mod limits;
mod numbers;
mod plan;
mod probe;
mod review;
mod section;
mod strict;

pub use devices::{ExecutionTarget, ExecutionTargets, GpuPolicy, MAX_GPUS};
pub use error::PolicyError;
pub use limits::{ArtifactLimits, SandboxLimits, TooMuch};
pub use numbers::{
    ArchitectureShares, BenchmarkWeights, DiagnosticThresholds, DuplicateNumbers, PrequentialNumbers, RewardNumbers,
    ScoreNumbers, TrainingShares,
};
pub use plan::PlanPolicy;
pub use probe::{Axis, Probe, Trial};
pub use review::{DatasetPolicy, LossComparability, ReviewPolicy};
pub use section::Section;
pub use strict::MAX_ROW_BYTES;

use prism_core::{
    Digest, Finite,
    plan::{DataRef, RunMode},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole policy. Its parts change for different reasons: a new plan measures anew, new score numbers and
/// thresholds only score anew, new reward numbers only pay anew, new duplicate numbers judge what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrismPolicy {
    /// What is run.
    pub plan: PlanPolicy,
    /// What evidence is worth.
    pub score: ScoreNumbers,
    /// What each component of the architecture track is worth.
    pub architecture_shares: ArchitectureShares,
    /// What each component of the training track is worth.
    pub training_shares: TrainingShares,
    /// What each evaluation task is worth.
    pub benchmark: BenchmarkWeights,
    /// What is paid.
    pub reward: RewardNumbers,
    /// Where diagnostics warn.
    pub diagnostics: DiagnosticThresholds,
    /// How bits are ranked where that is the scorer.
    pub prequential: PrequentialNumbers,
    /// What a copy is.
    pub duplicate: DuplicateNumbers,
    /// What becomes of doubt.
    pub review: ReviewPolicy,
    /// How many GPUs a run is given.
    pub gpu: GpuPolicy,
    /// Which devices there are.
    pub targets: ExecutionTargets,
    /// Which text may be measured on.
    pub datasets: DatasetPolicy,
    /// Which losses may be compared.
    pub loss: LossComparability,
    /// How much a bundle may bring.
    pub artifacts: ArtifactLimits,
    /// What a sandbox may use.
    pub sandbox: SandboxLimits,
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

    /// Checks every section, and that they fit together.
    ///
    /// # Errors
    /// The first rule broken, by its place.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.plan.check()?;
        self.score.check()?;
        self.architecture_shares.check()?;
        self.training_shares.check()?;
        self.benchmark.check()?;
        self.reward.check()?;
        self.diagnostics.check()?;
        self.prequential.check()?;
        self.duplicate.check()?;
        self.gpu.check()?;
        self.targets.check()?;
        self.datasets.check()?;
        self.loss.check()?;
        self.artifacts.check()?;
        self.sandbox.check()?;
        let (asked, largest) = (self.gpu.most(), self.targets.largest());
        if asked as usize > largest {
            let rule = format!("asks for {asked} GPUs, and the largest enabled execution target has {largest}");
            return Err(PolicyError::Rule { place: "gpu_policy", rule });
        }
        Ok(())
    }

    /// Whether a cohort may be measured on this text.
    ///
    /// # Errors
    /// What forbids it.
    pub fn admit(&self, data: &DataRef) -> Result<(), PolicyError> {
        self.datasets.admit(data)?;
        self.loss.admit(data)
    }

    /// The numbers of scoring, rewards, diagnostics and duplicates by name, as [`Round`](prism_core::scorer::Round) and
    /// [`RewardContext`](prism_core::reward::RewardContext) carry them.
    #[must_use]
    pub fn numbers(&self) -> BTreeMap<String, Finite> {
        let mut numbers = self.score.numbers();
        numbers.extend(self.architecture_shares.numbers());
        numbers.extend(self.training_shares.numbers());
        numbers.extend(self.benchmark.numbers());
        numbers.extend(self.reward.numbers());
        numbers.extend(self.diagnostics.numbers());
        numbers.extend(self.prequential.numbers());
        numbers.extend(self.duplicate.numbers());
        numbers
    }

    /// The digest of the whole policy, for tasks, manifests, receipts and boards.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Numbers are finite by type and all keys are strings: there is no value that JSON can't carry.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Digest::of_parts("prism/policy/3", &[&bytes])
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

    #[test]
    fn a_policy_that_asks_for_more_devices_than_there_are_is_no_whole() {
        let asks = PrismPolicy::default().with_row(Section::GpuPolicy, r#"{"full_scale_eval": 2}"#).unwrap();
        let text = asks.check().unwrap_err().to_string();
        assert_eq!(text, "`gpu_policy`: asks for 2 GPUs, and the largest enabled execution target has 0");
        let has = r#"{"targets": [{"id": "box", "devices": ["0", "1"], "draining": true}]}"#;
        asks.with_row(Section::ExecutionTargets, has).unwrap().check().unwrap();
        let off = r#"{"targets": [{"id": "box", "devices": ["0", "1"], "enabled": false}]}"#;
        assert!(asks.with_row(Section::ExecutionTargets, off).unwrap().check().is_err());
    }
}
