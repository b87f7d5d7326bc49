//! Which devices there are, and how many of them a run is given. Nothing of it comes from a miner.
use super::{error::PolicyError, limits::within};
use prism_core::{
    TrainTask,
    plan::{RunMode, Subject},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most GPUs of one run: one node, one process for each.
pub const MAX_GPUS: u32 = 8;
/// Most targets that are read.
const MAX_TARGETS: usize = 64;
/// Longest id of a target or device.
const MAX_ID: usize = 128;

/// How many GPUs a run is given, by mode, and for how long without a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuPolicy {
    /// GPUs of a run of Python in the mode `local_cpu_smoke`: none.
    pub local_cpu_smoke: u32,
    /// GPUs of a run of Python in the mode `gpu_proxy_eval`, 0 to 8; 0 measures it on the processor.
    pub gpu_proxy_eval: u32,
    /// GPUs of a run of Python in the mode `full_scale_eval`, 0 to 8; 0 measures it on the processor.
    pub full_scale_eval: u32,
    /// Seconds without a heartbeat after which a run and its devices are another's, 10 to 3,600. A heartbeat comes three
    /// times as often.
    pub lease_seconds: u64,
}

impl Default for GpuPolicy {
    /// No GPUs: a validator that has some declares them.
    fn default() -> Self {
        Self { local_cpu_smoke: 0, gpu_proxy_eval: 0, full_scale_eval: 0, lease_seconds: 120 }
    }
}

impl GpuPolicy {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// The first number out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        within("gpu_policy.local_cpu_smoke", u64::from(self.local_cpu_smoke), 0, 0)?;
        within("gpu_policy.gpu_proxy_eval", u64::from(self.gpu_proxy_eval), 0, u64::from(MAX_GPUS))?;
        within("gpu_policy.full_scale_eval", u64::from(self.full_scale_eval), 0, u64::from(MAX_GPUS))?;
        within("gpu_policy.lease_seconds", self.lease_seconds, 10, 3_600)
    }

    /// GPUs of a run: of Python by its mode, none of a declared architecture.
    #[must_use]
    pub fn of(&self, task: &TrainTask) -> u32 {
        match task.subject {
            Subject::Guest { .. } => match task.mode {
                RunMode::LocalCpuSmoke => self.local_cpu_smoke,
                RunMode::GpuProxyEval => self.gpu_proxy_eval,
                RunMode::FullScaleEval => self.full_scale_eval,
            },
            _ => 0,
        }
    }

    /// The most GPUs that any mode asks for.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.local_cpu_smoke.max(self.gpu_proxy_eval).max(self.full_scale_eval)
    }
}

/// A group of devices of this host that one run may have together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionTarget {
    /// Its name.
    pub id: String,
    /// Its devices, as the sandbox names them: an index or UUID, or a CDI name such as `nvidia.com/gpu=0`.
    pub devices: Vec<String>,
    /// Whether it is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether runs that are on it end and no new one comes.
    #[serde(default)]
    pub draining: bool,
}

fn yes() -> bool {
    true
}

impl ExecutionTarget {
    /// Whether a new run may be put on it.
    #[must_use]
    pub fn takes_runs(&self) -> bool {
        self.enabled && !self.draining
    }
}

/// The devices that runs are put on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionTargets {
    /// In the order in which they are filled.
    pub targets: Vec<ExecutionTarget>,
}

impl ExecutionTargets {
    /// Checks names, numbers, and that no device is named twice.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        let refused = |rule: String| Err(PolicyError::Rule { place: "execution_targets.targets", rule });
        if self.targets.len() > MAX_TARGETS {
            return refused(format!("{} targets, at most {MAX_TARGETS}", self.targets.len()));
        }
        let (mut ids, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for target in &self.targets {
            let named = |name: &str| {
                !name.is_empty() && name.len() <= MAX_ID && name.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if let Some(name) = [&target.id].into_iter().chain(&target.devices).find(|name| !named(name)) {
                let shown: String = name.escape_debug().take(40).collect();
                return refused(format!("`{shown}` is no name of 1 to {MAX_ID} visible characters"));
            }
            if target.devices.is_empty() || target.devices.len() > MAX_GPUS as usize {
                return refused(format!("`{}` has {} devices, not 1 to {MAX_GPUS}", target.id, target.devices.len()));
            }
            if !ids.insert(&target.id) {
                return refused(format!("`{}` is named twice", target.id));
            }
            if let Some(twice) = target.devices.iter().find(|device| !devices.insert(*device)) {
                return refused(format!("device `{twice}` stands there twice"));
            }
        }
        Ok(())
    }

    /// The most devices that one run can have, now or when what drains is back.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.targets.iter().filter(|target| target.enabled).map(|target| target.devices.len()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(id: &str, devices: &[&str]) -> ExecutionTarget {
        let devices = devices.iter().map(|&device| device.to_owned()).collect();
        ExecutionTarget { id: id.into(), devices, enabled: true, draining: false }
    }

    #[test]
    fn a_device_belongs_to_one_target_and_a_run_to_one_node() {
        let refused = |targets: Vec<ExecutionTarget>| ExecutionTargets { targets }.check().unwrap_err().to_string();
        ExecutionTargets { targets: vec![target("a", &["0", "1"]), target("b", &["2"])] }.check().unwrap();
        assert!(refused(vec![target("a", &["0"]), target("b", &["0"])]).ends_with("device `0` stands there twice"));
        assert!(refused(vec![target("a", &["0"]), target("a", &["1"])]).ends_with("`a` is named twice"));
        assert!(refused(vec![target("a", &[])]).ends_with("`a` has 0 devices, not 1 to 8"));
        let nine: Vec<String> = (0..9).map(|n| n.to_string()).collect();
        let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
        assert!(refused(vec![target("a", &nine)]).ends_with("`a` has 9 devices, not 1 to 8"));
        assert!(refused(vec![target("a", &["--gpus all\n"])]).contains("is no name of 1 to 128 visible characters"));
    }

    #[test]
    fn a_smoke_run_has_no_device_and_no_run_has_nine() {
        let gpus = GpuPolicy { local_cpu_smoke: 1, ..GpuPolicy::default() };
        assert_eq!(gpus.check().unwrap_err().to_string(), "`gpu_policy.local_cpu_smoke`: is 1, outside 0 to 0");
        let gpus = GpuPolicy { full_scale_eval: 9, ..GpuPolicy::default() };
        assert_eq!(gpus.check().unwrap_err().to_string(), "`gpu_policy.full_scale_eval`: is 9, outside 0 to 8");
    }
}
