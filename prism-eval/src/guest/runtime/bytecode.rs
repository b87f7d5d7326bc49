//! Compiling the packages once: a guest may write nothing, and would compile what it imports at every start.
use super::{
    RuntimeError,
    command::{self, Bounds},
    record,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The list of the files made here, in the form of a package's own.
const RECORD: &str = "prism_bytecode.dist-info";
/// Sources that this Python can't compile are for others; they stay as they are. Files are valid whatever the time stamps
/// of their sources (PEP 552): these are sealed too.
const COMPILE: &str = "import compileall, py_compile, sys
compileall.compile_dir(sys.argv[1], quiet=2, workers=0, maxlevels=40,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";

/// Compiles all sources below a folder and lists what came of it beside the packages' records.
pub(super) fn compile(python: &Path, site: &Path, bounds: &Bounds, tick: &mut dyn FnMut()) -> Result<(), RuntimeError> {
    command::output(Command::new(python).args(["-I", "-B", "-c", COMPILE]).arg(site), bounds, tick)?;
    let mut files = Vec::new();
    compiled(site, &mut files).map_err(|source| RuntimeError::io("read", site, source))?;
    files.sort();
    let mut text = String::new();
    for path in files {
        let bytes = fs::metadata(&path).map_err(|source| RuntimeError::io("read", &path, source))?.len();
        let digest = URL_SAFE_NO_PAD.encode(record::digest_of(&path)?.0);
        let Some(name) = path.strip_prefix(site).ok().and_then(Path::to_str) else { continue };
        // Writing into a string can't fail.
        let _ = writeln!(text, "\"{}\",sha256={digest},{bytes}", name.replace('"', "\"\""));
    }
    let folder = site.join(RECORD);
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("RECORD"), text));
    written.map_err(|source| RuntimeError::io("write", &folder, source))
}

fn compiled(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        let kind = entry?;
        if kind.is_dir() {
            compiled(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "pyc") {
            files.push(path);
        }
    }
    Ok(())
}
