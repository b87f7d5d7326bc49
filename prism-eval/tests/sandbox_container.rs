//! The container sandbox against a real engine: the contract of every sandbox, and what is its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#[path = "support/engine.rs"]
mod engine;

use async_trait::async_trait;
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerConfig as ContainerConfigModel, ContainerCreateBody},
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptions, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
    },
};
use engine::TestEngine;
use prism_core::{
    Error, Fault, Kind, Result, Sandbox,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    channel::ByteSourceExt,
    sandbox::{Limits, Network, Property, Root, SandboxOutcome, SandboxSpec, Strength},
    submission::FailureClass,
    testing::{
        sandbox::{self, Program, SandboxDriver, Secret},
        within,
    },
};
use prism_eval::sandbox::artifacts::Caps;
use prism_eval::sandbox::container::{ArtifactSpace, ContainerConfig, ContainerSandbox, OWNER_LABEL};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::NamedTempFile;

/// What every program is started with as its last argument, so that its processes can be found on the host.
fn marker(owner: &str) -> String {
    format!("prism-test-{owner}")
}

struct Driver {
    _engine: Arc<TestEngine>,
    store: Arc<MemoryArtifacts>,
    folder: PathBuf,
    sandbox: ContainerSandbox,
    docker: Docker,
    owner: String,
    image: String,
    python: PathBuf,
    secret: NamedTempFile,
}

impl Driver {
    async fn fresh() -> Result<Self> {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ContainerConfig)) -> Result<Self> {
        static DRIVERS: AtomicU32 = AtomicU32::new(0);
        let engine = engine::engine();
        let owner = format!("test-{}-{}", std::process::id(), DRIVERS.fetch_add(1, Ordering::Relaxed));
        let mut config = ContainerConfig::new(vec![engine.socket().into()], owner.clone());
        let (store, folder) = (Arc::new(MemoryArtifacts::new()), engine.folder().join(&owner));
        if is_root() {
            let store = Arc::clone(&store) as _;
            config.artifacts = Some(ArtifactSpace { folder: folder.clone(), store, caps: Caps::default() });
        }
        change(&mut config);
        let sandbox = ContainerSandbox::connect(config).await?;
        let socket = engine.socket().to_str().unwrap();
        let docker = Docker::connect_with_unix(socket, 60, API_DEFAULT_VERSION).unwrap();
        let docker = docker.negotiate_version().await.unwrap();
        let secret = NamedTempFile::new().unwrap();
        fs::write(secret.path(), "secret").unwrap();
        let (image, python) = {
            let engine = Arc::clone(&engine);
            // It has a runtime of its own.
            std::thread::spawn(move || (engine.image(), engine::python().python)).join().unwrap()
        };
        Ok(Self { _engine: engine, store, folder, sandbox, docker, owner, image, python, secret })
    }

    fn python(&self, script: &str) -> SandboxSpec {
        let python = self.python.to_str().unwrap();
        SandboxSpec {
            root: Root::Image { digest: self.image.clone() },
            argv: [python, "-I", "-S", "-c", script, &marker(&self.owner)].map(String::from).into(),
            env: BTreeMap::new(),
            read_only: BTreeMap::new(),
            limits: Limits {
                wall_millis: 30_000,
                cpu_time_millis: 20_000,
                memory: 256 << 20,
                processes: 64,
                files: 256,
                file_size: 64 << 20,
                scratch: 16 << 20,
                scratch_inodes: 1024,
                shared_memory: 1 << 20,
                stderr: 1 << 20,
                channel: 8 << 20,
            },
            network: Network::None,
            gpus: Vec::new(),
            required: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    async fn play(&self, spec: SandboxSpec) -> (String, SandboxOutcome) {
        let mut running = self.sandbox.start(spec).await.unwrap();
        let (mut source, mut sink) = running.channel().unwrap();
        sink.close().await.unwrap();
        let said = within(Duration::from_secs(60), source.read_all("channel", 1 << 20)).await.unwrap().unwrap();
        let outcome = within(Duration::from_secs(60), running.wait()).await.unwrap().unwrap();
        (String::from_utf8(said).unwrap(), outcome)
    }

    /// A container that no sandbox knows of.
    async fn leave(&self, owner: String) {
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(vec![self.python.to_str().unwrap().into()]),
            labels: Some(HashMap::from([(OWNER_LABEL.into(), owner)])),
            ..ContainerCreateBody::default()
        };
        self.docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
    }

    async fn containers(&self, owner: &str) -> usize {
        let label = HashMap::from([("label", vec![format!("{OWNER_LABEL}={owner}")])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
        self.docker.list_containers(Some(all)).await.unwrap().len()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Work that was dropped last may still be on its way out.
        let gone = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        let _ = (0..20).any(|_| gone() || (std::thread::sleep(Duration::from_millis(50)), false).1);
    }
}

/// Collecting artifacts takes the right to mount.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Processes of this host, containers included, whose command line has this argument.
fn processes(argument: &str) -> usize {
    let found = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())
    });
    found.count()
}

