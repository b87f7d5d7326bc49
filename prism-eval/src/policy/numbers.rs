//! Numbers that a scorer or a reward policy reads by name.
use super::error::PolicyError;
use crate::duplicate::{Grade, Part};
use prism_core::{Finite, standings::Class};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Declares a struct of numbers, each with a name under a prefix, a default and a range.
macro_rules! numbers { ($(#[$doc:meta])* $name:ident as $prefix:literal {
    $($(#[$field_doc:meta])* $field:ident = $default:literal in $low:literal ..= $high:literal;)*
}) => {
    $(#[$doc])*
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct $name { $(
        $(#[$field_doc])*
        #[doc = concat!("\n\n`", $prefix, ".", stringify!($field), "`, ", $low, " to ", $high, "; ", $default, " by default.")]
        pub $field: Finite,
    )* }

    impl Default for $name {
        fn default() -> Self {
            Self { $($field: number($default),)* }
        }
    }

    impl $name {
        /// The numbers of a map, defaults where it is silent. Names under other prefixes are left to others.
        ///
        /// # Errors
        /// A name under this prefix that doesn't exist, a number out of range, or parts that don't make a whole.
        pub fn from_numbers(map: &BTreeMap<String, Finite>) -> Result<Self, PolicyError> {
            let mut numbers = Self::default();
            for (name, value) in map {
                match name.strip_prefix(concat!($prefix, ".")) {
                    None => {}
                    $(Some(stringify!($field)) => numbers.$field = *value,)*
                    Some(_) => return Err(PolicyError::Unknown { name: name.clone() }),
                }
            }
            numbers.check()?;
            Ok(numbers)
        }

        /// All numbers by name.
        #[must_use]
        pub fn numbers(&self) -> BTreeMap<String, Finite> {
            BTreeMap::from([$((concat!($prefix, ".", stringify!($field)).to_owned(), self.$field),)*])
        }

        fn check_ranges(&self) -> Result<(), PolicyError> {
            $(
                let (low, high) = (number($low), number($high));
                if self.$field < low || self.$field > high {
                    let name = concat!($prefix, ".", stringify!($field)).to_owned();
                    return Err(PolicyError::Range { name, value: self.$field, low, high });
                }
            )*
            Ok(())
        }
    }
} }

fn number(value: f64) -> Finite {
    Finite::new(value).unwrap_or_default()
}

numbers! {
    /// What evidence is worth, for [`PrismScorer`](crate::score::PrismScorer).
    ScoreNumbers as "score" {
        /// Part of the architecture track in the total (the mission's 70/30).
        architecture = 0.7 in 0.0..=1.0;
        /// Part of the training track in the total.
        training = 0.3 in 0.0..=1.0;
        /// Advantages of fewer standard errors count as zero. Two: one in forty wins by luck alone.
        z = 2.0 in 0.0..=10.0;
        /// Bits per byte of advantage that give a component its full marks. Known good ideas at these budgets lie
        /// between a tenth and a third of a bit.
        scale = 0.25 in 0.001..=8.0;
        /// Standard deviation over seeds of a run's mean, bits per byte, where fewer than three runs estimate it. Two
        /// seeds of one 0.9M-parameter model differed by 0.0136: a deviation of 0.0136 / √2.
        seed_deviation = 0.01 in 0.0..=1.0;
        /// Times a baseline's processor or device time that count as equal work: clocks scatter. For Python only; of
        /// declared architectures operations are counted.
        work_tolerance = 1.1 in 1.0..=4.0;
        /// 1: only an incumbent, measured again in a later cohort, is eligible. 0: every total is.
        require_confirmation = 1.0 in 0.0..=1.0;
        /// 1: what was measured as `local_cpu_smoke` is eligible like the rest. For a development chain, and nothing else.
        pay_smoke = 0.0 in 0.0..=1.0;
    }
}

numbers! {
    /// How bits are ranked, for [`PrequentialScorer`](crate::score::PrequentialScorer).
    PrequentialNumbers as "prequential" {
        /// Bits per byte below which two submissions are as good as equal, and held-out rows may order them: a tie-break
        /// moves a submission by at most half of it. The first version's margin for architectures.
        tie_break = 0.01 in 0.0..=1.0;
        /// Bits per byte of held-out advantage, against the baseline, that give the whole tie-break.
        tie_scale = 0.25 in 0.001..=8.0;
        /// Bits per byte taken for each that was won on the training text and not on held-out rows, beyond the noise.
        memorization = 1.0 in 0.0..=10.0;
    }
}

impl PrequentialNumbers {
    /// Checks ranges.
    ///
    /// # Errors
    /// The first number out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()
    }
}

numbers! {
    /// What is paid, for [`FrontierPools`](crate::reward::FrontierPools) and
    /// [`OwnershipSplit`](crate::reward::OwnershipSplit).
    RewardNumbers as "reward" {
        /// Part of the architecture pool in the whole (the mission's 60/40).
        architecture_pool = 0.6 in 0.0..=1.0;
        /// Part of the training pool in the whole.
        training_pool = 0.4 in 0.0..=1.0;
        /// Bits per byte by which the frontier must move to be credited, on either track. Above what a prior of the full
        /// cap on the source still gains where points begin to count: 0.029, measured with an n-gram table that
        /// deciphers the alphabet, after 13.3 million tokens.
        margin = 0.04 in 0.0..=8.0;
        /// Advantages of fewer standard errors are credited nothing.
        z = 2.0 in 0.0..=10.0;
        /// Bits per byte of credit at which a pool pays in full. Below, the rest is burned.
        target = 0.1 in 0.000001..=8.0;
        /// Blocks in which a credit loses half its worth; a fortnight of 12 s.
        half_life = 100800.0 in 1.0..=100000000.0;
        /// Confirmations, each in a cohort of its own, that an advantage is the mean of before it is paid. Three seeds, as for
        /// whatever is near a title; one is for runs that move no money.
        confirmations = 3.0 in 1.0..=8.0;
        /// Blocks for which a try counts against its hotkey and its family: see
        /// [`corrected_z`](prism_core::trials::corrected_z). A fortnight.
        trials_window = 100800.0 in 0.0..=100000000.0;
        /// Part of its credit that a recipe keeps which was shown on a miner's family alone. One half would hold it to what
        /// helps elsewhere too; all of it, while the plan has no run that shows a recipe on a second family.
        untransferred = 1.0 in 0.0..=1.0;
        /// Part of the whole for the best of attention alone.
        class_attention = 0.0 in 0.0..=0.25;
        /// Part of the whole for the best of recurrences alone.
        class_recurrent = 0.0 in 0.0..=0.25;
        /// Part of the whole for the best of convolutions alone.
        class_convolution = 0.0 in 0.0..=0.25;
        /// Part of the whole for the best mixture of these.
        class_hybrid = 0.0 in 0.0..=0.25;
    }
}

numbers! {
    /// Where a diagnostic of a network warns, for [`diagnostics`](crate::measure::signals::diagnostics). The defaults are
    /// the first version's.
    DiagnosticThresholds as "diagnostics" {
        /// Normalised entropy of activations below which few units carry everything.
        activation_entropy = 0.05 in 0.0..=1.0;
        /// Fraction of activations at zero above which a layer is all but dead.
        useful_sparsity = 0.98 in 0.0..=1.0;
        /// Normalised entropy of attention below which every query looks at one place.
        attention_diversity = 0.05 in 0.0..=1.0;
        /// Mean absolute cosine between positions above which they all look alike.
        representation_collapse = 0.95 in 0.0..=1.0;
        /// Noise over signal of the gradient of one batch above which a step is mostly noise.
        gradient_noise_scale = 10.0 in 0.001..=1000000.0;
        /// Stability of the norm over the run below which it wanders.
        activation_norm_stability = 0.5 in 0.0..=1.0;
        /// Times its recent median above which a norm spikes.
        activation_spike_ratio = 3.0 in 1.0..=1000.0;
        /// Coefficient of variation of the units' usage at and below which all do the same.
        neuron_specialization = 0.01 in 0.0..=1.0;
    }
}

impl DiagnosticThresholds {
    /// Checks ranges.
    ///
    /// # Errors
    /// The first number out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()
    }
}

numbers! {
    /// How alike is a copy, for [`duplicate::report`](crate::duplicate::report), and how long a hold lasts.
    DuplicateNumbers as "duplicate" {
        /// Similarity from which a submission is attributed to what it resembles. One more norm in a Llama of two
        /// blocks leaves 0.82 of its neighbourhoods; sizes and depth leave 0.95 and more.
        near = 0.8 in 0.0..=1.0;
        /// Similarity from which another miner's work is a reason to hold. Another kind of last norm leaves 0.70,
        /// another activation everywhere 0.57, another mixer 0.34.
        borderline_low = 0.65 in 0.0..=1.0;
        /// Similarity below which it is. The band is looked at before `near`.
        borderline_high = 0.8 in 0.0..=1.0;
        /// 1: what lies in the band is held for an operator. 0: it is attributed.
        hold = 1.0 in 0.0..=1.0;
        /// Hours after which a hold ends by itself.
        hold_hours = 24.0 in 0.01..=8760.0;
        /// What a hold of the band ends in. 1: allowed without a title, attached to the family that it resembles. 0:
        /// rejected.
        expired_attaches = 1.0 in 0.0..=1.0;
    }
}

numbers! {
    /// What each component of the architecture track is worth.
    ArchitectureShares as "share.architecture" {
        /// How fast and how evenly over sizes it learns.
        learning_and_scaling_dynamics = 0.35 in 0.0..=1.0;
        /// Held-out bits per byte.
        standardized_lm_quality = 0.20 in 0.0..=1.0;
        /// Advantage for the work.
        compute_efficiency = 0.15 in 0.0..=1.0;
        /// Advantage for the parameters.
        parameter_efficiency = 0.10 in 0.0..=1.0;
        /// Health of gradients, activations and curves.
        diagnostics_health = 0.10 in 0.0..=1.0;
        /// Stability over sequence length and batch.
        robustness = 0.05 in 0.0..=1.0;
        /// Evaluation tasks: never the main signal, for they can be trained for.
        benchmark_sanity = 0.05 in 0.0..=0.15;
    }
}

numbers! {
    /// What each component of the training track is worth.
    TrainingShares as "share.training" {
        /// Held-out improvement over the tuned reference on the same architecture.
        normalized_heldout_improvement = 0.30 in 0.0..=1.0;
        /// How evenly it learns.
        learning_stability = 0.25 in 0.0..=1.0;
        /// Evaluation tasks: never the main signal, for they can be trained for.
        benchmark_sanity = 0.15 in 0.0..=0.15;
        /// Advantage for the work.
        compute_efficiency = 0.10 in 0.0..=1.0;
        /// Agreement of repeats.
        reproducibility = 0.10 in 0.0..=1.0;
        /// Runs that end well.
        robustness = 0.05 in 0.0..=1.0;
        /// What the run left on record.
        artifact_completeness = 0.05 in 0.0..=1.0;
    }
}

numbers! {
    /// What each evaluation task is worth within benchmark sanity, by the tasks' customary names. One that did not run
    /// gives its weight to the others.
    BenchmarkWeights as "benchmark" {
        /// Knowledge in 57 subjects, multiple choice.
        mmlu = 0.20 in 0.0..=1.0;
        /// School arithmetic.
        gsm8k = 0.15 in 0.0..=1.0;
        /// Competition mathematics.
        math = 0.15 in 0.0..=1.0;
        /// Programs from docstrings.
        humaneval = 0.15 in 0.0..=1.0;
        /// School science, the hard part.
        arc_challenge = 0.10 in 0.0..=1.0;
        /// A fact found again in a long text.
        needle = 0.10 in 0.0..=1.0;
        /// Instructions that can be checked.
        ifeval = 0.10 in 0.0..=1.0;
        /// Popular errors, avoided.
        truthfulqa = 0.05 in 0.0..=1.0;
    }
}

fn whole<const N: usize>(names: &'static str, parts: [Finite; N]) -> Result<(), PolicyError> {
    let sum: f64 = parts.iter().map(|part| part.get()).sum();
    if (sum - 1.0).abs() > 1e-9 {
        return Err(PolicyError::Sum { names, sum: number(sum) });
    }
    Ok(())
}

impl ScoreNumbers {
    /// Checks ranges, and that the tracks' parts make a whole.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        whole("score.architecture, score.training", [self.architecture, self.training])
    }

    /// Whether only a second measurement in a later cohort makes a card eligible.
    #[must_use]
    pub fn requires_confirmation(&self) -> bool {
        self.require_confirmation > Finite::ZERO
    }

    /// Whether a small run for wiring may be paid.
    #[must_use]
    pub fn pays_smoke(&self) -> bool {
        self.pay_smoke > Finite::ZERO
    }
}

impl RewardNumbers {
    /// Checks ranges, and that the pools make a whole.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        if self.class_parts() > 0.5 {
            return Err(PolicyError::Reward("the pools of classes are more than half of the whole"));
        }
        whole("reward.architecture_pool, reward.training_pool", [self.architecture_pool, self.training_pool])
    }

    /// Confirmations before anything is paid, a whole number.
    #[must_use]
    pub fn least_confirmations(&self) -> u32 {
        self.confirmations.get().ceil() as u32
    }

    /// Part of the whole that the pool of a class has; none by default.
    #[must_use]
    pub fn class_part(&self, class: Class) -> Finite {
        match class {
            Class::Attention => self.class_attention,
            Class::Recurrent => self.class_recurrent,
            Class::Convolution => self.class_convolution,
            Class::Hybrid => self.class_hybrid,
            _ => Finite::ZERO,
        }
    }

    /// The parts of all classes together.
    pub(crate) fn class_parts(&self) -> f64 {
        Class::ALL.iter().map(|class| self.class_part(*class).get()).sum()
    }
}

