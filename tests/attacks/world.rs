//! The host as the attacks find it: what it hides, what listens, who lives; and what is looked at afterwards.
use super::{attempt::PAYLOADS, backend::Backend};
use prism_core::{
    Digest,
    sandbox::{Property, Strength},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{self, Read},
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The variable that a suite's process carries, and no payload may see. Its value is the secret of that suite.
pub(crate) const VARIABLE: &str = "PRISM_CANARY";
/// What the secret begins with; payloads search for it.
pub(crate) const CANARY: &str = "PRISM-CANARY-";

/// All payloads.
const SOURCES: [(&str, &str); 7] = [
    ("attack.py", include_str!("attack.py")),
    ("wall.py", include_str!("wall.py")),
    ("resources.py", include_str!("resources.py")),
    ("kernel.py", include_str!("kernel.py")),
    ("network.py", include_str!("network.py")),
    ("looking.py", include_str!("looking.py")),
    ("files.py", include_str!("files.py")),
];

/// Settings that an escape would change.
const SETTINGS: [&str; 12] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/protected_symlinks",
    "/sys/kernel/uevent_helper",
];

/// Sixteen random bytes, in hexadecimal.
pub(crate) fn random() -> String {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("/dev/urandom gives bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A host with something to lose, and a backend to protect it.
pub(crate) struct World {
    pub(crate) backend: Backend,
    /// What no payload may say.
    secret: String,
    /// The digest of a file with the secret.
    pub(crate) planted: Digest,
    /// Paths of files with the secret, readable by everybody.
    pub(crate) canaries: Vec<PathBuf>,
    /// Readable by everybody; its name is in no spec.
    pub(crate) folder: PathBuf,
    pub(crate) payloads: PathBuf,
    tcp: [TcpListener; 2],
    udp: UdpSocket,
    local: UnixListener,
    named: UnixListener,
    datagrams: UnixDatagram,
    pub(crate) local_path: PathBuf,
    pub(crate) abstract_name: String,
    /// A process that must stay alive.
    bait: Option<Child>,
    settings: BTreeMap<String, String>,
    mounts: BTreeSet<String>,
    started: AtomicU32,
    run: String,
}

impl World {
    /// A host that has its payloads below a folder of its own; `planted`, with secrets outside of it, too, and a process to
    /// lose. The secret is in this process's environment.
    pub(crate) fn new(backend: Backend, folder: &Path, planted: bool) -> io::Result<Self> {
        let secret = env::var(VARIABLE).unwrap_or_else(|_| format!("{CANARY}{}", random()));
        let run = secret.trim_start_matches(CANARY).to_owned();
        let payloads = folder.join("payloads");
        fs::create_dir_all(&payloads)?;
        for (name, source) in SOURCES {
            fs::write(payloads.join(name), source)?;
        }
        let wallet = folder.join("wallets/default/hotkeys");
        fs::create_dir_all(&wallet)?;
        // No more of the secret in a name than payloads need to be caught: their walk reports any beginning.
        let short = &run[..8];
        let mut canaries = vec![wallet.join("default"), folder.join("held-out.jsonl")];
        if planted {
            canaries.extend(
                ["/tmp", "/var/tmp", "/dev/shm"].map(|at| Path::new(at).join(format!("prism-attacks-{short}"))),
            );
        }
        for path in &canaries {
            fs::write(path, &secret)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        }
        let local_path = folder.join("socket");
        let local = UnixListener::bind(&local_path)?;
        fs::set_permissions(&local_path, fs::Permissions::from_mode(0o777))?;
        let abstract_name = format!("prism-attacks-{short}");
        let address = SocketAddr::from_abstract_name(&abstract_name)?;
        let tcp = [
            TcpListener::bind("0.0.0.0:0")?,
            TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("127.0.0.2:0"))?,
        ];
        let datagram_name = SocketAddr::from_abstract_name(format!("{abstract_name}-datagrams"))?;
        let world = Self {
            planted: Digest::of(secret.as_bytes()),
            udp: UdpSocket::bind(("0.0.0.0", tcp[0].local_addr()?.port()))?,
            named: UnixListener::bind_addr(&address)?,
            datagrams: UnixDatagram::bind_addr(&datagram_name)?,
            bait: if planted { Some(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?) } else { None },
            settings: settings(),
            mounts: mounts(),
            started: AtomicU32::new(0),
            folder: folder.to_owned(),
            backend,
            secret,
            canaries,
            payloads,
            tcp,
            local,
            local_path,
            abstract_name,
            run,
        };
        for listener in &world.tcp {
            listener.set_nonblocking(true)?;
        }
        for listener in [&world.local, &world.named] {
            listener.set_nonblocking(true)?;
        }
        world.udp.set_nonblocking(true)?;
        world.datagrams.set_nonblocking(true)?;
        Ok(world)
    }

    /// A word that stands in the arguments of one start's processes, and nowhere else on the host.
    pub(crate) fn marker(&self) -> String {
        format!("mark-{}-{}-", &self.run[8..20], self.started.fetch_add(1, Ordering::Relaxed))
    }

    /// What all markers of this suite begin with.
    pub(crate) fn markers(&self) -> String {
        format!("mark-{}-", &self.run[8..20])
    }

    /// Whether bytes hold the secret, or enough of it.
    pub(crate) fn betrayed(&self, bytes: &[u8]) -> bool {
        let tail = &self.secret.as_bytes()[CANARY.len()..CANARY.len() + 20];
        bytes.windows(tail.len()).any(|window| window == tail)
    }

    pub(crate) fn enforced(&self, property: Property) -> bool {
        self.backend.can.of(property) == Strength::Enforced
    }

    /// Processes of the host that a payload would like to kill.
    pub(crate) fn processes(&self) -> Vec<String> {
        let bait = self.bait.as_ref().map(Child::id);
        [std::process::id()].into_iter().chain(bait).map(|pid| pid.to_string()).collect()
    }

    /// Addresses on which this host listens.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let ports: Vec<_> = self.tcp.iter().filter_map(|one| one.local_addr().ok()).map(|at| at.port()).collect();
        let all = Command::new("hostname").arg("-I").output().map(|output| output.stdout).unwrap_or_default();
        let own = String::from_utf8_lossy(&all).into_owned();
        let hosts = ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "0.0.0.0"];
        let hosts = hosts.into_iter().chain(own.split_whitespace().take(4));
        hosts.flat_map(|host| ports.iter().map(move |port| format!("{host} {port}"))).collect()
    }

    /// Whether somebody has called, and the bait lives, and no setting and no mount is changed.
    pub(crate) fn unharmed(&mut self) -> Result<(), String> {
        let mut room = [0; 64];
        let calls = [
            self.tcp[0].accept().is_ok(),
            self.tcp[1].accept().is_ok(),
            self.local.accept().is_ok(),
            self.named.accept().is_ok(),
            self.udp.recv(&mut room).is_ok(),
            self.datagrams.recv(&mut room).is_ok(),
        ];
        if calls.contains(&true) {
            return Err(format!("somebody called the host: {calls:?}"));
        }
        match self.bait.as_mut().map(Child::try_wait) {
            None | Some(Ok(None)) => {}
            other => return Err(format!("a process of the host was killed: {other:?}")),
        }
        let now = settings();
        if let Some((name, was)) = self.settings.iter().find(|(name, was)| now.get(*name) != Some(*was)) {
            return Err(format!("{name} was {was:?}, is {:?}", now.get(name)));
        }
        let new: Vec<_> = mounts().difference(&self.mounts).cloned().collect();
        if !new.is_empty() {
            return Err(format!("mounts of the host that were not there: {new:?}"));
        }
        let shared = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        // The keys that the payloads take: "PRIS" and the next ones.
        let keys = (0x5052_4953_u32..0x5052_4956).map(|key| key.to_string());
        if let Some(key) = keys.into_iter().find(|key| shared.split_whitespace().any(|word| word == key)) {
            return Err(format!("a segment of shared memory with the key {key} is left on the host"));
        }
        for (name, source) in SOURCES {
            if fs::read(self.payloads.join(name)).ok().as_deref() != Some(source.as_bytes()) {
                return Err(format!("{PAYLOADS}/{name} was changed from inside"));
            }
        }
        let alive = survivors(&self.markers());
        if !alive.is_empty() {
            return Err(format!("alive at the end: {alive:?}"));
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut bait) = self.bait.take() {
            let _ = bait.kill();
            let _ = bait.wait();
        }
        for path in &self.canaries {
            let _ = fs::remove_file(path);
        }
    }
}

