//! A recipe at work: which optimizer trains which weight, one clip over all, one schedule.
use crate::{
    graph::resolved::{ResolvedGraph, Weight},
    recipe::{Optimizer as Declared, Recipe, Schedule},
};
use burn::{
    optim::{
        AdamW, AdamWConfig, AdjustLrFn, Lion, LionConfig, Muon, MuonConfig, Optimizer, decay::WeightDecayConfig,
        momentum::MomentumConfig,
    },
    tensor::Tensor,
};
use prism_core::{Error, Fault, Finite, Kind, Result};
use rayon::prelude::*;

/// An optimizer with what it remembers of one weight.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // one per weight
enum Rule {
    Adamw(AdamW, Option<<AdamW as Optimizer>::State<2>>),
    Lion(Lion, Option<<Lion as Optimizer>::State<2>>),
    Muon(Muon, Option<<Muon as Optimizer>::State<2>>),
}

impl Rule {
    fn step(&mut self, rate: f64, weight: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        fn apply<O: Optimizer>(
            optimizer: &O,
            state: &mut Option<O::State<2>>,
            rate: f64,
            weight: Tensor<2>,
            gradient: Tensor<2>,
        ) -> Tensor<2> {
            let (weight, next) = optimizer.step(rate, weight, gradient, state.take());
            *state = next;
            weight
        }
        match self {
            Self::Adamw(optimizer, state) => apply(optimizer, state, rate, weight, gradient),
            Self::Lion(optimizer, state) => apply(optimizer, state, rate, weight, gradient),
            Self::Muon(optimizer, state) => apply(optimizer, state, rate, weight, gradient),
        }
    }
}

/// How one weight is trained.
#[derive(Clone)]
struct Trained {
    rule: Rule,
    peak: f64,
}

/// What one step did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stepped {
    /// Euclidean norm of all gradients together, before clipping.
    pub(super) norm: f64,
    /// Rate of the recipe's first group.
    pub(super) rate: f64,
}

/// All optimizers of a run.
#[derive(Clone)]
pub(super) struct Optimizers {
    trained: Vec<Trained>,
    first: f64,
    schedule: Schedule,
    steps: u64,
    clip: Option<f64>,
}

impl std::fmt::Debug for Optimizers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizers").field("weights", &self.trained.len()).finish_non_exhaustive()
    }
}

impl Optimizers {
    /// Finds the group of every weight.
    ///
    /// # Errors
    /// `Invalid` (miner) when no group trains a weight, or Muon would train a vector.
    pub(super) fn new(recipe: &Recipe, graph: &ResolvedGraph, steps: u64) -> Result<Self> {
        let trained = graph.weights.iter().enumerate().map(|(index, weight)| trained(recipe, index, weight));
        Ok(Self {
            trained: trained.collect::<Result<_, _>>()?,
            first: recipe.groups.first().map_or(0.0, |group| peak(&group.optimizer)),
            schedule: recipe.schedule,
            steps,
            clip: recipe.clip.map(Finite::get),
        })
    }

    /// Bytes that the optimizers remember, beside weights and gradients, per trained number: the most of any group.
    pub(super) fn bytes_per_parameter(recipe: &Recipe) -> u64 {
        let of = |optimizer: &Declared| match optimizer {
            Declared::Adamw { .. } => 8,
            Declared::Lion { .. } | Declared::Muon { .. } => 4,
        };
        recipe.groups.iter().map(|group| of(&group.optimizer)).max().unwrap_or(0)
    }

    /// Takes step `step`, counted from 0. A weight without a gradient stays as it is.
    pub(super) fn step(
        &mut self,
        step: u64,
        weights: &mut [Tensor<2>],
        gradients: Vec<Option<Tensor<2>>>,
    ) -> Result<Stepped> {
        let (gradients, norm) = with_norm(gradients)?;
        if !norm.is_finite() {
            let text = format!("gradients are not finite at step {step}");
            return Err(Error::new(Kind::Invalid, Fault::Miner, text));
        }
        let factor = self.schedule.factor(step, self.steps);
        let shrink = self.clip.filter(|clip| norm > *clip).map(|clip| clip / norm);
        let each = weights.par_iter_mut().zip(gradients).zip(&mut self.trained);
        each.for_each(|((weight, gradient), trained)| {
            let Some(gradient) = gradient else { return };
            let gradient = match shrink {
                Some(factor) => gradient.mul_scalar(factor),
                None => gradient,
            };
            weight.inplace(|weight| trained.rule.step(trained.peak * factor, weight, gradient));
        });
        Ok(Stepped { norm, rate: self.first * factor })
    }
}

/// The same gradients, and their norm: squares and sums in `f64`, in the order of the weights.
fn with_norm(gradients: Vec<Option<Tensor<2>>>) -> Result<(Vec<Option<Tensor<2>>>, f64)> {
    let read = |gradient: Option<Tensor<2>>| {
        let Some(gradient) = gradient else { return Ok((None, 0.0)) };
        let device = gradient.device();
        let data = gradient.into_data();
        let values = data.as_slice::<f32>().map_err(|e| Error::bug("gradients are not f32").because(e))?;
        let squares = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>();
        Ok((Some(Tensor::from_data(data, &device)), squares))
    };
    let read: Vec<_> = gradients.into_par_iter().map(read).collect::<Result<_>>()?;
    let (gradients, squares): (Vec<_>, Vec<f64>) = read.into_iter().unzip();
    Ok((gradients, squares.iter().sum::<f64>().sqrt()))
}

fn peak(optimizer: &Declared) -> f64 {
    match optimizer {
        Declared::Adamw { learning_rate, .. }
        | Declared::Lion { learning_rate, .. }
        | Declared::Muon { learning_rate, .. } => learning_rate.get(),
    }
}

fn trained(recipe: &Recipe, index: usize, weight: &Weight) -> Result<Trained> {
    let group = recipe.groups.iter().find(|group| group.roles.contains(&weight.role));
    let untrained =
        || Error::invalid(format!("no group of the recipe trains the role {:?} of weight {index}", weight.role));
    let group = group.ok_or_else(untrained)?;
    #[allow(clippy::cast_possible_truncation)]
    let single = |value: &Finite| value.get() as f32;
    let rule = match &group.optimizer {
        Declared::Adamw { beta1, beta2, epsilon, weight_decay, .. } => {
            let config = AdamWConfig::new().with_beta_1(single(beta1)).with_beta_2(single(beta2));
            let config = config.with_epsilon(single(epsilon)).with_weight_decay(single(weight_decay));
            Rule::Adamw(config.build(), None)
        }
        Declared::Lion { beta1, beta2, weight_decay, .. } => {
            let config = LionConfig::new().with_beta_1(single(beta1)).with_beta_2(single(beta2));
            Rule::Lion(config.with_weight_decay(single(weight_decay)).build(), None)
        }
        Declared::Muon { momentum, weight_decay, .. } => {
            if weight.shape.len() != 2 {
                return Err(Error::invalid(format!("muon trains matrices only, and weight {index} is a vector")));
            }
            let momentum = MomentumConfig::new().with_momentum(momentum.get()).with_dampening(0.0).with_nesterov(true);
            // Scaled by 0.2 sqrt(max(rows, columns)) (Liu et al. 2025): the same for a matrix and its transpose, and
            // rates mean what they mean to AdamW.
            let config = MuonConfig::new().with_momentum(momentum).with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
            let decay = Some(WeightDecayConfig::new(single(weight_decay)));
            Rule::Muon(config.with_weight_decay(decay).build(), None)
        }
    };
    Ok(Trained { rule, peak: peak(&group.optimizer) })
}
