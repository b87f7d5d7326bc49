//! Cross-entropy over logits, on the host: the numbers that count are made by these lines and no backend's.
use burn::tensor::{Tensor, TensorData};

/// Additions to the mean cross-entropy, as plain numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Additions {
    /// Weight of `log(Z)²`.
    pub(super) z_loss: f64,
    /// Mass spread over all tokens.
    pub(super) label_smoothing: f64,
}

/// `log(sum(exp(row - max)))` and `max`: exponentials in `f32`, their sum in `f64`, in order. The two are never added:
/// where logits are huge their sum would absorb the logarithm, and a constant would predict everything for nothing.
fn log_sum(row: &[f32]) -> (f64, f64) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|x| f64::from((x - max).exp())).sum();
    (sum.ln(), f64::from(max))
}

fn target_logit(row: &[f32], target: u32) -> f64 {
    row.get(target as usize).map_or(f64::NAN, |x| f64::from(*x))
}

/// Negative log-likelihood of each row's target, in nats; NaN where the target is no column.
pub(super) fn negative_log_likelihoods(logits: &[f32], columns: usize, targets: &[u32]) -> Vec<f64> {
    let rows = logits.chunks_exact(columns.max(1)).zip(targets);
    rows.map(|(row, target)| {
        let (rest, max) = log_sum(row);
        rest + (max - target_logit(row, *target))
    })
    .collect()
}

/// Sum of the negative log-likelihoods (nats, without additions), and the gradient of `scale` times the sum of all
/// losses, in place of the logits `[targets, vocabulary]`. `None` when the logits are not `f32` on the host.
pub(super) fn cross_entropy(
    logits: Tensor<2>,
    targets: &[u32],
    additions: Additions,
    scale: f64,
) -> Option<(f64, Tensor<2>)> {
    let device = logits.device();
    let columns = logits.dims()[1];
    let mut data: TensorData = logits.into_data();
    let values = data.as_mut_slice::<f32>().ok()?;
    let mut total = 0.0;
    #[allow(clippy::cast_precision_loss)]
    let spread = additions.label_smoothing / columns as f64;
    for (row, target) in values.chunks_exact_mut(columns.max(1)).zip(targets) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let at_target = target_logit(row, *target);
        let mut sum = 0.0;
        for x in row.iter_mut() {
            *x = (*x - max).exp();
            sum += f64::from(*x);
        }
        let log_z = sum.ln() + f64::from(max);
        total += sum.ln() + (f64::from(max) - at_target);
        // d log_z / dx is the softmax p: cross-entropy gives p - target mass, z-loss gives 2 z log_z p.
        let weight = scale * (1.0 + 2.0 * additions.z_loss * log_z) / sum;
        let offset = scale * spread;
        #[allow(clippy::cast_possible_truncation)]
        let (weight, offset) = (weight as f32, offset as f32);
        for x in row.iter_mut() {
            *x = *x * weight - offset;
        }
        if let Some(x) = row.get_mut(*target as usize) {
            #[allow(clippy::cast_possible_truncation)]
            let mass = (scale * (1.0 - additions.label_smoothing)) as f32;
            *x -= mass;
        }
    }
    Some((total, Tensor::from_data(data, &device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_vocabulary_however_large_they_are() {
        for exponent in [0, 20, 54, 60, 100] {
            let logits = [2f32.powi(exponent); 256];
            let nats = negative_log_likelihoods(&logits, 256, &[7]);
            assert!((nats[0] - 256f64.ln()).abs() < 1e-6, "2^{exponent}: {nats:?}");
            let tensor = Tensor::<2>::from_data(TensorData::new(logits.to_vec(), [1, 256]), &Default::default());
            let (total, _) = cross_entropy(tensor, &[7], Additions::default(), 1.0).unwrap();
            assert!((total - 256f64.ln()).abs() < 1e-6, "2^{exponent}: {total}");
        }
    }
}
