//! The Python that guests run on: where it is on this host, and what of the host it needs to see.
//!
//! [`Install`] sets one up in a folder, [`adopt`] describes one that is there already; either leaves a `runtime.json` as its
//! last act, so that a folder without one holds nothing to be used.
mod bytecode;
mod command;
mod describe;
mod elf;
mod install;
mod interpreter;
mod loader;
mod record;
mod stubs;
mod unpack;
mod wheels;

pub use command::CommandError;
pub use elf::ElfError;
pub use install::{Install, Progress, Step, adopt};

use prism_core::{Digest, Error, Fault, Kind, Retry};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// The name of a description in its folder.
pub const DESCRIPTION: &str = "runtime.json";

/// The longest description that is read.
const MAX_DESCRIPTION_BYTES: u64 = 1 << 20;

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
    /// Whether PyTorch saw a GPU when it was tried here.
    #[serde(default)]
    pub cuda: bool,
    /// Folders of the host that it needs, read-only, under their own names.
    pub directories: Vec<PathBuf>,
    /// What comes on its module search path, before the standard library.
    pub search: Vec<PathBuf>,
    /// Folders of shared libraries (`LD_LIBRARY_PATH`).
    pub libraries: Vec<PathBuf>,
    /// SHA-256 of the files that stand for all others: the interpreter, each package's `RECORD`, and the libraries above.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, Digest>,
}

impl Runtime {
    /// Reads a description: a file, or a folder that holds a `runtime.json`.
    ///
    /// # Errors
    /// There is none, or it can't be understood.
    pub fn open(path: &Path) -> Result<Self, RuntimeError> {
        let path = if path.is_dir() { path.join(DESCRIPTION) } else { path.to_owned() };
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(MAX_DESCRIPTION_BYTES).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(RuntimeError::Missing(path)),
            Err(source) => return Err(RuntimeError::io("read", &path, source)),
        }
        serde_json::from_str(&text).map_err(|source| RuntimeError::Description { path, source })
    }

    /// Whether it is still what was described: the files that stand for the others have their digests, and all files of
    /// the packages have their sizes. A tenth of a second or two.
    ///
    /// # Errors
    /// The first file that changed.
    pub fn verify(&self) -> Result<(), RuntimeError> {
        self.check(false)
    }

    /// The same with the contents of all files of the packages: reads more than a gigabyte.
    ///
    /// # Errors
    /// The first file that changed.
    pub fn verify_contents(&self) -> Result<(), RuntimeError> {
        self.check(true)
    }

    /// One digest for all of it, whatever folder it lies in: of versions, interpreter, packages and stand-ins.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let name = |path: &Path| {
            let within = self.search.iter().chain(&self.libraries).find_map(|folder| path.strip_prefix(folder).ok());
            within.or_else(|| path.file_name().map(Path::new)).unwrap_or(path).display().to_string()
        };
        let mut files: Vec<_> = self.files.iter().map(|(path, digest)| (name(path), digest)).collect();
        files.sort();
        // Texts alone: nothing here that JSON can't carry.
        Digest::of(&serde_json::to_vec(&(&self.python_version, &self.torch_version, files)).unwrap_or_default())
    }

    fn check(&self, contents: bool) -> Result<(), RuntimeError> {
        if self.files.is_empty() {
            return Err(RuntimeError::Unsealed(self.python.clone()));
        }
        for folder in &self.directories {
            if !folder.is_dir() {
                return Err(RuntimeError::Changed { path: folder.clone(), how: "is gone" });
            }
        }
        for (path, digest) in &self.files {
            if !path.is_file() {
                return Err(RuntimeError::Changed { path: path.clone(), how: "is gone" });
            }
            if record::digest_of(path)? != *digest {
                return Err(RuntimeError::Changed { path: path.clone(), how: "has other contents" });
            }
        }
        let records = self.files.keys().filter(|path| path.file_name().is_some_and(|name| name == "RECORD"));
        records.into_iter().try_for_each(|path| record::check(path, contents))
    }
}

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Nothing was set up.
    #[error("no guest runtime at {}: `prism runtime install` sets one up", .0.display())]
    Missing(PathBuf),
    /// The description can't be understood.
    #[error("{} describes no guest runtime: `prism runtime install` writes a new one", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The description was written by hand, and names no digests.
    #[error("the description of {} has no digests to check: set it up with `prism runtime install`", .0.display())]
    Unsealed(PathBuf),
    /// Something is not what was installed.
    #[error("{} {how} since the guest runtime was set up: `prism runtime install` mends it", .path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
        /// In what way.
        how: &'static str,
    },
    /// An interpreter won't do.
    #[error("{} can't run guests: {why}", .python.display())]
    Unsuitable {
        /// The interpreter.
        python: PathBuf,
        /// Why.
        why: String,
    },
    /// No interpreter will do.
    #[error("no Python will do, name one with --python: {}", list(.0))]
    NoPython(Vec<RuntimeError>),
    /// An interpreter without pip.
    #[error("{} has no pip to download with: install it (Debian: python3-pip), or name another Python", .0.display())]
    NoPip(PathBuf),
    /// Nothing is published for this interpreter on this machine.
    #[error("there is no {package} {version} for {tag} on {machine}: name another Python, or adopt an environment")]
    NoWheel {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The interpreter's tag.
        tag: String,
        /// The machine.
        machine: String,
    },
    /// No environment to adopt.
    #[error("{} has no bin/python: name the folder of an environment", .0.display())]
    NoEnvironment(PathBuf),
    /// The disk is too full.
    #[error("{} has {} MB free, and {} MB are needed", .folder.display(), .free / 1_000_000, .needed / 1_000_000)]
    Space {
        /// The folder.
        folder: PathBuf,
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        needed: u64,
    },
    /// Another installation is at it.
    #[error("another installation into {} did not end within {seconds} s", .folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// pip failed.
    #[error(
        "pip can't download PyTorch and its packages; is there a network, or another index for --index-url? It says: {0}"
    )]
    Download(String),
    /// pip left no file with the right contents.
    #[error("{package} was not downloaded with the contents of SHA-256 {digest}")]
    NotDownloaded {
        /// The package.
        package: String,
        /// What it must hash to.
        digest: Digest,
    },
    /// A wheel can't be unpacked.
    #[error("{} can't be unpacked: {problem}", .wheel.display())]
    Wheel {
        /// The file.
        wheel: PathBuf,
        /// Why.
        problem: String,
    },
    /// Nothing to build the stand-ins for CUDA libraries with.
    #[error(
        "no C compiler (cc, gcc or clang) to build stand-ins for the CUDA libraries with: install one (Debian: gcc)"
    )]
    NoCompiler,
    /// PyTorch does not work.
    #[error("PyTorch does not work in {}: {why}", .python.display())]
    Torch {
        /// The interpreter.
        python: PathBuf,
        /// Why.
        why: String,
    },
    /// A shared library can't be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Another program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The file system says no.
    #[error("can't {what} {}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Why each was refused; of those that are not there only when none is.
