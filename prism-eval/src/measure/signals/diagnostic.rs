//! The seven diagnostics of a network: whether its parts are alive, differ from one another, and hold still.
//!
//! The host computes them at measuring points, from the values of its own forward pass, and records each as a series per
//! layer, named `diagnostic/layer` ([`native`](crate::native)). A run of submitted code has none: the host runs no
//! pass of it, and what it says of itself counts for nothing.
use crate::policy::DiagnosticThresholds;
use prism_core::{
    Evidence, Finite,
    evidence::{Series, Witness},
    plan::Subject,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What came of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiagnosticStatus {
    /// Measured, and within its threshold.
    Ok,
    /// Measured, and beyond it.
    Warning,
    /// Not measured.
    NotApplicable,
}

/// What becomes of the weight of a diagnostic that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redistribution {
    /// What says how much it weighs.
    pub policy_key: String,
    /// Who gets it.
    pub target: String,
    /// Why.
    pub reason: String,
}

/// One diagnostic of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    /// What came of it.
    pub status: DiagnosticStatus,
    /// The mean over layers; absent where nothing applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Finite>,
    /// The values that it is made of, by layer.
    #[serde(default)]
    pub per_layer: BTreeMap<String, Finite>,
    /// What is beyond the threshold, for people.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_applicable_reason: Option<String>,
    /// What becomes of its weight then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redistribution: Option<Redistribution>,
}

/// The names of the seven.
pub const DIAGNOSTICS: [&str; 7] = [
    "activation_entropy",
    "useful_sparsity",
    "attention_diversity",
    "representation_collapse",
    "gradient_noise_scale",
    "activation_norm_stability",
    "neuron_specialization",
];

/// The largest noise scale that is told apart, in batches; a gradient without a signal has it.
const MOST_NOISE: f64 = 1e6;

/// All seven of a run, by name. Values are of the trained network: the mean over the measuring points in the window that
/// counts, or the last one where none is in it.
///
/// | name | value per layer | range | warns |
/// |---|---|---|---|
/// | `activation_entropy` | entropy of the shares of `abs(a)` over units, over `ln` of their number, mean over positions | 0 to 1 | below |
/// | `useful_sparsity` | fraction of `abs(a) <= 1e-6` | 0 to 1 | above |
/// | `attention_diversity` | entropy of a query's attention over `ln` of the keys it sees, mean over queries and heads | 0 to 1 | below |
/// | `representation_collapse` | mean `abs(cos)` between the values at different positions | 0 to 1 | above |
/// | `gradient_noise_scale` | `tr(Σ) / abs(G)²` over the rows of a batch (McCandlish et al. 2018), by role of weight | 0 to 1e6 | above |
/// | `activation_norm_stability` | `1 / (1 + deviation / mean)` of the norm over points | 0 to 1 | below, or a step whose norm spikes |
/// | `neuron_specialization` | deviation over mean of the units' mean `abs(a)` | 0 up | at or below |
///
/// Definitions and thresholds are the first version's. There the noise scale was the squared residual over the squared
/// mean of the gradients that were at hand, which depends on their number; here both parts are unbiased.
#[must_use]
pub fn diagnostics(run: &Evidence, thresholds: &DiagnosticThresholds) -> BTreeMap<&'static str, Diagnostic> {
    let t = thresholds;
    let mut all: BTreeMap<&'static str, Diagnostic> = DIAGNOSTICS
        .into_iter()
        .filter_map(|name| {
            let limit = Limit::of(name, t)?;
            let layers = layers(run, name);
            Some((name, if layers.is_empty() { absent(run, name) } else { judged(layers, limit) }))
        })
        .collect();
    if let Some(stability) = all.get_mut("activation_norm_stability")
        && stability.aggregate.is_some()
        && let Some(spike) =
            super::curve::largest_spike(run, "activation_rms").filter(|s| *s > t.activation_spike_ratio)
    {
        stability.status = DiagnosticStatus::Warning;
        stability.warnings.push(format!("the norm of activations reached {:.1} times its recent median", spike.get()));
    }
    all
}

