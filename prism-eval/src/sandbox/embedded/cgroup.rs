//! Control groups, by file: version 1 where its controllers are mounted, else version 2, below this process's own group.
//!
//! What is counted where is decided once for a host ([`Groups::find`]); each sandbox gets a group of its own in each
//! hierarchy that is used, named so that [`sweep`](Groups::sweep) knows whose it was.
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// How often a group that is being emptied is looked at, 10 ms apart.
const EMPTYING: u32 = 100;
/// How long a group that is empty but for the dying is waited for, and how soon it is looked at first.
const REMOVING: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_micros(200);

/// Which interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where groups for one purpose are made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// An existing group that this process may make groups below.
    parent: PathBuf,
}

/// What groups are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// A ceiling on memory, and its kills.
    Memory,
    /// A ceiling on processes.
    Processes,
    /// Counting processor time.
    Time,
    /// Stopping everything.
    Freezing,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Memory, Self::Processes, Self::Time, Self::Freezing];

    /// The controller's name in each version; in version 2 two of them need none.
    fn controllers(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Memory => ("memory", Some("memory")),
            Self::Processes => ("pids", Some("pids")),
            Self::Time => ("cpuacct", None),
            Self::Freezing => ("freezer", None),
        }
    }
}

/// The hierarchies that this process may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Groups {
    used: BTreeMap<Purpose, Hierarchy>,
    /// Where groups may have been made before, with another configuration.
    places: BTreeMap<PathBuf, Version>,
}

/// One mounted hierarchy, and this process's own group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    version: Version,
    controllers: Vec<String>,
    own: PathBuf,
    mount: PathBuf,
}

/// Hierarchies from `/proc/self/mountinfo` and `/proc/self/cgroup` (proc_pid_mountinfo(5), cgroups(7)).
fn mounted(mounts: &str, own_groups: &str) -> Vec<Mounted> {
    let own = |version: Version, controller: &str| {
        own_groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let fits = match version {
                Version::One => controllers.split(',').any(|one| one == controller),
                Version::Two => number == "0" && controllers.is_empty(),
            };
            fits.then(|| path.to_owned())
        })
    };
    let mut all = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (mut left, mut right) = (left.split(' ').skip(3), right.split(' '));
        let (Some(root), Some(mount), Some(kind)) = (left.next(), left.next(), right.next()) else { continue };
        let version = match kind {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => continue,
        };
        let options = right.nth(1).unwrap_or("");
        let controllers: Vec<String> = options.split(',').map(str::to_owned).collect();
        let path = controllers.iter().find_map(|controller| own(version, controller));
        let Some(path) = path else { continue };
        // A container may see its own group as the mount's root.
        let below = Path::new(&path).strip_prefix(root).unwrap_or(Path::new(""));
        let below = below.strip_prefix("/").unwrap_or(below);
        let mount = PathBuf::from(mount);
        all.push(Mounted { version, controllers, own: mount.join(below), mount });
    }
    all
}

impl Groups {
    /// What this process may use: version 2 below `parent` first, if that is named; then version 1, then version 2 below
    /// this process's own group.
    pub(super) fn find(parent: Option<&Path>) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mounted = mounted(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let named = parent.filter(|group| may_make(group)).map(|group| Below::new(group, &Purpose::ALL));
        let mut groups: BTreeMap<Purpose, Hierarchy> = named.map(Below::hierarchies).unwrap_or_default();
        for purpose in Purpose::ALL {
            let one = mounted
                .iter()
                .filter(|m| m.version == Version::One)
                .find(|m| m.controllers.iter().any(|c| c == purpose.controllers().0) && may_make(&m.own));
            if let Some(one) = one {
                let hierarchy = || Hierarchy { version: Version::One, parent: one.own.clone() };
                groups.entry(purpose).or_insert_with(hierarchy);
            }
        }
        let missing: Vec<Purpose> = Purpose::ALL.into_iter().filter(|purpose| !groups.contains_key(purpose)).collect();
        let unified = mounted.iter().find(|m| m.version == Version::Two);
        if let Some(unified) = unified.filter(|_| parent.is_none() && !missing.is_empty()) {
            // A group with processes can't hand its controllers on (unless it is the root), so its parent may have to. A
            // process is in one group of version 2, so all that is missing must come from one place: from the one that
            // has more, and from its own group when both have as much.
            let above = unified.own.parent().filter(|group| group.starts_with(&unified.mount));
            let places = above.into_iter().chain([unified.own.as_path()]).filter(|group| may_make(group));
            let most = places.map(|group| Below::new(group, &missing)).max_by_key(|below| below.purposes.len());
            groups.extend(most.map(Below::hierarchies).unwrap_or_default());
        }
        Self { used: groups, places: places(&mounted, parent) }
    }

