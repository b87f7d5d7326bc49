//! Putting a validator together.
use super::{Baseline, CohortRule, Parts, RetryRule, SeedRule, Validator};
use crate::{clock::SystemClock, store::Store};
use prism_core::{
    Artifacts, ChainView, Clock, Error, Fault, Kind, MechanismId, Netuid, Observer, Reviewer, RewardPolicy, Scorer,
    SubmissionSource, Trainer, WeightSetter, observer::Unobserved, plan::DataRef,
};
use prism_eval::{policy::PrismPolicy, reward::FrontierPools, run_manifest::DatasetRecord, score::PrismScorer};
use std::{fmt, sync::Arc};

/// Puts a validator together, part by part. Scorer, reward policy, clock, observer, policy, baselines and cohort rule have
/// defaults; the rest must be given.
#[derive(Debug)]
#[must_use]
pub struct ValidatorBuilder {
    netuid: Netuid,
    mechanism: MechanismId,
    chain: Option<Arc<dyn ChainView>>,
    sources: Vec<Arc<dyn SubmissionSource>>,
    store: Option<Store>,
    artifacts: Option<Arc<dyn Artifacts>>,
    reviewers: Vec<Arc<dyn Reviewer>>,
    trainers: Vec<Arc<dyn Trainer>>,
    scorer: Arc<dyn Scorer>,
    reward: Arc<dyn RewardPolicy>,
    weight_setter: Option<Arc<dyn WeightSetter>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    policy: PrismPolicy,
    data: Option<DataRef>,
    dataset: Option<DatasetRecord>,
    baselines: Option<Vec<Baseline>>,
    cohorts: CohortRule,
    workers: usize,
    retry: RetryRule,
}

/// Everything that keeps a validator from being built, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError(pub Vec<String>);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "validator can't be built: {}", self.0.join("; "))
    }
}

impl std::error::Error for BuildError {}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::new(Kind::Invalid, Fault::Validator, error.to_string())
    }
}

impl ValidatorBuilder {
    pub(super) fn new() -> Self {
        Self {
            netuid: Netuid(1),
            mechanism: MechanismId(0),
            chain: None,
            sources: Vec::new(),
            store: None,
            artifacts: None,
            reviewers: Vec::new(),
            trainers: Vec::new(),
            scorer: Arc::new(PrismScorer),
            reward: Arc::new(FrontierPools),
            weight_setter: None,
            clock: Arc::new(SystemClock::new()),
            observer: Arc::new(Unobserved),
            policy: PrismPolicy::default(),
            data: None,
            dataset: None,
            baselines: None,
            cohorts: CohortRule::default(),
            workers: 1,
            retry: RetryRule::default(),
        }
    }

    /// The subnet and the mechanism within it.
    pub fn subnet(mut self, netuid: Netuid, mechanism: MechanismId) -> Self {
        (self.netuid, self.mechanism) = (netuid, mechanism);
        self
    }

    /// How the chain is read.
    pub fn chain(mut self, chain: impl ChainView) -> Self {
        self.chain = Some(Arc::new(chain));
        self
    }

    /// One more place that submissions come from.
    pub fn source(mut self, source: impl SubmissionSource) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// Where state is kept.
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Where bytes are kept.
    pub fn artifacts(mut self, artifacts: Arc<dyn Artifacts>) -> Self {
        self.artifacts = Some(artifacts);
        self
    }

    /// One more reviewer.
    pub fn reviewer(mut self, reviewer: impl Reviewer) -> Self {
        self.reviewers.push(Arc::new(reviewer));
        self
    }

    /// One more trainer; a task goes to the first that takes its kind of subject.
    pub fn trainer(mut self, trainer: impl Trainer) -> Self {
        self.trainers.push(Arc::new(trainer));
        self
    }

    /// Another scorer.
    pub fn scorer(mut self, scorer: impl Scorer) -> Self {
        self.scorer = Arc::new(scorer);
        self
    }

    /// The scorer there is, wrapped.
    pub fn map_scorer<S: Scorer>(mut self, wrap: impl FnOnce(Arc<dyn Scorer>) -> S) -> Self {
        self.scorer = Arc::new(wrap(self.scorer));
        self
    }

    /// Another reward policy.
    pub fn reward(mut self, reward: impl RewardPolicy) -> Self {
        self.reward = Arc::new(reward);
        self
    }

    /// How weights reach the chain.
    pub fn weight_setter(mut self, setter: impl WeightSetter) -> Self {
        self.weight_setter = Some(Arc::new(setter));
        self
    }

