//! The policy in sections: what a row of the store replaces.
use super::{
    ArchitectureShares, ArtifactLimits, BenchmarkWeights, DatasetPolicy, DiagnosticThresholds, DuplicateNumbers,
    ExecutionTargets, GpuPolicy, LossComparability, PlanPolicy, PolicyError, PrequentialNumbers, PrismPolicy,
    ReviewPolicy, RewardNumbers, SandboxLimits, ScoreNumbers, TrainingShares, strict,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};

/// What of a plan a row can't change: graphs on record were resolved and bounded under it.
const FIXED: [&str; 9] = [
    "mode",
    "probes",
    "sequence",
    "batch",
    "peak_memory",
    "max_layers",
    "max_parameters",
    "max_flops_per_token",
    "max_source_bytes",
];

/// What is one row's.
trait Part: Serialize + DeserializeOwned {
    fn check(&self) -> Result<(), PolicyError>;
}

macro_rules! parts { ($($part:ty),*) => { $(
    impl Part for $part {
        fn check(&self) -> Result<(), PolicyError> {
            <$part>::check(self)
        }
    }
)* } }
parts!(
    RewardNumbers,
    BenchmarkWeights,
    DiagnosticThresholds,
    DuplicateNumbers,
    GpuPolicy,
    ExecutionTargets,
    DatasetPolicy,
    ArtifactLimits,
    SandboxLimits,
    LossComparability,
    PlanPolicy
);

impl Part for ReviewPolicy {
    /// Every value of it is valid.
    fn check(&self) -> Result<(), PolicyError> {
        Ok(())
    }
}

/// The scorers' numbers and both tracks' shares, as one object.
#[derive(Serialize, Deserialize)]
struct ScoreWeights {
    #[serde(flatten)]
    score: ScoreNumbers,
    architecture_shares: ArchitectureShares,
    training_shares: TrainingShares,
    prequential: PrequentialNumbers,
}

impl Part for ScoreWeights {
    fn check(&self) -> Result<(), PolicyError> {
        self.score.check()?;
        self.architecture_shares.check()?;
        self.training_shares.check()?;
        self.prequential.check()
    }
}

macro_rules! sections { ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
    /// A part of the policy that changes as one.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    pub enum Section { $($(#[$doc])* $variant,)* }

    impl Section {
        /// All of them.
        pub const ALL: &[Self] = &[$(Self::$variant,)*];

        /// Its name.
        #[must_use]
        pub fn as_str(self) -> &'static str {
            match self { $(Self::$variant => $name,)* }
        }
    }
} }

