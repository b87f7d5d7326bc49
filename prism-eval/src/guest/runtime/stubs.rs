//! Stand-ins for the CUDA libraries, so that a CUDA build of PyTorch runs on a host without any of them.
//!
//! The loader wants every library that PyTorch's own name, with the symbols and versions that they ask for. Each stand-in
//! answers every call with 100, "no device" both to the runtime (`cudaErrorNoDevice`) and to the driver
//! (`CUDA_ERROR_NO_DEVICE`), and PyTorch goes on without a GPU.
use super::{
    RuntimeError,
    command::{self, Bounds, CommandError},
    elf::{SharedLibrary, Version},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// How the libraries of NVIDIA that PyTorch needs begin; all others belong to the system or to PyTorch.
const NVIDIA: [&str; 11] = [
    "libcublas",
    "libcuda",
    "libcudnn",
    "libcufft",
    "libcufile",
    "libcupti",
    "libcurand",
    "libcusolver",
    "libcusparse",
    "libnccl",
    "libnv",
];

/// Calls that return text.
const TEXT: [&str; 7] = [
    "cudaGetErrorString",
    "cudaGetErrorName",
    "ncclGetErrorString",
    "ncclGetLastError",
    "cublasGetStatusString",
    "cusparseGetErrorString",
    "cudnnGetErrorString",
];

/// One library to be made.
#[derive(Debug, Default)]
struct Stub {
    /// Its symbols by version; those without have an empty one.
    symbols: BTreeMap<String, BTreeSet<String>>,
}

/// The shared libraries in a folder, by path.
pub(super) fn libraries(folder: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    let read = || {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_file() && (name.ends_with(".so") || name.contains(".so.")) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    read().map_err(|source| RuntimeError::io("read", folder, source))
}

/// Whether this is a library of NVIDIA, by its `SONAME`.
pub(super) fn is_nvidia(library: &str) -> bool {
    NVIDIA.iter().any(|start| library.starts_with(start))
}

/// Builds a stand-in for each library of NVIDIA that those in `libraries` name; returns how many there are.
pub(super) fn build(libraries: &[PathBuf], folder: &Path, bounds: &Bounds) -> Result<usize, RuntimeError> {
    let stubs = wanted(libraries)?;
    if stubs.is_empty() {
        return Ok(0);
    }
    let compiler = compiler(bounds)?;
    let scratch =
        tempfile::tempdir_in(folder).map_err(|source| RuntimeError::io("make a folder in", folder, source))?;
    let (source, versions) = (scratch.path().join("stub.c"), scratch.path().join("stub.map"));
    for (name, stub) in &stubs {
        let write =
            |path: &Path, text: String| fs::write(path, text).map_err(|source| RuntimeError::io("write", path, source));
        write(&source, stub.source())?;
        let mut command = Command::new(compiler);
        command.args(["-shared", "-fPIC", "-O1", "-w", "-fno-builtin", "-nostdlib", "-o"]);
        command.arg(folder.join(name)).arg(&source).arg(format!("-Wl,-soname,{name}")).arg("-Wl,--build-id=none");
        if let Some(script) = stub.version_script() {
            write(&versions, script)?;
            command.arg(format!("-Wl,--version-script={}", versions.display()));
        }
        command::output(&mut command, bounds, &mut || ())?;
        let library = folder.join(name);
        let opened = fs::set_permissions(&library, Permissions::from_mode(0o755));
        opened.map_err(|source| RuntimeError::io("open", &library, source))?;
    }
    Ok(stubs.len())
}

fn compiler(bounds: &Bounds) -> Result<&'static str, RuntimeError> {
    for name in ["cc", "gcc", "clang"] {
        match command::output(Command::new(name).arg("--version"), bounds, &mut || ()) {
            Ok(_) => return Ok(name),
            Err(error @ CommandError::Cancelled { .. }) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Err(RuntimeError::NoCompiler)
}

/// The libraries of NVIDIA that these name, with what is looked for in each.
fn wanted(libraries: &[PathBuf]) -> Result<BTreeMap<String, Stub>, RuntimeError> {
    let read = libraries.iter().map(|path| SharedLibrary::read(path)).collect::<Result<Vec<_>, _>>()?;
    let own: HashSet<&str> = libraries.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let missing = |library: &str| is_nvidia(library) && !own.contains(library);
    let mut stubs = BTreeMap::<String, Stub>::new();
    for library in &read {
        for needed in library.needed.iter().filter(|needed| missing(needed)) {
            stubs.entry(needed.clone()).or_default();
        }
        for Version { library, name } in library.versions.iter().filter(|version| missing(&version.library)) {
            stubs.entry(library.clone()).or_default().symbols.entry(name.clone()).or_default();
        }
    }
    for library in &read {
        // The loader looks for a symbol without a version in every library that is loaded: any that this one names will do.
        let any = library.needed.iter().find(|needed| missing(needed));
        for (symbol, version) in &library.undefined {
            let (into, version) = match version {
                Some(version) if missing(&version.library) => (&version.library, version.name.as_str()),
                Some(_) => continue,
                None if is_nvidia_call(symbol) && !read.iter().any(|other| other.defined.contains(symbol)) => {
                    let Some(any) = any else { continue };
                    (any, "")
                }
                None => continue,
            };
            let stub = stubs.entry(into.clone()).or_default();
            stub.symbols.entry(version.to_owned()).or_default().insert(symbol.clone());
        }
    }
    Ok(stubs)
}

/// Whether a symbol without a version may be NVIDIA's: a name of C, and not one that Python's own library has.
fn is_nvidia_call(symbol: &str) -> bool {
    let python = ["Py", "_Py"].iter().any(|start| symbol.starts_with(start));
    !python && !symbol.starts_with("_Z") && is_identifier(symbol)
}

fn is_identifier(symbol: &str) -> bool {
    symbol.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !symbol.starts_with(|c: char| c.is_ascii_digit())
}

impl Stub {
    fn source(&self) -> String {
        let mut text = String::new();
        let symbols: BTreeSet<&String> =
            self.symbols.values().flatten().filter(|symbol| is_identifier(symbol)).collect();
        for symbol in symbols {
            // Writing to a text can't fail.
            let _ = match symbol.as_str() {
                // Asked for a handle while libraries load, and never used without a device.
                "__cudaRegisterFatBinary" => {
                    writeln!(text, "static void *handle[2]; void **{symbol}(void *x) {{ return handle; }}")
                }
                name if TEXT.contains(&name) => {
                    writeln!(text, "const char *{symbol}(int x) {{ return \"no CUDA here\"; }}")
                }
                _ => writeln!(text, "int {symbol}(void) {{ return 100; }}"),
            };
        }
        text
    }

    /// The linker's script that gives symbols their versions, if there are any.
    fn version_script(&self) -> Option<String> {
        let mut text = String::new();
        for (version, symbols) in self.symbols.iter().filter(|(version, _)| !version.is_empty()) {
            let names: String =
                symbols.iter().filter(|symbol| is_identifier(symbol)).map(|symbol| format!(" {symbol};")).collect();
            let global = if names.is_empty() { String::new() } else { format!(" global:{names}") };
            let _ = writeln!(text, "{version} {{{global} }};");
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::Cancel;
    use std::time::Duration;

    fn run(program: &str, arguments: &[&str]) -> String {
        let bounds = Bounds { deadline: Duration::from_secs(120), cancel: Cancel::new() };
        command::output(Command::new(program).args(arguments), &bounds, &mut || ()).unwrap()
    }

    /// A library that calls one of NVIDIA's with a version, one without, and one of its own.
    #[test]
    fn a_library_whose_cuda_libraries_are_missing_loads_and_is_told_that_there_is_no_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(
            path("blas.c"),
            "int cublasCreate(void) { return 0; } const char *cublasGetStatusString(int x) { return 0; }",
        )
        .unwrap();
        fs::write(path("blas.map"), "libcublas.so.13 { global: *; };").unwrap();
        fs::write(path("nccl.c"), "int ncclInit(void) { return 0; }").unwrap();
        let script = format!("-Wl,--version-script={}", path("blas.map"));
        let blas = path("libcublas.so.13");
        run("cc", &["-shared", "-fPIC", "-o", &blas, &path("blas.c"), "-Wl,-soname,libcublas.so.13", &script]);
        let nccl = path("libnccl.so.2");
        run("cc", &["-shared", "-fPIC", "-o", &nccl, &path("nccl.c"), "-Wl,-soname,libnccl.so.2"]);
        let user = "int cublasCreate(void), ncclInit(void), own(void); const char *cublasGetStatusString(int);
            int own(void) { return 7; }
            int sum(void) { return own() * 1000 + cublasCreate() + ncclInit() + (cublasGetStatusString(1)[0] == 'n'); }";
        fs::write(path("user.c"), user).unwrap();
        run("cc", &["-shared", "-fPIC", "-o", &path("libuser.so"), &path("user.c"), &blas, &nccl]);
        fs::remove_file(&blas).unwrap();
        fs::remove_file(&nccl).unwrap();

        let stubs = folder.path().join("stubs");
        fs::create_dir(&stubs).unwrap();
        let bounds = Bounds { deadline: Duration::from_secs(120), cancel: Cancel::new() };
        let users = libraries(folder.path()).unwrap();
        assert_eq!(build(&users, &stubs, &bounds).unwrap(), 2);
        let made: Vec<_> = libraries(&stubs).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(made, ["libcublas.so.13", "libnccl.so.2"]);

        let call = format!("import ctypes; print(ctypes.CDLL({:?}, ctypes.RTLD_GLOBAL).sum())", path("libuser.so"));
        let mut python = Command::new("python3");
        python.args(["-c", &call]).env("LD_LIBRARY_PATH", &stubs).env("LD_BIND_NOW", "1");
        assert_eq!(command::output(&mut python, &bounds, &mut || ()).unwrap(), "7201");
    }
}
