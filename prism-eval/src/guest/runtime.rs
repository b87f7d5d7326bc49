//! The Python that guests run on: where it is on this host, and what of the host it needs to see.
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An installed CPython with PyTorch, as `runtime.json` in the data folder describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// The interpreter, an absolute path.
    pub python: PathBuf,
    /// Its version, like `3.11.2`.
    pub python_version: String,
    /// PyTorch's version, like `2.15.0+cu132`.
    pub torch_version: String,
    /// Folders of the host that it needs, read-only, under their own names.
    pub directories: Vec<PathBuf>,
    /// What comes on its module search path, before the standard library.
    pub search: Vec<PathBuf>,
    /// Folders of shared libraries (`LD_LIBRARY_PATH`).
    pub libraries: Vec<PathBuf>,
}