sections! {
    /// [`RewardNumbers`]: pools, margin, target, decay.
    RewardPools = "reward_pools";
    /// [`ScoreNumbers`], [`ArchitectureShares`], [`TrainingShares`] and [`PrequentialNumbers`].
    ScoreWeights = "score_weights";
    /// [`BenchmarkWeights`].
    BenchmarkWeights = "benchmark_weights";
    /// [`DuplicateNumbers`].
    DuplicateThresholds = "duplicate_thresholds";
    /// [`DiagnosticThresholds`].
    DiagnosticsThresholds = "diagnostics_thresholds";
    /// [`ReviewPolicy`].
    ReviewPolicy = "review_policy";
    /// [`GpuPolicy`].
    GpuPolicy = "gpu_policy";
    /// [`DatasetPolicy`].
    DatasetConfigs = "dataset_configs";
    /// [`ExecutionTargets`].
    ExecutionTargets = "execution_targets";
    /// [`ArtifactLimits`].
    ArtifactLimits = "artifact_limits";
    /// [`SandboxLimits`].
    SandboxLimits = "sandbox_limits";
    /// [`LossComparability`].
    LossComparability = "loss_comparability";
    /// [`PlanPolicy`].
    Plan = "plan";
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Section {
    type Err = PolicyError;
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let found = Self::ALL.iter().copied().find(|section| section.as_str() == text);
        found.ok_or_else(|| PolicyError::Section(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Section {
    type Error = PolicyError;
    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

impl From<Section> for String {
    fn from(section: Section) -> Self {
        section.as_str().to_owned()
    }
}

impl PrismPolicy {
    /// A section as a row would have it, with every key.
    #[must_use]
    pub fn section(&self, section: Section) -> Map<String, Value> {
        match section {
            Section::RewardPools => object(&self.reward),
            Section::ScoreWeights => object(&self.score_weights()),
            Section::BenchmarkWeights => object(&self.benchmark),
            Section::DuplicateThresholds => object(&self.duplicate),
            Section::DiagnosticsThresholds => object(&self.diagnostics),
            Section::ReviewPolicy => object(&self.review),
            Section::GpuPolicy => object(&self.gpu),
            Section::DatasetConfigs => object(&self.datasets),
            Section::ExecutionTargets => object(&self.targets),
            Section::ArtifactLimits => object(&self.artifacts),
            Section::SandboxLimits => object(&self.sandbox),
            Section::LossComparability => object(&self.loss),
            Section::Plan => object(&self.plan),
        }
    }

    /// The same with a row's keys in a section: a JSON object; keys that it doesn't name stay as they are. The section is
    /// checked, the whole is not: see [`PrismPolicy::check`].
    ///
    /// # Errors
    /// The first key or rule that it breaks, by its place.
    pub fn with_row(&self, section: Section, row: &str) -> Result<Self, PolicyError> {
        let row = strict::object(section.as_str(), row)?;
        let mut whole = self.clone();
        match section {
            Section::RewardPools => whole.reward = overlay(section, &self.reward, row)?,
            Section::ScoreWeights => {
                let ScoreWeights { score, architecture_shares, training_shares, prequential } =
                    overlay(section, &self.score_weights(), row)?;
                (whole.score, whole.prequential) = (score, prequential);
                (whole.architecture_shares, whole.training_shares) = (architecture_shares, training_shares);
            }
            Section::BenchmarkWeights => whole.benchmark = overlay(section, &self.benchmark, row)?,
            Section::DuplicateThresholds => whole.duplicate = overlay(section, &self.duplicate, row)?,
            Section::DiagnosticsThresholds => whole.diagnostics = overlay(section, &self.diagnostics, row)?,
            Section::ReviewPolicy => whole.review = overlay(section, &self.review, row)?,
            Section::GpuPolicy => whole.gpu = overlay(section, &self.gpu, row)?,
            Section::DatasetConfigs => whole.datasets = overlay(section, &self.datasets, row)?,
            Section::ExecutionTargets => whole.targets = overlay(section, &self.targets, row)?,
            Section::ArtifactLimits => whole.artifacts = overlay(section, &self.artifacts, row)?,
            Section::SandboxLimits => whole.sandbox = overlay(section, &self.sandbox, row)?,
            Section::LossComparability => whole.loss = overlay(section, &self.loss, row)?,
            Section::Plan => {
                let own = object(&self.plan);
                if let Some(key) = FIXED.into_iter().find(|key| row.get(*key).is_some_and(|v| Some(v) != own.get(*key)))
                {
                    return Err(PolicyError::Fixed { place: format!("{section}.{key}") });
                }
                whole.plan = overlay(section, &self.plan, row)?;
            }
        }
        Ok(whole)
    }

    fn score_weights(&self) -> ScoreWeights {
        let (architecture_shares, training_shares) = (self.architecture_shares, self.training_shares);
        let (score, prequential) = (self.score, self.prequential);
        ScoreWeights { score, architecture_shares, training_shares, prequential }
    }
}

fn object<T: Serialize>(part: &T) -> Map<String, Value> {
    // Every part is a struct of numbers that are finite by type, texts and lists: JSON can carry it.
    match serde_json::to_value(part) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn overlay<T: Part>(section: Section, own: &T, row: Map<String, Value>) -> Result<T, PolicyError> {
    let mut merged = object(own);
    for (key, value) in row {
        let place = format!("{section}.{key}");
        let Some(there) = merged.get_mut(&key) else { return Err(PolicyError::Key { place }) };
        merge(&place, there, value)?;
        // Read after each key, so that an error names it.
        let read = serde_json::from_value::<T>(Value::Object(merged.clone()));
        read.map_err(|error| PolicyError::Value { place, problem: error.to_string() })?;
    }
    let read = serde_json::from_value::<T>(Value::Object(merged));
    let part = read.map_err(|error| PolicyError::Text { section: section.as_str(), problem: error.to_string() })?;
    part.check()?;
    Ok(part)
}

/// Puts a value in another's place; an object's keys one by one.
fn merge(place: &str, there: &mut Value, value: Value) -> Result<(), PolicyError> {
    match (there, value) {
        (Value::Object(there), Value::Object(row)) => {
            for (key, value) in row {
                let place = format!("{place}.{key}");
                let Some(there) = there.get_mut(&key) else { return Err(PolicyError::Key { place }) };
                merge(&place, there, value)?;
            }
        }
        (there, value) => *there = value,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(section: Section, row: &str) -> String {
        PrismPolicy::default().with_row(section, row).unwrap_err().to_string()
    }

    #[test]
    fn a_row_replaces_its_keys_and_no_others() {
        let own = PrismPolicy::smoke();
        let with = own.with_row(Section::RewardPools, r#"{"margin": 0.05}"#).unwrap();
        assert_eq!((with.reward.margin.get(), with.reward.target), (0.05, own.reward.target));
        assert_eq!(PrismPolicy { reward: own.reward, ..with.clone() }, own);
        assert_ne!(with.digest(), own.digest());
        let shares = r#"{"z": 3, "architecture_shares": {"robustness": 0.1, "diagnostics_health": 0.05}}"#;
        let with = own.with_row(Section::ScoreWeights, shares).unwrap();
        assert_eq!((with.score.z.get(), with.architecture_shares.robustness.get()), (3.0, 0.1));
        assert_eq!(with.score.scale, own.score.scale, "of the smoke policy, not of the defaults");
        assert_eq!(own.with_row(Section::Plan, r#"{"steps": 200}"#).unwrap().plan.steps, 200);
        let targets = r#"{"targets": [{"id": "box", "devices": ["0", "1"]}]}"#;
        let with = own.with_row(Section::ExecutionTargets, targets).unwrap();
        assert!(with.targets.targets[0].takes_runs());
    }

    #[test]
    fn every_section_takes_itself_and_an_empty_row_and_changes_nothing() {
        for own in [PrismPolicy::default(), PrismPolicy::smoke()] {
            for section in Section::ALL.iter().copied() {
                let whole = Value::Object(own.section(section)).to_string();
                assert!(!own.section(section).is_empty(), "{section}");
                assert_eq!(own.with_row(section, &whole), Ok(own.clone()), "{section}");
                assert_eq!(own.with_row(section, "{}"), Ok(own.clone()), "{section}");
                assert_eq!(section.as_str().parse(), Ok(section));
            }
        }
        assert_eq!("rewards".parse::<Section>().unwrap_err().to_string(), "no policy section is called `rewards`");
    }

    #[test]
    fn every_defect_is_named_by_its_place() {
        use Section::*;
        assert_eq!(refused(RewardPools, r#"{"margn": 0.1}"#), "`reward_pools.margn` does not exist");
        let text = refused(RewardPools, r#"{"margin": "wide"}"#);
        assert!(text.starts_with("`reward_pools.margin`: invalid type: string \"wide\""), "{text}");
        assert_eq!(refused(RewardPools, r#"{"margin": 9}"#), "policy number `reward.margin` is 9, outside 0 to 8");
        assert!(refused(RewardPools, r#"{"margin": 1e999}"#).starts_with("`reward_pools`: number out of range"));
        assert!(refused(RewardPools, r#"{"margin": NaN}"#).starts_with("`reward_pools`: expected value"));
        assert!(refused(RewardPools, r#"{"margin": null}"#).starts_with("`reward_pools.margin`: invalid type: null"));
        let twice = refused(RewardPools, r#"{"margin": 0.1, "margin": 0.2}"#);
        assert!(twice.starts_with("`reward_pools`: key `margin` stands there twice"), "{twice}");
        assert!(refused(RewardPools, r#"{"architecture_pool": 0.5}"#).contains("sum to 0.9, not to 1"));
        for text in ["", "[]", "7", "\"x\"", "{", "{} {}", "null"] {
            assert!(refused(RewardPools, text).starts_with("`reward_pools`: "), "{text}");
        }
        assert!(refused(ScoreWeights, r#"{"architecture": 0.8}"#).contains("score.architecture, score.training"));
        let place = "`score_weights.architecture_shares.luck` does not exist";
        assert_eq!(refused(ScoreWeights, r#"{"architecture_shares": {"luck": 1}}"#), place);
        let half = refused(ScoreWeights, r#"{"training_shares": {"robustness": 0}}"#);
        assert!(half.contains("`share.training` sum to 0.9"), "{half}");
        assert!(refused(ScoreWeights, r#"{"training_shares": 7}"#).starts_with("`score_weights.training_shares`: "));
        assert!(refused(BenchmarkWeights, r#"{"mmlu": 0.3}"#).contains("`benchmark` sum to 1.1"));
        assert!(refused(DuplicateThresholds, r#"{"near": 2}"#).contains("`duplicate.near` is 2, outside 0 to 1"));
        assert!(refused(DiagnosticsThresholds, r#"{"nearness": 2}"#).contains("`diagnostics_thresholds.nearness`"));
        assert!(refused(GpuPolicy, r#"{"full_scale_eval": true}"#).starts_with("`gpu_policy.full_scale_eval`: "));
        assert!(refused(GpuPolicy, r#"{"full_scale_eval": 1.5}"#).starts_with("`gpu_policy.full_scale_eval`: "));
        assert!(refused(GpuPolicy, r#"{"full_scale_eval": -1}"#).starts_with("`gpu_policy.full_scale_eval`: "));
        let device = r#"{"targets": [{"id": "a", "devices": ["0"], "server": "b"}]}"#;
        assert!(refused(ExecutionTargets, device).contains("unknown field `server`"));
        assert!(refused(ArtifactLimits, r#"{"files": 201}"#).contains("`artifact_limits.files`: is 201"));
        assert!(refused(SandboxLimits, r#"{"memory": 1}"#).contains("`sandbox_limits.memory`: is 1, outside"));
        assert!(refused(DatasetConfigs, r#"{"fingerprints": ["abc"]}"#).contains("64 lowercase hexadecimal digits"));
        assert!(refused(Plan, r#"{"points": 0}"#).contains("points must be 1 to steps"));
        let fixed = "`plan.sequence` can't be changed by a row: what is on record was examined under it";
        assert_eq!(refused(Plan, r#"{"sequence": 512}"#), fixed);
    }

    #[test]
    fn what_is_huge_or_deep_is_refused_before_it_is_read() {
        let huge = format!(r#"{{"margin": 0.1{}}}"#, " ".repeat(strict::MAX_ROW_BYTES));
        assert!(refused(Section::RewardPools, &huge).contains("at most 65536 are read"));
        let deep = |levels: usize| format!(r#"{{"margin": {}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(refused(Section::RewardPools, &deep(6)).contains("nested deeper than 6 levels"));
        assert!(refused(Section::RewardPools, &deep(20_000)).contains("nested deeper than 6 levels"));
        assert!(refused(Section::RewardPools, &deep(5)).starts_with("`reward_pools.margin`: invalid type"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_is_valid(which in 0..Section::ALL.len(), text in ".{0,80}") {
            if let Ok(whole) = PrismPolicy::default().with_row(Section::ALL[which], &text) {
                prop_assert!(whole.check().is_ok());
            }
        }

        #[test]
        fn no_object_panics_and_what_is_taken_is_in_force(
            which in 0..Section::ALL.len(), key in 0usize..40, value in "-?[0-9]{1,4}(\\.[0-9]{1,3})?(e-?[0-9]{1,3})?|true|null|\\[\\]|\"a\"",
        ) {
            let (own, section) = (PrismPolicy::default(), Section::ALL[which]);
            let keys: Vec<String> = own.section(section).keys().cloned().collect();
            let name = &keys[key % keys.len()];
            if let Ok(whole) = own.with_row(section, &format!("{{\"{name}\": {value}}}")) {
                let stored = Value::Object(whole.section(section)).to_string();
                prop_assert_eq!(own.with_row(section, &stored), Ok(whole));
            }
        }
    }
}
