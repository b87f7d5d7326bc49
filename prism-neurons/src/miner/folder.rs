//! A folder as a bundle.
use prism_core::{Error, Fault, Kind, Result};
use prism_eval::bundle::{self, BundleError};
use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

/// Why a folder can't be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A file can't be read, or is too large to be read.
    #[error("{}", .0.chain())]
    Read(#[from] Error),
    /// No validator would take it.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl From<PackError> for Error {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Read(error) => error,
            PackError::Bundle(error) => error.into(),
        }
    }
}

/// Packs a folder, or takes a single file as it is (a `.py`, or a ZIP that is packed already).
///
/// # Errors
/// What can't be read, and what no validator would take.
pub fn pack_folder(path: &Path) -> Result<Vec<u8>, PackError> {
    let metadata = fs::metadata(path).map_err(|e| unreadable(path, e))?;
    if metadata.is_file() {
        return Ok(read_bounded(path, bundle::MAX_WIRE_BYTES as u64)?);
    }
    let mut files = BTreeMap::new();
    collect(path, "", &mut files)?;
    Ok(bundle::pack(&files)?)
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
        let entry = entry.map_err(|e| unreadable(folder, e))?;
        let path = entry.path();
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| Error::invalid(format!("file name {} is not UTF-8", path.display())))?;
        let name = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(|e| unreadable(&path, e))?;
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            if files.len() >= bundle::MAX_FILES {
                let text = format!("{} holds more than {} files", folder.display(), bundle::MAX_FILES);
                return Err(Error::new(Kind::Limit, Fault::Miner, text));
            }
            let bytes = read_bounded(&path, bundle::MAX_UNPACKED_BYTES as u64)?;
            let text = String::from_utf8(bytes);
            files.insert(name, text.map_err(|_| Error::invalid(format!("{} is not UTF-8 text", path.display())))?);
        } else {
            return Err(Error::invalid(format!("{} is neither a file nor a folder", path.display())));
        }
    }
    Ok(())
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|e| unreadable(path, e))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, e))?;
    if bytes.len() as u64 > limit {
        let text = format!("{} is larger than {limit} bytes", path.display());
        return Err(Error::new(Kind::Limit, Fault::Miner, text));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
    Error::new(kind, Fault::Miner, format!("{} can't be read", path.display())).because(error)
}
