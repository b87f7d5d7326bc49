//! The sandbox's file system, built by its first process in its own mount namespace: a root in memory, folders of the host
//! read-only, scratch space of a given size, `/proc` of its own processes, the plainest devices, its own `/etc`.
use super::{
    plan::{Entry, INSIDE, Plan, Refusal, Step},
    sys,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Mode},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
    },
};
use std::{
    fs::{File, create_dir, create_dir_all, write},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The name that the work knows its machine by.
pub(super) const HOSTNAME: &str = "sandbox";
/// Bytes of the root itself, which holds nothing but mount points and a few lines in `/etc`.
const ROOT: &str = "4m";
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// What of `/proc` tells about the host or its other users. Files and folders that a kernel lacks are passed over.
const MASKED: [&str; 20] = [
    "acpi",
    "asound",
    "bus",
    "config.gz",
    "driver",
    "fs",
    "interrupts",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sysrq-trigger",
    "timer_list",
];

/// Folders of the host and devices, taken while the process is still who may reach them.
#[derive(Debug)]
pub(super) struct Sources(Vec<(PathBuf, bool, OwnedFd)>);

/// The scratch space, which outlives the sandbox for as long as somebody holds this.
#[derive(Debug)]
pub(super) struct Scratch(pub(super) OwnedFd);

fn bits(flags: MountAttrFlags) -> u64 {
    flags.bits().into()
}

/// Takes everything of the host that the plan names. The mounts are copies that nothing leads to yet.
pub(super) fn take_sources(plan: &Plan) -> Result<Sources, Refusal> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make mounts private")?;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mut sources = Vec::new();
    let mut take = |at: PathBuf, from: &Path, folder: bool, attributes| -> Result<(), Refusal> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let mount = open_tree(CWD, from, flags).step(format!("take {}", from.display()))?;
        sys::set_mount_attributes(&mount, bits(attributes), true).step(format!("make {} read-only", from.display()))?;
        sources.push((at, folder, mount));
        Ok(())
    };
    for device in DEVICES {
        let path = Path::new("/dev").join(device);
        take(Path::new("dev").join(device), &path, false, read_only | MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    }
    let loader = Path::new("/etc/ld.so.cache");
    if loader.is_file() {
        take("etc/ld.so.cache".into(), loader, false, read_only | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    }
    for entry in &plan.entries {
        if let Entry::Bind { at, from, folder } = entry {
            take(at.clone(), from, *folder, read_only | MountAttrFlags::MOUNT_ATTR_NODEV)?;
        }
    }
    Ok(Sources(sources))
}

/// A file system in memory, mounted nowhere yet.
fn memory(options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn attach(mount: impl AsFd, at: &Path) -> io::Result<()> {
    Ok(move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Builds the tree and makes it this process's root. The host's tree is gone afterwards.
pub(super) fn build(plan: &Plan, sources: Sources) -> Result<Scratch, Refusal> {
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let data = inert | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let root = memory(&[("size", ROOT), ("mode", "0755")], data).step("mount the root")?;
    attach(&root, Path::new("/tmp")).step("attach the root")?;
    rustix::process::fchdir(&root).step("enter the root")?;
    for folder in ["etc", "proc", "dev", "dev/shm", "tmp"] {
        create_dir(folder).step(format!("make {folder}"))?;
    }
    for (at, to) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{to}"), Path::new("dev").join(at)).step(format!("link dev/{at}"))?;
    }
    etc().step("write etc")?;
    let executable = if plan.scratch_executable { inert } else { data };
    let scratch = scratch(plan, executable).step("mount scratch space")?;
    attach(&scratch, Path::new("tmp")).step("attach scratch space")?;
    if plan.shared_memory > 0 {
        let size = plan.shared_memory.to_string();
        let shared = memory(&[("size", &size), ("nr_inodes", "65536"), ("mode", "0700")], data);
        attach(shared.step("mount shared memory")?, Path::new("dev/shm")).step("attach shared memory")?;
    }
    populate(plan, sources)?;
    processes()?;
    rustix::process::pivot_root(".", ".").step("change the root")?;
    unmount(".", UnmountFlags::DETACH).step("leave the host's tree")?;
    rustix::process::chdir("/").step("enter the new root")?;
    sys::set_mount_attributes(&root, bits(MountAttrFlags::MOUNT_ATTR_RDONLY), false).step("make the root read-only")?;
    Ok(Scratch(scratch))
}

/// Zero means none: a size or number of zero would be none at all to the kernel, so such scratch space is read-only.
fn scratch(plan: &Plan, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let none = plan.scratch == 0 || plan.scratch_inodes == 0;
    // Not counted as the work's: the root, the artifacts' folder, and what mounts below need.
    let below = |at: &Path| if at.starts_with("tmp") { at.components().count() as u64 } else { 0 };
    let mounts: u64 = plan.entries.iter().map(|(Entry::Bind { at, .. } | Entry::Link { at, .. })| below(at)).sum();
    let inodes = plan.scratch_inodes.saturating_add(2).saturating_add(mounts).to_string();
    let size = plan.scratch.max(1).to_string();
    let mount = memory(&[("size", &size), ("nr_inodes", &inodes), ("mode", "0700")], attributes)?;
    rustix::fs::mkdirat(&mount, "artifacts", Mode::RWXU)?;
    if none {
        sys::set_mount_attributes(&mount, bits(MountAttrFlags::MOUNT_ATTR_RDONLY), false)?;
    }
    Ok(mount)
}

fn populate(plan: &Plan, sources: Sources) -> Result<(), Refusal> {
    for entry in &plan.entries {
        if let Entry::Link { at, to } = entry {
            parents(at).and_then(|()| symlink(to, at)).step(format!("link {}", at.display()))?;
        }
    }
    for (at, folder, mount) in sources.0 {
        let place = || {
            parents(&at)?;
            match (folder, at.symlink_metadata()) {
                (_, Ok(_)) => Ok(()),
                (true, Err(_)) => create_dir(&at),
                (false, Err(_)) => File::create(&at).map(drop),
            }
        };
        place().and_then(|()| attach(&mount, &at)).step(format!("attach {}", at.display()))?;
    }
    Ok(())
}

fn parents(at: &Path) -> io::Result<()> {
    at.parent().filter(|p| !p.as_os_str().is_empty()).map_or(Ok(()), create_dir_all)
}

fn etc() -> io::Result<()> {
    write("etc/hosts", format!("127.0.0.1 localhost {HOSTNAME}\n::1 localhost {HOSTNAME}\n"))?;
    write("etc/hostname", format!("{HOSTNAME}\n"))?;
    write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")?;
    write("etc/resolv.conf", "")?;
    write("etc/passwd", format!("guest:x:{INSIDE}:{INSIDE}:guest:/tmp:/bin/false\n"))?;
    write("etc/group", format!("guest:x:{INSIDE}:\n"))
}

/// `/proc` of this process namespace, read-only as a whole: nothing in it can be set, not even what is the work's own.
fn processes() -> Result<(), Refusal> {
    let inert =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let read_only = inert | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).step("open proc")?;
    fsconfig_create(&context).step("create proc")?;
    let proc = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, read_only).step("mount proc")?;
    attach(&proc, Path::new("proc")).step("attach proc")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // Only what is attached can be copied (before Linux 6.15): the first folder's mask is the others' source.
    let mut empty: Option<PathBuf> = None;
    for name in MASKED {
        let at = Path::new("proc").join(name);
        let Ok(found) = at.symlink_metadata() else { continue };
        let mask = match &empty {
            _ if found.is_file() => open_tree(CWD, "dev/null", flags).map_err(io::Error::from),
            Some(source) => open_tree(CWD, source, flags).map_err(io::Error::from),
            None => memory(&[("size", "4k"), ("nr_inodes", "2"), ("mode", "0555")], read_only),
        };
        attach(mask.step("take a mask")?, &at).step(format!("mask {}", at.display()))?;
        if found.is_dir() {
            empty.get_or_insert(at);
        }
    }
    Ok(())
}
