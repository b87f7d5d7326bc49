//! The weights of a network: drawn from the task's seed, read back as bytes.
use super::network::extent;
use crate::graph::resolved::{Init, ResolvedGraph, Weight};
use burn::tensor::{Device, Tensor, TensorData};
use prism_core::{Digest, Error, Result, Seed};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::f64::consts::TAU;

/// All weights before training, each from its own stream of `seed`: a weight's draws depend on its index and shape
/// alone. Vectors are kept as one row.
pub(super) fn draw(graph: &ResolvedGraph, seed: Seed, device: &Device) -> Result<Vec<Tensor<2>>> {
    let weights = graph.weights.iter().enumerate();
    weights.map(|(index, weight)| draw_one(weight, seed.stream(&format!("weight/{index}")), device)).collect()
}

fn draw_one(weight: &Weight, seed: Seed, device: &Device) -> Result<Tensor<2>> {
    let (rows, columns) = extent(weight).ok_or_else(|| Error::bug("weight without a shape"))?;
    let count = rows.checked_mul(columns).ok_or_else(|| Error::bug("weight too large to count"))?;
    let values = match weight.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::Normal { deviation } => normals(seed, count, deviation.get()),
    };
    Ok(Tensor::from_data(TensorData::new(values, [rows, columns]), device))
}

/// Normal draws around 0: Box and Muller 1958 over ChaCha20, in `f64`, rounded to `f32`.
fn normals(seed: Seed, count: usize, deviation: f64) -> Vec<f32> {
    let mut random = ChaCha20Rng::from_seed(seed.0.0);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // In (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - unit(random.next_u64())).ln()).sqrt() * deviation;
        let (sine, cosine) = (TAU * unit(random.next_u64())).sin_cos();
        #[allow(clippy::cast_possible_truncation)]
        values.extend([(radius * cosine) as f32, (radius * sine) as f32]);
    }
    values.truncate(count);
    values
}

/// The top 53 bits, in [0, 1).
#[allow(clippy::cast_precision_loss)]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Digest and size of the weights as little-endian `f32` in canonical order.
pub(super) fn digest(weights: &[Tensor<2>]) -> Result<(Digest, u64)> {
    let mut bytes = Vec::new();
    for weight in weights {
        let data = weight.to_data();
        let values = data.as_slice::<f32>().map_err(|e| Error::bug("weights are not f32").because(e))?;
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok((Digest::of(&bytes), bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_the_moments_of_their_distribution_and_repeat() {
        let seed = Seed::of("test", &[b"normals"]);
        let values = normals(seed, 40_001, 0.5);
        assert_eq!(values, normals(seed, 40_001, 0.5));
        assert_ne!(values[..100], normals(seed.stream("other"), 100, 0.5)[..]);
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|v| f64::from(*v).powi(power)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 0.25).abs() < 0.01, "{}", moment(2));
        assert!((moment(4) - 3.0 * 0.0625).abs() < 0.02, "{}", moment(4));
    }

    #[test]
    fn a_shorter_draw_is_the_beginning_of_a_longer_one() {
        let seed = Seed::of("test", &[b"prefix"]);
        assert_eq!(normals(seed, 7, 1.0)[..], normals(seed, 12, 1.0)[..7]);
    }
}
