//! Formulas over the values of one layer, `[positions, width]` row-major, and over the gradients of a batch.

/// Entropy of the shares that units have in `Σ abs(a)` at a position, over `ln width`, averaged over positions: 0 where one
/// unit (or none) carries everything, 1 where all carry alike. `None` for fewer than two units or no position.
pub(crate) fn activation_entropy(values: &[f32], width: usize) -> Option<f64> {
    if width < 2 {
        return None;
    }
    let entropies = values.chunks_exact(width).map(|position| {
        let sum: f64 = position.iter().map(|value| f64::from(value.abs())).sum();
        if sum == 0.0 { 0.0 } else { entropy(position.iter().map(|value| f64::from(value.abs()) / sum)) }
    });
    Some(mean(entropies)? / (width as f64).ln())
}

/// Fraction of values within a millionth of zero: 0 to 1.
pub(crate) fn sparsity(values: &[f32]) -> Option<f64> {
    mean(values.iter().map(|value| if value.abs() <= 1e-6 { 1.0 } else { 0.0 }))
}

/// Standard deviation over mean of the units' usage, which is their mean `abs(a)`: 0 where all units are used alike, larger
/// the more they differ. Units of a dead layer are all used alike. `None` for fewer than two units or no position.
pub(crate) fn specialization(values: &[f32], width: usize) -> Option<f64> {
    if width < 2 || values.len() < width {
        return None;
    }
    let mut usage = vec![0.0; width];
    for position in values.chunks_exact(width) {
        for (usage, value) in usage.iter_mut().zip(position) {
            *usage += f64::from(value.abs());
        }
    }
    let center = mean(usage.iter().copied())?;
    let variance = mean(usage.iter().map(|usage| (usage - center) * (usage - center)))?;
    Some(if center > 0.0 { variance.sqrt() / center } else { 0.0 })
}

