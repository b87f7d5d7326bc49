//! What of the host appears in a sandbox, and where. Symbolic links of the host (`/lib` to `usr/lib`) appear as such.
use super::plan::Entry;
use prism_core::sandbox::Root;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsStr,
    io,
    path::{Component, Path, PathBuf},
};

/// Links on the way to one path, at most: the kernel's own bound.
const LINKS: usize = 40;
/// Names that the sandbox fills itself. What is below the last two may be named all the same.
const OWN: [&str; 5] = ["/proc", "/dev", "/sys", "/etc", "/tmp"];
const CLOSED: [&str; 3] = ["/proc", "/dev", "/sys"];

/// Why a spec's file system can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    /// The backend knows host directories only.
    #[error("the embedded sandbox runs on folders of this host, not on image {0}")]
    Image(String),
    /// Paths must be absolute, and name no step up.
    #[error("path {0} is not absolute, or has a step up")]
    Path(PathBuf),
    /// The sandbox has its own.
    #[error("path {0} belongs to the sandbox itself")]
    Own(PathBuf),
    /// Two things at one place.
    #[error("two things would be at {0}")]
    Twice(PathBuf),
    /// The host doesn't have it.
    #[error("path {0} of this host can't be used")]
    Host(PathBuf, #[source] io::Error),
    /// A circle of links.
    #[error("path {0} has too many symbolic links")]
    Links(PathBuf),
}

/// All entries, parents first.
pub(super) fn lay_out(root: &Root, read_only: &BTreeMap<String, PathBuf>) -> Result<Vec<Entry>, TreeError> {
    let folders = match root {
        Root::Image { digest } => return Err(TreeError::Image(digest.clone())),
        Root::HostDirectories(folders) => folders,
    };
    let mut binds = BTreeMap::new();
    let mut links = BTreeMap::new();
    for folder in folders {
        let real = follow(folder, &mut links)?;
        bind(&mut binds, &real, &real)?;
    }
    for (inside, outside) in read_only {
        let real = outside.canonicalize().map_err(|e| TreeError::Host(outside.clone(), e))?;
        bind(&mut binds, Path::new(inside), &real)?;
    }
    let covered = |at: &Path, from: &Path| {
        binds.iter().any(|(above, (source, folder)): (&PathBuf, &(PathBuf, bool))| {
            *folder && at != above && at.strip_prefix(above).is_ok_and(|rest| source.join(rest) == from)
        })
    };
    let kept: BTreeSet<Entry> = binds
        .iter()
        .filter(|(at, (from, _))| !covered(at, from))
        .map(|(at, (from, folder))| Entry::Bind { at: inside(at), from: from.clone(), folder: *folder })
        .collect();
    let links = links.iter().filter(|(at, _)| !covered(at, at));
    let links: Vec<Entry> = links.map(|(at, to)| Entry::Link { at: inside(at), to: to.clone() }).collect();
    Ok(links.into_iter().chain(kept).collect())
}

/// A path relative to the sandbox's root.
fn inside(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn bind(binds: &mut BTreeMap<PathBuf, (PathBuf, bool)>, at: &Path, from: &Path) -> Result<(), TreeError> {
    let plain = at.is_absolute() && at.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if !plain || at.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(TreeError::Path(at.to_owned()));
    }
    // Normalised: `/a//b/` is `/a/b`.
    let at: PathBuf = at.components().collect();
    let own = at == Path::new("/") || OWN.iter().any(|own| at == Path::new(own));
    if own || CLOSED.iter().any(|closed| at.starts_with(closed)) {
        return Err(TreeError::Own(at));
    }
    let folder = from.metadata().map_err(|e| TreeError::Host(from.to_owned(), e))?.is_dir();
    match binds.insert(at.clone(), (from.to_owned(), folder)) {
        Some((other, _)) if other != from => Err(TreeError::Twice(at)),
        _ => Ok(()),
    }
}

