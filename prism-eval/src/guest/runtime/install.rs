//! A runtime set up: wheels downloaded by pip, checked, unpacked beside the others and only then given their name.
use super::{
    DESCRIPTION, Runtime, RuntimeError, bytecode,
    command::{self, Bounds, CommandError},
    describe::describe,
    interpreter::Interpreter,
    loader,
    record::{self, digest_of, records},
    stubs,
    unpack::unpack,
    wheels::Wheels,
};
use prism_core::{Cancel, Digest};
use rustix::fs::{FlockOperation, flock, statvfs, syncfs};
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// For programs that answer at once or compute a little.
const SHORT: Duration = Duration::from_secs(300);
/// The digests of what is in a folder, in that folder.
const SEAL: &str = "seal.json";
/// How often a lock that another holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// What an installation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waiting for another installation into the same folder.
    Waiting,
    /// Downloading wheels.
    Downloading,
    /// Unpacking wheels.
    Unpacking,
    /// Compiling Python, so that guests needn't at every start.
    Compiling,
    /// Building stand-ins for CUDA libraries.
    Building,
    /// Importing PyTorch for the first time.
    Trying,
}

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub step: Step,
    /// Bytes downloaded or unpacked in this step; 0 where nothing is counted.
    pub bytes: u64,
}

/// The setting up of a runtime in a folder: into `FOLDER/runtime.json` goes its description.
#[derive(Debug, Clone)]
pub struct Install {
    folder: PathBuf,
    pythons: Vec<PathBuf>,
    index_url: Option<String>,
    find_links: Option<PathBuf>,
    cpu_stubs: bool,
    deadline: Duration,
    /// In place of the published ones.
    wheels: Option<Wheels>,
}