const ECHO: &str = "import os\nwhile b := os.read(0, 65536): os.write(1, b)";
const LOOK: &str = "
import os, sys
for name in os.environ: print('env', name)
for fd in os.listdir('/proc/self/fd'):
    try: os.fstat(int(fd))
    except OSError: continue
    print('fd', fd)
try:
    open(PATH).read()
    print('read')
except OSError: pass
";

#[async_trait]
impl SandboxDriver for Driver {
    fn sandbox(&self) -> &dyn Sandbox {
        &self.sandbox
    }

    fn spec(&self, program: &Program) -> SandboxSpec {
        let script = match program {
            Program::Echo => ECHO.into(),
            Program::Look { path } => LOOK.replace("PATH", &format!("{:?}", path.to_str().unwrap())),
            Program::Claim { text, exit } => format!("import sys\nsys.stderr.write({text:?})\nsys.exit({exit})"),
            Program::Sleep => "import time\nwhile True: time.sleep(1000)".into(),
            Program::Spin => "while True: pass".into(),
            Program::Allocate => "x = []\nwhile True: x.append(bytearray(b'x') * (1 << 20))".into(),
            Program::Fork => "import os, time\nwhile True:\n if os.fork() == 0: time.sleep(1000)".into(),
            Program::Fill => "f = open('/tmp/fill', 'wb')\nwhile True: f.write(bytes(65536))".into(),
            Program::Shout => "import os\nwhile True: os.write(2, b'x' * 4096)".into(),
            Program::Flood => "import os\nwhile True: os.write(1, b'x' * 4096)".into(),
            other => panic!("a program that this driver doesn't know: {other:?}"),
        };
        self.python(&script)
    }

    fn secret(&self) -> Secret {
        Secret { variable: "CARGO_PKG_NAME".into(), path: self.secret.path().into() }
    }

    async fn remains(&self) -> Result<usize> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.lines().filter(|line| line.contains(&self.owner)).count();
        Ok(self.containers(&self.owner).await + processes(&marker(&self.owner)) + mounts)
    }

    async fn abandon(&mut self, ours: bool) -> Result<()> {
        let owner = if ours { self.owner.clone() } else { format!("not-{}", self.owner) };
        self.leave(owner).await;
        Ok(())
    }

    async fn abandoned(&self, ours: bool) -> Result<usize> {
        let owner = if ours { self.owner.clone() } else { format!("not-{}", self.owner) };
        let left = self.containers(&owner).await;
        if !ours {
            // The suite leaves it; this host shouldn't.
            let label = HashMap::from([("label", vec![format!("{OWNER_LABEL}={owner}")])]);
            let all = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
            for container in self.docker.list_containers(Some(all)).await.unwrap() {
                let force = RemoveContainerOptionsBuilder::new().force(true).build();
                self.docker.remove_container(&container.id.unwrap(), Some(force)).await.unwrap();
            }
        }
        Ok(left)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_container_sandbox_keeps_every_clause() {
    let _engine = engine::engine();
    sandbox::run(Driver::fresh).await.assert_ok();
}

#[tokio::test]
async fn only_images_by_digest_are_started() {
    let driver = Driver::fresh().await.unwrap();
    for tag in ["debian", "debian:12", "docker.io/library/debian:latest", "sha256:beef", "@sha256:00"] {
        let spec = SandboxSpec { root: Root::Image { digest: tag.into() }, ..driver.python("") };
        let error = driver.sandbox.start(spec).await.unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Validator), "{tag}: {error:?}");
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let error =
        driver.sandbox.start(SandboxSpec { root: Root::Image { digest }, ..driver.python("") }).await.unwrap_err();
    assert_eq!((error.kind(), error.fault()), (Kind::NotFound, Fault::Infrastructure), "{error:?}");
}