    /// Groups where groups can be swept and none are made.
    pub(super) fn unused(self) -> Self {
        Self { used: BTreeMap::new(), ..self }
    }

    /// Whether a purpose is served.
    pub(super) fn serve(&self, purpose: Purpose) -> bool {
        self.used.contains_key(&purpose)
    }

    /// Makes a group of this name for every purpose served.
    pub(super) fn make(&self, name: &str) -> io::Result<Group> {
        let mut group = Group { groups: BTreeMap::new() };
        for (purpose, hierarchy) in &self.used {
            let path = hierarchy.parent.join(name);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    group.remove();
                    return Err(error);
                }
                _ => group.groups.insert(*purpose, (hierarchy.version, path)),
            };
        }
        Ok(group)
    }

    /// Ends and removes every group whose name `abandoned` says yes to; how many names.
    pub(super) fn sweep(&self, abandoned: impl Fn(&str) -> bool) -> usize {
        let mut names: BTreeMap<String, Vec<(Version, PathBuf)>> = BTreeMap::new();
        for (parent, version) in &self.places {
            let Ok(folders) = fs::read_dir(parent) else { continue };
            for name in folders.filter_map(|f| f.ok()?.file_name().into_string().ok()).filter(|name| abandoned(name)) {
                names.entry(name.clone()).or_default().push((*version, parent.join(name)));
            }
        }
        let mut swept = 0;
        for groups in names.into_values() {
            for (version, path) in &groups {
                end_all(*version, path);
            }
            swept += usize::from(groups.iter().filter(|(_, path)| remove(path)).count() > 0);
        }
        swept
    }
}

fn places(mounted: &[Mounted], named: Option<&Path>) -> BTreeMap<PathBuf, Version> {
    let mut places: BTreeMap<PathBuf, Version> =
        named.map(|group| (group.to_owned(), Version::Two)).into_iter().collect();
    for Mounted { version, controllers, own, mount } in mounted {
        let ours = |purpose: Purpose| controllers.iter().any(|one| one == purpose.controllers().0);
        if *version == Version::Two || Purpose::ALL.into_iter().any(ours) {
            places.insert(own.clone(), *version);
        }
        let above = own.parent().filter(|group| *version == Version::Two && group.starts_with(mount));
        places.extend(above.map(|group| (group.to_owned(), *version)));
    }
    places
}

/// What groups of version 2 below one group would serve.
struct Below<'a> {
    group: &'a Path,
    purposes: Vec<Purpose>,
}

impl<'a> Below<'a> {
    fn new(group: &'a Path, wanted: &[Purpose]) -> Self {
        Self { group, purposes: wanted.iter().copied().filter(|purpose| hands_on(group, *purpose)).collect() }
    }

    fn hierarchies(self) -> BTreeMap<Purpose, Hierarchy> {
        let hierarchy = || Hierarchy { version: Version::Two, parent: self.group.to_owned() };
        self.purposes.iter().map(|purpose| (*purpose, hierarchy())).collect()
    }
}

fn may_make(group: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(group, Access::WRITE_OK | Access::EXEC_OK).is_ok()
        && access(group.join("cgroup.procs"), Access::WRITE_OK).is_ok()
}

/// Whether groups below this one of version 2 have what the purpose needs, turning it on where that is allowed.
fn hands_on(group: &Path, purpose: Purpose) -> bool {
    let Some(controller) = purpose.controllers().1 else { return group.join("cgroup.procs").exists() };
    let file = group.join("cgroup.subtree_control");
    let on = || fs::read_to_string(&file).is_ok_and(|text| text.split_ascii_whitespace().any(|one| one == controller));
    on() || (fs::write(&file, format!("+{controller}")).is_ok() && on())
}

