//! Where a container's artifacts lie: a sized tmpfs of this host, bound into the container, there until they are collected.
//!
//! A tmpfs of the container itself is gone with its last process, and an ordinary folder has no ceiling.
use super::error::ContainerError;
use prism_core::sandbox::{ARTIFACTS, Limits};
use rustix::mount::{MountFlags, UnmountFlags};
use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// A mounted tmpfs; drop unmounts it.
#[derive(Debug)]
pub(super) struct Space {
    path: PathBuf,
}

impl Space {
    /// Mounts one below `base`, for this user and nobody else.
    pub(super) fn mount(base: &Path, run: &str, limits: &Limits, user: u32) -> Result<Self, ContainerError> {
        let path = base.join(run);
        let failed =
            |source: io::Error| ContainerError::Host { what: "space for artifacts", path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        // Zero would mean no limit to both.
        let (size, inodes) = (limits.scratch.max(4096), limits.scratch_inodes.max(1));
        let options = format!("size={size},nr_inodes={inodes},mode=0700,uid={user},gid={user}");
        let options = CString::new(options).map_err(|e| failed(e.into()))?;
        // Links in it lead nowhere, for the host neither (Linux 5.10).
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSYMFOLLOW;
        if let Err(error) = rustix::mount::mount("prism-artifacts", &path, "tmpfs", flags, Some(options.as_c_str())) {
            let _ = fs::remove_dir(&path);
            if error == rustix::io::Errno::PERM {
                return Err(ContainerError::Unsupported("collect artifacts without the right to mount (root)".into()));
            }
            return Err(failed(error.into()));
        }
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a process sees this very file system at the place for artifacts; `None` when the process is gone.
    pub(super) fn is_shown_to(&self, pid: i32) -> Option<bool> {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
        let device = fs::metadata(&self.path).ok()?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let shown = mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(2);
            fields.next() == Some(&device) && fields.nth(1) == Some(ARTIFACTS)
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
        tracing::warn!(path = %path.display(), %error, "space for artifacts is left");
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