#[tokio::test]
async fn a_gpu_that_is_not_there_is_a_failure_of_the_machine() {
    let driver = Driver::fresh().await.unwrap();
    let can = driver.sandbox.probe().await.unwrap();
    if can.of(Property::Gpu) == Strength::Enforced {
        // Then it is a device that no machine has.
        let spec = SandboxSpec { gpus: vec!["GPU-00000000".into()], ..driver.python("") };
        assert_eq!(driver.sandbox.start(spec).await.unwrap_err().fault(), Fault::Infrastructure);
        return;
    }
    let spec = SandboxSpec { gpus: vec!["0".into()], ..driver.python("") };
    let error: Error = driver.sandbox.start(spec).await.unwrap_err();
    assert_eq!((error.kind(), error.fault()), (Kind::Unavailable, Fault::Infrastructure), "{error:?}");
    assert_eq!(driver.remains().await.unwrap(), 0, "a container that didn't start is left");
}

/// What the list, the user, the mounts and the limits come to, seen from inside.
const INSIDE: &str = "
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *args):
    ctypes.set_errno(0)
    libc.syscall(number, *args)
    print(name, errno.errorcode.get(ctypes.get_errno(), 'ok'))
def attempt(name, action):
    try:
        action()
        print(name, 'ok')
    except OSError as error: print(name, errno.errorcode.get(error.errno, error))
call('ptrace', 101, 0, 0, 0, 0)
call('unshare', 272, 0x10000000)
call('io_uring_setup', 425, 1, 0)
call('clone3', 435, 0, 0)
attempt('root', lambda: open('/x', 'w'))
attempt('library', lambda: open(os.__file__, 'a'))
attempt('scratch', lambda: open('/tmp/x', 'w').write('#!/bin/sh\\n'))
os.chmod('/tmp/x', 0o755)
attempt('exec', lambda: os.execv('/tmp/x', ['x']))
attempt('size', lambda: os.truncate('/tmp/x', 1 << 40))
attempt('localhost', lambda: socket.getaddrinfo('localhost', 1))
attempt('own name', lambda: socket.getaddrinfo(socket.gethostname(), 1))
attempt('network', lambda: socket.create_connection(('192.0.2.1', 80), 1))
for line in open('/proc/self/status'):
    if line.split(':')[0] in ('Uid', 'CapBnd', 'CapEff', 'NoNewPrivs', 'Seccomp'): print(*line.split())
print('servers', *[line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver')])
";

#[tokio::test]
async fn work_finds_itself_without_rights_names_or_places_to_write() {
    let driver = Driver::fresh().await.unwrap();
    let (said, outcome) = driver.play(driver.python(INSIDE)).await;
    assert_eq!(outcome.failure, None, "{outcome:?} {}", String::from_utf8_lossy(&outcome.stderr_tail));
    let numbers = if cfg!(target_arch = "x86_64") {
        "ptrace EPERM\nunshare EPERM\nio_uring_setup EPERM\nclone3 ENOSYS\n"
    } else {
        ""
    };
    let rest = "root EROFS\nlibrary EACCES\nscratch ok\nexec EACCES\nsize EFBIG\nlocalhost ok\nown name ok\n\
                network ENETUNREACH\nUid: 65532 65532 65532 65532\nCapEff: 0000000000000000\n\
                CapBnd: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\nservers 127.0.0.1\n";
    assert!(said.starts_with(numbers) && said.ends_with(rest), "{said}");
}

#[tokio::test]
async fn scratch_space_holds_programs_only_where_that_was_asked_for() {
    let driver = Driver::with(|config| config.executable_scratch = true).await.unwrap();
    let script = "import os, shutil, sys\nshutil.copy(sys.executable, '/tmp/python')\n\
                  os.execv('/tmp/python', ['/tmp/python', '-I', '-S', '-c', 'print(42)'])";
    let (said, outcome) = driver.play(driver.python(script)).await;
    assert_eq!((said.as_str(), outcome.failure), ("42\n", None), "{outcome:?}");
}

#[tokio::test]
async fn what_is_left_is_kept_by_digest_and_a_link_refuses_all() {
    let driver = Driver::fresh().await.unwrap();
    let write = "import os\nos.mkdir('/tmp/artifacts/a')\nopen('/tmp/artifacts/a/b', 'w').write('left')\n";
    if !is_root() {
        // Without the right to mount, collecting is refused before anything starts.
        let store = Arc::clone(&driver.store) as _;
        let space = ArtifactSpace { folder: driver.folder.clone(), store, caps: Caps::default() };
        let driver = Driver::with(|config| config.artifacts = Some(space)).await.unwrap();
        let error = driver.sandbox.start(driver.python(write)).await.unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Unsupported, Fault::Validator), "{error:?}");
        return;
    }
    let (_, outcome) = driver.play(driver.python(write)).await;
    assert_eq!(outcome.failure, None, "{outcome:?}");
    let (path, digest) = outcome.artifacts.first_key_value().unwrap();
    assert_eq!((path.as_str(), outcome.artifacts.len()), ("a/b", 1));
    assert_eq!(driver.store.read(*digest, 100).await.unwrap(), b"left");
    let link = format!("{write}os.symlink('/etc/passwd', '/tmp/artifacts/a/c')");
    let (_, outcome) = driver.play(driver.python(&link)).await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (Some(FailureClass::Policy), 0), "{outcome:?}");
}

