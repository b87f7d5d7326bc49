//! The embedded sandbox before the suite of its contract: as whoever runs this, and, when that is root, as a plain user
//! too. Has its own `main`, since this very program is the launcher.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]
use async_trait::async_trait;
use prism_core::{
    channel::ByteSourceExt,
    error::{Error, Kind, Result},
    sandbox::{Limits, Network, Property, Root, Sandbox, SandboxOutcome, SandboxSpec, Strength},
    submission::FailureClass,
    testing::sandbox::{self, Program, SandboxDriver, Secret},
};
use prism_eval::sandbox::{
    embedded::{EmbeddedConfig, EmbeddedSandbox},
    launcher,
};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
};

/// Set for the run as a plain user, which is another process.
const AS_USER: &str = "--as-plain-user";
const NOBODY: &str = "65534";
/// Set, with a label, for a host that will be killed.
const AS_HOST: &str = "--as-host";

fn main() -> ExitCode {
    launcher::enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let plain = std::env::args().any(|arg| arg == AS_USER);
    if let Some(label) = std::env::args().skip_while(|arg| arg != AS_HOST).nth(1) {
        runtime.block_on(sleep_as_host(label));
    }
    let root = !plain && runs_as_root();
    let who = if root { "root" } else { "a plain user" };
    let mut failed = runtime.block_on(run(who));
    if root {
        let program = std::env::current_exe().unwrap();
        let copy = tempfile::Builder::new().prefix("sandbox-test").tempdir_in("/tmp").unwrap();
        // The build folder may be closed to others.
        let theirs = copy.path().join("sandbox_embedded");
        fs::copy(program, &theirs).unwrap();
        fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        let status = Command::new("setpriv").args(user).arg(&theirs).arg(AS_USER).current_dir("/").status();
        match status {
            Ok(status) => failed += usize::from(!status.success()),
            Err(error) => {
                eprintln!("FAILED as a plain user: setpriv (util-linux) doesn't start: {error}");
                failed += 1;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn runs_as_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

macro_rules! tests { ($who:expr, $($name:ident),* $(,)?) => {{
    let mut failed = 0;
    $(
        let done = tokio::spawn($name()).await;
        println!("{} {} as {}", if done.is_ok() { "ok    " } else { "FAILED" }, stringify!($name), $who);
        failed += usize::from(done.is_err());
    )*
    failed
}} }

async fn run(who: &str) -> usize {
    let can = EmbeddedSandbox::new(EmbeddedConfig::default()).probe().await.unwrap();
    println!("as {who}: {:?}", can.0);
    let report = sandbox::run(async || Ok(Driver::new())).await;
    println!("{report}");
    let mut failed = report.broken().len();
    if let Some(unified) = version_2() {
        println!("as {who}, control groups of version 2 below {}:", unified.display());
        let report = sandbox::run(async || Ok(Driver::with(Some(unified.clone())))).await;
        println!("{report}");
        failed += report.broken().len();
    }
    failed
        + tests!(
            who,
            nobody_is_root_inside_or_outside,
            the_tree_is_read_only_and_has_only_what_was_named,
            links_of_the_host_and_files_of_the_spec_are_there,
            what_work_leaves_is_kept_once_it_is_dead,
            a_link_left_behind_is_a_matter_of_policy,
            loopback_is_there_when_asked_for_and_only_then,
            zero_means_none,
            a_program_that_is_not_there_is_no_fault_of_the_miner,
            a_launcher_that_is_none_is_refused_clearly,
            filtered_calls_say_no,
            a_signal_that_ends_the_work_is_reported,
            memory_beyond_the_limit_is_a_resource_failure,
            a_limit_refuses_exactly_what_is_beyond_it,
            the_first_process_is_out_of_reach,
            nothing_outlives_a_host_that_is_killed,
            a_sandbox_without_control_groups_still_counts_and_freezes,
        )
}

fn label() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn limits() -> Limits {
    Limits {
        wall_millis: 20_000,
        cpu_time_millis: 15_000,
        memory: 512 << 20,
        processes: 64,
        files: 256,
        file_size: 1 << 30,
        scratch: 64 << 20,
        scratch_inodes: 1024,
        shared_memory: 16 << 20,
        stderr: 1 << 20,
        channel: 1 << 30,
    }
}

fn folders() -> Vec<PathBuf> {
    ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from).into_iter().filter(|p| p.exists()).collect()
}

fn spec(argv: &[&str]) -> SandboxSpec {
    SandboxSpec {
        root: Root::HostDirectories(folders()),
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: BTreeMap::new(),
        read_only: BTreeMap::new(),
        limits: limits(),
        network: Network::None,
        gpus: Vec::new(),
        required: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn python(code: &str) -> SandboxSpec {
    spec(&["/usr/bin/python3", "-I", "-S", "-c", code])
}

const LOOK: &str = r#"
import os, sys
for name in os.environ: print("env", name)
for fd in os.listdir("/proc/self/fd"):
    try: os.fstat(int(fd)); print("fd", fd)
    except OSError: pass  # the listing's own
try:
    open(sys.argv[1], "rb").read(1); print("read")
except OSError: pass
"#;
const FORK: &str = r#"
import os, time
while True:
    try:
        if os.fork() == 0:
            while True: time.sleep(3600)
    except OSError: time.sleep(0.01)
"#;
const FILL: &str = r#"
block, number = b"x" * 65536, 0
while True:
    try:
        with open(f"/tmp/{number}", "wb") as file:
            while True: file.write(block); file.flush()
    except OSError: number += 1
"#;

struct Driver {
    sandbox: EmbeddedSandbox,
    label: String,
    secret: tempfile::NamedTempFile,
    left: [Option<Left>; 2],
}

/// What a crashed host left: a process and control groups.
struct Left {
    child: Child,
    label: String,
    _script: tempfile::TempDir,
}

impl Driver {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(control_group: Option<PathBuf>) -> Self {
        let label = label();
        let secret = tempfile::NamedTempFile::new().unwrap();
        fs::write(secret.path(), "secret").unwrap();
        let config = EmbeddedConfig { label: label.clone(), control_group, ..EmbeddedConfig::default() };
        let sandbox = EmbeddedSandbox::new(config);
        Self { sandbox, label, secret, left: [None, None] }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for Left { child, label, .. } in self.left.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
            for group in groups(label) {
                let _ = fs::remove_dir(group);
            }
        }
    }
}

#[async_trait]
impl SandboxDriver for Driver {
    fn sandbox(&self) -> &dyn Sandbox {
        &self.sandbox
    }
    fn spec(&self, program: &Program) -> SandboxSpec {
        match program {
            Program::Echo => spec(&["/bin/cat"]),
            Program::Look { path } => {
                let mut spec = python(LOOK);
                spec.argv.push(path.display().to_string());
                spec
            }
            Program::Claim { text, exit } => {
                spec(&["/bin/sh", "-c", r#"printf %s "$1" >&2; exit "$2""#, "sh", text, &exit.to_string()])
            }
            Program::Sleep => spec(&["/bin/sleep", "3600"]),
            Program::Spin => spec(&["/bin/sh", "-c", "while :; do :; done"]),
            Program::Allocate => python("held = []\nwhile True: held.append(bytearray(b'x') * (1 << 20))"),
            Program::Fork => {
                let mut spec = python(FORK);
                spec.limits.wall_millis = 3000;
                spec
            }
            Program::Fill => {
                let mut spec = python(FILL);
                spec.limits.wall_millis = 3000;
                spec
            }
            Program::Shout => spec(&["/bin/sh", "-c", "yes >&2"]),
            Program::Flood => spec(&["/usr/bin/yes"]),
            other => panic!("no program for {other:?}"),
        }
    }
    fn secret(&self) -> Secret {
        Secret { variable: "HOME".into(), path: self.secret.path().to_owned() }
    }
    async fn remains(&self) -> Result<usize> {
        Ok(launchers(&self.label).len() + groups(&self.label).len())
    }
    async fn abandon(&mut self, ours: bool) -> Result<()> {
        // A process as a crashed host leaves it: of a host that is dead, or of another backend.
        let label = if ours { self.label.clone() } else { label() };
        let mut dead = Command::new("/bin/true").spawn().unwrap();
        dead.wait().unwrap();
        let mut command = Command::new("/bin/sh");
        std::os::unix::process::CommandExt::arg0(&mut command, "prism-sandbox-launcher");
        // `sh LABEL PID STARTED` reads the script of that name, on standard input by this trick.
        let script = tempfile::tempdir().unwrap();
        fs::write(script.path().join(&label), "exec 3<&0; while read -r _ <&3; do :; done").unwrap();
        let child = command
            .args([label.clone(), dead.id().to_string(), "1".into()])
            .current_dir(script.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for parent in writable_groups() {
            fs::create_dir(parent.join(format!("prism-sandbox.{label}.{}.1.0", dead.id()))).unwrap();
        }
        self.left[usize::from(ours)] = Some(Left { child, label, _script: script });
        Ok(())
    }
    async fn abandoned(&self, ours: bool) -> Result<usize> {
        let Left { child, label, .. } = self.left[usize::from(ours)].as_ref().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        let runs = !stat.is_empty() && !stat.contains(") Z ");
        Ok(usize::from(runs || !groups(label).is_empty()))
    }
}

/// Numbers of processes that are launchers with a label, or sandboxes' first processes.
fn launchers(label: &str) -> Vec<u32> {
    let start = format!("prism-sandbox-launcher\0{label}\0");
    let pids = fs::read_dir("/proc").unwrap().filter_map(|f| f.ok()?.file_name().to_str()?.parse().ok());
    let ours = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(start.as_bytes()));
    pids.filter(ours).collect()
}

/// Control groups that this process may make groups in, where tests look for what is left.
fn writable_groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let paths = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (controller, path) = (parts.nth(1)?, parts.next()?);
        ["memory", "pids", "cpuacct", "freezer"]
            .contains(&controller)
            .then(|| PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}")))
    });
    let root = runs_as_root();
    paths.chain(version_2()).filter(|path| root && path.join("cgroup.procs").exists()).collect()
}

/// A group of version 2 that this process may make groups in.
fn version_2() -> Option<PathBuf> {
    let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let mut places = places.into_iter().filter(|place| place.join("cgroup.controllers").exists());
    places.next().filter(|_| runs_as_root())
}

/// Control groups with a label.
fn groups(label: &str) -> Vec<PathBuf> {
    let ours = format!("prism-sandbox.{label}.");
    let folders = writable_groups().into_iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten();
    let named = folders.filter_map(|f| f.ok()).filter(|f| f.file_name().to_string_lossy().starts_with(&ours));
    named.map(|f| f.path()).collect()
}

fn sandbox() -> EmbeddedSandbox {
    EmbeddedSandbox::new(EmbeddedConfig { label: label(), ..EmbeddedConfig::default() })
}

/// Starts, closes the work's input, reads its output, waits.
async fn play(sandbox: &EmbeddedSandbox, spec: SandboxSpec) -> (String, SandboxOutcome) {
    let mut running = sandbox.start(spec).await.unwrap();
    let (mut source, mut sink) = running.channel().unwrap();
    sink.close().await.unwrap();
    let said = source.read_all("channel", 1 << 20).await.unwrap_or_default();
    (String::from_utf8_lossy(&said).into_owned(), running.wait().await.unwrap())
}

async fn said(spec: SandboxSpec) -> String {
    let (said, outcome) = play(&sandbox(), spec).await;
    let errors = String::from_utf8_lossy(&outcome.stderr_tail).into_owned();
    assert_eq!(outcome.failure, None, "{}: {errors}", outcome.reason);
    said
}

async fn nobody_is_root_inside_or_outside() {
    let said = said(python("import os; print(os.getresuid(), os.getresgid(), os.getgroups(), os.getpid())\nprint(open('/proc/self/status').read())")).await;
    assert!(said.starts_with("(65532, 65532, 65532) (65532, 65532, 65532)"), "{said}");
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    let mut running = sandbox().start(spec(&["/bin/sleep", "100"])).await.unwrap();
    let _channel = running.channel();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|f| f.ok()?.file_name().into_string().ok());
    let work = pids.filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c == b"/bin/sleep\x00100\0"));
    let users: Vec<String> = work.map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap()).collect();
    assert!(!users.is_empty());
    assert!(!users.iter().any(|status| status.contains("Uid:\t0\t")), "{users:?}");
}

