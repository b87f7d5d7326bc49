//! What an advantage costs in compute and in size.
use super::{Pair, Read, counted, of_advantage};
use crate::score::pairing::{Measured, mean_bits_per_byte};
use prism_core::{Evidence, Finite, evidence::Estimate};

/// Exponent of loss over parameters, `L ∝ N^-0.076` (Kaplan et al. 2020, equation 1.1).
const PARAMETER_EXPONENT: f64 = 0.076;

/// The advantage at equal compute. A subject that spends `r` times the baseline's FLOPs per token is compared with a
/// baseline trained on `r` times the tokens, that is `slope · ln r` bits per byte further down its own learning curve.
/// `slope` is the least-squares fall of the baseline's bits per byte over `ln tokens` on the later half of its
/// points: the subject has no part in it.
pub(in crate::score) fn compute_efficiency(pair: &Pair<'_>) -> Read {
    let (subject, baseline) = pair.heads()?;
    let ratio = ratio(subject, baseline, &["flops_per_token"])?;
    let slope = learning_slope(baseline).ok_or("the baseline has too few points for a learning curve")?;
    at_equal_cost(pair, slope * ratio.ln())
}

/// The advantage at equal size: against a baseline of the subject's size, `0.076 · L · ln r` bits per byte better than
/// the measured one, with `L` the baseline's mean. Size is the snapshot that prediction needs, or else the parameters
/// that the host counted.
pub(in crate::score) fn parameter_efficiency(pair: &Pair<'_>) -> Read {
    let (subject, baseline) = pair.heads()?;
    let ratio = ratio(subject, baseline, &["snapshot_bytes", "parameters"])?;
    let mean = mean_bits_per_byte(baseline, Measured::Prequential).map_err(|error| error.to_string())?.mean.get();
    at_equal_cost(pair, PARAMETER_EXPONENT * mean.max(0.0) * ratio.ln())
}

/// `price` in bits per byte is taken from the advantage. A negative one (a cheaper subject) is given, but at most as
/// much again as the advantage: cheap and worse is no idea.
fn at_equal_cost(pair: &Pair<'_>, price: f64) -> Read {
    let earned = if price < 0.0 { (-price).min(counted(pair.unpriced, &pair.numbers).max(0.0)) } else { -price };
    let mean = Finite::new(pair.unpriced.mean.get() + earned).ok_or("numbers too large")?;
    of_advantage(Estimate { mean, ..pair.unpriced }, &pair.numbers)
}

/// Subject over baseline of the first counter that both have.
fn ratio(subject: &Evidence, baseline: &Evidence, names: &[&str]) -> Result<f64, String> {
    let both = names.iter().find_map(|name| {
        let of = |run: &Evidence| run.counters.get(*name).copied().filter(|count| *count > 0);
        Some(of(subject)? as f64 / of(baseline)? as f64)
    });
    both.ok_or_else(|| format!("no count of {} on both sides", names.join(" or ")))
}

/// Bits per byte gained per e-fold of tokens, not negative, over the later half of the points after the start.
fn learning_slope(run: &Evidence) -> Option<f64> {
    let curve: Vec<(f64, f64)> = run
        .points
        .iter()
        .filter(|point| point.tokens > 0)
        .filter_map(|point| Some(((point.tokens as f64).ln(), point.bits_per_byte()?.get())))
        .collect();
    let later = curve.get(curve.len().saturating_sub(curve.len().div_ceil(2).max(3))..)?;
    if later.len() < 3 {
        return None;
    }
    let count = later.len() as f64;
    let (x, y) = later.iter().fold((0.0, 0.0), |(x, y), (tokens, bits)| (x + tokens / count, y + bits / count));
    let (over, under) = later.iter().fold((0.0, 0.0), |(over, under), (tokens, bits)| {
        (over + (tokens - x) * (bits - y), under + (tokens - x) * (tokens - x))
    });
    Some((-over / under).max(0.0)).filter(|slope| slope.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::ScoreNumbers,
        score::fixture::{run, with_points},
    };

    /// Falls by half a bit with each doubling of tokens: 0.5 / ln 2 per e-fold.
    const CURVE: [&[f64]; 5] = [&[8.0, 8.0], &[5.0, 5.0], &[4.5, 4.5], &[4.0, 4.0], &[3.5, 3.5]];

    fn value(saved: f64, flops: u64, bytes: u64, read: fn(&Pair<'_>) -> Read) -> f64 {
        let mut baseline = with_points(&run("baseline"), &CURVE);
        for (point, tokens) in baseline.points.iter_mut().zip([0, 1000, 2000, 4000, 8000]) {
            point.tokens = tokens;
        }
        let mut subject = baseline.clone();
        for bits in subject.points.iter_mut().flat_map(|point| &mut point.row_bits) {
            *bits = Finite::new(bits.get() - 8.0 * saved).unwrap();
        }
        baseline.counters = [("flops_per_token".to_owned(), 100), ("snapshot_bytes".to_owned(), 100)].into();
        subject.counters = [("flops_per_token".to_owned(), flops), ("snapshot_bytes".to_owned(), bytes)].into();
        let scale = Finite::new(4.0).unwrap();
        let numbers = ScoreNumbers { seed_deviation: Finite::ZERO, scale, ..ScoreNumbers::default() };
        read(&Pair::of(vec![&subject], vec![&baseline], numbers).unwrap()).unwrap().value.get()
    }

    /// The advantage that a value stands for, at a scale of 4 bits.
    fn bits(value: f64) -> f64 {
        (value - 0.5) * 8.0
    }

    #[test]
    fn twice_the_compute_costs_what_a_doubling_of_tokens_gives_the_baseline() {
        assert!((bits(value(0.8, 200, 100, compute_efficiency)) - 0.3).abs() < 1e-9);
        assert!((bits(value(0.8, 400, 100, compute_efficiency)) + 0.2).abs() < 1e-9);
        assert_eq!(value(0.0, 100, 100, compute_efficiency), 0.5);
    }

    #[test]
    fn a_cheaper_subject_is_given_at_most_its_advantage_again() {
        assert!((bits(value(0.8, 50, 100, compute_efficiency)) - 1.3).abs() < 1e-9);
        assert!((bits(value(0.1, 1, 100, compute_efficiency)) - 0.2).abs() < 1e-9);
        assert_eq!(value(0.0, 1, 100, compute_efficiency), 0.5);
        assert!((bits(value(-0.8, 1, 100, compute_efficiency)) + 0.8).abs() < 1e-9);
    }

    #[test]
    fn size_is_priced_by_the_published_exponent() {
        // The baseline's mean is 5 bits per byte.
        let price = 0.076 * 5.0 * 2f64.ln();
        assert!((bits(value(0.8, 100, 200, parameter_efficiency)) - (0.8 - price)).abs() < 1e-9);
        assert!((bits(value(0.8, 100, 50, parameter_efficiency)) - (0.8 + price)).abs() < 1e-9);
    }

    #[test]
    fn without_counts_or_a_curve_there_is_no_reading() {
        let subject = run("subject");
        let pair = Pair::of(vec![&subject], vec![&subject], ScoreNumbers::default()).unwrap();
        let mut bare = subject.clone();
        bare.counters.clear();
        let bare_pair = Pair { subject: vec![&bare], ..pair.clone() };
        assert_eq!(
            parameter_efficiency(&bare_pair).unwrap_err(),
            "no count of snapshot_bytes or parameters on both sides"
        );
        let mut short = subject.clone();
        short.points.truncate(2);
        assert!(compute_efficiency(&Pair { baseline: vec![&short], ..pair }).is_err());
    }
}