impl Install {
    /// Into this folder, with the first of these interpreters (paths, or names that the system finds) that will do.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, pythons: Vec<PathBuf>) -> Self {
        let deadline = Duration::from_secs(3600);
        let (folder, wheels) = (folder.into(), None);
        Self { folder, pythons, index_url: None, find_links: None, cpu_stubs: false, deadline, wheels }
    }

    /// With pip asking this index, and not the one of its own configuration.
    #[must_use]
    pub fn index_url(mut self, url: Option<String>) -> Self {
        self.index_url = url;
        self
    }

    /// With stand-ins for the CUDA libraries even where there are real ones.
    #[must_use]
    pub fn cpu_stubs(mut self, force: bool) -> Self {
        self.cpu_stubs = force;
        self
    }

    /// The longest that waiting for another installation, and that downloading, may take; an hour unless set.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the runtime, or finds it made already. Blocks for minutes; an interrupted one is taken up where it stopped.
    ///
    /// # Errors
    /// No interpreter will do, pip fails, a digest is wrong, the disk is full, or PyTorch does not work here.
    pub fn run(&self, cancel: &Cancel, progress: &mut dyn FnMut(Progress)) -> Result<Runtime, RuntimeError> {
        fs::create_dir_all(&self.folder).map_err(|source| RuntimeError::io("make", &self.folder, source))?;
        let folder = self.folder.canonicalize().map_err(|source| RuntimeError::io("find", &self.folder, source))?;
        let _lock = lock(&folder, self.deadline, cancel, progress)?;
        let short = Bounds { deadline: SHORT, cancel: cancel.clone() };
        let (python, program, wheels) = self.choose(&short)?;

        let tree = folder.join(wheels.folder_name(&python.tag()));
        let search = vec![tree.join("site")];
        if let Ok(there) = Runtime::open(&folder)
            && (&there.python, &there.search) == (&python.base, &search)
            && there.libraries == self.stub_folders(&tree, &short)?
            && there.verify().is_ok()
        {
            return Ok(there);
        }
        if !is_whole(&tree) {
            self.make(&folder, &tree, &program, &wheels, cancel, progress)?;
        }
        let libraries = self.stub_folders(&tree, &short)?;
        for stubs in libraries.iter().filter(|stubs| !is_sealed(stubs)) {
            progress(Progress { step: Step::Building, bytes: 0 });
            make_stubs(&tree, stubs, &short)?;
        }
        progress(Progress { step: Step::Trying, bytes: 0 });
        let runtime = describe(&python, search, libraries, &short)?;
        save(&runtime, &folder)?;
        Ok(runtime)
    }

    /// The first interpreter that will do, the program that it was found by, and its wheels.
    fn choose(&self, bounds: &Bounds) -> Result<(Interpreter, PathBuf, Wheels), RuntimeError> {
        let mut refused = Vec::new();
        for program in &self.pythons {
            match self.consider(program, bounds) {
                Ok((python, wheels)) => return Ok((python, program.clone(), wheels)),
                Err(error @ RuntimeError::Command(CommandError::Cancelled { .. })) => return Err(error),
                Err(error) => refused.push(error),
            }
        }
        Err(match <[RuntimeError; 1]>::try_from(refused) {
            Ok([only]) => only,
            Err(all) => RuntimeError::NoPython(all),
        })
    }

    fn consider(&self, program: &Path, bounds: &Bounds) -> Result<(Interpreter, Wheels), RuntimeError> {
        let python = Interpreter::ask(program, bounds)?;
        let wheels = match &self.wheels {
            Some(wheels) => wheels.clone(),
            None => Wheels::published(&python.tag(), &python.machine)?,
        };
        if python.pip { Ok((python, wheels)) } else { Err(RuntimeError::NoPip(program.to_owned())) }
    }

    /// Downloads and unpacks beside the tree, then gives it its name.
    fn make(
        &self,
        folder: &Path,
        tree: &Path,
        program: &Path,
        wheels: &Wheels,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), RuntimeError> {
        let staging = folder.join(".staging");
        let (store, scratch, staged) = (staging.join("wheels"), staging.join("scratch"), staging.join("tree"));
        for path in [&scratch, &staged] {
            remove(path)?;
        }
        let site = staged.join("site");
        for path in [&store, &scratch, &staged, &site] {
            make_open(path)?;
        }
        enough_space(folder, &store, wheels)?;

        let mut files = downloaded(&store, wheels)?;
        if files.len() < wheels.wheels.len() {
            // pip downloads into one and copies into the other.
            let bytes = || bytes_in(&store).max(bytes_in(&scratch));
            progress(Progress { step: Step::Downloading, bytes: bytes() });
            let bounds = Bounds { deadline: self.deadline, cancel: cancel.clone() };
            let mut tick = || progress(Progress { step: Step::Downloading, bytes: bytes() });
            match command::output(&mut self.download(program, &staging, wheels)?, &bounds, &mut tick) {
                Err(CommandError::Failed { said, .. }) => return Err(RuntimeError::Download(said)),
                done => done?,
            };
            files = downloaded(&store, wheels)?;
        }
        let mut bytes = 0;
        progress(Progress { step: Step::Unpacking, bytes });
        for wheel in &wheels.wheels {
            let Some(file) = files.get(&wheel.digest) else {
                return Err(RuntimeError::NotDownloaded { package: wheel.package.clone(), digest: wheel.digest });
            };
            unpack(file, &site, &mut |more| {
                bytes += more;
                progress(Progress { step: Step::Unpacking, bytes });
            })?;
            if cancel.is_cancelled() {
                return Err(CommandError::Cancelled { program: "unpacking".into() }.into());
            }
        }
        progress(Progress { step: Step::Compiling, bytes: 0 });
        let bounds = Bounds { deadline: self.deadline, cancel: cancel.clone() };
        let mut tick = || progress(Progress { step: Step::Compiling, bytes: 0 });
        bytecode::compile(program, &site, &bounds, &mut tick)?;
        seal(&staged, records(&site).map_err(|source| RuntimeError::io("read", &site, source))?)?;
        // What was here before is damaged.
        remove(tree)?;
        rename(&staged, tree)?;
        remove(&staging)
    }

    fn download(&self, program: &Path, staging: &Path, wheels: &Wheels) -> Result<Command, RuntimeError> {
        let requirements = staging.join("requirements.txt");
        let written = fs::write(&requirements, wheels.requirements());
        written.map_err(|source| RuntimeError::io("write", &requirements, source))?;
        let mut command = Command::new(program);
        command.args(["-I", "-B", "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]);
        command.args(["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
        command.args(["--progress-bar", "off", "--dest"]).arg(staging.join("wheels"));
        if let Some(url) = &self.index_url {
            command.args(["--index-url", url]);
        }
        if let Some(folder) = &self.find_links {
            command.arg("--no-index").arg("--find-links").arg(folder);
        }
        // What it downloads goes through here, and may be larger than the system's folder for temporary files.
        command.arg("--requirement").arg(requirements).env("TMPDIR", staging.join("scratch"));
        // Nothing is installed into an environment.
        command.env("PIP_REQUIRE_VIRTUALENV", "0");
        Ok(command)
    }

    /// Where the stand-ins of a tree lie: none where they are not asked for and no library of NVIDIA is missing.
    fn stub_folders(&self, tree: &Path, bounds: &Bounds) -> Result<Vec<PathBuf>, RuntimeError> {
        let libraries = torch_libraries(tree)?;
        let missing = || -> Result<bool, RuntimeError> {
            Ok(loader::ask(&libraries, &[], bounds)?.missing.iter().any(|library| stubs::is_nvidia(library)))
        };
        let wanted = !libraries.is_empty() && (self.cpu_stubs || missing()?);
        Ok(if wanted { vec![tree.join("stubs")] } else { Vec::new() })
    }
}

fn torch_libraries(tree: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    stubs::libraries(&tree.join("site/torch/lib"))
}

fn make_stubs(tree: &Path, folder: &Path, bounds: &Bounds) -> Result<(), RuntimeError> {
    let staged = tree.join(".stubs");
    remove(&staged)?;
    make_open(&staged)?;
    stubs::build(&torch_libraries(tree)?, &staged, bounds)?;
    seal(&staged, stubs::libraries(&staged)?)?;
    remove(folder)?;
    rename(&staged, folder)
}

/// Describes an environment that is there already, a virtual environment or another folder with `bin/python`, into
/// `folder/runtime.json`. Nothing is installed.
///
/// # Errors
/// It has no interpreter that will do, or no PyTorch that works.
pub fn adopt(environment: &Path, folder: &Path, cancel: &Cancel) -> Result<Runtime, RuntimeError> {
    fs::create_dir_all(folder).map_err(|source| RuntimeError::io("make", folder, source))?;
    let _lock = lock(folder, SHORT, cancel, &mut |_| ())?;
    let program = environment.join("bin/python");
    if !program.exists() {
        return Err(RuntimeError::NoEnvironment(environment.to_owned()));
    }
    let bounds = Bounds { deadline: SHORT, cancel: cancel.clone() };
    let python = Interpreter::ask(&program, &bounds)?;
    let real = |path: &PathBuf| path.canonicalize().map_err(|source| RuntimeError::io("find", path, source));
    let search = python.search.iter().map(real).collect::<Result<Vec<_>, _>>()?;
    let runtime = describe(&python, search, Vec::new(), &bounds)?;
    save(&runtime, folder)?;
    Ok(runtime)
}

/// Whether a tree's packages are as they were unpacked.
fn is_whole(tree: &Path) -> bool {
    let records = records(&tree.join("site")).unwrap_or_default();
    is_sealed(tree) && records.iter().all(|record| record::check(record, false).is_ok())
}

/// Writes down the digests of files in a folder, in that folder.
fn seal(folder: &Path, files: Vec<PathBuf>) -> Result<(), RuntimeError> {
    let mut digests = BTreeMap::new();
    for file in files {
        let digest = digest_of(&file)?;
        digests.insert(file.strip_prefix(folder).unwrap_or(&file).to_owned(), digest);
    }
    let path = folder.join(SEAL);
    let written = serde_json::to_vec(&digests).map_err(io::Error::from).and_then(|text| fs::write(&path, text));
    written.map_err(|source| RuntimeError::io("write", &path, source))
}

/// Whether the files of a sealed folder have the digests that were written down.
fn is_sealed(folder: &Path) -> bool {
    let text = fs::read(folder.join(SEAL)).unwrap_or_default();
    let digests: BTreeMap<PathBuf, Digest> = serde_json::from_slice(&text).unwrap_or_default();
    let same = |(file, digest): (&PathBuf, &Digest)| digest_of(&folder.join(file)).is_ok_and(|found| found == *digest);
    !digests.is_empty() && digests.iter().all(same)
}

/// The wheels that are there, by digest. Whatever else lies there is removed: a part of one, or one that was changed.
fn downloaded(store: &Path, wheels: &Wheels) -> Result<BTreeMap<Digest, PathBuf>, RuntimeError> {
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(store).map_err(|source| RuntimeError::io("read", store, source))?;
    for entry in entries {
        let path = entry.map_err(|source| RuntimeError::io("read", store, source))?.path();
        let digest = digest_of(&path)?;
        if wheels.wheels.iter().any(|wheel| wheel.digest == digest) {
            files.insert(digest, path);
        } else {
            fs::remove_file(&path).map_err(|source| RuntimeError::io("remove", &path, source))?;
        }
    }
    Ok(files)
}

fn enough_space(folder: &Path, store: &Path, wheels: &Wheels) -> Result<(), RuntimeError> {
    let space = statvfs(folder).map_err(|errno| RuntimeError::io("look at", folder, errno.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = wheels.needed_bytes.saturating_sub(bytes_in(store));
    if free < needed {
        return Err(RuntimeError::Space { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}

/// Bytes of all files below a folder that can be looked at.
fn bytes_in(folder: &Path) -> u64 {
    let size = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { bytes_in(&entry.path()) } else { metadata.len() })
    };
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| size(entry.ok()?)).sum()
}

fn remove(folder: &Path) -> Result<(), RuntimeError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RuntimeError::io("remove", folder, error)),
        _ => Ok(()),
    }
}

/// Makes a folder that guests can read, whatever the umask says.
fn make_open(folder: &Path) -> Result<(), RuntimeError> {
    let make = || {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))
    };
    make().map_err(|source| RuntimeError::io("make", folder, source))
}