async fn the_tree_is_read_only_and_has_only_what_was_named() {
    let code = r#"
import os
print(sorted(os.listdir("/")), sorted(os.listdir("/dev")))
for path in ["/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj", "/lib/x"]:
    try: open(path, "w"); print("wrote", path)
    except OSError as error: print(error.errno, path)
for path in ["/tmp/x", "/tmp/artifacts/x", "/dev/shm/x", "/dev/null"]: open(path, "w").write("x")
for path in ["/proc/1/environ", "/proc/1/mem", "/proc/1/root/etc", "/proc/kcore", "/root", "/home", "/var"]:
    try: open(path, "rb").read(1); print("read", path)
    except OSError: pass
"#;
    let said = said(python(code)).await;
    assert!(!said.contains("wrote") && !said.contains("read /"), "{said}");
    assert!(
        said.contains("['full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']")
            || said.contains("'fd', 'full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']"),
        "{said}"
    );
    assert!(said.contains("'dev', 'etc', 'lib', 'lib64', 'proc', 'tmp', 'usr']"), "{said}");
}

async fn links_of_the_host_and_files_of_the_spec_are_there() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "from the host").unwrap();
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut spec = python("import os; print(open('/opt/deep/file').read(), os.path.islink('/lib') == bool(%d))");
    let linked = fs::symlink_metadata("/lib").unwrap().is_symlink();
    spec.argv[4] = spec.argv[4].replace("%d", if linked { "1" } else { "0" });
    spec.read_only.insert("/opt/deep/file".into(), file.path().to_owned());
    assert_eq!(said(spec).await, "from the host True\n");
}

