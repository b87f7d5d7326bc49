//! Whether the result comes back under another seed.
use super::{Pair, Read};
use crate::score::pairing::{Measured, mean_bits_per_byte};
use prism_core::Evidence;

/// Fewest runs whose deviation is worth comparing.
const RUNS: usize = 3;

/// A smaller deviation over seeds than the baseline's: `1/2 + 1/2 · clamp((baseline's - subject's) / (scale / 10), -1,
/// 1)` over the runs' mean prequential bits per byte, above one half only with an advantage in bits.
pub(in crate::score) fn reproducibility(pair: &Pair<'_>) -> Read {
    let (subject, baseline) = (deviation(&pair.subject)?, deviation(&pair.baseline)?);
    let scale = pair.numbers.scale.get() / 10.0;
    pair.gated(0.5 + 0.5 * ((baseline - subject) / scale).clamp(-1.0, 1.0))
}

fn deviation(runs: &[&Evidence]) -> Result<f64, String> {
    if runs.len() < RUNS {
        return Err("fewer than three seeds on one side".into());
    }
    let means = runs
        .iter()
        .map(|run| mean_bits_per_byte(run, Measured::Prequential).map(|estimate| estimate.mean.get()))
        .collect::<Result<Vec<f64>, _>>()
        .map_err(|error| error.to_string())?;
    let count = means.len() as f64;
    let center = means.iter().sum::<f64>() / count;
    Ok((means.iter().map(|mean| (mean - center) * (mean - center)).sum::<f64>() / (count - 1.0)).sqrt())
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