/// Gives a finished folder its name, once its contents are on the disk.
fn rename(from: &Path, to: &Path) -> Result<(), RuntimeError> {
    let rename = || {
        syncfs(File::open(from)?)?;
        fs::rename(from, to)
    };
    rename().map_err(|source| RuntimeError::io("rename", from, source))
}

/// Writes a description in one step.
fn save(runtime: &Runtime, folder: &Path) -> Result<(), RuntimeError> {
    let path = folder.join(DESCRIPTION);
    let save = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(runtime)?)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    save().map_err(|source: io::Error| RuntimeError::io("write", &path, source))
}

/// Waits until no other installation into this folder runs. The lock ends with what is returned, and with the process.
fn lock(
    folder: &Path,
    deadline: Duration,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress),
) -> Result<File, RuntimeError> {
    let path = folder.join("install.lock");
    let file = File::create(&path).map_err(|source| RuntimeError::io("make", &path, source))?;
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(RuntimeError::io("lock", &path, errno.into())),
        }
        if cancel.is_cancelled() {
            return Err(CommandError::Cancelled { program: "waiting".into() }.into());
        }
        if began.elapsed() >= deadline {
            return Err(RuntimeError::Busy { folder: folder.to_owned(), seconds: deadline.as_secs() });
        }
        progress(Progress { step: Step::Waiting, bytes: 0 });
        thread::sleep(LOCK_POLL);
    }
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
