//! The operators: each with its value and its gradients, over hidden values `[rows * positions, width]`.
use super::{
    attention::{self, Heads, Rotary, causal_mask},
    network::Network,
    recurrence,
};
use crate::graph::resolved::{Activation, Op, Positions, WeightId};
use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor, activation::sigmoid};
use prism_core::{Error, Result};
use std::collections::BTreeMap;

/// Tensors that depend on sizes alone: causal masks by number of grouped heads, rotation tables by step.
#[derive(Debug, Clone)]
pub(super) struct Constants {
    positions: usize,
    masks: BTreeMap<usize, Tensor<4, Bool>>,
    rotary: BTreeMap<usize, Rotary>,
}

impl Constants {
    pub(super) fn new(network: &Network, positions: usize, device: &Device) -> Self {
        let (mut masks, mut rotary) = (BTreeMap::new(), BTreeMap::new());
        for (index, step) in network.graph().steps.iter().enumerate() {
            let Op::Attention { heads, kv_heads, positions: order } = &step.op else { continue };
            let groups = (heads / kv_heads) as usize;
            masks.entry(groups).or_insert_with(|| causal_mask(groups, positions, device));
            if let (Positions::Rotary { base }, Some(query)) = (order, step.inputs.first()) {
                let half = network.width(*query) / *heads as usize / 2;
                rotary.insert(index, Rotary::new(positions, half, base.get(), device));
            }
        }
        Self { positions, masks, rotary }
    }

    /// For how many positions they are.
    pub(super) fn positions(&self) -> usize {
        self.positions
    }
}

/// What the operators of one shard share.
#[derive(Debug)]
pub(super) struct Shard<'a> {
    pub(super) weights: &'a [Tensor<2>],
    pub(super) constants: &'a Constants,
    pub(super) tokens: Tensor<1, Int>,
    pub(super) rows: usize,
    pub(super) positions: usize,
}

/// What an operator keeps for its gradients.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one per step and shard, moved by value once
pub(super) enum Saved {
    Nothing,
    Input(Tensor<2>),
    Pair(Tensor<2>, Tensor<2>),
    Recurrence(recurrence::Saved),
    Attention(Box<attention::Saved>),
}

/// Gradients of the weights, by index.
#[derive(Debug)]
pub(super) struct Gradients(Vec<Option<Tensor<2>>>);

impl Gradients {
    pub(super) fn none(weights: usize) -> Self {
        Self(vec![None; weights])
    }

    fn add(&mut self, id: WeightId, gradient: Tensor<2>) {
        if let Some(slot) = self.0.get_mut(id.0 as usize) {
            *slot = Some(match slot.take() {
                Some(sum) => sum.add(gradient),
                None => gradient,
            });
        }
    }

    /// The sum of two, weight by weight.
    #[must_use]
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = self.0.into_iter().zip(other.0).map(|pair| match pair {
            (Some(a), Some(b)) => Some(a.add(b)),
            (a, b) => a.or(b),
        });
        Self(sum.collect())
    }

    /// One per weight; `None` where the output does not depend on it.
    pub(super) fn each(&self) -> impl Iterator<Item = Option<&Tensor<2>>> {
        self.0.iter().map(Option::as_ref)
    }

    /// One per weight; `None` where the output does not depend on it.
    pub(super) fn into_inner(self) -> Vec<Option<Tensor<2>>> {
        self.0
    }
}

