//! A container engine for tests: one that runs, else Docker from the distribution's packages, unpacked into the cache folder
//! and started from there with a socket, a store and a log of its own. Nothing is installed.
//!
//! For `#[path]` inclusion. Safe for several test binaries at once: whoever comes first starts the engine, whoever goes
//! last stops it, and a lock that the kernel releases says who is there.
#![allow(dead_code, reason = "each suite that includes this uses a part of it")]
use prism_eval::{
    guest::runtime::Runtime,
    sandbox::container::{candidates, image},
};
use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::{fs::MetadataExt, fs::PermissionsExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// Debian and Ubuntu call them the same.
const PACKAGES: [&str; 4] = ["docker.io", "containerd", "runc", "tini"];
/// Asked for only where the host hasn't their libraries.
const LIBRARIES: [&str; 3] = ["libdevmapper1.02.1", "libseccomp2", "libsystemd0"];
/// For other test binaries to finish setting up: a download at most.
const SET_UP: Duration = Duration::from_secs(600);
/// For a daemon to answer, and to end.
const DAEMON: Duration = Duration::from_secs(60);

/// A running engine, held for as long as somebody tests with it.
#[derive(Debug)]
pub(crate) struct TestEngine {
    socket: PathBuf,
    own: Option<Own>,
}

/// An engine that these tests started, or joined.
#[derive(Debug)]
struct Own {
    folder: PathBuf,
    users: Option<File>,
}

/// The engine that all tests of this process share.
///
/// # Panics
/// When there is none and none can be set up; says what is missing.
pub(crate) fn engine() -> Arc<TestEngine> {
    static SHARED: Mutex<Weak<TestEngine>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = shared.upgrade() {
        return engine;
    }
    let engine = Arc::new(TestEngine::set_up().unwrap_or_else(|why| panic!("no container engine for tests: {why}")));
    *shared = Arc::downgrade(&engine);
    engine
}

impl TestEngine {
    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A folder for artifacts of containers, on the engine's machine.
    pub(crate) fn folder(&self) -> PathBuf {
        cache().join("artifacts")
    }

    fn set_up() -> Result<Self, String> {
        let variable = |name| env::var(name).ok();
        let runtime_dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let sockets = candidates(None, variable("DOCKER_HOST").as_deref(), runtime_dir.as_deref());
        let sockets = sockets.map_err(|error| error.to_string())?;
        if let Some(socket) = sockets.iter().find(|socket| answers(socket)) {
            return Ok(Self { socket: socket.clone(), own: None });
        }
        if !rustix::process::geteuid().is_root() {
            return Err(format!(
                "nothing answers at {sockets:?}, and setting one up takes root: start Docker or Podman, set DOCKER_HOST to \
                 its socket, or run these tests as root"
            ));
        }
        let folder = cache();
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let _setting_up = locked(&folder.join("setup.lock"))?;
        let users = File::create(folder.join("users.lock")).and_then(|file| file.lock_shared().map(|()| file));
        let users = users.map_err(|error| format!("users.lock: {error}"))?;
        let socket = folder.join("run/docker.sock");
        if !answers(&socket) {
            unpack(&folder)?;
            start(&folder, &socket)?;
        }
        Ok(Self { socket, own: Some(Own { folder, users: Some(users) }) })
    }

    /// The id of an image with a Python of this host, built once per engine and interpreter.
    pub(crate) fn image(&self) -> String {
        let runtime = python();
        let mut key = DefaultHasher::new();
        let made = fs::metadata(&runtime.python).expect("interpreter").mtime();
        (&self.socket, &runtime.python, made).hash(&mut key);
        let folder = cache();
        fs::create_dir_all(&folder).expect("cache folder");
        let note = folder.join(format!("image-{:016x}", key.finish()));
        let _building = locked(&folder.join("image.lock")).expect("lock");
        if let Some(known) = fs::read_to_string(&note).ok().filter(|id| self.has(id)) {
            return known;
        }
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let sockets = [self.socket.clone()];
        let built = tokio.block_on(image::build(&sockets, &runtime, |_| {})).expect("evaluator image");
        fs::write(&note, &built.digest).expect("note");
        built.digest
    }

    fn has(&self, image: &str) -> bool {
        get(&self.socket, &format!("/images/{image}/json")).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        let Ok(_setting_up) = locked(&own.folder.join("setup.lock")) else { return };
        own.users = None;
        let last = File::create(own.folder.join("users.lock")).is_ok_and(|file| file.try_lock().is_ok());
        if last {
            stop(&own.folder);
        }
    }
}

/// An interpreter of this host without anything beside its standard library.
pub(crate) fn python() -> Runtime {
    let found = ["/usr/bin/python3", "python3"].iter().find_map(|name| {
        let script = "import sys, platform; print(sys.executable); print(platform.python_version())";
        let said = Command::new(name).args(["-I", "-c", script]).output().ok()?;
        let said = String::from_utf8(said.stdout).ok()?;
        let (python, version) = said.trim().split_once('\n')?;
        Some((PathBuf::from(python), version.to_owned()))
    });
    let (python, python_version) = found.expect("python3 is missing on this host");
    let (directories, search, libraries) = (Vec::new(), Vec::new(), Vec::new());
    let (torch_version, cuda, files) = (String::new(), false, BTreeMap::new());
    Runtime { python, python_version, torch_version, cuda, directories, search, libraries, files }
}

fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    base.unwrap_or_else(home).join("prism/docker")
}

