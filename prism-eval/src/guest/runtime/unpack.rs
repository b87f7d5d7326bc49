//! A wheel unpacked just as it is, readable to all: guests run as somebody else.
use super::RuntimeError;
use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use zip::ZipArchive;

/// Unpacks a wheel into a folder; `wrote` is told the bytes of each file. The wheel's digest was checked before.
pub(super) fn unpack(wheel: &Path, folder: &Path, wrote: &mut dyn FnMut(u64)) -> Result<(), RuntimeError> {
    let damaged = |problem: String| RuntimeError::Wheel { wheel: wheel.to_owned(), problem };
    let file = File::open(wheel).map_err(|source| RuntimeError::io("read", wheel, source))?;
    let mut archive = ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
    let mut made = BTreeSet::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|error| damaged(error.to_string()))?;
        let Some(name) = entry.enclosed_name().filter(|_| !entry.is_symlink()) else {
            return Err(damaged(format!("entry {at} leads elsewhere")));
        };
        let mut parts = name.components().map(|part| part.as_os_str().to_string_lossy());
        // Files for the roots of the installation would have to be moved there (PEP 427).
        if parts.next().is_some_and(|part| part.ends_with(".data"))
            && parts.next().is_some_and(|part| matches!(&*part, "purelib" | "platlib"))
        {
            return Err(damaged(format!("{} is to be moved elsewhere", name.display())));
        }
        if entry.is_dir() {
            continue;
        }
        let path = folder.join(&name);
        let parent = path.parent().unwrap_or(folder);
        make_folders(folder, parent, &mut made)?;
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let mut write = || {
            let mut file = File::create_new(&path)?;
            file.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
            io::copy(&mut entry, &mut file)
        };
        wrote(write().map_err(|source| RuntimeError::io("write", &path, source))?);
    }
    Ok(())
}

/// Makes a folder and those between it and the root, open to all whatever the umask says.
fn make_folders(root: &Path, folder: &Path, made: &mut BTreeSet<PathBuf>) -> Result<(), RuntimeError> {
    if folder == root || made.contains(folder) {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(root, parent, made)?;
    }
    let make = || {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))
    };
    make().map_err(|source| RuntimeError::io("make", folder, source))?;
    made.insert(folder.to_owned());
    Ok(())
}