#[tokio::test]
async fn a_child_that_runs_out_of_memory_is_not_the_end_of_its_parent() {
    let driver = Driver::fresh().await.unwrap();
    let allocate = "x = []\nwhile True: x.append(bytearray(b'x') * (1 << 20))";
    let script = format!("import os\nif os.fork() == 0:\n exec({allocate:?})\nos.wait()");
    let tight = |mut spec: SandboxSpec| {
        spec.limits.memory = 64 << 20;
        spec
    };
    let (_, outcome) = driver.play(tight(driver.python(&script))).await;
    assert_eq!((outcome.failure, outcome.exit), (None, Some(0)), "{outcome:?}");
    let (_, outcome) = driver.play(tight(driver.python(allocate))).await;
    assert_eq!(outcome.failure, Some(FailureClass::Resource), "{outcome:?}");
    assert!(outcome.usage.oom_kills > 0, "{outcome:?}");
}

#[tokio::test]
async fn used_up_scratch_space_is_seen_by_the_host() {
    let driver = Driver::fresh().await.unwrap();
    let mut spec = driver.spec(&Program::Fill);
    spec.limits.scratch = 1 << 20;
    let (_, outcome) = driver.play(spec).await;
    let class = if is_root() { FailureClass::Resource } else { FailureClass::MinerCode };
    assert_eq!(outcome.failure, Some(class), "{outcome:?}");
}

#[tokio::test]
async fn bytes_come_through_as_they_are_and_at_their_limit_not_at_all() {
    let driver = Driver::fresh().await.unwrap();
    let mut spec = driver.spec(&Program::Echo);
    spec.limits.channel = 6 << 20;
    let mut running = driver.sandbox.start(spec).await.unwrap();
    let (mut source, mut sink) = running.channel().unwrap();
    assert!(running.channel().is_none());
    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(|n| [(n ^ (n >> 8)) as u8]).collect();
    let writing = async {
        sink.write_all(&sent).await.unwrap();
        sink
    };
    let mut heard = vec![0; sent.len()];
    let reading = async {
        let mut at = 0;
        while at < heard.len() {
            at += source.read(&mut heard[at..]).await.unwrap();
        }
    };
    let (mut sink, ()) = tokio::join!(writing, reading);
    assert!(heard == sent, "other bytes came back");
    assert!(sink.write_all(&sent).await.is_err());
    let outcome = running.wait().await.unwrap();
    assert_eq!(outcome.failure, Some(FailureClass::Resource), "{outcome:?}");
    assert!(outcome.reason.contains("channel"), "{outcome:?}");
}

#[tokio::test]
async fn frozen_work_is_ended_by_a_kill_and_by_the_wall_clock() {
    let driver = Driver::fresh().await.unwrap();
    for by_kill in [true, false] {
        let mut spec = driver.spec(&Program::Spin);
        spec.limits.wall_millis = if by_kill { 30_000 } else { 2_000 };
        let running = driver.sandbox.start(spec).await.unwrap();
        running.freeze().await.unwrap();
        if by_kill {
            running.killer().kill(FailureClass::Cancelled, "enough");
        }
        let outcome = within(Duration::from_secs(30), running.wait()).await.expect("frozen work goes on").unwrap();
        let class = if by_kill { FailureClass::Cancelled } else { FailureClass::Resource };
        assert_eq!(outcome.failure, Some(class), "{outcome:?}");
        assert_eq!(driver.remains().await.unwrap(), 0);
    }
}