/// How far a run is from trouble, for a diagnostic with this name: 1/2 at the threshold, 1 from twice as far away on,
/// 0 at the worst there is; the mean over layers. Beyond twice the threshold there is nothing to gain.
pub(crate) fn health(name: &str, diagnostic: &Diagnostic, thresholds: &DiagnosticThresholds) -> Option<f64> {
    let limit = Limit::of(name, thresholds)?;
    let layers = diagnostic.per_layer.values().map(|value| limit.health(value.get()));
    let (sum, count) = layers.fold((0.0, 0u32), |(sum, count), health| (sum + health, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// When a value warns.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Below(f64),
    AtMost(f64),
    /// Of values up to 1.
    Above(f64),
    /// Of values without an end.
    Beyond(f64),
}

impl Limit {
    fn of(name: &str, thresholds: &DiagnosticThresholds) -> Option<Self> {
        let t = thresholds;
        Some(match name {
            "activation_entropy" => Self::Below(t.activation_entropy.get()),
            "useful_sparsity" => Self::Above(t.useful_sparsity.get()),
            "attention_diversity" => Self::Below(t.attention_diversity.get()),
            "representation_collapse" => Self::Above(t.representation_collapse.get()),
            "gradient_noise_scale" => Self::Beyond(t.gradient_noise_scale.get()),
            "activation_norm_stability" => Self::Below(t.activation_norm_stability.get()),
            "neuron_specialization" => Self::AtMost(t.neuron_specialization.get()),
            _ => return None,
        })
    }

    fn warns(self, value: f64) -> bool {
        match self {
            Self::Below(limit) => value < limit,
            Self::AtMost(limit) => value <= limit,
            Self::Above(limit) | Self::Beyond(limit) => value > limit,
        }
    }

    fn health(self, value: f64) -> f64 {
        let health = match self {
            Self::Below(limit) | Self::AtMost(limit) => value / (2.0 * limit),
            Self::Above(limit) => (1.0 - value) / (2.0 * (1.0 - limit)),
            Self::Beyond(limit) => limit / (2.0 * value),
        };
        // Nothing over nothing: a threshold that nothing is beyond.
        if health.is_nan() { 1.0 } else { health.clamp(0.0, 1.0) }
    }

    fn words(self) -> String {
        match self {
            Self::Below(limit) => format!("below {limit}"),
            Self::AtMost(limit) => format!("at most {limit}"),
            Self::Above(limit) | Self::Beyond(limit) => format!("above {limit}"),
        }
    }
}

fn judged(per_layer: BTreeMap<String, Finite>, limit: Limit) -> Diagnostic {
    let sum: f64 = per_layer.values().map(|value| value.get()).sum();
    let aggregate = Finite::new((sum / per_layer.len() as f64).clamp(f64::MIN, f64::MAX));
    let warn = |of: &str, value: Finite| {
        limit.warns(value.get()).then(|| format!("{of} is {:.4}, {}", value.get(), limit.words()))
    };
    let whole = aggregate.and_then(|value| warn("the mean over layers", value));
    let layers = per_layer.iter().filter_map(|(layer, value)| warn(layer, *value));
    let warnings: Vec<String> = whole.into_iter().chain(layers).collect();
    let status = if warnings.is_empty() { DiagnosticStatus::Ok } else { DiagnosticStatus::Warning };
    Diagnostic { status, aggregate, per_layer, warnings, not_applicable_reason: None, redistribution: None }
}

fn absent(run: &Evidence, name: &str) -> Diagnostic {
    let witnessed = witnessed(run);
    let reason = match name {
        _ if matches!(run.task.subject, Subject::Guest { .. }) => {
            "the host does not see inside submitted code, and what it says of itself counts for nothing"
        }
        _ if !witnessed => "the run was recorded without it",
        "attention_diversity" => "the network has no attention",
        "activation_norm_stability" => "fewer than three points were measured after the first",
        "gradient_noise_scale" => "no point had two rows",
        "representation_collapse" => "no value of the network could be compared between positions",
        _ => "the network has no activation function",
    };
    let target = if witnessed { "diagnostics_health" } else { "architecture" };
    let redistribution = Redistribution {
        policy_key: format!("diagnostics.{name}"),
        target: target.to_owned(),
        reason: reason.to_owned(),
    };
    Diagnostic {
        status: DiagnosticStatus::NotApplicable,
        aggregate: None,
        per_layer: BTreeMap::new(),
        warnings: vec![],
        not_applicable_reason: Some(reason.to_owned()),
        redistribution: Some(redistribution),
    }
}

/// Series of a diagnostic that are recorded under another name.
const NORM: &str = "activation_norm";
const NOISE: &str = "gradient_noise";
const SIGNAL: &str = "gradient_signal";

/// Whether the host looked into the network at all.
fn witnessed(run: &Evidence) -> bool {
    run.series.iter().any(|(name, series)| {
        series.witness == Witness::Host
            && name.split_once('/').is_some_and(|(of, _)| DIAGNOSTICS.contains(&of) || [NORM, NOISE].contains(&of))
    })
}

/// The values of a diagnostic by layer.
fn layers(run: &Evidence, name: &str) -> BTreeMap<String, Finite> {
    let read = |of: &'static str, value: &dyn Fn(&str, &Series) -> Option<f64>| {
        let named = run.series.iter().filter(|(_, series)| series.witness == Witness::Host);
        let layers = named.filter_map(|(name, series)| {
            let layer = name.strip_prefix(of)?.strip_prefix('/')?;
            Some((layer.to_owned(), Finite::new(value(layer, series)?)?))
        });
        layers.collect()
    };
    match name {
        "activation_norm_stability" => read(NORM, &|_, series| stability(series)),
        "gradient_noise_scale" => read(NOISE, &|layer, noise| {
            let signal = run.series.get(&format!("{SIGNAL}/{layer}")).filter(|s| s.witness == Witness::Host)?;
            // Both are means over points: a ratio of means is less biased than a mean of ratios.
            let rows = mean(run, noise)? / mean(run, signal)?.max(f64::MIN_POSITIVE);
            Some((rows / f64::from(run.task.budget.batch.max(1))).clamp(0.0, MOST_NOISE))
        }),
        name => {
            let name = DIAGNOSTICS.into_iter().find(|known| *known == name).unwrap_or_default();
            read(name, &|_, series| mean(run, series))
        }
    }
}

/// Mean over the points of the trained network that count, or the last one.
fn mean(run: &Evidence, series: &Series) -> Option<f64> {
    let from = run.task.measuring.counts_from.max(1);
    let values = series.steps.iter().zip(&series.values).filter(|(step, _)| **step >= from);
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), (_, value)| (sum + value.get(), count + 1));
    if count == 0 { series.values.last().map(|value| value.get()) } else { Some(sum / f64::from(count)) }
}

