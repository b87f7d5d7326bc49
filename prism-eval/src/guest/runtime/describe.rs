//! A description made: what an interpreter and its packages need of this host, after PyTorch has worked there once.
use super::{
    Runtime, RuntimeError,
    command::{self, Bounds, CommandError},
    interpreter::Interpreter,
    loader,
    record::{digest_of, records},
    stubs,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// Imports PyTorch and multiplies two matrices.
const TRY: &str = r#"
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import torch
a = torch.arange(12, dtype=torch.float32).reshape(3, 4)
print(json.dumps({"torch": str(torch.__version__), "cuda": bool(torch.cuda.is_available()), "product": (a @ a.T).tolist()}))
"#;

/// What `TRY` must multiply to.
const PRODUCT: [[f64; 3]; 3] = [[14.0, 38.0, 62.0], [38.0, 126.0, 214.0], [62.0, 214.0, 366.0]];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    torch: String,
    cuda: bool,
    product: Vec<Vec<f64>>,
}

/// Tries PyTorch and describes what it took.
pub(super) fn describe(
    python: &Interpreter,
    search: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
    bounds: &Bounds,
) -> Result<Runtime, RuntimeError> {
    let tried = try_torch(&python.base, &search, &libraries, bounds)?;

    let mut compiled = vec![python.base.clone()];
    for folder in &python.own {
        compiled.extend(stubs::libraries(folder)?);
    }
    for package in search.iter().flat_map(|folder| [folder.join("torch"), folder.join("torch/lib")]) {
        compiled.extend(stubs::libraries(&package)?);
    }
    let loaded = loader::ask(&compiled, &libraries, bounds)?;

    let mut folders: BTreeSet<PathBuf> = python.own.iter().chain(&search).chain(&libraries).cloned().collect();
    for file in loaded.found.iter().chain([&python.base]) {
        // By the name that the loader asks for, and by the one that it leads to.
        folders.extend(file.parent().map(Path::to_owned));
        let real = file.canonicalize().map_err(|source| RuntimeError::io("find", file, source))?;
        folders.extend(real.parent().map(Path::to_owned));
    }
    Ok(Runtime {
        python: python.base.clone(),
        python_version: python.version(),
        torch_version: tried.torch,
        cuda: tried.cuda,
        files: key_files(&python.base, &search, &libraries)?,
        directories: outermost(folders),
        search,
        libraries,
    })
}

fn try_torch(python: &Path, search: &[PathBuf], libraries: &[PathBuf], bounds: &Bounds) -> Result<Tried, RuntimeError> {
    let refuse = |why: String| RuntimeError::Torch { python: python.to_owned(), why };
    let list = serde_json::to_string(search).map_err(|error| refuse(error.to_string()))?;
    let mut command = Command::new(python);
    // As a guest starts: isolated, nothing of this process's environment, no other package in sight.
    command.args(["-I", "-S", "-B", "-c", TRY]).arg(list).env_clear().current_dir("/");
    command.env("LD_LIBRARY_PATH", loader::joined(libraries)).env("OMP_NUM_THREADS", "1");
    let said = match command::output(&mut command, bounds, &mut || ()) {
        Err(CommandError::Failed { status, said, .. }) => return Err(refuse(format!("it ends with {status}: {said}"))),
        said => said?,
    };
    let last = said.lines().next_back().unwrap_or_default();
    let tried: Tried = serde_json::from_str(last).map_err(|error| refuse(format!("it answers oddly: {error}")))?;
    if tried.product != PRODUCT {
        return Err(refuse(format!("its product of two matrices is wrong: {:?}", tried.product)));
    }
    Ok(tried)
}

/// The digests of the interpreter, of each package's list of files, and of the stand-ins.
fn key_files(
    python: &Path,
    search: &[PathBuf],
    libraries: &[PathBuf],
) -> Result<BTreeMap<PathBuf, prism_core::Digest>, RuntimeError> {
    let mut files = vec![python.to_owned()];
    for folder in search {
        files.extend(records(folder).map_err(|source| RuntimeError::io("read", folder, source))?);
    }
    for folder in libraries {
        files.extend(stubs::libraries(folder)?);
    }
    files.into_iter().map(|path| digest_of(&path).map(|digest| (path, digest))).collect()
}

/// The same folders less those that lie in another one.
fn outermost(folders: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut outermost = Vec::<PathBuf>::new();
    // In their order, a folder comes before what lies in it.
    for folder in folders {
        if !outermost.iter().any(|outer| folder.starts_with(outer)) {
            outermost.push(folder);
        }
    }
    outermost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_within_others_are_left_out() {
        let folders = ["/usr/lib", "/usr/lib/python3", "/usr/lib64", "/usr/bin", "/lib"].map(PathBuf::from);
        let expected = ["/lib", "/usr/bin", "/usr/lib", "/usr/lib64"].map(PathBuf::from);
        assert_eq!(outermost(folders.into()), expected);
    }
}
