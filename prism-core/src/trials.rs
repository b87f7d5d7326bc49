//! What a threshold has to become when somebody may try more than once.
use crate::finite::Finite;

/// `z` standard errors for one try, as the threshold for the best of `trials`: the chance that luck alone passes stays
/// what it is for one.
///
/// Šidák 1967: a one-sided chance `a` for one try is `1 - (1 - a)^(1 / trials)` for each of several, exact where they are
/// independent and too strict where they are not. Two standard errors become 2.83 for ten tries, 3.50 for a hundred, 4.07 for
/// a thousand. No tries at all count as one.
#[must_use]
pub fn corrected_z(z: Finite, trials: u32) -> Finite {
    if trials < 2 {
        return z;
    }
    let least = ln_tail(z.get());
    // ln(1 - (1 - a)^(1/n)), without the loss of 1 - something close to 1.
    let wanted = (-((-least.exp()).ln_1p() / f64::from(trials)).exp_m1()).ln();
    if !wanted.is_finite() {
        return z;
    }
    // Newton on the logarithm of the tail, which is concave: one step past the root, and from there down to it.
    let mut at = z.get();
    for _ in 0..32 {
        let tail = ln_tail(at);
        // The slope is -density / tail.
        let step = (tail - wanted) * (tail - ln_density(at)).exp();
        at += step;
        if step.abs() <= 1e-13 * at.abs().max(1.0) {
            break;
        }
    }
    Finite::new(at).map_or(z, |corrected| corrected.max(z))
}

fn ln_density(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln()
}

/// Natural logarithm of the standard normal's upper tail. Below 3 by the series of the lower half (Marsaglia 2004), from
/// there on by the continued fraction `z + 1/(z + 2/(z + 3/(..)))` (Abramowitz and Stegun 26.2.14).
fn ln_tail(z: f64) -> f64 {
    if z < 3.0 {
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term.abs() > 1e-18 * sum.abs() && odd < 400.0 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return (0.5 - sum * ln_density(z).exp()).ln();
    }
    let fraction = (1..=200).rev().fold(z, |below, n| z + f64::from(n) / below);
    ln_density(z) - fraction.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corrected(z: f64, trials: u32) -> f64 {
        corrected_z(Finite::new(z).unwrap(), trials).get()
    }

    /// By bisection of C's `erfc`, with `expm1` and `log1p` for the chance; Python's `statistics.NormalDist` agrees.
    #[test]
    fn golden_values() {
        for (z, trials, expected) in GOLDEN {
            assert!((corrected(z, trials) - expected).abs() < 1e-8, "{z} {trials}: {}", corrected(z, trials));
        }
    }

    #[test]
    fn one_try_changes_nothing_and_none_counts_as_one() {
        for z in [0.0, 0.5, 2.0, 3.0, 10.0] {
            assert_eq!((corrected(z, 0), corrected(z, 1)), (z, z));
        }
    }

    proptest! {
        #[test]
        fn more_tries_never_lower_the_threshold(z in 0.0f64..10.0, few in 1u32..1000, more in 0u32..1_000_000) {
            let (low, high) = (corrected(z, few), corrected(z, few + more));
            prop_assert!(z <= low && low <= high + 1e-9, "{} {} {}", z, low, high);
        }
    }

    const GOLDEN: [(f64, u32, f64); 9] = [
        (2.0, 2, 2.275415487303),
        (2.0, 10, 2.833975198209),
        (2.0, 100, 3.502909825166),
        (2.0, 1000, 4.074944668330),
        (2.0, 1000000, 5.466017784149),
        (0.0, 10, 1.498767275359),
        (1.0, 7, 1.970735448522),
        (3.0, 50, 4.037466017200),
        (6.0, 1000, 7.036366493641),
    ];
}