/// A lock that ends with this process at the latest.
fn locked(path: &Path) -> Result<File, String> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let until = Instant::now() + SET_UP;
    while file.try_lock().is_err() {
        if Instant::now() > until {
            return Err(format!("{} has been locked for {} s", path.display(), SET_UP.as_secs()));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(file)
}

/// One request, without a client.
fn get(socket: &Path, path: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = Vec::new();
    // The head is enough; a body may come in pieces.
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).replacen("HTTP/1.0", "HTTP/1.1", 1))
}

fn answers(socket: &Path) -> bool {
    get(socket, "/_ping").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Runs a program of this host to its end.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// The engine's programs, from the distribution's packages.
fn unpack(folder: &Path) -> Result<(), String> {
    let (root, done) = (folder.join("root"), folder.join("unpacked"));
    if done.exists() {
        return Ok(());
    }
    fetch(folder, &PACKAGES)?;
    let programs = ["usr/sbin/dockerd", "usr/bin/containerd", "usr/sbin/runc", "usr/bin/containerd-shim-runc-v2"];
    let lacks =
        |program: &&str| run(Command::new("ldd").arg(root.join(program))).is_ok_and(|said| said.contains("not found"));
    if programs.iter().any(lacks) {
        fetch(folder, &LIBRARIES)?;
    }
    fs::write(done, "").map_err(|error| error.to_string())
}

fn fetch(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let (root, packed) = (folder.join("root"), folder.join("packages"));
    let _ = fs::remove_dir_all(&packed);
    for made in [&root, &packed] {
        fs::create_dir_all(made).map_err(|error| format!("{}: {error}", made.display()))?;
    }
    let download = || run(Command::new("apt-get").arg("download").args(packages).current_dir(&packed));
    if download().is_err() {
        run(Command::new("apt-get").arg("update"))?;
        download().map_err(|why| {
            format!("packages {packages:?} are needed to set an engine up, and this host doesn't get them: {why}")
        })?;
    }
    for package in fs::read_dir(&packed).map_err(|error| error.to_string())?.flatten() {
        run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&root))?;
    }
    fs::remove_dir_all(&packed).map_err(|error| error.to_string())
}

fn start(folder: &Path, socket: &Path) -> Result<(), String> {
    let (root, home) = (folder.join("root"), folder.join("run"));
    fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).map_err(|error| error.to_string())?;
    // What a daemon that was killed leaves behind keeps the next one from starting.
    for stale in ["docker.pid", "docker.sock", "exec/containerd/containerd.pid"] {
        let _ = fs::remove_file(home.join(stale));
    }
    let log = home.join("log");
    let output = File::create(&log).map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let path = env::var("PATH").unwrap_or_default();
    let at = |name: &str| root.join(name).display().to_string();
    let mut daemon = Command::new(root.join("usr/sbin/dockerd"))
        .env("PATH", format!("{}:{}:{path}", at("usr/bin"), at("usr/sbin")))
        .env("LD_LIBRARY_PATH", [at("usr/lib/x86_64-linux-gnu"), at("lib/x86_64-linux-gnu")].join(":"))
        .env_remove("DOCKER_HOST")
        .arg("--data-root")
        .arg(home.join("data"))
        .arg("--exec-root")
        .arg(home.join("exec"))
        .arg("--pidfile")
        .arg(home.join("docker.pid"))
        .arg("--init-path")
        .arg(root.join("usr/bin/tini-static"))
        .arg("-H")
        .arg(format!("unix://{}", socket.display()))
        .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("dockerd: {error}"))?;
    let until = Instant::now() + DAEMON;
    while !answers(socket) {
        let ended = daemon.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() > until {
            let _ = daemon.kill();
            let log = fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(5).collect();
            return Err(format!("dockerd doesn't run here (root with the right to mount is needed): {tail:#?}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    // Reaps the daemon when it ends before this process does.
    thread::spawn(move || daemon.wait());
    Ok(())
}

fn stop(folder: &Path) {
    let number = fs::read_to_string(folder.join("run/docker.pid")).unwrap_or_default();
    let Some(pid) = number.trim().parse().ok().and_then(rustix::process::Pid::from_raw) else { return };
    let name = format!("/proc/{}/comm", pid.as_raw_nonzero());
    let runs = || fs::read_to_string(&name).is_ok_and(|name| name.trim() == "dockerd");
    let until = Instant::now() + DAEMON;
    if runs() {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    while runs() && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    if runs() {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
