//! A CPython of this host: where it really is, and what it consists of.
use super::{
    RuntimeError,
    command::{self, Bounds, CommandError},
};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest that is taken.
pub(super) const OLDEST: (u32, u32) = (3, 10);

/// Prints what an interpreter says of itself. `_base_executable` is the interpreter below a virtual environment.
const QUESTIONS: &str = r#"
import importlib.util, json, os, platform, sys, sysconfig
own = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
own.add(os.path.realpath(sysconfig.get_config_var("DESTSHARED") or os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")))
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "threads": "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "",
    "machine": platform.machine(),
    "wide": sys.maxsize > 2**32,
    "pip": importlib.util.find_spec("pip") is not None,
    "base": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "own": sorted(path for path in own if os.path.isdir(path)),
    "search": [path for path in sys.path if os.path.isdir(path) and os.path.realpath(path) not in own],
}))
"#;

/// What an interpreter says of itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interpreter {
    implementation: String,
    version: (u32, u32, u32),
    threads: String,
    pub(super) machine: String,
    wide: bool,
    /// Whether it has pip.
    pub(super) pip: bool,
    /// The file that runs, past links, shims and virtual environments.
    pub(super) base: PathBuf,
    /// The folders of its standard library.
    pub(super) own: Vec<PathBuf>,
    /// Folders of other packages that it finds by itself.
    pub(super) search: Vec<PathBuf>,
}

impl Interpreter {
    /// Asks the interpreter at a path, or of a name that the system finds.
    pub(super) fn ask(program: &Path, bounds: &Bounds) -> Result<Self, RuntimeError> {
        let refuse = |why: String| RuntimeError::Unsuitable { python: program.to_owned(), why };
        let said = match command::output(Command::new(program).args(["-I", "-B", "-c", QUESTIONS]), bounds, &mut || ())
        {
            Err(CommandError::Failed { status, said, .. }) => {
                return Err(refuse(format!("it ends with {status}: {said}")));
            }
            said => said?,
        };
        let python: Self = serde_json::from_str(&said).map_err(|error| refuse(format!("it answers oddly: {error}")))?;
        let (major, minor, _) = python.version;
        if python.implementation != "cpython" {
            return Err(refuse(format!("it is {}, and must be CPython", python.implementation)));
        }
        if (major, minor) < OLDEST {
            return Err(refuse(format!(
                "it is CPython {major}.{minor}, and must be at least {}.{}",
                OLDEST.0, OLDEST.1
            )));
        }
        if !python.wide {
            return Err(refuse("it is built for 32 bits".into()));
        }
        Ok(python)
    }

    /// Like `3.11.2`.
    pub(super) fn version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// The tag of wheels that hold compiled code for it, like `cp311` (PEP 425; `t` without the global lock).
    pub(super) fn tag(&self) -> String {
        let (major, minor, _) = self.version;
        format!("cp{major}{minor}{}", self.threads)
    }
}
