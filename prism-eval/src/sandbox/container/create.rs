//! From a spec to what the engine is asked for. Pure, so that every hardening option can be tested without an engine.
use super::{ContainerConfig, GpuRequest, error::ContainerError};
use bollard::models::{
    ContainerCreateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
};
use prism_core::sandbox::{self, Limits, Root, SandboxSpec};
use std::{collections::HashMap, path::Path};

/// Whose containers these are: what `sweep` goes by.
pub const OWNER_LABEL: &str = "io.prism.sandbox.owner";
/// Which start of which process a container belongs to.
pub const RUN_LABEL: &str = "io.prism.sandbox.run";

/// Docker refuses less ("Minimum memory limit allowed is 6MB").
const LEAST_MEMORY: u64 = 6 << 20;
/// One page: zero would mean the engine's default of 64 MiB.
const LEAST_SHARED_MEMORY: u64 = 4096;
/// GPUs of one task.
const MOST_GPUS: usize = 8;

/// What the engine can be asked for, by the version of its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(pub(super) usize, pub(super) usize);

/// The first API with a private control group namespace.
const PRIVATE_CGROUP: ApiVersion = ApiVersion(1, 41);

/// A digest that names one image: its id, or a repository's digest. Never a tag, which can be moved.
pub(super) fn image_by_digest(root: &Root) -> Result<&str, ContainerError> {
    let Root::Image { digest } = root else {
        return Err(ContainerError::Unsupported("run on directories of the host; it needs an image by digest".into()));
    };
    let hash = match digest.split_once('@') {
        Some((name, hash)) if !name.is_empty() => hash,
        Some(_) => "",
        None => digest,
    };
    let hex = hash.strip_prefix("sha256:").unwrap_or_default();
    let right = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if right { Ok(digest) } else { Err(ContainerError::NotADigest(digest.clone())) }
}

/// What goes into a container besides what its spec says.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) config: &'a ContainerConfig,
    pub(super) api: ApiVersion,
    /// The system calls it may make, in the engine's form.
    pub(super) seccomp: &'a str,
    /// The image's id.
    pub(super) image: &'a str,
    /// The host's folder for what the work leaves.
    pub(super) artifacts: Option<&'a Path>,
    /// The name of this start.
    pub(super) run: &'a str,
}

/// All that the engine is told.
pub(super) fn body(spec: &SandboxSpec, around: &Around<'_>) -> Result<ContainerCreateBody, ContainerError> {
    if spec.argv.is_empty() {
        return Err(ContainerError::Spec("no program to start".into()));
    }
    let mut env = Vec::new();
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ContainerError::Spec(format!("environment variable {name:?} can't be passed on")));
        }
        env.push(format!("{name}={value}"));
    }
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.insert(OWNER_LABEL.into(), around.config.owner.clone());
    labels.insert(RUN_LABEL.into(), around.run.into());
    Ok(ContainerCreateBody {
        image: Some(around.image.into()),
        // The whole command line: an entry point of the image would come before it.
        entrypoint: Some(spec.argv.clone()),
        cmd: None,
        env: Some(env),
        user: Some(format!("{0}:{0}", around.config.user)),
        working_dir: Some(sandbox::SCRATCH.into()),
        hostname: Some("sandbox".into()),
        labels: Some(labels),
        tty: Some(false),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        network_disabled: Some(true),
        // A health check of the image would be work of its own.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        host_config: Some(host(spec, around)?),
        ..ContainerCreateBody::default()
    })
}

