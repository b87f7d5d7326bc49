//! What guests may import and use: the lists behind the rules.
//!
//! Strict only where honest code has no business. A model, a recipe and its checkpoints need arithmetic, containers,
//! PyTorch, and paths below `checkpoint_dir`; data, processes, threads, networks and other people's objects they don't.
use prism_core::reviewer::Grade;

/// A rule that a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) rule: &'static str,
    pub(super) grade: Grade,
    pub(super) why: &'static str,
}

const fn proof(rule: &'static str, why: &'static str) -> Option<Breach> {
    Some(Breach { rule, grade: Grade::Proof, why })
}

/// Modules that pass without a word.
const ALLOWED: [&str; 48] = [
    "__future__",
    "abc",
    "argparse",
    "array",
    "bisect",
    "cmath",
    "collections",
    "contextlib",
    "contextvars",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "graphlib",
    "hashlib",
    "heapq",
    "io",
    "itertools",
    "json",
    "keyword",
    "logging",
    "math",
    "numbers",
    "numpy",
    "operator",
    "pathlib",
    "pprint",
    "prism",
    "prism_challenge",
    "random",
    "re",
    "reprlib",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "time",
    "timeit",
    "torch",
    "typing",
    "typing_extensions",
    "unicodedata",
    "uuid",
    "warnings",
    "weakref",
];

/// Modules of which only some names pass; see [`PARTS`].
const PARTIAL: [&str; 5] = ["gc", "inspect", "os", "sys", "types"];

/// What passes of the modules in [`PARTIAL`], with all below it.
const PARTS: [&str; 42] = [
    "gc.collect",
    "gc.disable",
    "gc.enable",
    "gc.freeze",
    "inspect.Parameter",
    "inspect.isclass",
    "inspect.isfunction",
    "inspect.signature",
    "os.PathLike",
    "os.cpu_count",
    "os.environ",
    "os.fspath",
    "os.listdir",
    "os.makedirs",
    "os.mkdir",
    "os.path.basename",
    "os.path.dirname",
    "os.path.exists",
    "os.path.getsize",
    "os.path.isdir",
    "os.path.isfile",
    "os.path.join",
    "os.path.normpath",
    "os.path.splitext",
    "os.remove",
    "os.rename",
    "os.replace",
    "os.sep",
    "sys.byteorder",
    "sys.float_info",
    "sys.getsizeof",
    "sys.maxsize",
    "sys.platform",
    "sys.stderr",
    "sys.version",
    "sys.version_info",
    "types.GeneratorType",
    "types.MappingProxyType",
    "types.MethodType",
    "types.NoneType",
    "types.SimpleNamespace",
    "types.UnionType",
];

const NETWORK: [&str; 24] = [
    "_socket",
    "aiohttp",
    "ftplib",
    "http",
    "httpx",
    "huggingface_hub",
    "imaplib",
    "nntplib",
    "paramiko",
    "poplib",
    "requests",
    "smtplib",
    "socket",
    "socketserver",
    "ssl",
    "telnetlib",
    "urllib",
    "urllib3",
    "wandb",
    "webbrowser",
    "websocket",
    "websockets",
    "wsgiref",
    "xmlrpc",
];
const PROCESS: [&str; 36] = [
    "_posixshmem",
    "_posixsubprocess",
    "_thread",
    "_winapi",
    "asyncio",
    "atexit",
    "concurrent",
    "curses",
    "faulthandler",
    "fcntl",
    "grp",
    "mmap",
    "msvcrt",
    "multiprocessing",
    "nt",
    "pdb",
    "posix",
    "psutil",
    "pty",
    "pwd",
    "queue",
    "readline",
    "resource",
    "sched",
    "select",
    "selectors",
    "signal",
    "subprocess",
    "syslog",
    "termios",
    "threading",
    "trace",
    "tracemalloc",
    "tty",
    "winreg",
    "bdb",
];
const FOREIGN: [&str; 4] = ["_cffi_backend", "_ctypes", "cffi", "ctypes"];
const DYNAMIC: [&str; 23] = [
    "__main__",
    "_imp",
    "ast",
    "builtins",
    "code",
    "codeop",
    "compileall",
    "dis",
    "imp",
    "importlib",
    "linecache",
    "modulefinder",
    "pkgutil",
    "py_compile",
    "runpy",
    "site",
    "sitecustomize",
    "symtable",
    "sysconfig",
    "tokenize",
    "traceback",
    "usercustomize",
    "zipimport",
];
const PICKLED: [&str; 10] =
    ["_pickle", "cPickle", "cloudpickle", "copyreg", "dbm", "dill", "joblib", "marshal", "pickle", "shelve"];