impl DuplicateNumbers {
    /// Checks ranges, and that the band has its ends in order.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        if self.borderline_low > self.borderline_high {
            let name = "duplicate.borderline_low".to_owned();
            let (value, high) = (self.borderline_low, self.borderline_high);
            return Err(PolicyError::Range { name, value, low: Finite::ZERO, high });
        }
        Ok(())
    }

    /// Whether what lies in the band is held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.hold > Finite::ZERO
    }

    /// Whether a hold of the band that nobody answered ends in the family that the submission resembles.
    #[must_use]
    pub fn attaches_expired(&self) -> bool {
        self.expired_attaches > Finite::ZERO
    }

    /// How long a hold lasts.
    #[must_use]
    pub fn hold_span(&self) -> Duration {
        Duration::try_from_secs_f64(self.hold_hours.get() * 3600.0).unwrap_or_default()
    }

    /// The grade of a similarity of unequal parts.
    #[must_use]
    pub fn grade(&self, similarity: f64, part: Part) -> Grade {
        let in_band = (self.borderline_low.get()..self.borderline_high.get()).contains(&similarity);
        match similarity {
            _ if in_band && part != Part::Recipe => Grade::Borderline,
            alike if alike >= self.near.get() => Grade::Near,
            _ => Grade::None,
        }
    }
}

