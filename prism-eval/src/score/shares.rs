//! What each component is worth within its track, and what becomes of one without evidence.
use super::components::Read;
use prism_core::{
    Finite,
    evidence::Estimate,
    score::{Component, TrackScore},
};

/// The architecture track's components with their shares.
pub const ARCHITECTURE_SHARES: [(&str, f64); 7] = [
    ("learning_and_scaling_dynamics", 0.35),
    ("standardized_lm_quality", 0.20),
    ("compute_efficiency", 0.15),
    ("parameter_efficiency", 0.10),
    ("diagnostics_health", 0.10),
    ("robustness", 0.05),
    ("benchmark_sanity", 0.05),
];

/// The training track's components with their shares.
pub const TRAINING_SHARES: [(&str, f64); 7] = [
    ("normalized_heldout_improvement", 0.30),
    ("learning_stability", 0.25),
    ("benchmark_sanity", 0.15),
    ("compute_efficiency", 0.10),
    ("reproducibility", 0.10),
    ("robustness", 0.05),
    ("artifact_completeness", 0.05),
];

/// A track's quality: the sum of values times shares. The share of a component without evidence goes to the others in
/// proportion, and a reason names it.
///
/// The standard error is the sum of the components' own: they come from the same runs, so they err together.
pub(super) fn weigh(
    track: &str,
    shares: [(&str, f64); 7],
    reads: [Read; 7],
    advantage: Estimate,
    reasons: &mut Vec<String>,
) -> Option<TrackScore> {
    let mut readings = Vec::new();
    for ((name, share), read) in shares.into_iter().zip(reads) {
        match read {
            Ok(reading) => readings.push((name, share, reading)),
            Err(why) => reasons.push(format!("{} ({why}); its share goes to the others", not_measured(track, name))),
        }
    }
    let there: f64 = readings.iter().map(|(_, share, _)| share).sum();
    // Around one half, so that the baseline itself is one half to the last bit.
    let mut quality = 0.5;
    let mut components = std::collections::BTreeMap::new();
    for (name, share, reading) in readings {
        let share = share / there;
        quality += share * (reading.value.get() - 0.5);
        let component =
            Component { value: reading.value, share: Finite::new(share)?, standard_error: reading.standard_error };
        components.insert(name.to_owned(), component);
    }
    let quality = Finite::new(quality)?.clamp(Finite::ZERO, Finite::ONE);
    Some(TrackScore { quality, advantage, components }).filter(|score| !score.components.is_empty())
}

/// How a reason begins that names a component without evidence.
pub(crate) fn not_measured(track: &str, name: &str) -> String {
    format!("{track}: {name} is not measured")
}

/// Standard error of a track's quality.
pub(super) fn standard_error(score: &TrackScore) -> f64 {
    score.components.values().map(|component| component.share.get() * component.standard_error.get()).sum()
}

#[cfg(test)]
mod tests {
    use super::{super::components::Reading, *};
    use crate::policy::{ArchitectureShares, TrainingShares};

    fn half() -> Read {
        let finite = |value| Finite::new(value).unwrap();
        Ok(Reading { value: finite(0.5), standard_error: finite(0.1) })
    }

    #[test]
    fn shares_make_a_whole_and_benchmarks_are_never_the_main_signal() {
        for shares in [ARCHITECTURE_SHARES, TRAINING_SHARES] {
            let sum: f64 = shares.iter().map(|(_, share)| share).sum();
            assert!((sum - 1.0).abs() < 1e-12);
            let most = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
            let (_, sanity) = shares.iter().find(|(name, _)| *name == "benchmark_sanity").unwrap();
            assert!(sanity < &most && *sanity <= 0.15);
        }
    }

    #[test]
    fn a_policy_without_rows_has_the_published_shares() {
        assert_eq!(ArchitectureShares::default().list(), ARCHITECTURE_SHARES);
        assert_eq!(TrainingShares::default().list(), TRAINING_SHARES);
    }

    #[test]
    fn the_share_of_a_component_without_evidence_goes_to_the_others_in_proportion() {
        let zero = Estimate { mean: Finite::ZERO, standard_error: Finite::ZERO };
        let one = Ok(Reading { value: Finite::ONE, standard_error: Finite::ZERO });
        let missing = || Err("no benchmark ran".to_owned());
        let mut reasons = Vec::new();
        let reads = [one, half(), half(), half(), half(), missing(), missing()];
        let score = weigh("architecture", ARCHITECTURE_SHARES, reads, zero, &mut reasons).unwrap();
        let first = 0.35 / 0.9;
        assert!((score.components["learning_and_scaling_dynamics"].share.get() - first).abs() < 1e-12);
        assert!((score.quality.get() - (first + 0.5 * (1.0 - first))).abs() < 1e-12);
        assert!((standard_error(&score) - 0.1 * (1.0 - first)).abs() < 1e-12);
        assert_eq!(
            reasons[1],
            "architecture: benchmark_sanity is not measured (no benchmark ran); its share goes to the others"
        );
        let nothing = std::array::from_fn(|_| missing());
        assert_eq!(weigh("architecture", ARCHITECTURE_SHARES, nothing, zero, &mut reasons), None);
    }
}