    /// Another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Who is told what goes on.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Other numbers; rows of the store's policy table go before the scoring and reward numbers in it.
    pub fn policy(mut self, policy: PrismPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The text that runs learn from.
    pub fn data(mut self, data: DataRef) -> Self {
        self.data = Some(data);
        self
    }

    /// What run manifests say of the text; by default the fingerprints of [`data`](Self::data) and nothing else.
    pub fn dataset(mut self, dataset: DatasetRecord) -> Self {
        self.dataset = Some(dataset);
        self
    }

    /// Other published baselines than the shipped `gpt`, and `gpt-python` where a trainer takes Python.
    pub fn baselines(mut self, baselines: Vec<Baseline>) -> Self {
        self.baselines = Some(baselines);
        self
    }

    /// When cohorts close and what seeds them.
    pub fn cohorts(mut self, rule: CohortRule) -> Self {
        self.cohorts = rule;
        self
    }

    /// Runs at the same time.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How often a run is tried when this machine fails.
    pub fn retry(mut self, rule: RetryRule) -> Self {
        self.retry = rule;
        self
    }

    /// The validator.
    ///
    /// # Errors
    /// All that is missing or contradictory, at once.
    pub fn build(self) -> Result<Validator, BuildError> {
        let mut wrong = Vec::new();
        let mut need = |present: bool, what: &str| {
            if !present {
                wrong.push(what.to_owned());
            }
        };
        need(self.chain.is_some(), "no `chain` to read");
        need(!self.sources.is_empty(), "no `source` of submissions");
        need(self.store.is_some(), "no `store`");
        need(self.artifacts.is_some(), "no `artifacts`");
        need(!self.trainers.is_empty(), "no `trainer`");
        need(self.weight_setter.is_some(), "no `weight_setter`");
        need(self.data.is_some(), "no `data` to learn from");
        need(self.workers > 0, "`workers` is 0, so that nothing would run");
        need(self.retry.attempts > 0, "`retry.attempts` is 0, so that nothing would run");
        need(self.cohorts.blocks > 0, "`cohorts.blocks` is 0, so that no cohort would ever be open");
        need(!matches!(&self.baselines, Some(b) if b.is_empty()), "no `baselines` to compare with");
        let native = self.trainers.iter().any(|trainer| trainer.info().native);
        need(
            self.trainers.is_empty() || native,
            "no `trainer` takes native architectures, and the baselines are native",
        );
        let mut names: Vec<&str> = self.sources.iter().map(|source| source.name()).collect();
        names.sort_unstable();
        need(names.windows(2).all(|pair| pair.first() != pair.last()), "two sources share a name, and so their cursor");
        if self.policy.score.requires_confirmation() && matches!(self.cohorts.seed, SeedRule::Fixed(_)) {
            wrong.push(
                "a fixed seed and a policy that requires confirmation: the second cohort confirms nothing".into(),
            );
        }
        if let Err(error) = self.policy.check() {
            wrong.push(error.to_string());
        }
        let baselines = match self.baselines {
            Some(baselines) => baselines,
            None => {
                // Python is timed against Python, so that a baseline of it runs wherever Python is measured.
                let python = self.trainers.iter().any(|trainer| trainer.info().guest);
                let names = ["gpt"].into_iter().chain(python.then_some("gpt-python"));
                let shipped: Result<Vec<_>, Error> = names.map(Baseline::shipped).collect();
                shipped.unwrap_or_else(|error| {
                    wrong.push(error.chain());
                    Vec::new()
                })
            }
        };
        match (self.chain, self.store, self.artifacts, self.weight_setter, self.data) {
            (Some(chain), Some(store), Some(artifacts), Some(weight_setter), Some(data)) if wrong.is_empty() => {
                Ok(Validator(Arc::new(Parts {
                    netuid: self.netuid,
                    mechanism: self.mechanism,
                    chain,
                    sources: self.sources,
                    store,
                    artifacts,
                    reviewers: self.reviewers,
                    trainers: self.trainers,
                    scorer: self.scorer,
                    reward: self.reward,
                    weight_setter,
                    clock: self.clock,
                    observer: self.observer,
                    policy: self.policy,
                    dataset: self.dataset.unwrap_or_else(|| DatasetRecord::of_task(&data)),
                    data,
                    baselines,
                    cohorts: self.cohorts,
                    workers: self.workers,
                    retry: self.retry,
                })))
            }
            _ => Err(BuildError(wrong)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_reported_at_once() {
        let error = Validator::builder().workers(0).build().unwrap_err();
        let text = error.to_string();
        for part in ["chain", "source", "store", "artifacts", "trainer", "weight_setter", "data", "workers"] {
            assert!(text.contains(part), "{part} is not named in {text}");
        }
        assert_eq!(error.0.len(), 8, "{text}");
    }
}