impl ArchitectureShares {
    /// Name and share of each component, in the order of the design.
    #[must_use]
    pub fn list(&self) -> [(&'static str, f64); 7] {
        [
            ("learning_and_scaling_dynamics", self.learning_and_scaling_dynamics.get()),
            ("standardized_lm_quality", self.standardized_lm_quality.get()),
            ("compute_efficiency", self.compute_efficiency.get()),
            ("parameter_efficiency", self.parameter_efficiency.get()),
            ("diagnostics_health", self.diagnostics_health.get()),
            ("robustness", self.robustness.get()),
            ("benchmark_sanity", self.benchmark_sanity.get()),
        ]
    }

    /// Checks ranges, that the shares make a whole, and that benchmarks are not the largest.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        main_signal("share.architecture.benchmark_sanity", &self.list())?;
        whole("share.architecture", self.list().map(|(_, share)| number(share)))
    }
}

impl TrainingShares {
    /// Name and share of each component, in the order of the design.
    #[must_use]
    pub fn list(&self) -> [(&'static str, f64); 7] {
        [
            ("normalized_heldout_improvement", self.normalized_heldout_improvement.get()),
            ("learning_stability", self.learning_stability.get()),
            ("benchmark_sanity", self.benchmark_sanity.get()),
            ("compute_efficiency", self.compute_efficiency.get()),
            ("reproducibility", self.reproducibility.get()),
            ("robustness", self.robustness.get()),
            ("artifact_completeness", self.artifact_completeness.get()),
        ]
    }

    /// Checks ranges, that the shares make a whole, and that benchmarks are not the largest.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        main_signal("share.training.benchmark_sanity", &self.list())?;
        whole("share.training", self.list().map(|(_, share)| number(share)))
    }
}