impl Shard<'_> {
    fn weight(&self, id: WeightId) -> Result<Tensor<2>> {
        let weight = self.weights.get(id.0 as usize);
        weight.cloned().ok_or_else(|| Error::bug(format!("graph names weight {} that is not there", id.0)))
    }

    fn heads(&self, heads: u32, kv_heads: u32) -> Heads {
        let (heads, kv_heads) = (heads as usize, kv_heads as usize);
        Heads { rows: self.rows, positions: self.positions, heads, kv_heads }
    }

    /// The value of a step. `x` holds its hidden inputs; tokens are the shard's own.
    pub(super) fn value(&self, index: usize, op: &Op, x: Vec<Tensor<2>>) -> Result<(Tensor<2>, Saved)> {
        let mut x = x.into_iter();
        let mut next = || x.next().ok_or_else(|| Error::bug(format!("step {index} lacks an input")));
        Ok(match op {
            Op::Embedding { table } => (self.weight(*table)?.select(0, self.tokens.clone()), Saved::Nothing),
            Op::LearnedPositions { table } => {
                let (x, table) = (next()?, self.weight(*table)?);
                let width = x.dims()[1];
                let table = table.narrow(0, 0, self.positions).reshape([1, self.positions, width]);
                let sum = x.reshape([self.rows, self.positions, width]).add(table);
                (sum.reshape([self.rows * self.positions, width]), Saved::Nothing)
            }
            Op::Linear { weight, bias, transposed } => {
                let (x, weight) = (next()?, self.weight(*weight)?);
                let weight = if *transposed { weight.transpose() } else { weight };
                let product = x.clone().matmul(weight);
                let sum = match bias {
                    Some(bias) => product.add(self.weight(*bias)?),
                    None => product,
                };
                (sum, Saved::Input(x))
            }
            Op::LayerNorm { gain, bias, epsilon } => {
                let x = next()?;
                let mean = x.clone().mean_dim(1);
                let (normal, inverse) = normalised(x.sub(mean), epsilon.get());
                let scaled = normal.clone().mul(self.weight(*gain)?);
                let sum = match bias {
                    Some(bias) => scaled.add(self.weight(*bias)?),
                    None => scaled,
                };
                (sum, Saved::Pair(normal, inverse))
            }
            Op::RmsNorm { gain, epsilon } => {
                let (normal, inverse) = normalised(next()?, epsilon.get());
                (normal.clone().mul(self.weight(*gain)?), Saved::Pair(normal, inverse))
            }
            Op::Attention { heads, kv_heads, .. } => {
                let qkv = [next()?, next()?, next()?];
                let mask = self.constants.masks.get(&((heads / kv_heads) as usize)).cloned();
                let mask = mask.ok_or_else(|| Error::bug(format!("step {index} lacks its causal mask")))?;
                let rotary = self.constants.rotary.get(&index);
                let (value, saved) = self.heads(*heads, *kv_heads).forward(qkv, mask, rotary);
                (value, Saved::Attention(Box::new(saved)))
            }
            Op::Add => (next()?.add(next()?), Saved::Nothing),
            Op::Multiply => {
                let (a, b) = (next()?, next()?);
                (a.clone().mul(b.clone()), Saved::Pair(a, b))
            }
            Op::Activation { function } => activate(*function, next()?),
            Op::Shift { by } => (self.shift(next()?, i64::from(*by)), Saved::Nothing),
            Op::Convolution { weight, bias } => {
                let x = next()?;
                let mut sum = None;
                for (back, tap) in (0i64..).zip(taps(self.weight(*weight)?)) {
                    let term = self.shift(x.clone(), back).mul(tap);
                    sum = Some(match sum {
                        Some(sum) => term.add(sum),
                        None => term,
                    });
                }
                let sum = sum.ok_or_else(|| Error::bug(format!("step {index} has a convolution without taps")))?;
                let sum = match bias {
                    Some(bias) => sum.add(self.weight(*bias)?),
                    None => sum,
                };
                (sum, Saved::Input(x))
            }
            Op::Recurrence => {
                let (gate, candidate) = (next()?, next()?);
                let (value, saved) = recurrence::forward(gate, candidate, self.rows, self.positions);
                (value, Saved::Recurrence(saved))
            }
        })
    }

    /// The gradients of a step's hidden inputs, in their order; those of its weights are added to `weights`.
    pub(super) fn gradients(
        &self,
        index: usize,
        op: &Op,
        saved: Saved,
        gradient: Tensor<2>,
        weights: &mut Gradients,
    ) -> Result<Vec<Tensor<2>>> {
        Ok(match (op, saved) {
            (Op::Embedding { table }, Saved::Nothing) => {
                let zeros = self.weight(*table)?.zeros_like();
                let sum = zeros.select_assign(0, self.tokens.clone(), gradient, IndexingUpdateOp::Add);
                weights.add(*table, sum);
                vec![]
            }
            (Op::LearnedPositions { table }, Saved::Nothing) => {
                let width = gradient.dims()[1];
                let sum = gradient.clone().reshape([self.rows, self.positions, width]).sum_dim(0);
                let sum = sum.reshape([self.positions, width]);
                let zeros = self.weight(*table)?.zeros_like();
                let whole = zeros.dims()[0] == self.positions;
                let sum = if whole { sum } else { zeros.slice_assign([0..self.positions, 0..width], sum) };
                weights.add(*table, sum);
                vec![gradient]
            }
            (Op::Linear { weight, bias, transposed }, Saved::Input(x)) => {
                if let Some(bias) = bias {
                    weights.add(*bias, gradient.clone().sum_dim(0));
                }
                let matrix = self.weight(*weight)?;
                let (of_weight, of_input) = if *transposed {
                    (gradient.clone().transpose().matmul(x), gradient.matmul(matrix))
                } else {
                    (x.transpose().matmul(gradient.clone()), gradient.matmul(matrix.transpose()))
                };
                weights.add(*weight, of_weight);
                vec![of_input]
            }
            (Op::LayerNorm { gain, bias, .. }, Saved::Pair(normal, inverse)) => {
                if let Some(bias) = bias {
                    weights.add(*bias, gradient.clone().sum_dim(0));
                }
                weights.add(*gain, gradient.clone().mul(normal.clone()).sum_dim(0));
                let scaled = gradient.mul(self.weight(*gain)?);
                let mean = scaled.clone().mean_dim(1);
                vec![of_normalised(scaled, normal, inverse.clone()).sub(mean.mul(inverse))]
            }
            (Op::RmsNorm { gain, .. }, Saved::Pair(normal, inverse)) => {
                weights.add(*gain, gradient.clone().mul(normal.clone()).sum_dim(0));
                vec![of_normalised(gradient.mul(self.weight(*gain)?), normal, inverse)]
            }
            (Op::Attention { heads, kv_heads, .. }, Saved::Attention(saved)) => {
                let rotary = self.constants.rotary.get(&index);
                self.heads(*heads, *kv_heads).backward(*saved, gradient, rotary).into()
            }
            (Op::Add, Saved::Nothing) => vec![gradient.clone(), gradient],
            (Op::Multiply, Saved::Pair(a, b)) => vec![gradient.clone().mul(b), gradient.mul(a)],
            (Op::Activation { function }, Saved::Pair(a, b)) => vec![of_activation(*function, a, b, gradient)],
            (Op::Shift { by }, Saved::Nothing) => vec![self.shift(gradient, -i64::from(*by))],
            (Op::Convolution { weight, bias }, Saved::Input(x)) => {
                if let Some(bias) = bias {
                    weights.add(*bias, gradient.clone().sum_dim(0));
                }
                let (mut of_taps, mut of_input) = (vec![], gradient.zeros_like());
                for (back, tap) in (0i64..).zip(taps(self.weight(*weight)?)) {
                    of_taps.push(self.shift(x.clone(), back).mul(gradient.clone()).sum_dim(0));
                    of_input = of_input.add(self.shift(gradient.clone().mul(tap), -back));
                }
                weights.add(*weight, Tensor::cat(of_taps, 0));
                vec![of_input]
            }
            (Op::Recurrence, Saved::Recurrence(saved)) => {
                recurrence::backward(saved, gradient, self.rows, self.positions).into()
            }
            _ => return Err(Error::bug(format!("step {index} kept the wrong values for its gradients"))),
        })
    }

    /// Moves values `by` positions later, or earlier when negative, filling with zeros.
    fn shift(&self, x: Tensor<2>, by: i64) -> Tensor<2> {
        let [all, width] = x.dims();
        let gap = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
        let stay = self.positions.saturating_sub(gap);
        if stay == 0 {
            return x.zeros_like();
        }
        if gap == 0 {
            return x;
        }
        let x = x.reshape([self.rows, self.positions, width]);
        let zeros = Tensor::zeros([self.rows, gap, width], &x.device());
        let parts = if by < 0 { vec![x.narrow(1, gap, stay), zeros] } else { vec![zeros, x.narrow(1, 0, stay)] };
        Tensor::cat(parts, 1).reshape([all, width])
    }
}

