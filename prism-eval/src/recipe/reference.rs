//! The recipe under which every architecture is measured, submissions and baselines alike.
use super::{Group, Loss, Optimizer, RECIPE_SCHEMA, Recipe, Schedule};
use crate::graph::resolved::WeightRole;
use prism_core::Finite;

/// Peak rate at factor 1. With the published grid of x1, x3 and x10 it covers .001 to .01, which holds the optimum of
/// AdamW for models of 0.1 to 100 million parameters (the optimum falls with size; Kaplan et al. 2020, appendix D.6).
const LEARNING_RATE: f64 = 1e-3;

impl Recipe {
    /// The fixed reference recipe at factor 1: AdamW with the usual numbers of language models (Brown et al. 2020,
    /// appendix B): decay on matrices and embeddings only, a short warm-up, half a cosine to a tenth, clipping at 1.
    #[must_use]
    pub fn reference() -> Self {
        let fixed = |value| Finite::new(value).unwrap_or_default();
        let adamw = |weight_decay| Optimizer::Adamw {
            learning_rate: fixed(LEARNING_RATE),
            beta1: fixed(0.9),
            beta2: fixed(0.95),
            epsilon: fixed(1e-8),
            weight_decay: fixed(weight_decay),
        };
        Self {
            schema: RECIPE_SCHEMA,
            groups: vec![
                Group { roles: vec![WeightRole::Embedding, WeightRole::Matrix], optimizer: adamw(0.1) },
                Group { roles: vec![WeightRole::Gain, WeightRole::Bias], optimizer: adamw(0.0) },
            ],
            schedule: Schedule::Cosine { warmup: fixed(0.05), floor: fixed(0.1) },
            clip: Some(Finite::ONE),
            loss: Loss::default(),
        }
    }
}
