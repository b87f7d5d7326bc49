//! The container sandbox against a real engine: the contract of every sandbox, and what is its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#[path = "support/engine.rs"]
mod engine;

use async_trait::async_trait;
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};
use engine::TestEngine;
use prism_core::{
    Error, Fault, Kind, Result, Sandbox,
    artifacts::MemoryArtifacts,
    channel::ByteSourceExt,
    sandbox::{Limits, Network, Property, Root, SandboxOutcome, SandboxSpec, Strength},
    submission::FailureClass,
    testing::{
        sandbox::{self, Program, SandboxDriver, Secret},
        within,
    },
};
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
    engine: Arc<TestEngine>,
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
        if rustix::process::geteuid().is_root() {
            let store = Arc::new(MemoryArtifacts::new());
            config.artifacts = Some(ArtifactSpace { folder: engine.folder().join(&owner), store });
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
        Ok(Self { engine, sandbox, docker, owner, image, python, secret })
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

    async fn containers(&self, owner: &str) -> usize {
        let label = HashMap::from([("label", vec![format!("{OWNER_LABEL}={owner}")])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
        self.docker.list_containers(Some(all)).await.unwrap().len()
    }
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
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(vec![self.python.to_str().unwrap().into()]),
            labels: Some(HashMap::from([(OWNER_LABEL.into(), owner)])),
            ..ContainerCreateBody::default()
        };
        self.docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
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
