//! Training recipes without code: optimizer, groups, schedule, clipping and loss, all declared.
mod canonical;
mod reference;
mod spec;

pub use spec::{
    GroupSpec, LossSpec, OptimizerKind, OptimizerSpec, RECIPE_FORMAT, RecipeSpec, ScheduleKind, ScheduleSpec,
};

use crate::{document::DocumentError, graph::resolved::WeightRole};
use prism_core::{Error, Fault, Finite, Kind};
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
    /// Jordan et al. 2024: matrices only. The orthogonal update is scaled by `0.2 sqrt(max(rows, columns))` (Liu et al.
    /// 2025), so that rates mean what they mean to AdamW.
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

/// Why a recipe can't be used: names the place and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file can't be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Another format than [`RECIPE_FORMAT`].
    #[error("`recipe` is {found:?}, expected {RECIPE_FORMAT:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// A number outside its range.
    #[error("`{place}` is {value}, must be {range}")]
    Range {
        /// Where it stands.
        place: String,
        /// What stands there.
        value: Finite,
        /// What may stand there.
        range: &'static str,
    },
    /// A number that the optimizer doesn't have.
    #[error("`{place}` doesn't belong to {optimizer}")]
    Foreign {
        /// Where it stands.
        place: String,
        /// The optimizer's kind.
        optimizer: &'static str,
    },
    /// A role that no group trains, or that two train.
    #[error("{} weights are trained by {groups} groups, must be one", role_name(*.role))]
    Role {
        /// Which.
        role: WeightRole,
        /// By how many.
        groups: usize,
    },
    /// Muon on what is no matrix.
    #[error("`{place}`: muon trains matrices only, not {} weights", role_name(*.role))]
    NotMatrix {
        /// Which group.
        place: String,
        /// What it names.
        role: WeightRole,
    },
    /// Bytes that are not a canonical recipe.
    #[error("not a canonical recipe: {0}")]
    NotCanonical(String),
}

impl RecipeError {
    /// The stable name of the rule that was broken.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Document(_) | Self::Format { .. } => "recipe.form",
            Self::Range { .. } => "recipe.range",
            Self::Foreign { .. } => "recipe.optimizer",
            Self::Role { .. } | Self::NotMatrix { .. } => "recipe.group",
            Self::NotCanonical(_) => "recipe.canonical",
        }
    }
}

impl From<RecipeError> for Error {
    fn from(error: RecipeError) -> Self {
        Error::new(Kind::Invalid, Fault::Miner, format!("{}: {error}", error.rule()))
    }
}

/// The role as recipes write it.
fn role_name(role: WeightRole) -> &'static str {
    match role {
        WeightRole::Embedding => "embedding",
        WeightRole::Matrix => "matrix",
        WeightRole::Gain => "gain",
        WeightRole::Bias => "bias",
    }
}

/// Every role, in their order.
const ROLES: [WeightRole; 4] = [WeightRole::Embedding, WeightRole::Matrix, WeightRole::Gain, WeightRole::Bias];