/// The rows of a convolution's weight.
fn taps(weight: Tensor<2>) -> impl Iterator<Item = Tensor<2>> {
    (0..weight.dims()[0]).map(move |tap| weight.clone().narrow(0, tap, 1))
}

/// `x / sqrt(mean(x²) + epsilon)` over the width, and the factor.
fn normalised(x: Tensor<2>, epsilon: f64) -> (Tensor<2>, Tensor<2>) {
    let square = x.clone().square().mean_dim(1);
    let inverse = square.add_scalar(epsilon).sqrt().recip();
    (x.mul(inverse.clone()), inverse)
}

/// The gradient through [`normalised`].
fn of_normalised(gradient: Tensor<2>, normal: Tensor<2>, inverse: Tensor<2>) -> Tensor<2> {
    let along = gradient.clone().mul(normal.clone()).mean_dim(1);
    gradient.sub(normal.mul(along)).mul(inverse)
}

/// `sqrt(2 / π)`, doubled: GELU's tanh form is `x · sigmoid(2 sqrt(2 / π) (x + CUBIC x³))`.
const SLOPE: f64 = 1.595_769_121_605_730_7;
const CUBIC: f64 = 0.044_715;

/// The value of an activation, and the pair that its gradient is made from.
fn activate(function: Activation, x: Tensor<2>) -> (Tensor<2>, Saved) {
    let (value, pair) = match function {
        Activation::Gelu => {
            let inner = x.clone().square().mul_scalar(SLOPE * CUBIC).add_scalar(SLOPE).mul(x.clone());
            let gate = sigmoid(inner);
            (x.clone().mul(gate.clone()), (x, gate))
        }
        Activation::Silu => {
            let gate = sigmoid(x.clone());
            (x.clone().mul(gate.clone()), (x, gate))
        }
        Activation::Relu => {
            let value = burn::tensor::activation::relu(x);
            (value.clone(), (value.clone(), value))
        }
        Activation::ReluSquared => {
            let positive = burn::tensor::activation::relu(x);
            (positive.clone().square(), (positive.clone(), positive))
        }
        Activation::Sigmoid => {
            let value = sigmoid(x);
            (value.clone(), (value.clone(), value))
        }
        Activation::Tanh => {
            let value = x.tanh();
            (value.clone(), (value.clone(), value))
        }
    };
    (value, Saved::Pair(pair.0, pair.1))
}

/// The gradient through [`activate`], from its pair.
fn of_activation(function: Activation, a: Tensor<2>, b: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
    // d(x · g) = g · (1 + x (1 - g) s), where s is the slope of what the sigmoid reads.
    let gated = |x: Tensor<2>, gate: Tensor<2>, slope: Option<Tensor<2>>| {
        let rest = x.mul(gate.clone().neg().add_scalar(1.0));
        let rest = match slope {
            Some(slope) => rest.mul(slope),
            None => rest,
        };
        rest.add_scalar(1.0).mul(gate)
    };
    match function {
        Activation::Gelu => {
            let slope = a.clone().square().mul_scalar(3.0 * SLOPE * CUBIC).add_scalar(SLOPE);
            gradient.mul(gated(a, b, Some(slope)))
        }
        Activation::Silu => gradient.mul(gated(a, b, None)),
        Activation::Relu => gradient.mask_fill(a.lower_equal_scalar(0.0), 0.0),
        Activation::ReluSquared => gradient.mul(a.mul_scalar(2.0)),
        Activation::Sigmoid => gradient.mul(a.neg().add_scalar(1.0).mul(b)),
        Activation::Tanh => gradient.mul(a.square().neg().add_scalar(1.0)),
    }
}