/// `1 / (1 + deviation / mean)` over the points after the first, which is before any training.
fn stability(series: &Series) -> Option<f64> {
    let trained = series.steps.iter().zip(&series.values).filter(|(step, _)| **step > 0);
    let values: Vec<f64> = trained.map(|(_, value)| value.get()).collect();
    if values.len() < 3 {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    // A norm that is zero throughout doesn't move.
    Some(if variance == 0.0 { 1.0 } else { 1.0 / (1.0 + variance.sqrt() / mean.abs()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::run;
    use prism_core::Digest;

    /// Points at steps 0, 25, .., 100; every row of the fixture's batch is one of eight.
    fn with(series: &[(&str, [f64; 5])]) -> Evidence {
        let mut run = run("any");
        for (name, values) in series {
            let values = values.map(|value| Finite::new(value).unwrap()).to_vec();
            let series = Series { witness: Witness::Host, steps: vec![0, 25, 50, 75, 100], values };
            run.series.insert((*name).to_owned(), series);
        }
        run
    }

    fn of(run: &Evidence, name: &str) -> Diagnostic {
        diagnostics(run, &DiagnosticThresholds::default()).remove(name).unwrap()
    }

    #[test]
    fn all_seven_are_there_with_a_value_or_with_a_reason() {
        for run in [run("any"), with(&[("activation_entropy/001_gelu", [0.5; 5])])] {
            let all = diagnostics(&run, &DiagnosticThresholds::default());
            assert_eq!(all.keys().copied().collect::<std::collections::BTreeSet<_>>(), DIAGNOSTICS.into());
            for diagnostic in all.values() {
                let absent = diagnostic.status == DiagnosticStatus::NotApplicable;
                assert_eq!(diagnostic.aggregate.is_none(), absent);
                assert_eq!(diagnostic.redistribution.is_some(), absent);
                assert_eq!(diagnostic.not_applicable_reason.is_some(), absent);
                assert_eq!(diagnostic.per_layer.is_empty(), absent);
            }
        }
    }

    #[test]
    fn values_are_those_of_the_trained_network_and_the_window_that_counts() {
        let mut run = with(&[("activation_entropy/001_gelu", [0.9, 0.1, 0.2, 0.3, 0.4])]);
        assert_eq!(of(&run, "activation_entropy").aggregate, Finite::new(0.25));
        run.task.measuring.counts_from = 75;
        assert_eq!(of(&run, "activation_entropy").aggregate, Finite::new(0.35));
        run.task.measuring.counts_from = 1000;
        assert_eq!(of(&run, "activation_entropy").aggregate, Finite::new(0.4));
    }

    #[test]
    fn one_layer_in_trouble_is_named_and_the_mean_does_not_hide_it() {
        let run =
            with(&[("representation_collapse/003_add", [0.2; 5]), ("representation_collapse/007_add", [0.97; 5])]);
        let diagnostic = of(&run, "representation_collapse");
        assert_eq!(diagnostic.status, DiagnosticStatus::Warning);
        assert_eq!(diagnostic.warnings, ["007_add is 0.9700, above 0.95"]);
        assert!((diagnostic.aggregate.unwrap().get() - 0.585).abs() < 1e-12);
        let health = health("representation_collapse", &diagnostic, &DiagnosticThresholds::default()).unwrap();
        assert!((health - 0.5 * (1.0 + 0.3)).abs() < 1e-9, "{health}");
    }

    #[test]
    fn noise_is_in_batches_and_a_gradient_without_a_signal_has_the_most() {
        // Per row 160, against a signal of 2: as much noise as signal in 80 rows, which are ten batches of eight.
        let run = with(&[("gradient_noise/matrix", [160.0; 5]), ("gradient_signal/matrix", [9.0, 1.0, 3.0, 1.0, 3.0])]);
        let diagnostic = of(&run, "gradient_noise_scale");
        assert_eq!((diagnostic.aggregate, diagnostic.status), (Finite::new(10.0), DiagnosticStatus::Ok));
        let run = with(&[("gradient_noise/matrix", [160.0; 5]), ("gradient_signal/matrix", [-1.0; 5])]);
        let diagnostic = of(&run, "gradient_noise_scale");
        assert_eq!((diagnostic.aggregate, diagnostic.status), (Finite::new(1e6), DiagnosticStatus::Warning));
    }

    #[test]
    fn a_norm_that_wanders_or_spikes_warns() {
        let steady = with(&[("activation_norm/001_add", [9.0, 1.0, 1.0, 1.0, 1.0])]);
        assert_eq!(of(&steady, "activation_norm_stability").aggregate, Some(Finite::ONE));
        let wanders = with(&[("activation_norm/001_add", [1.0, 1.0, 0.0, 0.0, 0.0])]);
        assert_eq!(of(&wanders, "activation_norm_stability").status, DiagnosticStatus::Warning);
        let mut spikes = steady.clone();
        spikes.series.get_mut("activation_rms").unwrap().values[60] = Finite::new(100.0).unwrap();
        let diagnostic = of(&spikes, "activation_norm_stability");
        assert_eq!(diagnostic.status, DiagnosticStatus::Warning);
        assert!(diagnostic.warnings[0].contains("times its recent median"), "{:?}", diagnostic.warnings);
    }

    #[test]
    fn what_a_guest_says_of_itself_is_not_read_and_the_reason_says_so() {
        let mut run = with(&[("activation_entropy/001_gelu", [0.5; 5])]);
        run.series.get_mut("activation_entropy/001_gelu").unwrap().witness = Witness::Guest;
        assert_eq!(of(&run, "activation_entropy").not_applicable_reason.unwrap(), "the run was recorded without it");
        run.task.subject = Subject::Guest { bundle: Digest::of(b"bundle"), recipe: None };
        let diagnostic = of(&run, "activation_entropy");
        assert_eq!(diagnostic.status, DiagnosticStatus::NotApplicable);
        let redistribution = diagnostic.redistribution.unwrap();
        assert_eq!(
            (redistribution.policy_key.as_str(), redistribution.target.as_str()),
            ("diagnostics.activation_entropy", "architecture")
        );
        assert!(redistribution.reason.contains("submitted code"));
    }

    #[test]
    fn health_is_a_half_at_the_threshold_and_whole_from_twice_as_far_on() {
        let cases = [
            (Limit::Below(0.05), [0.0, 0.05, 0.1]),
            (Limit::AtMost(0.01), [0.0, 0.01, 0.02]),
            (Limit::Above(0.95), [1.0, 0.95, 0.9]),
            (Limit::Beyond(10.0), [f64::INFINITY, 10.0, 5.0]),
        ];
        for (limit, [worst, at, well]) in cases {
            for (value, health) in [(worst, 0.0), (at, 0.5), (well, 1.0)] {
                assert!((limit.health(value) - health).abs() < 1e-9, "{limit:?} {value}");
            }
        }
        assert_eq!(Limit::Below(0.0).health(0.0), 1.0);
    }

    #[test]
    fn a_record_survives_json_and_strangers_in_it_are_refused() {
        let diagnostic = of(&with(&[("useful_sparsity/001_relu", [0.99; 5])]), "useful_sparsity");
        let text = serde_json::to_string(&diagnostic).unwrap();
        assert_eq!(serde_json::from_str::<Diagnostic>(&text).unwrap(), diagnostic);
        assert!(serde_json::from_str::<Diagnostic>(&text.replace("\"status\"", "\"more\":1,\"status\"")).is_err());
        assert!(serde_json::from_str::<Diagnostic>(&text.replace("0.99", "null")).is_err());
    }
}