/// Kills everything in a group, and thaws it so that it can die.
fn end_all(version: Version, path: &Path) {
    if version == Version::Two && fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for _ in 0..EMPTYING {
        let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = fs::write(path.join("freezer.state"), "THAWED");
        let _ = fs::write(path.join("cgroup.freeze"), "0");
        if pids.is_empty() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

/// Removes a group, waiting for processes that are still on their way out.
fn remove(path: &Path) -> bool {
    let (began, mut pause) = (Instant::now(), SOON);
    while began.elapsed() < REMOVING {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(_) => sleep(pause),
            Ok(()) => return true,
        }
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    tracing::warn!(group = %path.display(), "control group can't be removed");
    false
}

/// The groups of one sandbox.
#[derive(Debug, Clone)]
pub(super) struct Group {
    groups: BTreeMap<Purpose, (Version, PathBuf)>,
}

impl Group {
    fn at(&self, purpose: Purpose) -> Option<(Version, &Path)> {
        self.groups.get(&purpose).map(|(version, path)| (*version, path.as_path()))
    }

    fn number(&self, purpose: Purpose, one: &str, two: &str) -> Option<u64> {
        let (version, path) = self.at(purpose)?;
        let name = if version == Version::One { one } else { two };
        fs::read_to_string(path.join(name)).ok()?.trim().parse().ok()
    }

    /// A number behind a name, in a file of such lines.
    fn entry(&self, purpose: Purpose, one: (&str, &str), two: (&str, &str)) -> Option<u64> {
        let (version, path) = self.at(purpose)?;
        let (file, name) = if version == Version::One { one } else { two };
        let text = fs::read_to_string(path.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// Sets ceilings: bytes of memory, without swap, and processes.
    pub(super) fn limit(&self, memory: u64, processes: u64) -> io::Result<()> {
        if let Some((version, path)) = self.at(Purpose::Memory) {
            match version {
                Version::One => {
                    fs::write(path.join("memory.limit_in_bytes"), memory.to_string())?;
                    let _ = fs::write(path.join("memory.swappiness"), "0");
                    optional(path.join("memory.memsw.limit_in_bytes"), &memory.to_string())?;
                }
                Version::Two => {
                    fs::write(path.join("memory.max"), memory.to_string())?;
                    optional(path.join("memory.swap.max"), "0")?;
                }
            }
        }
        if let Some((_, path)) = self.at(Purpose::Processes) {
            fs::write(path.join("pids.max"), processes.to_string())?;
        }
        Ok(())
    }

    /// The files by which a process joins. In version 1 a thread that names itself need not wait for all other moves of
    /// the machine, which takes milliseconds (`cgroup_procs_write_start`).
    pub(super) fn joins(&self) -> Vec<PathBuf> {
        let name = |version| if version == Version::One { "tasks" } else { "cgroup.procs" };
        let mut files: Vec<PathBuf> = self.groups.values().map(|(version, path)| path.join(name(*version))).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Processor time so far, milliseconds.
    pub(super) fn cpu_millis(&self) -> Option<u64> {
        match self.at(Purpose::Time)?.0 {
            Version::One => self.number(Purpose::Time, "cpuacct.usage", "").map(|nanos| nanos / 1_000_000),
            Version::Two => self.entry(Purpose::Time, ("", ""), ("cpu.stat", "usage_usec")).map(|micros| micros / 1000),
        }
    }

    /// Highest memory so far, bytes.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let peak = self.number(Purpose::Memory, "memory.max_usage_in_bytes", "memory.peak");
        peak.or_else(|| self.number(Purpose::Memory, "memory.usage_in_bytes", "memory.current"))
    }

    /// Kills for lack of memory so far.
    pub(super) fn oom_kills(&self) -> Option<u32> {
        let kills = self.entry(Purpose::Memory, ("memory.oom_control", "oom_kill"), ("memory.events", "oom_kill"))?;
        Some(u32::try_from(kills).unwrap_or(u32::MAX))
    }

    /// Processes now; and the highest number where the kernel keeps it.
    pub(super) fn processes(&self) -> Option<u32> {
        let peak = self.number(Purpose::Processes, "pids.peak", "pids.peak");
        let count = peak.or_else(|| self.number(Purpose::Processes, "pids.current", "pids.current"))?;
        Some(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Processes that the ceiling refused so far.
    pub(super) fn refused_processes(&self) -> Option<u64> {
        self.entry(Purpose::Processes, ("pids.events", "max"), ("pids.events", "max"))
    }

    /// Whether groups do the freezing.
    pub(super) fn freezes(&self) -> bool {
        self.groups.contains_key(&Purpose::Freezing)
    }

    /// Asks for everything to stand still, or to go on.
    pub(super) fn freeze(&self, still: bool) -> io::Result<()> {
        let Some((version, path)) = self.at(Purpose::Freezing) else { return Ok(()) };
        match version {
            Version::One => fs::write(path.join("freezer.state"), if still { "FROZEN" } else { "THAWED" }),
            Version::Two => fs::write(path.join("cgroup.freeze"), if still { "1" } else { "0" }),
        }
    }

    /// Whether everything stands still.
    pub(super) fn frozen(&self) -> bool {
        match self.at(Purpose::Freezing) {
            Some((Version::One, path)) => {
                fs::read_to_string(path.join("freezer.state")).is_ok_and(|state| state.trim() == "FROZEN")
            }
            Some((Version::Two, _)) => self.entry(Purpose::Freezing, ("", ""), ("cgroup.events", "frozen")) == Some(1),
            None => false,
        }
    }

    /// Removes the groups, once they are empty.
    pub(super) fn remove(&self) {
        let mut paths: Vec<&PathBuf> = self.groups.values().map(|(_, path)| path).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            remove(path);
        }
    }
}

/// Thaws the groups that these files ([`Group::joins`]) belong to, where they can be frozen.
pub(super) fn thaw_joined(files: &[PathBuf]) {
    for group in files.iter().filter_map(|file| file.parent()) {
        let _ = optional(group.join("freezer.state"), "THAWED");
        let _ = optional(group.join("cgroup.freeze"), "0");
    }
}

/// Removes the groups that these files ([`Group::joins`]) belong to.
pub(super) fn remove_joined(files: &[PathBuf]) {
    for group in files.iter().filter_map(|file| file.parent()) {
        remove(group);
    }
}

/// Writes a file that a kernel without swap accounting doesn't have.
fn optional(file: PathBuf, text: &str) -> io::Result<()> {
    if file.exists() { fs::write(file, text) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found_where_this_process_is() {
        let mounts = "24 22 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
                      31 24 0:27 /ours /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/user/1\n3:cpu,cpuacct:/ours/below\n2:pids:/\n0::/slice\n";
        let found: Vec<(Version, PathBuf)> = mounted(mounts, own).into_iter().map(|m| (m.version, m.own)).collect();
        let wanted = [
            (Version::One, "/sys/fs/cgroup/memory/user/1"),
            (Version::One, "/sys/fs/cgroup/cpu,cpuacct/below"),
            (Version::Two, "/sys/fs/cgroup/unified/slice"),
        ];
        assert_eq!(found, wanted.map(|(version, path)| (version, PathBuf::from(path))));
    }

    /// A group as the kernel would show it.
    fn group(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let groups = Purpose::ALL.map(|purpose| (purpose, (version, folder.path().to_owned()))).into();
        (folder, Group { groups })
    }

    #[test]
    fn version_1_is_limited_and_read_by_its_own_files() {
        let (folder, group) = group(
            Version::One,
            &[
                ("cpuacct.usage", "2500000000\n"),
                ("memory.max_usage_in_bytes", "4096\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
                ("memory.memsw.limit_in_bytes", ""),
                ("pids.current", "7\n"),
                ("pids.events", "max 3\n"),
                ("freezer.state", "FROZEN\n"),
            ],
        );
        assert_eq!((group.cpu_millis(), group.peak_memory(), group.oom_kills()), (Some(2500), Some(4096), Some(2)));
        assert_eq!((group.processes(), group.refused_processes(), group.frozen()), (Some(7), Some(3), true));
        group.limit(1 << 20, 17).unwrap();
        group.freeze(false).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("memory.limit_in_bytes"), "1048576");
        assert_eq!(read("memory.memsw.limit_in_bytes"), "1048576");
        assert_eq!((read("pids.max"), read("freezer.state")), ("17".into(), "THAWED".into()));
        assert!(!group.frozen());
    }

    #[test]
    fn version_2_is_limited_and_read_by_its_own_files() {
        let (folder, group) = group(
            Version::Two,
            &[
                ("cpu.stat", "usage_usec 1234567\nuser_usec 1\n"),
                ("memory.peak", "8192\n"),
                ("memory.events", "low 0\noom 5\noom_kill 1\noom_group_kill 0\n"),
                ("memory.swap.max", "max\n"),
                ("pids.peak", "9\n"),
                ("pids.events", "max 0\n"),
                ("cgroup.events", "populated 1\nfrozen 1\n"),
            ],
        );
        assert_eq!((group.cpu_millis(), group.peak_memory(), group.oom_kills()), (Some(1234), Some(8192), Some(1)));
        assert_eq!((group.processes(), group.refused_processes(), group.frozen()), (Some(9), Some(0), true));
        group.limit(1 << 20, 17).unwrap();
        group.freeze(true).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("memory.max"), read("memory.swap.max")), ("1048576".into(), "0".into()));
        assert_eq!((read("pids.max"), read("cgroup.freeze")), ("17".into(), "1".into()));
        assert_eq!(group.joins(), [folder.path().join("cgroup.procs")]);
    }

    #[test]
    fn a_group_of_version_2_hands_on_what_its_subtree_has() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.procs"), "").unwrap();
        fs::write(folder.path().join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        assert!(hands_on(folder.path(), Purpose::Memory));
        assert!(hands_on(folder.path(), Purpose::Freezing));
    }
}