const FILES: [&str; 8] = ["fileinput", "filecmp", "glob", "linecache", "shutil", "sqlite3", "tempfile", "datasets"];
const CODECS: [&str; 10] =
    ["base64", "binascii", "bz2", "codecs", "gzip", "lzma", "quopri", "tarfile", "zipfile", "zlib"];

/// Other modules that allowed ones have as attributes: `torch.os` is `os`.
const INNER: [&str; 26] = [
    "_os",
    "_sys",
    "_thread",
    "builtins",
    "ctypes",
    "gc",
    "glob",
    "importlib",
    "inspect",
    "io",
    "linecache",
    "multiprocessing",
    "os",
    "pickle",
    "platform",
    "posix",
    "pickle_module",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "traceback",
    "types",
    "urllib",
];

/// Names below allowed modules that no model needs, and all below them.
const ESCAPES: [(&str, &str, &str); 35] = [
    ("torch.hub", "python.torch", "loads code and weights from elsewhere"),
    ("torch.package", "python.torch", "loads code from files"),
    ("torch.utils.cpp_extension", "python.torch", "compiles and loads native code"),
    ("torch.utils.model_zoo", "python.torch", "loads weights from elsewhere"),
    ("torch.utils.collect_env", "python.torch", "starts processes"),
    ("torch.utils.bottleneck", "python.torch", "runs scripts"),
    ("torch.utils.data.datapipes", "python.torch", "reads data of its own"),
    ("torch.from_file", "python.torch", "maps files"),
    ("torch.UntypedStorage.from_file", "python.torch", "maps files"),
    ("torch.ops.load_library", "python.torch", "loads native code"),
    ("torch.classes.load_library", "python.torch", "loads native code"),
    ("torch.distributed.TCPStore", "python.torch", "opens a connection"),
    ("torch.distributed.FileStore", "python.torch", "opens a file"),
    ("torch.distributed.rpc", "python.torch", "opens connections"),
    ("torch.distributed.run", "python.torch", "starts processes"),
    ("torch.distributed.launch", "python.torch", "starts processes"),
    ("torch.distributed.launcher", "python.torch", "starts processes"),
    ("torch.distributed.elastic", "python.torch", "starts processes"),
    ("torch.monitor", "python.torch", "watches the process"),
    ("torch.fx._pytree", "python.torch", "reaches into PyTorch"),
    ("torch.serialization.add_safe_globals", "python.torch", "changes how files are read"),
    ("torch.jit.load", "python.file", "loads code from files"),
    ("torch.export.load", "python.file", "loads code from files"),
    ("numpy.load", "python.file", "reads files"),
    ("numpy.fromfile", "python.file", "reads files"),
    ("numpy.genfromtxt", "python.file", "reads files"),
    ("numpy.loadtxt", "python.file", "reads files"),
    ("numpy.memmap", "python.file", "maps files"),
    ("numpy.ctypeslib", "python.import.native", "calls native code"),
    ("numpy.f2py", "python.import.native", "compiles native code"),
    ("numpy.distutils", "python.import.native", "compiles native code"),
    ("io.open", "python.file", "opens files"),
    ("io.FileIO", "python.file", "opens files"),
    ("io.open_code", "python.file", "opens files"),
    ("logging.FileHandler", "python.file", "writes files"),
];

/// Builtins that no model needs.
const BUILTINS: [(&str, &str); 10] = [
    ("__builtins__", "reaches the interpreter's own names"),
    ("__import__", "imports by a computed name"),
    ("__loader__", "reaches the import system"),
    ("__spec__", "reaches the import system"),
    ("breakpoint", "starts a debugger"),
    ("compile", "compiles text"),
    ("eval", "runs text"),
    ("exec", "runs text"),
    ("globals", "reaches names by text"),
    ("input", "reads the standard input"),
];

