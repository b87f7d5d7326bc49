//! The control group of a container as this host shows it: counters while it runs, survivors after its end.
use prism_core::sandbox::Usage;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// How deep below a hierarchy's root a container's group may lie, and how many groups are looked at.
const DEPTH: usize = 8;
const GROUPS: usize = 100_000;

/// A hierarchy: where it is mounted, and which group its mount shows as its root.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    point: PathBuf,
    root: PathBuf,
}

/// A container's control groups: one per controller with version 1, one for all with version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroup {
    cpu: PathBuf,
    memory: PathBuf,
    pids: PathBuf,
    unified: bool,
    all: BTreeSet<PathBuf>,
}

/// What the counters say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Processor time and peaks; the wall clock is not known here.
    pub(super) usage: Usage,
    /// Processes that the limit refused.
    pub(super) refused_processes: u64,
}

impl Cgroup {
    /// The groups of this process, if they are this container's and visible with all three counters.
    pub(super) fn of(pid: i32, container: &str) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::parse(&groups, container, &hierarchies(&mounts))
    }

    fn parse(groups: &str, container: &str, hierarchies: &BTreeMap<String, Hierarchy>) -> Option<Self> {
        let mut found = BTreeMap::new();
        for line in groups.lines() {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            if !path.contains(container) {
                continue;
            }
            for controller in controllers.split(',') {
                let Some(Hierarchy { point, root }) = hierarchies.get(controller) else { continue };
                let Ok(below) = Path::new(path).strip_prefix(root) else { continue };
                found.insert(controller.to_owned(), point.join(below));
            }
        }
        let all = found.values().cloned().collect();
        let one = |name: &str| found.get(name).cloned();
        match (one("cpuacct"), one("memory"), one("pids"), one("")) {
            (Some(cpu), Some(memory), Some(pids), _) => Some(Self { cpu, memory, pids, unified: false, all }),
            (_, _, _, Some(group)) if group.join("memory.current").exists() => {
                Some(Self { cpu: group.clone(), memory: group.clone(), pids: group, unified: true, all })
            }
            _ => None,
        }
    }

    /// The counters now; `None` when the group is gone.
    pub(super) fn sample(&self) -> Option<Sample> {
        let (memory, pids) = (&self.memory, &self.pids);
        let (cpu_millis, peak_memory, oom_kills) = if self.unified {
            let peak = number(&memory.join("memory.peak")).or_else(|| number(&memory.join("memory.current")));
            (
                field(&self.cpu.join("cpu.stat"), "usage_usec")? / 1000,
                peak,
                field(&memory.join("memory.events"), "oom_kill"),
            )
        } else {
            let peak = number(&memory.join("memory.max_usage_in_bytes"));
            let oom_kills = field(&memory.join("memory.oom_control"), "oom_kill");
            (number(&self.cpu.join("cpuacct.usage"))? / 1_000_000, peak, oom_kills)
        };
        let processes = number(&pids.join("pids.peak")).or_else(|| number(&pids.join("pids.current")));
        Some(Sample {
            usage: Usage {
                wall_millis: 0,
                cpu_millis,
                peak_memory: peak_memory.unwrap_or(0),
                oom_kills: narrow(oom_kills.unwrap_or(0)),
                peak_processes: narrow(processes.unwrap_or(0)),
            },
            refused_processes: field(&pids.join("pids.events"), "max").unwrap_or(0),
        })
    }

    /// Processes that are still in one of the groups, or below.
    pub(super) fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for group in &self.all {
            walk(group, &mut |group| found.extend(members(group)));
        }
        found
    }

    /// Removes groups that an engine has forgotten; it can't remove one that still holds a process.
    pub(super) fn remove(&self) {
        for group in &self.all {
            let mut groups = Vec::new();
            walk(group, &mut |group| groups.push(group.to_owned()));
            for group in groups.iter().rev() {
                let _ = fs::remove_dir(group);
            }
        }
    }
}