#[test]
fn work_is_killed_by_a_drop_after_its_runtime_is_gone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let driver = runtime.block_on(Driver::fresh()).unwrap();
    let running = runtime.block_on(driver.sandbox.start(driver.spec(&Program::Fork))).unwrap();
    drop(runtime);
    drop(running);
    let mut looks = 0..100;
    let looking = tokio::runtime::Runtime::new().unwrap();
    while looking.block_on(driver.remains()).unwrap() > 0 {
        assert!(looks.next().is_some(), "something is left 10 s after drop");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_process_that_outlives_its_container_is_killed_and_told() {
    let driver = Driver::fresh().await.unwrap();
    let running = driver.sandbox.start(driver.spec(&Program::Sleep)).await.unwrap();
    let label = HashMap::from([("label", vec![format!("{OWNER_LABEL}={}", driver.owner)])]);
    let list = ListContainersOptionsBuilder::new().filters(&label).build();
    let id = driver.docker.list_containers(Some(list)).await.unwrap().remove(0).id.unwrap();
    let inspected = driver.docker.inspect_container(&id, None).await.unwrap();
    let init = inspected.state.unwrap().pid.unwrap();
    // Stands for a process that the engine lost: in the container's groups, outside its namespaces.
    let mut outside = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let moved = is_root() && join_groups(&fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap(), outside.id());
    running.killer().kill(FailureClass::Cancelled, "enough");
    let outcome = running.wait().await.unwrap();
    assert_eq!(outcome.failure, Some(FailureClass::Cancelled), "{outcome:?}");
    if moved {
        let ended = outside.try_wait().unwrap().expect("a survivor goes on after its container");
        assert!(!ended.success(), "the survivor ended by itself");
    } else {
        outside.kill().unwrap();
        outside.wait().unwrap();
        assert!(!is_root(), "no control group of the container is visible to root");
    }
    assert_eq!(driver.remains().await.unwrap(), 0);
}

/// Moves a process into control groups, wherever they are mounted here; whether that worked.
fn join_groups(groups: &str, pid: u32) -> bool {
    let mounts = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let mounts: Vec<_> = mounts.chain([PathBuf::from("/sys/fs/cgroup")]).collect();
    let mut moved = false;
    for path in groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
        for mount in &mounts {
            let group = mount.join(path.trim_start_matches('/')).join("cgroup.procs");
            moved |= path != "/" && group.exists() && fs::write(group, pid.to_string()).is_ok();
        }
    }
    moved
}

#[tokio::test]
async fn a_sweep_leaves_running_work_of_its_own_program_alone() {
    let driver = Driver::fresh().await.unwrap();
    let mut running = driver.sandbox.start(driver.spec(&Program::Echo)).await.unwrap();
    if is_root() {
        fs::create_dir_all(driver.folder.join("left-by-a-crash")).unwrap();
    }
    assert_eq!(driver.sandbox.sweep().await.unwrap(), usize::from(is_root()));
    let (mut source, mut sink) = running.channel().unwrap();
    sink.write_all(b"still here").await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(source.read_all("echo", 100).await.unwrap(), b"still here");
    assert_eq!(running.wait().await.unwrap().failure, None);
}

#[tokio::test]
async fn an_image_with_volumes_is_refused() {
    let driver = Driver::fresh().await.unwrap();
    driver.leave(driver.owner.clone()).await;
    let label = HashMap::from([("label", vec![format!("{OWNER_LABEL}={}", driver.owner)])]);
    let list = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
    let made = driver.docker.list_containers(Some(list)).await.unwrap().remove(0).id.unwrap();
    let volumes = ContainerConfigModel { volumes: Some(vec!["/data".into()]), ..ContainerConfigModel::default() };
    let options = CommitContainerOptionsBuilder::new().container(&made).build();
    let image = driver.docker.commit_container(options, volumes).await.unwrap().id;
    let digest = format!("sha256:{}", image.trim_start_matches("sha256:"));
    let spec = SandboxSpec { root: Root::Image { digest }, ..driver.python("") };
    let error = driver.sandbox.start(spec).await.unwrap_err();
    driver.sandbox.sweep().await.unwrap();
    // Not the image below it, which has no name either.
    let only = RemoveImageOptionsBuilder::new().noprune(true).build();
    driver.docker.remove_image(&image, Some(only), None).await.unwrap();
    assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Validator), "{error:?}");
}
