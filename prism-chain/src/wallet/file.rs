//! Files that hold secrets: read up to a bound, written whole for their owner alone.
use super::error::WalletError;
use rand::{RngCore as _, rngs::OsRng};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Read and write for the owner.
const FILE_MODE: u32 = 0o600;
/// All for the owner.
const FOLDER_MODE: u32 = 0o700;

/// The bytes of a file of at most `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    let fail = |error| WalletError::file(path, error);
    // A pipe or device could keep the reader waiting.
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    // All at once, so that no half-read copy is left behind by a growing buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or(0).saturating_add(1)));
    File::open(path).map_err(fail)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > most {
        return Err(WalletError::TooLong { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// Writes a file whole or not at all, readable by its owner alone, its folders too where they have to be made. Without
/// `replace` an existing file stays as it is.
pub(super) fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), WalletError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|error| WalletError::file(folder, error))?;
    let landed = Draft::in_folder(folder).and_then(|draft| {
        draft.fill(bytes)?;
        // A link, unlike a rename, fails where there is something.
        if replace { fs::rename(&draft.0, path) } else { fs::hard_link(&draft.0, path) }
    });
    landed.map_err(|error| WalletError::file(path, error))?;
    // The name, too, has to survive a power cut.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| WalletError::file(folder, error))
}

/// Whether others than the owner may read a file.
pub(super) fn is_exposed(path: &Path) -> Result<bool, WalletError> {
    let metadata = fs::metadata(path).map_err(|error| WalletError::file(path, error))?;
    Ok(metadata.permissions().mode() & 0o077 != 0)
}

/// A file beside the wanted one, gone when dropped.
struct Draft(PathBuf);

impl Draft {
    fn in_folder(folder: &Path) -> io::Result<Self> {
        let mut name = [0; 8];
        OsRng.try_fill_bytes(&mut name)?;
        Ok(Self(folder.join(format!(".{}.tmp", hex::encode(name)))))
    }

    fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&self.0)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}