async fn what_work_leaves_is_kept_once_it_is_dead() {
    use prism_core::{
        Digest,
        artifacts::{ArtifactsExt, MemoryArtifacts},
    };
    let store = std::sync::Arc::new(MemoryArtifacts::new());
    let sandbox = sandbox().with_artifacts(store.clone());
    let code = "import os; os.makedirs('/tmp/artifacts/a'); open('/tmp/artifacts/a/b', 'w').write('left'); open('/tmp/no', 'w')";
    let (_, outcome) = play(&sandbox, python(code)).await;
    let digest = Digest::of(b"left");
    assert_eq!(outcome.artifacts, BTreeMap::from([("a/b".into(), digest)]), "{outcome:?}");
    assert_eq!(store.read(digest, 4).await.unwrap(), b"left");
    // Killed work leaves what it had.
    let mut spec = python("open('/tmp/artifacts/x', 'w').write('left')\nwhile True: pass");
    spec.limits.wall_millis = 2000;
    let (_, outcome) = play(&sandbox, spec).await;
    assert_eq!((outcome.failure, outcome.artifacts.get("x")), (Some(FailureClass::Resource), Some(&digest)));
}

async fn a_link_left_behind_is_a_matter_of_policy() {
    let (_, outcome) = play(&sandbox(), python("import os; os.symlink('/etc/passwd', '/tmp/artifacts/x')")).await;
    assert_eq!((outcome.failure, outcome.exit), (Some(FailureClass::Policy), Some(0)), "{}", outcome.reason);
    assert!(outcome.artifacts.is_empty());
}