/// Processes in groups named after a container, wherever they are: for work that ended before its groups were seen.
/// `None` when no control groups are visible here.
pub(super) fn processes_of(container: &str) -> Option<BTreeSet<i32>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let hierarchies = hierarchies(&mounts);
    // A process is in one group of every hierarchy: one that is populated is enough.
    let Hierarchy { point, .. } = ["pids", "memory", ""].iter().find_map(|name| hierarchies.get(*name))?;
    let mut found = BTreeSet::new();
    walk(point, &mut |group| {
        if group.to_string_lossy().contains(container) {
            found.extend(members(group));
        }
    });
    Some(found)
}

/// Calls for a group and all below, parents first, within bounds.
fn walk(top: &Path, visit: &mut dyn FnMut(&Path)) {
    let mut todo = vec![(top.to_owned(), 0)];
    let mut seen = 0;
    while let Some((group, depth)) = todo.pop() {
        visit(&group);
        seen += 1;
        if depth == DEPTH || seen == GROUPS {
            continue;
        }
        for entry in fs::read_dir(&group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push((entry.path(), depth + 1));
            }
        }
    }
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// By controller of version 1; version 2 under the empty name. proc_pid_mountinfo(5): the fields before ` - ` are id,
/// parent, device, root, mount point, options; those behind are type, source, options of the file system.
fn hierarchies(mountinfo: &str) -> BTreeMap<String, Hierarchy> {
    let mut found = BTreeMap::new();
    for line in mountinfo.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let mut mount = mount.split(' ').skip(3);
        let (Some(root), Some(point)) = (mount.next(), mount.next()) else { continue };
        let mut system = system.split(' ');
        let (kind, options) = (system.next(), system.nth(1));
        let hierarchy = Hierarchy { point: point.into(), root: root.into() };
        match (kind, options) {
            (Some("cgroup2"), _) => {
                found.insert(String::new(), hierarchy);
            }
            (Some("cgroup"), Some(options)) => {
                found.extend(options.split(',').map(|option| (option.to_owned(), hierarchy.clone())));
            }
            _ => {}
        }
    }
    found
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A number in a file of lines `name number`.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)?.1.trim().parse().ok())
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4fda";

    #[test]
    fn groups_of_version_1_are_found_per_controller() {
        let mounts = "1 0 0:1 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      2 0 0:2 / /cg/memory rw shared:3 - cgroup cgroup rw,memory\n\
                      3 0 0:3 / /cg/pids rw - cgroup cgroup rw,pids\n\
                      4 0 0:4 / /cg/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "3:pids:/docker/4fda\n2:memory:/docker/4fda\n1:cpu,cpuacct:/docker/4fda\n0::/\n";
        let group = Cgroup::parse(groups, ID, &hierarchies(mounts)).unwrap();
        assert_eq!(group.cpu, Path::new("/cg/cpu/docker/4fda"));
        assert_eq!((group.unified, group.all.len()), (false, 3));
    }

    #[test]
    fn another_containers_process_has_no_groups_of_this_one() {
        let mounts = "1 0 0:1 / /cg/all rw - cgroup cgroup rw,cpuacct,memory,pids\n";
        assert_eq!(Cgroup::parse("1:cpuacct,memory,pids:/docker/beef\n", ID, &hierarchies(mounts)), None);
    }

    #[test]
    fn counters_of_version_2_are_read_and_processes_below_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("machine.slice/libpod-4fda.scope");
        fs::create_dir_all(group.join("container")).unwrap();
        for (file, text) in [
            ("cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
            ("memory.peak", "4096\n"),
            ("memory.current", "1\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\n"),
            ("pids.current", "3\n"),
            ("pids.events", "max 7\n"),
        ] {
            fs::write(group.join(file), text).unwrap();
        }
        fs::write(group.join("container/cgroup.procs"), "12\n13\n").unwrap();
        let mounts = format!("1 0 0:1 /machine.slice {}/machine.slice rw - cgroup2 none rw\n", folder.path().display());
        let group = Cgroup::parse("0::/machine.slice/libpod-4fda.scope\n", ID, &hierarchies(&mounts)).unwrap();
        let Sample { usage, refused_processes } = group.sample().unwrap();
        let Usage { cpu_millis, peak_memory, oom_kills, peak_processes, .. } = usage;
        assert_eq!((cpu_millis, peak_memory, oom_kills, peak_processes, refused_processes), (2500, 4096, 1, 3, 7));
        assert_eq!(group.processes(), BTreeSet::from([12, 13]));
    }
}