fn settings() -> BTreeMap<String, String> {
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(name).ok()?));
    SETTINGS.into_iter().filter_map(read).collect()
}

/// What is mounted for this process, but what container engines mount for themselves.
fn mounts() -> BTreeSet<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    let engines = |at: &String| at.contains("/overlay2/") || at.contains("/netns/") || at.contains("/docker");
    all.lines().filter_map(point).filter(|at| !engines(at)).collect()
}

/// Processes with a word in their arguments: their numbers and arguments.
pub(crate) fn survivors(marker: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if arguments.windows(marker.len()).any(|window| window == marker.as_bytes()) {
            found.push(format!("{name} {}", String::from_utf8_lossy(&arguments).replace('\0', " ")));
        }
    }
    found
}

/// Waits until nobody with a word in their arguments is left.
pub(crate) async fn gone(marker: &str, within: Duration) -> Result<(), String> {
    let steps = within.as_millis() / 50;
    for _ in 0..steps {
        if survivors(marker).is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("alive after {within:?}: {:?}", survivors(marker)))
}

/// Bytes free where a path is, by the `df` of this host.
pub(crate) fn free(path: &str) -> Result<u64, String> {
    let output = Command::new("df").args(["--output=avail", "-B1", path]).output().map_err(|e| format!("df: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().nth(1).and_then(|line| line.trim().parse().ok()).ok_or_else(|| format!("df {path}: {text:?}"))
}

/// Memory that this process holds, bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() * 1024
}