async fn loopback_is_there_when_asked_for_and_only_then() {
    let code = r#"
import socket
try:
    server = socket.create_server(("127.0.0.1", 29500)); client = socket.create_connection(("localhost", 29500)); print("talked")
except OSError as error: print("silent")
try: socket.create_connection(("1.1.1.1", 53), 1); print("escaped")
except OSError: pass
"#;
    let mut spec = python(code);
    assert_eq!(said(spec.clone()).await, "silent\n");
    spec.network = Network::Loopback;
    let (first, second) = tokio::join!(said(spec.clone()), said(spec));
    assert_eq!((first.as_str(), second.as_str()), ("talked\n", "talked\n"));
}

async fn zero_means_none() {
    let mut nothing = python("open('/tmp/x', 'w')");
    nothing.limits.scratch = 0;
    assert_eq!(play(&sandbox(), nothing).await.1.failure, Some(FailureClass::MinerCode));
    let mut silent = spec(&["/bin/echo", "x"]);
    silent.limits.channel = 0;
    assert_eq!(play(&sandbox(), silent).await.1.failure, Some(FailureClass::Resource));
    let mut mute = spec(&["/bin/sh", "-c", "echo x >&2"]);
    mute.limits.stderr = 0;
    assert_eq!(play(&sandbox(), mute).await.1.failure, Some(FailureClass::Resource));
    let mut shared = python("open('/dev/shm/x', 'w')");
    shared.limits.shared_memory = 0;
    assert_eq!(play(&sandbox(), shared).await.1.failure, Some(FailureClass::MinerCode));
    for tighten in [(|l| l.memory = 0) as fn(&mut Limits), |l| l.processes = 0, |l| l.files = 0] {
        let mut spec = spec(&["/bin/true"]);
        tighten(&mut spec.limits);
        assert_eq!(refusal(&sandbox(), spec).await.kind(), Kind::Invalid);
    }
}

