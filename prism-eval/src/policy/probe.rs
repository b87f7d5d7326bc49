//! At which other sizes an architecture is measured.
use prism_core::Finite;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a scaling probe changes. The tokens stay those of the base size, times the probe's part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// `ctx.width_factor`: a wider model.
    Size,
    /// `ctx.depth_factor`: a deeper model.
    Depth,
    /// Longer rows, as many times fewer of them in a batch.
    Sequence,
    /// Larger batches, as many times fewer steps.
    Batch,
}

impl Axis {
    /// The word that tasks and cards use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Depth => "depth",
            Self::Sequence => "sequence",
            Self::Batch => "batch",
        }
    }
}

/// The tuned reference at another size.
///
/// Only upward: an architecture that ignores what it is asked for would win a probe of a smaller size by staying large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What grows.
    pub axis: Axis,
    /// By how much, 2 to 16.
    pub factor: u32,
    /// Hundredths of the base run's tokens, 1 to 100.
    #[serde(default = "whole")]
    pub percent: u32,
}

fn whole() -> u32 {
    100
}

impl Probe {
    /// How many times the base size's work a token takes at most, by which its limits on time grow.
    pub(super) fn work(self) -> u64 {
        let factor = u64::from(self.factor);
        match self.axis {
            Axis::Size => factor.saturating_mul(factor),
            Axis::Depth | Axis::Sequence => factor,
            Axis::Batch => 1,
        }
    }

    /// The factor as tasks carry it.
    #[must_use]
    pub fn factor(self) -> Finite {
        Finite::new(f64::from(self.factor)).unwrap_or(Finite::ONE)
    }
}

impl fmt::Display for Probe {
    /// As in `size/2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.axis.as_str(), self.factor)
    }
}

/// A small run before all others: the reference grid, and a recipe, with a part of the budget. The rest of a
/// submission's plan is run only if the confidence interval of its paired advantage there reaches above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trial {
    /// Hundredths of the base run's steps, 1 to 50.
    pub percent: u32,
    /// Half the interval's width, in standard errors; wide, because ideas may start slowly.
    pub z: Finite,
    /// Standard deviation over seeds of a trial's mean, bits per byte. Early in training seeds differ by more than at
    /// the end.
    pub seed_deviation: Finite,
}

impl Default for Trial {
    fn default() -> Self {
        let finite = |value| Finite::new(value).unwrap_or_default();
        Self { percent: 5, z: finite(3.0), seed_deviation: finite(0.02) }
    }
}
