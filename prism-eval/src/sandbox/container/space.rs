//! Scratch space on a sized tmpfs of this host, bound into the container, there until its artifacts are collected.
//!
//! A tmpfs of the container itself is gone with its last process, and an ordinary folder has no ceiling.
use super::{ContainerConfig, error::ContainerError};
use prism_core::sandbox::{ARTIFACTS, Limits, SCRATCH};
use rustix::mount::{MountFlags, UnmountFlags};
use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, chown},
    },
    path::{Path, PathBuf},
};

/// A mounted tmpfs that belongs to the work; drop unmounts it.
#[derive(Debug)]
pub(super) struct Space {
    path: PathBuf,
}

impl Space {
    /// Mounts one below `base`, for the work's user and nobody else, with an empty folder for artifacts.
    pub(super) fn mount(
        base: &Path,
        run: &str,
        limits: &Limits,
        config: &ContainerConfig,
    ) -> Result<Self, ContainerError> {
        let path = base.join(run);
        let failed = |source: io::Error| ContainerError::Host { what: "scratch space", path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let user = config.user;
        // Zero would mean no limit to both; root and artifacts take a file each.
        let (size, inodes) = (limits.scratch.max(1), limits.scratch_inodes.saturating_add(2));
        let options = format!("size={size},nr_inodes={inodes},mode=0700,uid={user},gid={user}");
        let options = CString::new(options).map_err(|e| failed(e.into()))?;
        let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
        if !config.executable_scratch {
            flags |= MountFlags::NOEXEC;
        }
        if let Err(error) = rustix::mount::mount("prism-scratch", &path, "tmpfs", flags, Some(options.as_c_str())) {
            let _ = fs::remove_dir(&path);
            if error == rustix::io::Errno::PERM {
                return Err(ContainerError::Unsupported("collect artifacts without the right to mount (root)".into()));
            }
            return Err(failed(error.into()));
        }
        let space = Self { path };
        let artifacts = space.path.join(ARTIFACTS.strip_prefix(SCRATCH).unwrap_or(ARTIFACTS).trim_start_matches('/'));
        let made = fs::DirBuilder::new().mode(0o700).create(&artifacts);
        let made = made.and_then(|()| chown(&artifacts, Some(user), Some(user)));
        made.map_err(|source| ContainerError::Host { what: "folder for artifacts", path: artifacts, source })?;
        Ok(space)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole of it, with the folder for artifacts below.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        Ok(fs::File::open(&self.path)?.into())
    }

    /// Whether no byte or no file more fits.
    pub(super) fn is_full(&self) -> bool {
        rustix::fs::statvfs(&self.path).is_ok_and(|space| space.f_bavail == 0 || space.f_favail == 0)
    }

    /// Whether a process sees this very file system as its scratch space; `None` when the process is gone.
    pub(super) fn is_shown_to(&self, pid: i32) -> Option<bool> {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
        let device = fs::metadata(&self.path).ok()?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let shown = mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(2);
            fields.next() == Some(&device) && fields.nth(1) == Some(SCRATCH)
        });
        // A process that ended meanwhile has no mounts at all.
        (!mounts.is_empty()).then_some(shown)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        release(&self.path);
    }
}

fn release(path: &Path) {
    // Detached: whoever still holds a file of it keeps that file and nothing else.
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
    if let Err(error) = fs::remove_dir(path) {
        tracing::warn!(path = %path.display(), %error, "scratch space is left");
    }
}

/// Unmounts what a crash left below `base`, but what is in use; how many.
pub(super) fn sweep(base: &Path, live: &BTreeSet<String>) -> usize {
    let mut swept = 0;
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| live.contains(name)) {
            continue;
        }
        release(&entry.path());
        swept += usize::from(!entry.path().exists());
    }
    swept
}
