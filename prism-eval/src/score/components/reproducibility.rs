//! Whether the result comes back under another seed.
use super::{Pair, Read};
use crate::score::pairing::{Measured, deviation_over_seeds};

/// A smaller deviation over seeds than the baseline's: `1/2 + 1/2 · clamp((baseline's - subject's) / (scale / 10), -1,
/// 1)` over the runs' mean prequential bits per byte, above one half only with an advantage in bits.
pub(in crate::score) fn reproducibility(pair: &Pair<'_>) -> Read {
    let deviation = |runs: &[_]| {
        let deviation = deviation_over_seeds(runs, Measured::Prequential);
        deviation.map(prism_core::Finite::get).map_err(|error| format!("{error} on one side"))
    };
    let (subject, baseline) = (deviation(&pair.subject)?, deviation(&pair.baseline)?);
    let scale = pair.numbers.scale.get() / 10.0;
    pair.gated(0.5 + 0.5 * ((baseline - subject) / scale).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::ScoreNumbers,
        score::fixture::{run, with_points},
    };
    use prism_core::Evidence;

    fn runs(means: [f64; 3]) -> [Evidence; 3] {
        means.map(|mean| with_points(&run("any"), &[&[mean, mean]]))
    }

    #[test]
    fn a_steadier_recipe_wins_if_it_is_better_and_fewer_seeds_say_nothing() {
        let (steady, shaky) = (runs([3.0, 3.0, 3.0]), runs([3.99, 4.0, 4.01]));
        let pair = |subject: &'static str| {
            let (s, b) = if subject == "steady" { (&steady, &shaky) } else { (&shaky, &steady) };
            Pair::of(s.iter().collect(), b.iter().collect(), ScoreNumbers::default()).unwrap()
        };
        // Deviation 0.01 against a scale of 0.025.
        assert!((reproducibility(&pair("steady")).unwrap().value.get() - 0.7).abs() < 1e-9);
        assert!((reproducibility(&pair("shaky")).unwrap().value.get() - 0.3).abs() < 1e-9);
        let two = Pair { subject: steady.iter().take(2).collect(), ..pair("steady") };
        assert_eq!(reproducibility(&two).unwrap_err(), "fewer than three seeds on one side");
    }
}
