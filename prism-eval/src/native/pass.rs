//! Forward and backward over a whole network, for one shard.
use super::{
    network::Network,
    operators::{Gradients, Saved, Shard},
};
use burn::tensor::Tensor;
use prism_core::{Error, Result};

/// What a forward pass leaves.
#[derive(Debug)]
pub(super) struct Forward {
    /// `[rows * positions, vocabulary]`.
    pub(super) logits: Tensor<2>,
    /// What the backward pass needs; empty when nothing was kept.
    pub(super) saved: Vec<Saved>,
    /// Mean square of [`Network::stream`]; 0 when nothing was kept.
    pub(super) mean_square: f64,
}

impl Network {
    /// Runs all steps; with `keep`, keeps what [`Network::backward`] needs.
    pub(super) fn forward(&self, shard: &Shard<'_>, keep: bool) -> Result<Forward> {
        self.forward_seen(shard, keep, |_, _, _| Ok(()))
    }

    /// The same, and lets somebody look at the value of every step.
    pub(super) fn forward_seen(
        &self,
        shard: &Shard<'_>,
        keep: bool,
        mut look: impl FnMut(usize, &Tensor<2>, &Saved) -> Result<()>,
    ) -> Result<Forward> {
        let steps = &self.graph().steps;
        let mut values: Vec<Option<Tensor<2>>> = vec![None; steps.len() + 1];
        let mut saved = Vec::with_capacity(if keep { steps.len() } else { 0 });
        let mut mean_square = 0.0;
        for (index, step) in steps.iter().enumerate() {
            let mut inputs = Vec::with_capacity(step.inputs.len());
            for (place, value) in step.inputs.iter().enumerate().filter(|(_, value)| value.0 > 0) {
                let slot = values.get_mut(value.0 as usize);
                let value = slot.and_then(|slot| if self.is_last(index, place) { slot.take() } else { slot.clone() });
                inputs.push(value.ok_or_else(|| Error::bug(format!("step {index} reads a value that is gone")))?);
            }
            let (value, kept) = shard.value(index, &step.op, inputs)?;
            look(index, &value, &kept)?;
            if keep {
                saved.push(kept);
                if self.stream().0 as usize == index + 1 {
                    mean_square = value.clone().square().mean().into_scalar::<f32>().into();
                }
            }
            if let Some(slot) = values.get_mut(index + 1) {
                *slot = Some(value);
            }
        }
        let logits = values.get_mut(self.graph().output.0 as usize).and_then(Option::take);
        let logits = logits.ok_or_else(|| Error::bug("graph has no output value"))?;
        Ok(Forward { logits, saved, mean_square })
    }

    /// The gradients of all weights, from that of the logits.
    pub(super) fn backward(&self, shard: &Shard<'_>, mut saved: Vec<Saved>, logits: Tensor<2>) -> Result<Gradients> {
        let steps = &self.graph().steps;
        let mut weights = Gradients::none(shard.weights.len());
        let mut values: Vec<Option<Tensor<2>>> = vec![None; steps.len() + 1];
        if let Some(slot) = values.get_mut(self.graph().output.0 as usize) {
            *slot = Some(logits);
        }
        for (index, step) in steps.iter().enumerate().rev() {
            let kept = saved.pop().ok_or_else(|| Error::bug(format!("step {index} kept nothing")))?;
            // A value that the output does not depend on has no gradient.
            let Some(gradient) = values.get_mut(index + 1).and_then(Option::take) else { continue };
            let inputs = shard.gradients(index, &step.op, kept, gradient, &mut weights)?;
            for (value, gradient) in step.inputs.iter().filter(|value| value.0 > 0).zip(inputs) {
                if let Some(slot) = values.get_mut(value.0 as usize) {
                    *slot = Some(match slot.take() {
                        Some(sum) => sum.add(gradient),
                        None => gradient,
                    });
                }
            }
        }
        Ok(weights)
    }
}