/// Where a path of the host really is, noting the links on the way.
fn follow(path: &Path, links: &mut BTreeMap<PathBuf, PathBuf>) -> Result<PathBuf, TreeError> {
    if !path.is_absolute() {
        return Err(TreeError::Path(path.to_owned()));
    }
    let host = |e| TreeError::Host(path.to_owned(), e);
    let mut left: VecDeque<PathBuf> = steps(path);
    let mut real = PathBuf::from("/");
    let mut followed = 0;
    while let Some(step) = left.pop_front() {
        if step.as_os_str() == OsStr::new("..") {
            real.pop();
            continue;
        }
        let next = real.join(&step);
        if !next.symlink_metadata().map_err(host)?.is_symlink() {
            real = next;
            continue;
        }
        followed += 1;
        if followed > LINKS {
            return Err(TreeError::Links(path.to_owned()));
        }
        let target = next.read_link().map_err(host)?;
        for step in steps(&target).into_iter().rev() {
            left.push_front(step);
        }
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        links.insert(next, target);
    }
    Ok(real)
}

fn steps(path: &Path) -> VecDeque<PathBuf> {
    let steps = path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    steps.map(|c| PathBuf::from(c.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn laid_out(folders: &[&Path], read_only: &[(&str, &Path)]) -> Result<Vec<Entry>, TreeError> {
        let root = Root::HostDirectories(folders.iter().map(|p| p.to_path_buf()).collect());
        lay_out(&root, &read_only.iter().map(|(at, from)| ((*at).to_owned(), from.to_path_buf())).collect())
    }

    fn relative(path: &Path) -> PathBuf {
        path.strip_prefix("/").unwrap().to_owned()
    }

    #[test]
    fn links_of_the_host_appear_as_links_and_what_they_lead_to_appears_once() {
        let host = tempfile::tempdir().unwrap();
        let base = host.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("usr/lib/deep")).unwrap();
        symlink("usr/lib", base.join("lib")).unwrap();
        symlink(base.join("lib"), base.join("lib64")).unwrap();
        let [usr, lib64] = ["usr", "lib64"].map(|name| base.join(name));
        let entries = laid_out(&[&usr, &lib64], &[]).unwrap();
        let wanted = vec![
            Entry::Link { at: relative(&base.join("lib")), to: "usr/lib".into() },
            Entry::Link { at: relative(&lib64), to: base.join("lib") },
            Entry::Bind { at: relative(&usr), from: usr.clone(), folder: true },
        ];
        assert_eq!(entries, wanted);
        // Without the folder that it leads into, the target comes along on its own.
        let entries = laid_out(&[&lib64], &[]).unwrap();
        let lib = base.join("usr/lib");
        assert_eq!(entries.last(), Some(&Entry::Bind { at: relative(&lib), from: lib.clone(), folder: true }));
    }

    #[test]
    fn files_and_folders_appear_where_the_spec_says() {
        let host = tempfile::tempdir().unwrap();
        let file = host.path().canonicalize().unwrap().join("runner.py");
        std::fs::write(&file, "x").unwrap();
        let entries = laid_out(&[], &[("/opt/prism//runner.py", &file)]).unwrap();
        assert_eq!(entries, [Entry::Bind { at: "opt/prism/runner.py".into(), from: file, folder: false }]);
    }

    #[test]
    fn what_is_the_sandboxes_own_or_not_a_plain_path_is_refused() {
        let host = tempfile::tempdir().unwrap();
        for at in ["/", "/proc", "/proc/sys", "/dev/kvm", "/etc", "/tmp", "/sys/fs"] {
            assert!(matches!(laid_out(&[], &[(at, host.path())]), Err(TreeError::Own(_))), "{at}");
        }
        for at in ["opt", "/opt/../etc", "/opt/\0"] {
            assert!(matches!(laid_out(&[], &[(at, host.path())]), Err(TreeError::Path(_))), "{at}");
        }
        assert!(matches!(laid_out(&[Path::new("/")], &[]), Err(TreeError::Own(_))));
        assert!(matches!(laid_out(&[Path::new("relative")], &[]), Err(TreeError::Path(_))));
        let absent = host.path().join("absent");
        assert!(matches!(laid_out(&[&absent], &[]), Err(TreeError::Host(..))));
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let host = tempfile::tempdir().unwrap();
        let circle = host.path().join("circle");
        symlink(&circle, &circle).unwrap();
        assert!(matches!(laid_out(&[&circle], &[]), Err(TreeError::Links(_))));
    }

    #[test]
    fn images_are_for_other_backends() {
        let image = Root::Image { digest: "sha256:00".into() };
        assert!(matches!(lay_out(&image, &BTreeMap::new()), Err(TreeError::Image(_))));
    }
}