fn list(errors: &[RuntimeError]) -> String {
    let absent = |error: &&RuntimeError| matches!(error, RuntimeError::Command(CommandError::Start { .. }));
    let there: Vec<_> = errors.iter().filter(|error| !absent(error)).map(ToString::to_string).collect();
    if there.is_empty() { "none is installed".to_owned() } else { there.join("; ") }
}

impl RuntimeError {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

impl From<RuntimeError> for Error {
    fn from(error: RuntimeError) -> Self {
        let kind = match &error {
            RuntimeError::Missing(_) | RuntimeError::NoPython(_) | RuntimeError::NoEnvironment(_) => Kind::NotFound,
            RuntimeError::Description { .. } | RuntimeError::Changed { .. } | RuntimeError::Wheel { .. } => {
                Kind::Corrupt
            }
            RuntimeError::NotDownloaded { .. } | RuntimeError::Elf(_) => Kind::Corrupt,
            RuntimeError::Space { .. } => Kind::Limit,
            RuntimeError::Busy { .. } | RuntimeError::Command(CommandError::Deadline { .. }) => Kind::Deadline,
            RuntimeError::Command(CommandError::Cancelled { .. }) => Kind::Cancelled,
            RuntimeError::Download(_) | RuntimeError::Command(_) | RuntimeError::Io { .. } => Kind::Unavailable,
            _ => Kind::Unsupported,
        };
        let fault = match kind {
            Kind::Unavailable | Kind::Deadline | Kind::Cancelled => Fault::Infrastructure,
            _ => Fault::Validator,
        };
        let retry = if kind == Kind::Deadline { Retry::After(Duration::from_secs(60)) } else { Retry::Never };
        let text = error.to_string();
        let mut message = Self::new(kind, fault, text).retry(retry);
        if let Some(cause) = cause(error) {
            message = message.because(cause);
        }
        message
    }
}

/// What lies behind an error, where its own message does not say it.
fn cause(error: RuntimeError) -> Option<std::io::Error> {
    match error {
        RuntimeError::Io { source, .. }
        | RuntimeError::Command(CommandError::Start { source, .. })
        | RuntimeError::Elf(ElfError::Read { source, .. }) => Some(source),
        RuntimeError::Description { source, .. } => Some(std::io::Error::other(source)),
        _ => None,
    }
}
