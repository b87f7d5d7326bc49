//! Training recipes without code: optimizer, groups, schedule, clipping and loss, all declared.
use crate::graph::resolved::WeightRole;
use prism_core::Finite;
use serde::{Deserialize, Serialize};

/// The version of [`Recipe`] that this crate writes.
pub const RECIPE_SCHEMA: u32 = 1;

/// A recipe with every number filled in. Tokens, steps, batch and sequence length are the budget's, not the recipe's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// [`RECIPE_SCHEMA`].
    pub schema: u32,
    /// The first group that names a weight's role trains it. Every role is named by exactly one group.
    pub groups: Vec<Group>,
    /// How the rates move over the run.
    pub schedule: Schedule,
    /// Ceiling on the norm of all gradients together.
    pub clip: Option<Finite>,
    /// What is minimised.
    pub loss: Loss,
}

/// Weights that are trained alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Which weights, in the order of [`WeightRole`].
    pub roles: Vec<WeightRole>,
    /// How.
    pub optimizer: Optimizer,
}

/// An optimizer with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Loshchilov, Hutter 2019.
    Adamw {
        /// Peak rate.
        learning_rate: Finite,
        /// Decay of the first moment.
        beta1: Finite,
        /// Decay of the second moment.
        beta2: Finite,
        /// Added to the root of the second moment.
        epsilon: Finite,
        /// Decoupled, times the rate.
        weight_decay: Finite,
    },
    /// Chen et al. 2023.
    Lion {
        /// Peak rate.
        learning_rate: Finite,
        /// Weight of the momentum in the update.
        beta1: Finite,
        /// Decay of the momentum.
        beta2: Finite,
        /// Decoupled, times the rate.
        weight_decay: Finite,
    },
    /// Jordan et al. 2024: matrices only.
    Muon {
        /// Peak rate.
        learning_rate: Finite,
        /// Nesterov momentum.
        momentum: Finite,
        /// Decoupled, times the rate.
        weight_decay: Finite,
    },
}

/// A factor on the peak rate over the run; `warmup` and `floor` are fractions in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Rises linearly over the warm-up, then stays.
    Constant {
        /// Fraction of the steps.
        warmup: Finite,
    },
    /// Rises linearly, then falls along half a cosine.
    Cosine {
        /// Fraction of the steps.
        warmup: Finite,
        /// Factor at the end.
        floor: Finite,
    },
    /// Rises linearly, then falls linearly.
    Linear {
        /// Fraction of the steps.
        warmup: Finite,
        /// Factor at the end.
        floor: Finite,
    },
}

/// What is minimised: mean cross-entropy in nats, and additions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Weight of `log(Z)²` (PaLM, Chowdhery et al. 2022).
    pub z_loss: Finite,
    /// Mass spread over all tokens, in `[0, 1)`.
    pub label_smoothing: Finite,
}