async fn refusal(sandbox: &EmbeddedSandbox, spec: SandboxSpec) -> Error {
    match sandbox.start(spec).await {
        Ok(_) => panic!("started"),
        Err(error) => error,
    }
}

async fn a_program_that_is_not_there_is_no_fault_of_the_miner() {
    let error = refusal(&sandbox(), spec(&["/usr/bin/absent"])).await;
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.chain().contains("/usr/bin/absent"), "{}", error.chain());
    let (_, outcome) = play(&sandbox(), spec(&["sh", "-c", "exit 127"])).await;
    assert_eq!((outcome.failure, outcome.exit), (Some(FailureClass::MinerCode), Some(127)));
}

async fn a_launcher_that_is_none_is_refused_clearly() {
    for launcher in ["/bin/true", "/bin/cat"] {
        let config = EmbeddedConfig { launcher: Some(launcher.into()), label: label(), ..EmbeddedConfig::default() };
        let error = refusal(&EmbeddedSandbox::new(config), spec(&["/bin/true"])).await;
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.chain().contains("enter() first"), "{}", error.chain());
    }
}

async fn filtered_calls_say_no() {
    let code = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(*args) == -1 else 0
machine = os.uname().machine
numbers = {"x86_64": dict(ptrace=101, unshare=272, mount=165, keyctl=250, bpf=321, io_uring_setup=425, userfaultfd=323, clone3=435),
           "aarch64": dict(ptrace=117, unshare=97, mount=40, keyctl=219, bpf=280, io_uring_setup=425, userfaultfd=282, clone3=435)}[machine]
print({name: call(number, 0, 0, 0, 0, 0) for name, number in numbers.items()})
import threading
thread = threading.Thread(target=print, args=("threads work",)); thread.start(); thread.join()
"#;
    let said = said(python(code)).await;
    for name in ["ptrace", "unshare", "mount", "keyctl", "bpf", "io_uring_setup", "userfaultfd"] {
        assert!(said.contains(&format!("'{name}': 1")), "{name}: {said}");
    }
    assert!(said.contains("'clone3': 38") && said.contains("threads work"), "{said}");
}

async fn a_signal_that_ends_the_work_is_reported() {
    let (_, outcome) = play(&sandbox(), python("import os; os.abort()")).await;
    assert_eq!((outcome.failure, outcome.exit, outcome.signal), (Some(FailureClass::MinerCode), None, Some(6)));
    let mut spec = python(
        "open('/tmp/x', 'wb').write(bytes(4096)); import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); open('/tmp/x', 'wb').write(bytes(8192))",
    );
    spec.limits.file_size = 4096;
    let (_, outcome) = play(&sandbox(), spec).await;
    assert_eq!((outcome.failure, outcome.signal), (Some(FailureClass::Resource), Some(25)), "{}", outcome.reason);
}

async fn memory_beyond_the_limit_is_a_resource_failure() {
    let sandbox = sandbox();
    let enforced = sandbox.probe().await.unwrap().of(Property::MemoryLimit) == Strength::Enforced;
    let mut spec = python("held = []\nwhile True: held.append(bytearray(b'x') * (1 << 20))");
    spec.limits.memory = 128 << 20;
    let (_, outcome) = play(&sandbox, spec).await;
    // By resource limits alone the work gets an error of its own, and no evidence of a limit is left.
    let wanted = if enforced { FailureClass::Resource } else { FailureClass::MinerCode };
    assert_eq!(outcome.failure, Some(wanted), "{}", outcome.reason);
    assert!(outcome.usage.peak_memory <= 128 << 20, "{:?}", outcome.usage);
}