/// Attributes that lead out of an object into the interpreter.
pub(super) const INTERNALS: [&str; 29] = [
    "__base__",
    "__bases__",
    "__builtins__",
    "__closure__",
    "__code__",
    "__getattribute__",
    "__globals__",
    "__import__",
    "__kwdefaults__",
    "__loader__",
    "__mro__",
    "__reduce__",
    "__reduce_ex__",
    "__self__",
    "__spec__",
    "__subclasses__",
    "__traceback__",
    "ag_frame",
    "cr_frame",
    "f_back",
    "f_builtins",
    "f_code",
    "f_globals",
    "f_locals",
    "gi_code",
    "gi_frame",
    "tb_frame",
    "tb_next",
    "func_globals",
];

/// Settings of PyTorch that are made by assignment.
const SETTINGS: [&str; 4] =
    ["torch.backends", "torch._dynamo.config", "torch._inductor.config", "torch._functorch.config"];

/// Calls that open a file: the place of its path, by position and by keyword.
pub(super) const OPENERS: [(&str, usize, &str); 7] = [
    ("builtins.open", 0, "file"),
    ("torch.load", 0, "f"),
    ("torch.save", 1, "f"),
    ("torch.serialization.load", 0, "f"),
    ("torch.serialization.save", 1, "f"),
    ("torch.jit.save", 1, "f"),
    ("pathlib.Path.open", 0, "self"),
];

/// Files of these names would stand in for what the guest itself needs.
pub(super) const NEVER_OWN: [&str; 8] =
    ["builtins", "numpy", "prism", "prism_guest", "sitecustomize", "sys", "torch", "usercustomize"];

/// Whether a dotted name is another one, or lies below it.
pub(super) fn lies_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a module of the standard library or the runtime has this name: it comes before any file of the bundle.
pub(super) fn is_known(root: &str) -> bool {
    let lists: [&[&str]; 9] = [&ALLOWED, &PARTIAL, &NETWORK, &PROCESS, &FOREIGN, &DYNAMIC, &PICKLED, &FILES, &CODECS];
    lists.iter().any(|list| list.contains(&root))
}

/// What importing a module breaks.
pub(super) fn import(name: &str) -> Option<Breach> {
    let root = name.split('.').next().unwrap_or_default();
    let lists: [(&[&str], &str, &str); 6] = [
        (&NETWORK, "python.import.network", "is for networks"),
        (&PROCESS, "python.import.process", "is for processes, threads and the system"),
        (&FOREIGN, "python.import.native", "calls native code"),
        (&DYNAMIC, "python.import.dynamic", "reaches into the interpreter"),
        (&PICKLED, "python.import.pickle", "runs code from data"),
        (&FILES, "python.import.file", "is for files; miners bring no data"),
    ];
    if let Some((_, rule, why)) = lists.iter().find(|(list, ..)| list.contains(&root)) {
        return proof(rule, why);
    }
    if CODECS.contains(&root) {
        let why = "unpacks what a source could hide";
        return Some(Breach { rule: "python.payload.codec", grade: Grade::Suspicion, why });
    }
    None
}

/// Whether some part of what an import brings passes.
pub(super) fn has_parts(name: &str) -> bool {
    PARTS.iter().any(|part| lies_below(part, name))
}

/// Whether a module may be imported at all.
pub(super) fn is_importable(root: &str) -> bool {
    ALLOWED.contains(&root) || PARTIAL.contains(&root) || CODECS.contains(&root)
}

/// What using a dotted name breaks; builtins begin with `builtins.`.
pub(super) fn reference(name: &str) -> Option<Breach> {
    if let Some(builtin) = name.strip_prefix("builtins.") {
        let first = builtin.split('.').next().unwrap_or_default();
        return BUILTINS.iter().find(|(name, _)| *name == first).and_then(|(_, why)| proof("python.builtin", why));
    }
    let mut parts = name.split('.');
    let root = parts.next().unwrap_or_default();
    if parts.any(|part| INNER.contains(&part)) && !PARTIAL.contains(&root) {
        return proof("python.escape", "is another module behind an allowed one");
    }
    if PARTIAL.contains(&root) {
        return if PARTS.iter().any(|part| lies_below(name, part)) {
            None
        } else {
            proof("python.system", "is not among the parts of this module that models need")
        };
    }
    if let Some((_, rule, why)) = ESCAPES.iter().find(|(above, ..)| lies_below(name, above)) {
        return proof(rule, why);
    }
    if name.split('.').any(|part| part == "__dict__") {
        return proof("python.escape", "reaches another module's names by text");
    }
    None
}

/// Whether assigning to a name of another module is a setting rather than a patch.
pub(super) fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|above| lies_below(name, above))
}
