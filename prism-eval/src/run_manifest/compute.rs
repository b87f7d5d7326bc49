//! What it ran on, and what it took.
use super::{
    check::Faults,
    text::{Label, RelativePath},
};
use prism_core::Finite;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most devices of one run.
const MAX_DEVICES: usize = 64;

/// Devices, processes and work of the run that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// GPUs that it had to itself; 0 on processors.
    pub gpu_count: u32,
    /// Which kind.
    #[serde(default)]
    pub gpu_type: Option<Label>,
    /// In which machine.
    #[serde(default)]
    pub gpu_server: Option<Label>,
    /// Which of them.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub gpu_device_ids: Vec<Label>,
    /// Processes.
    #[schemars(range(min = 1))]
    pub world_size: u32,
    /// Of the process that wrote this.
    pub rank: u32,
    /// The same, within its machine.
    pub local_rank: u32,
    /// What carries tensors between processes.
    #[serde(default)]
    pub distributed_backend: Option<Label>,
    /// Rows per optimizer step, over all processes.
    #[schemars(range(min = 1))]
    pub effective_batch_size: u64,
    /// Passes per optimizer step.
    #[schemars(range(min = 1))]
    pub gradient_accumulation_steps: u32,
    /// Tokens trained on.
    pub tokens_seen: u64,
    /// Floating-point operations of training.
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub estimated_flops: Option<Finite>,
    /// From start to end.
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub wall_clock_seconds: Option<Finite>,
    /// The checkpoint that it left; one of `artifacts.checkpoints`.
    #[serde(default)]
    pub checkpoint_path: Option<RelativePath>,
    /// The checkpoint that it went on from.
    #[serde(default)]
    pub resume_checkpoint_path: Option<RelativePath>,
}

impl Compute {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.at_least("compute.world_size", &self.world_size, &1);
        faults.at_least("compute.effective_batch_size", &self.effective_batch_size, &1);
        faults.at_least("compute.gradient_accumulation_steps", &self.gradient_accumulation_steps, &1);
        faults.not_negative("compute.estimated_flops", self.estimated_flops);
        faults.not_negative("compute.wall_clock_seconds", self.wall_clock_seconds);
        faults.at_most("compute.gpu_device_ids", self.gpu_device_ids.len(), MAX_DEVICES);
        for (place, rank) in [("compute.rank", self.rank), ("compute.local_rank", self.local_rank)] {
            let world = self.world_size;
            faults.must(rank < world.max(1), place, || format!("is {rank}, compute.world_size is {world}"));
        }
    }
}