/// Mean `abs(cos)` between the values at different positions: 0 where all are at right angles, 1 where all lie on one
/// line. Positions whose values are all zero have no direction and are left out; with fewer than two others left, all are
/// alike. `None` for fewer than two positions.
pub(crate) fn collapse(values: &[f32], width: usize) -> Option<f64> {
    let width = width.max(1);
    if values.len() / width < 2 {
        return None;
    }
    let length = |position: &[f32]| position.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let directed = values.chunks_exact(width).map(|position| (position, length(position)));
    let directed: Vec<(&[f32], f64)> = directed.filter(|(_, length)| *length > 0.0).collect();
    let pairs = directed.iter().enumerate().flat_map(|(index, a)| directed.iter().skip(index + 1).map(move |b| (a, b)));
    let cosines = pairs.map(|((a, of_a), (b, of_b))| {
        let product: f64 = a.iter().zip(*b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        (product / (of_a * of_b)).abs().min(1.0)
    });
    Some(mean(cosines).unwrap_or(1.0))
}

/// Root mean square of all values.
pub(crate) fn norm(values: &[f32]) -> Option<f64> {
    Some(mean(values.iter().map(|value| f64::from(*value) * f64::from(*value)))?.sqrt())
}

/// Entropy of each query's attention over `ln` of the keys that it sees, averaged: 0 where every query looks at one place,
/// 1 where at all alike. `probabilities` are `[queries, positions]` with the queries of each head in order of position, of
/// which every `stride`th is read; the first position of a row has one key and no choice.
pub(crate) fn attention_diversity(probabilities: &[f32], positions: usize, stride: usize) -> Option<f64> {
    let queries = probabilities.chunks_exact(positions.max(1)).enumerate();
    let chosen = queries.map(|(query, keys)| (query % positions.max(1), keys));
    let chosen = chosen.filter(|(position, _)| *position > 0 && position % stride.max(1) == 0);
    mean(chosen.map(|(position, keys)| {
        let seen = keys.iter().take(position + 1).map(|share| f64::from(*share));
        entropy(seen) / ((position + 1) as f64).ln()
    }))
}

/// Noise and signal of a gradient from those of `count` equal parts of a batch, by `Σ abs(g)²` and `abs(Σ g)²`:
/// the trace of one part's covariance, and the square of the true gradient, both unbiased, so that the second may be
/// negative. Their ratio is the noise scale in parts: the batch at which noise and signal are equal (McCandlish et al. 2018,
/// equation 2.9 and appendix A.1, with one part as the small batch and all as the large). `None` for fewer than two parts.
pub(crate) fn gradient_noise(count: usize, sum_of_squares: f64, square_of_sum: f64) -> Option<(f64, f64)> {
    if count < 2 {
        return None;
    }
    let n = count as f64;
    let of_mean = square_of_sum / (n * n);
    let noise = ((sum_of_squares - n * of_mean) / (n - 1.0)).max(0.0);
    Some((noise, of_mean - noise / n))
}

/// In nats.
fn entropy(shares: impl Iterator<Item = f64>) -> f64 {
    -shares.filter(|share| *share > 0.0).map(|share| share * share.ln()).sum::<f64>()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: Option<f64>, expected: f64) {
        let value = value.unwrap();
        assert!((value - expected).abs() < 1e-6, "{value}, not {expected}");
    }

    #[test]
    fn entropy_is_one_where_units_carry_alike_and_zero_where_one_does() {
        near(activation_entropy(&[1.0, -1.0, 1.0, -1.0], 4), 1.0);
        near(activation_entropy(&[0.0, 0.0, -7.0, 0.0], 4), 0.0);
        // Half the mass on one unit, a quarter on two: 1.5 bits of 2.
        near(activation_entropy(&[2.0, -1.0, 1.0, 0.0], 4), 0.75);
        near(activation_entropy(&[0.0, 0.0, 1.0, 1.0], 2), 0.5);
        assert_eq!(activation_entropy(&[1.0], 1), None);
    }

    #[test]
    fn values_within_a_millionth_of_zero_are_sparse() {
        near(sparsity(&[0.0, 1e-6, -1e-7, 1e-5]), 0.75);
        assert_eq!(sparsity(&[]), None);
    }

    #[test]
    fn units_that_are_used_unlike_are_specialised() {
        near(specialization(&[1.0, -1.0, -1.0, 1.0], 2), 0.0);
        // Usages 1 and 3: deviation 1 over mean 2.
        near(specialization(&[1.0, -2.0, -1.0, 4.0], 2), 0.5);
        near(specialization(&[0.0; 4], 2), 0.0);
        assert_eq!(specialization(&[1.0], 2), None);
    }

    #[test]
    fn positions_on_one_line_have_collapsed() {
        near(collapse(&[1.0, 2.0, -2.0, -4.0], 2), 1.0);
        near(collapse(&[1.0, 0.0, 0.0, 3.0], 2), 0.0);
        // Angles of 45, 90 and 45 degrees.
        near(collapse(&[1.0, 0.0, 2.0, 2.0, 0.0, 5.0], 2), 2.0 * 0.5f64.sqrt() / 3.0);
        near(collapse(&[0.0; 4], 2), 1.0);
        assert_eq!(collapse(&[1.0, 0.0], 2), None);
    }

    #[test]
    fn the_norm_is_the_root_of_the_mean_square() {
        near(norm(&[3.0, -4.0, 0.0, 0.0]), 2.5);
    }

    #[test]
    fn attention_is_measured_against_the_keys_that_a_query_sees() {
        let alike = [1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0];
        near(attention_diversity(&alike, 3, 1), 1.0);
        let first = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        near(attention_diversity(&first, 3, 1), 0.0);
        // Two heads: the second query of one looks at both, that of the other at one.
        near(attention_diversity(&[1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.0, 1.0], 2, 1), 0.5);
        near(attention_diversity(&[1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 1.0, 0.0, 0.0], 3, 2), 0.0);
        assert_eq!(attention_diversity(&[1.0], 1, 1), None);
    }

    #[test]
    fn noise_and_signal_of_a_gradient_are_unbiased() {
        // Parts 1 and 3: variance 2, mean 2, of which 2 / 2 is noise.
        assert_eq!(gradient_noise(2, 10.0, 16.0), Some((2.0, 3.0)));
        assert_eq!(gradient_noise(1, 1.0, 1.0), None);
        // Draws of 0.5 with a deviation of 2, in batches of four.
        let mut draws = prism_core::Seed::of("test", &[b"noise"]).draws();
        let mut draw = || {
            let uniform: f64 = (0..12).map(|_| draws.below(1 << 32) as f64 / 4_294_967_296.0).sum();
            0.5 + 2.0 * (uniform - 6.0)
        };
        let (mut noise, mut signal) = (0.0, 0.0);
        for _ in 0..20_000 {
            let parts = [draw(), draw(), draw(), draw()];
            let sum: f64 = parts.iter().sum();
            let (n, s) = gradient_noise(4, parts.iter().map(|g| g * g).sum(), sum * sum).unwrap();
            (noise, signal) = (noise + n / 20_000.0, signal + s / 20_000.0);
        }
        assert!((noise - 4.0).abs() < 0.1 && (signal - 0.25).abs() < 0.05, "{noise} {signal}");
    }
}