/// Benchmarks must weigh less than something else.
fn main_signal(place: &'static str, shares: &[(&str, f64)]) -> Result<(), PolicyError> {
    let of = |benchmark: bool| shares.iter().filter(move |(name, _)| (*name == "benchmark_sanity") == benchmark);
    let most = of(false).map(|(_, share)| *share).fold(0.0, f64::max);
    if of(true).any(|(_, share)| *share >= most) {
        return Err(PolicyError::Rule { place, rule: "must not be the largest share".into() });
    }
    Ok(())
}

impl BenchmarkWeights {
    /// Checks ranges, and that the weights make a whole.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        let Self { mmlu, gsm8k, math, humaneval, arc_challenge, needle, ifeval, truthfulqa } = *self;
        whole("benchmark", [mmlu, gsm8k, math, humaneval, arc_challenge, needle, ifeval, truthfulqa])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, value: f64) -> BTreeMap<String, Finite> {
        BTreeMap::from([(name.to_owned(), number(value))])
    }

    #[test]
    fn a_misspelt_name_and_a_number_out_of_range_are_refused_by_name() {
        let unknown = ScoreNumbers::from_numbers(&map("score.zed", 1.0)).unwrap_err();
        assert_eq!(unknown.to_string(), "no policy number is called `score.zed`");
        let range = RewardNumbers::from_numbers(&map("reward.half_life", 0.0)).unwrap_err();
        assert_eq!(range.to_string(), "policy number `reward.half_life` is 0, outside 1 to 100000000");
        assert_eq!(ScoreNumbers::from_numbers(&map("reward.zed", 1.0)), Ok(ScoreNumbers::default()));
    }

    #[test]
    fn parts_that_do_not_make_a_whole_are_refused() {
        let error = ScoreNumbers::from_numbers(&map("score.architecture", 0.5)).unwrap_err();
        assert_eq!(error.to_string(), "policy numbers `score.architecture, score.training` sum to 0.8, not to 1");
    }

    #[test]
    fn shares_make_a_whole_and_benchmarks_are_never_the_main_signal() {
        ArchitectureShares::default().check().unwrap();
        TrainingShares::default().check().unwrap();
        BenchmarkWeights::default().check().unwrap();
        let more = ArchitectureShares { benchmark_sanity: number(0.16), ..Default::default() };
        assert!(
            more.check().unwrap_err().to_string().contains("share.architecture.benchmark_sanity` is 0.16, outside")
        );
        let seventh = number(0.85 / 6.0);
        let flat = ArchitectureShares {
            learning_and_scaling_dynamics: seventh,
            standardized_lm_quality: seventh,
            compute_efficiency: seventh,
            parameter_efficiency: seventh,
            diagnostics_health: seventh,
            robustness: seventh,
            benchmark_sanity: number(0.15),
        };
        let largest = flat.check().unwrap_err().to_string();
        assert_eq!(largest, "`share.architecture.benchmark_sanity`: must not be the largest share");
        let short = TrainingShares { robustness: Finite::ZERO, ..Default::default() };
        let sum = short.check().unwrap_err().to_string();
        assert!(sum.starts_with("policy numbers `share.training` sum to 0.9") && sum.ends_with("not to 1"), "{sum}");
        let unknown = ArchitectureShares::from_numbers(&map("share.architecture.luck", 0.1)).unwrap_err();
        assert_eq!(unknown.to_string(), "no policy number is called `share.architecture.luck`");
    }
}