async fn a_limit_refuses_exactly_what_is_beyond_it() {
    let code = r#"
import os, time
children, files = 0, 0
try:
    while True:
        if os.fork() == 0: time.sleep(100)
        children += 1
except OSError as error: print("processes", 1 + children, error.errno)
try:
    while True: open(f"/tmp/{files}", "w").close(); files += 1
except OSError as error: print("files", files, error.errno)
try:
    with open("/tmp/0", "wb", buffering=0) as file:
        while True: file.write(bytes(4096))
except OSError as error: print("bytes", os.stat("/tmp/0").st_size, error.errno)
"#;
    let mut spec = python(code);
    (spec.limits.processes, spec.limits.scratch_inodes, spec.limits.scratch) = (20, 100, 1 << 20);
    let said = said(spec).await;
    for line in ["processes 20 11", "files 100 28", "bytes 1048576 28"] {
        assert!(said.lines().any(|one| one == line), "{line}: {said}");
    }
}

async fn the_first_process_is_out_of_reach() {
    let code = r#"
import os, resource, signal
def tried(name, *args):
    try: name(*args); print("done", name, args)
    except (OSError, PermissionError): pass
tried(resource.prlimit, 1, resource.RLIMIT_NOFILE, (0, 0))
tried(os.setpriority, os.PRIO_PROCESS, 1, 19)
tried(os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
tried(os.sched_setaffinity, 1, {0})
for name in ["mem", "environ", "maps", "fd/0", "root/tmp"]: tried(open, f"/proc/1/{name}")
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError: pass
resource.prlimit(0, resource.RLIMIT_NOFILE)
print("alive")
"#;
    assert_eq!(said(python(code)).await, "alive\n");
}

/// Runs work until it is killed.
async fn sleep_as_host(label: String) {
    let sandbox = EmbeddedSandbox::new(EmbeddedConfig { label, ..EmbeddedConfig::default() });
    let code = "import os, time\nif os.fork() == 0: os.setsid()\nprint('up', flush=True)\ntime.sleep(1000)";
    let mut running = sandbox.start(python(code)).await.unwrap();
    let (mut source, _sink) = running.channel().unwrap();
    source.read(&mut [0; 3]).await.unwrap();
    // Frozen, nothing of it can die by itself.
    running.freeze().await.unwrap();
    println!("up");
    running.wait().await.unwrap();
}

async fn nothing_outlives_a_host_that_is_killed() {
    let label = label();
    let program = std::env::current_exe().unwrap();
    let mut host = Command::new(program).args([AS_HOST, &label]).stdout(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(host.stdout.as_mut().unwrap(), &mut up).unwrap();
    assert!(!launchers(&label).is_empty());
    host.kill().unwrap();
    host.wait().unwrap();
    for _ in 0..500 {
        if launchers(&label).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(launchers(&label), Vec::<u32>::new());
    assert_eq!(groups(&label), Vec::<PathBuf>::new());
}

async fn a_sandbox_without_control_groups_still_counts_and_freezes() {
    let config = EmbeddedConfig { label: label(), control_groups: false, ..EmbeddedConfig::default() };
    let sandbox = EmbeddedSandbox::new(config);
    let can = sandbox.probe().await.unwrap();
    for property in [Property::MemoryLimit, Property::CpuTimeLimit] {
        assert_eq!(can.of(property), Strength::BestEffort);
    }
    let mut spec = python("import os\nos.fork()\nwhile True: pass");
    spec.limits.cpu_time_millis = 1000;
    let (_, outcome) = play(&sandbox, spec.clone()).await;
    assert_eq!(outcome.failure, Some(FailureClass::Resource), "{}", outcome.reason);
    assert!(outcome.reason.contains("processor time") && outcome.usage.cpu_millis >= 1000, "{outcome:?}");
    spec.limits.cpu_time_millis = 15_000;
    let running = sandbox.start(spec).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    running.freeze().await.unwrap();
    let before = running.usage().await.unwrap().cpu_millis;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(running.usage().await.unwrap().cpu_millis, before);
    assert!(before > 0);
    running.thaw().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(running.usage().await.unwrap().cpu_millis > before);
}
