//! Shares to the chain's 16-bit weights, exactly as the official SDK computes them.

/// Keeps a sum from being zero where it divides (bittensor, utils/weight_utils.py: `normalize_max_weight`).
const EPSILON: f64 = 1e-7;

/// `round_half_even(share / max(share) * 65535)`, in the order of the input (bittensor 11, `normalize`). All zero for
/// an input without a positive share.
#[must_use]
pub fn quantize(shares: &[f64]) -> Vec<u16> {
    let max = shares.iter().copied().fold(0.0, f64::max);
    if !(max > 0.0 && max.is_finite()) {
        return vec![0; shares.len()];
    }
    // The product is within 0..=65535, so the cast is exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    shares.iter().map(|share| (share / max * f64::from(u16::MAX)).round_ties_even() as u16).collect()
}

/// Shares of which none is more than `limit` of their sum, where that can be; they sum to 1. What is above a common
/// cutoff is cut to it, and the rest grows in proportion (bittensor 11, `clip_to_max_weight`).
#[must_use]
pub fn clip_to_max_weight(shares: &[f64], limit: f64) -> Vec<f64> {
    // The figures of a subnet are far below 2^52, so that counts are exact as f64.
    #[allow(clippy::cast_precision_loss)]
    let count = |n: usize| n as f64;
    let n = count(shares.len());
    let sum: f64 = shares.iter().sum();
    if sum <= 0.0 || n * limit <= 1.0 {
        return vec![1.0 / n; shares.len()];
    }
    let normal: Vec<f64> = shares.iter().map(|share| share / sum).collect();
    if normal.iter().copied().fold(0.0, f64::max) <= limit {
        return normal;
    }
    let mut sorted = normal;
    sorted.sort_by(f64::total_cmp);
    let mut below = 0.0;
    let mut kept = 0_usize;
    let mut kept_sum = 0.0;
    for (i, share) in sorted.iter().enumerate() {
        below += share;
        let above = count(sorted.len() - i - 1) * share;
        if share / (above + below + EPSILON) < limit {
            kept += 1;
        }
    }
    for share in sorted.iter().take(kept) {
        kept_sum += share;
    }
    let cutoff = (limit * kept_sum - EPSILON) / (1.0 - limit * count(sorted.len() - kept)) * sum;
    let cut: Vec<f64> = shares.iter().map(|share| share.min(cutoff)).collect();
    let sum: f64 = cut.iter().sum();
    cut.into_iter().map(|share| share / sum).collect()
}

/// What the chain makes of a vector: the largest becomes 65535 (subtensor, epoch/math.rs:
/// `vec_u16_max_upscale_to_u16`, in I32F32). A vector that [`quantize`] made stays as it is.
#[must_use]
pub fn max_upscale(weights: &[u16]) -> Vec<u16> {
    const ONE: u64 = 1 << 32;
    const HALF: u64 = 1 << 31;
    let Some(max) = weights.iter().copied().max().filter(|max| *max > 0) else { return weights.to_vec() };
    let (top, max) = (u64::from(u16::MAX), u64::from(max));
    let scale = |weight: u16| {
        let scaled = if max > u64::from(u16::MAX / 2 + 1) {
            u64::from(weight) * (top * ONE / max)
        } else {
            u64::from(weight) * top * ONE / max
        };
        u16::try_from((scaled + HALF) / ONE).unwrap_or(u16::MAX)
    };
    weights.iter().map(|weight| scale(*weight)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by running bittensor 11.3.0 and 10.5.0.
    #[test]
    fn vectors_of_the_official_sdk() {
        assert_eq!(quantize(&[0.1, 0.2, 0.3, 0.4]), [16384, 32768, 49151, 65535]);
        assert_eq!(quantize(&[1.0, 0.5, 0.0, 1e-6]), [65535, 32768, 0, 0]);
        assert_eq!(quantize(&[3.0, 2.0]), [65535, 43690]);
        assert_eq!(quantize(&[0.333_333, 0.333_333, 0.333_334]), [65535, 65535, 65535]);
        let (half, one_and_a_half) = (7.629_510_948_348_211e-6, 2.288_853_284_504_463_3e-5);
        assert_eq!(quantize(&[half, one_and_a_half, 1.0]), [0, 2, 65535]);
        assert_eq!(quantize(&[0.0, 0.0]), [0, 0]);
        assert_eq!(quantize(&[]), [0_u16; 0]);
    }

    /// Made by running bittensor 11.3.0.
    #[test]
    fn clipped_vectors_of_the_official_sdk() {
        let clip = |shares: &[f64], limit| quantize(&clip_to_max_weight(shares, limit));
        assert_eq!(clip(&[10.0, 1.0, 1.0, 1.0], 0.3), [65535, 50972, 50972, 50972]);
        assert_eq!(clip(&[0.7, 0.2, 0.1], 0.4), [65535, 65535, 32768]);
        assert_eq!(clip(&[5.0, 3.0, 2.0], 0.2), [65535, 65535, 65535]);
        assert_eq!(clip(&[0.9, 0.05, 0.03, 0.02], 0.5), [65535, 32768, 19661, 13107]);
    }

    #[test]
    fn the_chain_scales_the_largest_to_the_top() {
        assert_eq!(max_upscale(&[1, 2]), [32768, 65535]);
        assert_eq!(max_upscale(&[40_000, 20_000, 0]), [65535, 32767, 0]);
        assert_eq!(max_upscale(&[0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn a_quantized_vector_is_as_the_chain_stores_it(shares in prop::collection::vec(0.0_f64..1.0, 1..64)) {
            let weights = quantize(&shares);
            prop_assert_eq!(max_upscale(&weights), weights);
        }

        #[test]
        fn no_share_is_above_the_limit_after_clipping(
            shares in prop::collection::vec(0.0_f64..1.0, 2..64), limit in 0.05_f64..1.0,
        ) {
            prop_assume!(shares.iter().any(|share| *share > 1e-3));
            let clipped = clip_to_max_weight(&shares, limit);
            let sum: f64 = clipped.iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            let most = limit.max(1.0 / shares.len() as f64);
            prop_assert!(clipped.iter().all(|share| *share <= most + 1e-6), "{clipped:?}");
        }
    }
}