fn host(spec: &SandboxSpec, around: &Around<'_>) -> Result<HostConfig, ContainerError> {
    let Around { config, api, seccomp, artifacts, .. } = *around;
    let Limits { memory, processes, shared_memory, .. } = spec.limits;
    if memory < LEAST_MEMORY {
        return Err(ContainerError::Spec(format!("a memory limit of {memory} bytes is below {LEAST_MEMORY}")));
    }
    let mut mounts = Vec::new();
    for (inside, outside) in &spec.read_only {
        mounts.push(bind(inside, outside, true)?);
    }
    if let Some(folder) = artifacts {
        mounts.push(bind(sandbox::ARTIFACTS, folder, false)?);
    }
    Ok(HostConfig {
        init: Some(true),
        auto_remove: Some(false),
        privileged: Some(false),
        // It has a loopback and nothing else, which is both of `Network`.
        network_mode: Some("none".into()),
        ipc_mode: Some("private".into()),
        cgroupns_mode: (api >= PRIVATE_CGROUP).then_some(HostConfigCgroupnsModeEnum::PRIVATE),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into(), format!("seccomp={seccomp}")]),
        memory: Some(signed(memory)),
        // The sum of memory and swap: no swap.
        memory_swap: Some(signed(memory)),
        oom_kill_disable: Some(false),
        // The engine's init counts too; zero would mean no limit.
        pids_limit: Some(i64::from(processes).saturating_add(1)),
        ulimits: Some(ulimits(&spec.limits)),
        shm_size: Some(signed(shared_memory.max(LEAST_SHARED_MEMORY))),
        tmpfs: scratch(&spec.limits, config),
        mounts: Some(mounts),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        device_requests: gpus(&spec.gpus, config.gpu_request)?,
        runtime: config.runtime.clone(),
        ..HostConfig::default()
    })
}

/// Limits per process. None on processes: the kernel counts those per user, over all sandboxes.
fn ulimits(limits: &Limits) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, value: u64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(signed(value)),
        hard: Some(signed(value)),
    };
    vec![
        limit("nofile", u64::from(limits.files)),
        limit("fsize", limits.file_size),
        limit("core", 0),
        limit("msgqueue", 0),
    ]
}

/// The scratch space; none where nothing is granted, since a tmpfs of size zero has no limit.
fn scratch(limits: &Limits, config: &ContainerConfig) -> Option<HashMap<String, String>> {
    let (size, inodes) = (limits.scratch, limits.scratch_inodes.max(1));
    let exec = if config.executable_scratch { "exec" } else { "noexec" };
    let user = config.user;
    let options = format!("rw,nosuid,nodev,{exec},size={size},nr_inodes={inodes},mode=0700,uid={user},gid={user}");
    (size > 0).then(|| HashMap::from([(sandbox::SCRATCH.into(), options)]))
}

/// One path of the host. What is mounted below it stays out: older engines would leave that writable.
fn bind(inside: &str, outside: &Path, read_only: bool) -> Result<Mount, ContainerError> {
    let plain = |path: &Path| {
        path.is_absolute() && !path.components().any(|part| matches!(part, std::path::Component::ParentDir))
    };
    let source = outside.to_str().filter(|_| plain(outside));
    let source =
        source.ok_or_else(|| ContainerError::Spec(format!("path {outside:?} can't be shown in a container")))?;
    if !plain(Path::new(inside)) || inside == "/" {
        return Err(ContainerError::Spec(format!("nothing can be shown at {inside:?} in a container")));
    }
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(source.into()),
        target: Some(inside.into()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

fn gpus(ids: &[String], request: GpuRequest) -> Result<Option<Vec<DeviceRequest>>, ContainerError> {
    if ids.is_empty() {
        return Ok(None);
    }
    if ids.len() > MOST_GPUS {
        return Err(ContainerError::Spec(format!("{} GPUs are more than {MOST_GPUS}", ids.len())));
    }
    Ok(Some(vec![match request {
        GpuRequest::Nvidia => DeviceRequest {
            device_ids: Some(ids.to_vec()),
            capabilities: Some(vec![vec!["gpu".into()]]),
            ..DeviceRequest::default()
        },
        GpuRequest::Cdi => {
            DeviceRequest { driver: Some("cdi".into()), device_ids: Some(ids.to_vec()), ..DeviceRequest::default() }
        }
    }]))
}

/// The engine's numbers have a sign; nobody grants more than they hold.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
