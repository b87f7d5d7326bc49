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
/// Resolves to the loopback: torchrun meets under it.
const HOSTNAME: &str = "sandbox";
/// Processes and threads of all sandboxes together, for Podman: the least hard limit of kernels with 8 GiB of memory.
const MOST_PROCESSES: u64 = 30_000;
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
    /// Whether the engine is Podman.
    pub(super) podman: bool,
    /// The system calls it may make: what comes behind `seccomp=`.
    pub(super) seccomp: &'a str,
    /// The image's id.
    pub(super) image: &'a str,
    /// The host's own scratch space for it.
    pub(super) space: Option<&'a Path>,
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
        hostname: Some(HOSTNAME.into()),
        labels: Some(labels),
        tty: Some(false),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        // A health check of the image would be work of its own.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        host_config: Some(host(spec, around)?),
        ..ContainerCreateBody::default()
    })
}

fn host(spec: &SandboxSpec, around: &Around<'_>) -> Result<HostConfig, ContainerError> {
    let Around { config, api, podman, seccomp, space, .. } = *around;
    let Limits { memory, processes, shared_memory, .. } = spec.limits;
    if memory < LEAST_MEMORY {
        return Err(ContainerError::Spec(format!("a memory limit of {memory} bytes is below {LEAST_MEMORY}")));
    }
    let mut mounts = Vec::new();
    for (inside, outside) in &spec.read_only {
        mounts.push(bind(inside, outside, true)?);
    }
    if let Some(space) = space {
        mounts.push(bind(sandbox::SCRATCH, space, false)?);
    }
    Ok(HostConfig {
        init: Some(true),
        auto_remove: Some(false),
        privileged: Some(false),
        // It has a loopback and nothing else, which is both of `Network`.
        network_mode: Some("none".into()),
        // The host's name servers and search domains are nobody's business.
        dns: Some(vec!["127.0.0.1".into()]),
        dns_search: Some(vec![".".into()]),
        extra_hosts: Some(vec![format!("{HOSTNAME}:127.0.0.1")]),
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
        ulimits: Some(ulimits(&spec.limits, podman)),
        shm_size: Some(signed(shared_memory.max(LEAST_SHARED_MEMORY))),
        tmpfs: if space.is_some() { None } else { scratch(&spec.limits, config) },
        mounts: Some(mounts),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        device_requests: gpus(&spec.gpus, config.gpu_request)?,
        runtime: config.runtime.clone(),
        ..HostConfig::default()
    })
}

