//! What is to be run: tasks are data, made by a pure function, carried out anywhere, cached by their digest.
use crate::{
    finite::Finite,
    id::{Digest, TaskId},
    seed::Seed,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of [`TrainTask`] that this crate writes.
pub const TASK_SCHEMA: u32 = 1;

/// Under which plan something is measured: chosen by whoever operates the validator, never by a submission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// Seconds on a processor, to see that all is wired. Never eligible.
    #[default]
    LocalCpuSmoke,
    /// The official proxy: a budget that ranks ideas.
    GpuProxyEval,
    /// The official budget in full.
    FullScaleEval,
}

impl RunMode {
    /// All of them, from the cheapest on.
    pub const ALL: [Self; 3] = [Self::LocalCpuSmoke, Self::GpuProxyEval, Self::FullScaleEval];

    /// The name that tasks, configurations and cards give it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LocalCpuSmoke => "local_cpu_smoke",
            Self::GpuProxyEval => "gpu_proxy_eval",
            Self::FullScaleEval => "full_scale_eval",
        }
    }

    /// Whether rewards may follow from what was measured under it.
    #[must_use]
    pub fn is_official(self) -> bool {
        self != Self::LocalCpuSmoke
    }
}

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunRole {
    /// The architecture under the reference recipe, at one point of its grid of rates.
    Reference {
        /// Multiple of the reference recipe's learning rate.
        rate: Finite,
    },
    /// The miner's own recipe.
    Recipe,
    /// The reference recipe at another size.
    ScalingProbe {
        /// What grows: `size`, `depth`, `sequence` or `batch`.
        axis: String,
        /// By how much.
        factor: Finite,
    },
    /// A small run before all others: whether the rest of the plan is worth its work.
    Trial {
        /// Multiple of the reference recipe's learning rate; the miner's own recipe when absent.
        rate: Option<Finite>,
    },
    /// The same as another task with a larger budget: whether what it showed holds there.
    LargeBudget {
        /// The task repeated.
        of: TaskId,
        /// Times its tokens, at least 2.
        factor: u32,
    },
    /// The same as another task under another seed.
    Repeat {
        /// The task repeated.
        of: TaskId,
        /// Which repeat, from 1.
        index: u32,
    },
    /// The same as another task with more optimizer steps on each batch: what more work buys.
    Work {
        /// The task repeated.
        of: TaskId,
        /// Steps per batch, at least 1.
        inner_steps: u32,
    },
    /// An evaluation task of a published model.
    Task {
        /// Its name.
        name: String,
    },
}

impl RunRole {
    /// Optimizer steps on each batch.
    #[must_use]
    pub fn inner_steps(&self) -> u32 {
        match self {
            Self::Work { inner_steps, .. } => (*inner_steps).max(1),
            _ => 1,
        }
    }
}

/// What is run: bytes by digest, opened through [`Artifacts`](crate::Artifacts); never a path, so that a task can
/// travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// An architecture and a recipe without code.
    Native {
        /// The canonical architecture.
        graph: Digest,
        /// The canonical recipe.
        recipe: Digest,
    },
    /// A bundle of Python.
    Guest {
        /// The normalised bundle.
        bundle: Digest,
        /// The canonical recipe to train it with, and then nothing of it but `build_model` and the forward pass is
        /// called; its own hooks when absent.
        recipe: Option<Digest>,
    },
    /// A finished model.
    Weights {
        /// The model's files.
        model: Digest,
    },
}

/// What a run may spend. Equal for all that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Training tokens: `steps * batch * sequence`.
    pub tokens: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Rows per step.
    pub batch: u32,
    /// Predicted positions per row.
    pub sequence: u32,
    /// Wall clock, milliseconds.
    pub wall_millis: u64,
    /// Processor time, milliseconds.
    pub cpu_millis: u64,
    /// Resident memory, bytes.
    pub peak_memory: u64,
}

/// Which text, in which tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRef {
    /// Fingerprint of the dataset and its split.
    pub dataset: Digest,
    /// Fingerprint of the tokenizer.
    pub tokenizer: Digest,
    /// Number of token ids.
    pub vocabulary: u32,
}

/// When and how much the host measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuringPlan {
    /// Steps before which the next rows are predicted, ascending; 0 is before any training.
    pub points: Vec<u64>,
    /// The first step whose points count; those before are shown. Early in training a table in the source is worth
    /// more than an idea.
    #[serde(default)]
    pub counts_from: u64,
    /// Rows per point, the next ones of the training stream.
    pub rows: u32,
    /// Audited rows, one number for each point: as many as its weight is worth. Of claims that need it; all held-out
    /// rows are audited.
    pub audits: Vec<u32>,
    /// Rows of the held-out split after training, each of another document.
    pub held_out_rows: u32,
    /// An audited position off by more than this many bits fails the run.
    pub alarm_bits: Finite,
}

fn is_smoke(mode: &RunMode) -> bool {
    *mode == RunMode::LocalCpuSmoke
}

/// Everything two trainers need to measure the same thing. Its canonical bytes give its [`TaskId`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainTask {
    /// [`TASK_SCHEMA`].
    pub schema: u32,
    /// Under which kind of plan; a task that does not say counts as the least.
    #[serde(default, skip_serializing_if = "is_smoke")]
    pub mode: RunMode,
    /// What the run is for.
    pub role: RunRole,
    /// What is run.
    pub subject: Subject,
    /// On which text.
    pub data: DataRef,
    /// What the host sees.
    pub measuring: MeasuringPlan,
    /// What it may spend.
    pub budget: Budget,
    /// The numbers of `ctx`: `vocab_size`, `sequence_length`, `max_layers`, `max_parameters` and the probes' factors.
    pub context: BTreeMap<String, u64>,
    /// Root of the run's random streams. Rows come from the cohort's seed, so that all see the same.
    pub seed: Seed,
    /// Root of the streams that all runs of a cohort share: rows, points, held-out.
    pub cohort: Seed,
    /// Digest of the policy in force.
    pub policy: Digest,
}

impl TrainTask {
    /// The bytes that identify the task: compact JSON with fields in declaration order and maps sorted by key.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Numbers are finite by type and all keys are strings: there is no value that JSON can't carry.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The digest of the canonical bytes.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId(Digest::of(&self.canonical_bytes()).0)
    }
}