/// Limits per process. None on processes, which the kernel counts per user, over all sandboxes; but Podman raises that one
/// where it isn't told, and can't everywhere.
fn ulimits(limits: &Limits, podman: bool) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, value: u64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(signed(value)),
        hard: Some(signed(value)),
    };
    let mut all = vec![
        limit("nofile", u64::from(limits.files)),
        limit("fsize", limits.file_size),
        // Zero would not keep a core pattern's program of the host from running; one does (`fs/coredump.c`).
        limit("core", 1),
        limit("msgqueue", 0),
    ];
    all.extend(podman.then(|| limit("nproc", MOST_PROCESSES)));
    all
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

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::sandbox::Network;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn spec() -> SandboxSpec {
        SandboxSpec {
            root: Root::Image { digest: ID.into() },
            argv: vec!["/usr/bin/python3".into(), "-I".into()],
            env: BTreeMap::from([("A".into(), "b=c".into())]),
            read_only: BTreeMap::from([("/runner".into(), "/srv/runner:x".into())]),
            limits: Limits {
                wall_millis: 1000,
                cpu_time_millis: 1000,
                memory: 1 << 30,
                processes: 63,
                files: 256,
                file_size: 1 << 20,
                scratch: 1 << 24,
                scratch_inodes: 100,
                shared_memory: 0,
                stderr: 1,
                channel: 1,
            },
            network: Network::Loopback,
            gpus: Vec::new(),
            required: Vec::new(),
            labels: BTreeMap::from([(OWNER_LABEL.into(), "forged".into()), ("task".into(), "7".into())]),
        }
    }

    fn made(spec: &SandboxSpec, config: &ContainerConfig, api: ApiVersion) -> Result<Value, ContainerError> {
        let around = Around { config, api, podman: false, seccomp: "{}", image: ID, space: None, run: "r1" };
        Ok(serde_json::to_value(body(spec, &around)?).unwrap())
    }

    fn config() -> ContainerConfig {
        ContainerConfig::new(Vec::new(), "me")
    }

    #[test]
    fn everything_is_taken_away_that_a_container_would_have() {
        let made = made(&spec(), &config(), PRIVATE_CGROUP).unwrap();
        let host = made.get("HostConfig").unwrap();
        for (name, value) in [
            ("Init", json!(true)),
            ("Privileged", json!(false)),
            ("AutoRemove", json!(false)),
            ("NetworkMode", json!("none")),
            ("IpcMode", json!("private")),
            ("CgroupnsMode", json!("private")),
            ("ReadonlyRootfs", json!(true)),
            ("CapDrop", json!(["ALL"])),
            ("SecurityOpt", json!(["no-new-privileges", "seccomp={}"])),
            ("Memory", json!(1 << 30)),
            ("MemorySwap", json!(1 << 30)),
            ("PidsLimit", json!(64)),
            ("ShmSize", json!(4096)),
            ("LogConfig", json!({ "Type": "none" })),
            (
                "Tmpfs",
                json!({ "/tmp": "rw,nosuid,nodev,noexec,size=16777216,nr_inodes=100,mode=0700,uid=65532,gid=65532" }),
            ),
        ] {
            assert_eq!(host.get(name), Some(&value), "{name}");
        }
        for absent in ["Binds", "CapAdd", "Devices", "DeviceRequests", "PidMode", "Runtime", "UTSMode", "VolumesFrom"] {
            assert_eq!(host.get(absent), None, "{absent}");
        }
        let ulimits: Vec<_> = host.get("Ulimits").unwrap().as_array().unwrap().iter().collect();
        assert!(ulimits.contains(&&json!({ "Name": "core", "Soft": 1, "Hard": 1 })), "{ulimits:?}");
        assert!(ulimits.contains(&&json!({ "Name": "nofile", "Soft": 256, "Hard": 256 })), "{ulimits:?}");
        assert_eq!(made.get("User"), Some(&json!("65532:65532")));
        assert_eq!(made.get("Env"), Some(&json!(["A=b=c"])));
        assert_eq!(made.get("Healthcheck"), Some(&json!({ "Test": ["NONE"] })));
        // Without the right to say so, the engine would leave the hosts file out.
        assert_eq!(made.get("NetworkDisabled"), None);
    }

    #[test]
    fn paths_of_the_host_are_bound_read_only_and_alone() {
        let config = config();
        let space = Some(Path::new("/space"));
        let around =
            Around { config: &config, api: PRIVATE_CGROUP, podman: false, seccomp: "{}", image: ID, space, run: "r1" };
        let made = serde_json::to_value(body(&spec(), &around).unwrap()).unwrap();
        assert_eq!(made.pointer("/HostConfig/Tmpfs"), None);
        let mounts = made.pointer("/HostConfig/Mounts").unwrap().as_array().unwrap().clone();
        let shown: Vec<_> = mounts.iter().map(|m| (m.get("Source"), m.get("Target"), m.get("ReadOnly"))).collect();
        let (runner, space) = (json!("/srv/runner:x"), json!("/space"));
        let (at_runner, scratch, yes, no) = (json!("/runner"), json!("/tmp"), json!(true), json!(false));
        let expected = [(Some(&runner), Some(&at_runner), Some(&yes)), (Some(&space), Some(&scratch), Some(&no))];
        assert_eq!(shown, expected);
        for mount in &mounts {
            assert_eq!(mount.pointer("/BindOptions/NonRecursive"), Some(&json!(true)));
        }
        for (inside, outside) in
            [("/", "/srv"), ("a", "/srv"), ("/a/../b", "/srv"), ("/a", "srv"), ("/a", "/srv/../etc")]
        {
            let spec = SandboxSpec { read_only: BTreeMap::from([(inside.into(), outside.into())]), ..spec() };
            assert!(matches!(made_error(&spec), ContainerError::Spec(_)), "{inside} from {outside}");
        }
    }

    fn made_error(spec: &SandboxSpec) -> ContainerError {
        made(spec, &config(), PRIVATE_CGROUP).unwrap_err()
    }

    #[test]
    fn a_label_of_the_spec_does_not_hide_whose_container_it_is() {
        let made = made(&spec(), &config(), PRIVATE_CGROUP).unwrap();
        let labels = json!({ OWNER_LABEL: "me", RUN_LABEL: "r1", "task": "7" });
        assert_eq!(made.get("Labels"), Some(&labels));
    }

    #[test]
    fn zeroes_mean_nothing_and_never_no_limit() {
        let mut none = spec();
        none.limits.scratch = 0;
        none.limits.processes = 0;
        let made = made(&none, &config(), PRIVATE_CGROUP).unwrap();
        assert_eq!(made.pointer("/HostConfig/Tmpfs"), None);
        assert_eq!(made.pointer("/HostConfig/PidsLimit"), Some(&json!(1)));
        none.limits.memory = 0;
        assert!(matches!(made_error(&none), ContainerError::Spec(_)));
    }

    #[test]
    fn gpus_are_asked_for_by_id_up_to_eight() {
        let with = |count: usize| SandboxSpec { gpus: (0..count).map(|id| id.to_string()).collect(), ..spec() };
        let asked = |config: &ContainerConfig| {
            made(&with(2), config, PRIVATE_CGROUP).unwrap().pointer("/HostConfig/DeviceRequests").cloned()
        };
        let nvidia = json!([{ "DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]] }]);
        assert_eq!(asked(&config()), Some(nvidia));
        let cdi = ContainerConfig { gpu_request: GpuRequest::Cdi, ..config() };
        assert_eq!(asked(&cdi), Some(json!([{ "Driver": "cdi", "DeviceIDs": ["0", "1"] }])));
        assert!(made(&with(8), &config(), PRIVATE_CGROUP).is_ok());
        assert!(matches!(made_error(&with(9)), ContainerError::Spec(_)));
    }

    #[test]
    fn options_that_an_engine_or_operator_chooses_are_passed_on() {
        let choice =
            ContainerConfig { runtime: Some("runsc".into()), executable_scratch: true, user: 70000, ..config() };
        let made = made(&spec(), &choice, ApiVersion(1, 40)).unwrap();
        assert_eq!(made.pointer("/HostConfig/Runtime"), Some(&json!("runsc")));
        assert_eq!(made.pointer("/HostConfig/CgroupnsMode"), None);
        assert_eq!(made.get("User"), Some(&json!("70000:70000")));
        let scratch = made.pointer("/HostConfig/Tmpfs/~1tmp").unwrap().as_str().unwrap();
        assert!(scratch.contains(",exec,") && scratch.contains("uid=70000"), "{scratch}");
    }

    #[test]
    fn images_are_named_by_digest_alone() {
        let by = |digest: &str| image_by_digest(&Root::Image { digest: digest.into() }).map(str::to_owned);
        assert_eq!(by(ID).unwrap(), ID);
        let repository = format!("ghcr.io/a/b@{ID}");
        assert_eq!(by(&repository).unwrap(), repository);
        let upper = ID.to_uppercase();
        for tag in ["", "a", "a:b", "sha256:", "sha256:00", &upper, &format!("@{ID}"), &format!("{ID}@{ID}0"), &ID[7..]]
        {
            assert!(matches!(by(tag), Err(ContainerError::NotADigest(_))), "{tag}");
        }
        let folders = Root::HostDirectories(vec!["/usr".into()]);
        assert!(matches!(image_by_digest(&folders), Err(ContainerError::Unsupported(_))));
    }

    #[test]
    fn variables_that_would_become_others_are_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            let spec = SandboxSpec { env: BTreeMap::from([(name.into(), value.into())]), ..spec() };
            assert!(matches!(made_error(&spec), ContainerError::Spec(_)), "{name:?}={value:?}");
        }
    }
}
