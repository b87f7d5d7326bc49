//! The evaluator image: this host's own interpreter with its standard library, the shared libraries both need, and the
//! guest runtime, as a container image. Imported over the engine's socket; no registry, no build tool, no network.
//!
//! Files keep their paths and links, so that a command line for the host works inside too. Nothing of the host's
//! configuration goes in, nothing keeps an owner, a time or a set-user-ID bit.
use super::{engine::Engine, error::ContainerError};
use crate::guest::runtime::Runtime;
use bollard::{body_try_stream, query_parameters::CreateImageOptionsBuilder};
use futures::{StreamExt, stream};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Component, Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{process::Command, sync::mpsc, time::timeout};

/// Marks the image, for people.
const LABEL: &str = "LABEL io.prism.image=evaluator";
/// For the interpreter and the linker to say where things are.
const ASKING: Duration = Duration::from_secs(300);
/// For an engine to take and unpack the image.
const IMPORT: Duration = Duration::from_secs(1800);
/// What an image may hold; an environment with PyTorch for GPUs has some 40,000 files.
const MOST_FILES: usize = 500_000;
/// Links that may lead to one another.
const LINKS: usize = 40;
/// Shared libraries in one question to the linker.
const BATCH: usize = 100;
/// Pieces of the archive that may wait for the engine, and their size.
const PIECES: usize = 8;
const PIECE: usize = 256 * 1024;
/// Folders of the system: of these only what is needed goes in; any other folder of a runtime goes in whole.
const SYSTEM: [&str; 6] = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin"];
/// Parts of a standard library that no guest needs.
const UNNEEDED: [&str; 8] =
    ["__pycache__", "test", "idlelib", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages"];

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// What goes in has been found.
    Found {
        /// Files, folders and links.
        entries: usize,
        /// Bytes of the files.
        bytes: u64,
    },
    /// The engine has taken some of it.
    Sent {
        /// Bytes of the archive so far.
        bytes: u64,
    },
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluatorImage {
    /// Its id, `sha256:` and 64 hex digits: what a [`Root::Image`](prism_core::sandbox::Root::Image) names.
    pub digest: String,
    /// Files, folders and links in it.
    pub entries: usize,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Builds the evaluator image from an installed runtime and hands it to the first engine that answers.
///
/// # Errors
/// No engine, an interpreter that doesn't answer, files that can't be read, or an engine that refuses the import.
pub async fn build(
    sockets: &[PathBuf],
    runtime: &Runtime,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<EvaluatorImage, ContainerError> {
    let engine = Engine::connect(sockets).await?;
    let files = contents(runtime).await?;
    let (entries, bytes) = (files.entries.len(), files.bytes);
    progress(Progress::Found { entries, bytes });
    let (pieces, archive) = mpsc::channel(PIECES);
    let sent = Arc::new(AtomicU64::new(0));
    let writer = ArchiveWriter { pieces, piece: Vec::new(), sent: Arc::clone(&sent) };
    let packing = thread::Builder::new().name("evaluator-image".into()).spawn(move || files.pack(writer));
    packing.map_err(|source| ContainerError::Host { what: "thread for", path: "evaluator image".into(), source })?;
    let import = engine.call(move |docker| async move {
        let docker = docker.with_timeout(IMPORT);
        let changes = vec![LABEL.to_owned()];
        let options = CreateImageOptionsBuilder::new().from_src("-").changes(changes).build();
        let body = stream::unfold(archive, |mut archive: mpsc::Receiver<io::Result<Vec<u8>>>| async {
            archive.recv().await.map(|piece| (piece.map(Into::into), archive))
        });
        let mut answers = Box::pin(docker.create_image(Some(options), Some(body_try_stream(body)), None));
        let mut id = None;
        while let Some(answer) = answers.next().await {
            // The last line of an import is the image's id.
            id = answer.map_err(ContainerError::call("import an image"))?.status.or(id);
        }
        let id = id.unwrap_or_default();
        let image =
            docker.inspect_image(id.trim()).await.map_err(ContainerError::call("look at the imported image"))?;
        let id = image.id.unwrap_or_default();
        Ok(format!("sha256:{}", id.trim_start_matches("sha256:")))
    });
    tokio::pin!(import);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let digest = loop {
        tokio::select! {
            digest = &mut import => break digest?,
            _ = ticks.tick() => progress(Progress::Sent { bytes: sent.load(Ordering::Relaxed) }),
        }
    };
    progress(Progress::Sent { bytes: sent.load(Ordering::Relaxed) });
    Ok(EvaluatorImage { digest, entries, bytes })
}

/// What goes in.
async fn contents(runtime: &Runtime) -> Result<Files, ContainerError> {
    let mut files = Files::default();
    let host = |path: &Path| {
        let path = path.to_owned();
        move |source| ContainerError::Host { what: "file for the image", path, source }
    };
    for folder in ["/dev", "/etc", "/proc", "/sys", "/tmp"] {
        files.insert(folder.into(), Entry::Folder);
    }
    files.insert("/etc/passwd".into(), Entry::Text("root:x:0:0::/:/bin/false\nguest:x:65532:65532::/tmp:/bin/false\n"));
    files.insert("/etc/group".into(), Entry::Text("root:x:0:\nguest:x:65532:\n"));
    files.insert("/etc/nsswitch.conf".into(), Entry::Text("passwd: files\ngroup: files\nhosts: files\n"));
    files.insert("/etc/hosts".into(), Entry::Text("127.0.0.1 localhost\n::1 localhost\n"));
    files.add(&runtime.python).map_err(host(&runtime.python))?;
    // Marks a virtual environment: the interpreter looks for it beside and above itself.
    for up in [1, 2] {
        let mark = runtime.python.ancestors().nth(up).map(|folder| folder.join("pyvenv.cfg"));
        if let Some(mark) = mark.filter(|mark| mark.exists()) {
            files.add(&mark).map_err(host(&mark))?;
        }
    }
    for library in standard_library(&runtime.python).await? {
        files.add_tree(&library, &UNNEEDED).map_err(host(&library))?;
    }
    let whole = runtime.directories.iter().filter(|folder| !SYSTEM.iter().any(|system| folder.starts_with(system)));
    for folder in whole.chain(&runtime.search).chain(&runtime.libraries) {
        files.add_tree(folder, &["__pycache__"]).map_err(host(folder))?;
    }
    let linked: Vec<_> = files.linked().collect();
    for library in closure(&runtime.python, &linked, &runtime.libraries).await? {
        files.add(&library).map_err(host(&library))?;
    }
    let cache = Path::new("/etc/ld.so.cache");
    if cache.exists() {
        files.add(cache).map_err(host(cache))?;
    }
    Ok(files)
}

/// Where an interpreter has its standard library: its own answer.
async fn standard_library(python: &Path) -> Result<Vec<PathBuf>, ContainerError> {
    let script = "import sysconfig\nfor name in ('stdlib', 'platstdlib'): print(sysconfig.get_path(name))\n\
                  print(sysconfig.get_config_var('DESTSHARED'))";
    // Isolated, without site: neither environment nor working directory have a say.
    let mut command = Command::new(python);
    let said = ask(command.args(["-I", "-S", "-c", script])).await?;
    let mut folders: Vec<PathBuf> =
        said.lines().map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir()).collect();
    folders.sort();
    folders.dedup();
    Ok(folders)
}

/// Shared libraries that these files need, and the loader.
async fn closure(python: &Path, linked: &[PathBuf], libraries: &[PathBuf]) -> Result<Vec<PathBuf>, ContainerError> {
    let all: Vec<&Path> = linked.iter().map(PathBuf::as_path).chain([python]).collect();
    let search = std::env::join_paths(libraries).unwrap_or_default();
    let mut found = Vec::new();
    for batch in all.chunks(BATCH) {
        let mut command = Command::new("ldd");
        command.args(batch).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C");
        if !search.is_empty() {
            command.env("LD_LIBRARY_PATH", &search);
        }
        found.extend(needed(&ask(&mut command).await?));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Paths in what `ldd` says: `name => /path (address)`, `/path (address)`. A library that isn't found here isn't found by
/// the host's interpreter either.
fn needed(said: &str) -> impl Iterator<Item = PathBuf> {
    said.lines().filter_map(|line| {
        let (rest, _) = line.strip_prefix('\t')?.rsplit_once(" (0x")?;
        let path = rest.rsplit_once(" => ").map_or(rest, |(_, path)| path);
        path.starts_with('/').then(|| path.into())
    })
}

/// What a program of this host prints. `ldd` fails for files that are no programs and names them on standard error.
async fn ask(command: &mut Command) -> Result<String, ContainerError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let answer = timeout(ASKING, command.output()).await;
    let why = match answer {
        Ok(Ok(output)) if !output.stdout.is_empty() => return Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => format!("it printed nothing ({})", output.status),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("nothing within {} s", ASKING.as_secs()),
    };
    Err(ContainerError::Program { program, why })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    Link(PathBuf),
    Text(&'static str),
    File { size: u64, program: bool },
}

/// Files of this host by their paths, links as links.
#[derive(Debug, Default)]
struct Files {
    entries: BTreeMap<PathBuf, Entry>,
    bytes: u64,
}

impl Files {
    fn insert(&mut self, path: PathBuf, entry: Entry) {
        let size = match &entry {
            Entry::File { size, .. } => *size,
            _ => 0,
        };
        if self.entries.insert(path, entry).is_none() {
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    /// Adds a file or an empty folder with all folders and links on the way; where it really is.
    fn add(&mut self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            match self.add_to_link(&path)? {
                None => return Ok(path),
                Some(next) => path = next,
            }
        }
        Err(io::Error::other("too many links"))
    }

    /// Adds up to the first link on the way and says where that leads.
    fn add_to_link(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut at = PathBuf::from("/");
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            match part {
                Component::Normal(name) => at.push(name),
                // Everything before this is no link: its parent is what it says.
                Component::ParentDir => {
                    at.pop();
                    continue;
                }
                _ => continue,
            }
            if self.entries.len() >= MOST_FILES {
                return Err(io::Error::other(format!("more than {MOST_FILES} files")));
            }
            let seen = fs::symlink_metadata(&at)?;
            if seen.is_symlink() {
                let target = fs::read_link(&at)?;
                let mut next = at.parent().unwrap_or(Path::new("/")).join(&target);
                next.push(parts.as_path());
                self.insert(at, Entry::Link(target));
                return Ok(Some(next));
            }
            if seen.is_dir() {
                self.insert(at.clone(), Entry::Folder);
            } else if seen.is_file() {
                use std::os::unix::fs::PermissionsExt;
                let program = seen.permissions().mode() & 0o111 != 0;
                self.insert(at.clone(), Entry::File { size: seen.len(), program });
            }
        }
        Ok(None)
    }

    /// Adds a folder with what is below it, but for parts of these names; follows links out of it.
    fn add_tree(&mut self, folder: &Path, without: &[&str]) -> io::Result<()> {
        let mut todo = vec![self.add(folder)?];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if without.iter().any(|name| entry.file_name() == OsStr::new(name)) {
                    continue;
                }
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    todo.push(self.add(&entry.path())?);
                } else if kind.is_file() {
                    self.add(&entry.path())?;
                } else if kind.is_symlink() {
                    // A link to nowhere stays one.
                    match self.add(&entry.path()) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Files that may need shared libraries, by their names.
    fn linked(&self) -> impl Iterator<Item = PathBuf> {
        self.entries.iter().filter_map(|(path, entry)| {
            let name = path.file_name()?.to_str()?;
            let library = name.ends_with(".so") || name.contains(".so.");
            (library && matches!(entry, Entry::File { .. })).then(|| path.clone())
        })
    }

    /// Writes the archive. What goes wrong reaches the engine as a broken body, so that it imports nothing.
    fn pack(self, writer: ArchiveWriter) {
        let pieces = writer.pieces.clone();
        if let Err(error) = self.write(writer) {
            let _ = pieces.blocking_send(Err(error));
        }
    }

    fn write(self, writer: ArchiveWriter) -> io::Result<()> {
        let mut archive = tar::Builder::new(writer);
        for (path, entry) in self.entries {
            let Ok(inside) = path.strip_prefix("/") else { continue };
            let mut header = tar::Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            header.set_mode(0o755);
            match entry {
                Entry::Folder => {
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, inside, io::empty())?;
                }
                Entry::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, inside, target)?;
                }
                Entry::Text(text) => {
                    header.set_mode(0o644);
                    header.set_size(text.len() as u64);
                    archive.append_data(&mut header, inside, text.as_bytes())?;
                }
                Entry::File { size, program } => {
                    header.set_mode(if program { 0o755 } else { 0o644 });
                    header.set_size(size);
                    let mut file = fs::File::open(&path)?;
                    if file.metadata()?.len() != size {
                        return Err(io::Error::other(format!("{} changed", path.display())));
                    }
                    archive.append_data(&mut header, inside, &mut file)?;
                }
            }
        }
        archive.into_inner()?.finish()
    }
}

/// Hands an archive on in pieces.
struct ArchiveWriter {
    pieces: mpsc::Sender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    sent: Arc<AtomicU64>,
}

impl ArchiveWriter {
    fn finish(mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for ArchiveWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_behind_links_goes_in_with_every_link_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/lib/real")).unwrap();
        fs::write(root.join("usr/lib/real/x.so.1.2"), "four").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("real/x.so.1.2", root.join("usr/lib/x.so")).unwrap();
        let mut files = Files::default();
        let real = files.add(&root.join("lib/x.so")).unwrap();
        assert_eq!(real, root.join("usr/lib/real/x.so.1.2"));
        let entry = |path: &str| files.entries.get(&root.join(path)).cloned();
        assert_eq!(entry("lib"), Some(Entry::Link("usr/lib".into())));
        assert_eq!(entry("usr/lib/x.so"), Some(Entry::Link("real/x.so.1.2".into())));
        assert_eq!(entry("usr/lib/real/x.so.1.2"), Some(Entry::File { size: 4, program: false }));
        assert_eq!((entry("usr/lib/real"), files.bytes), (Some(Entry::Folder), 4));
        assert_eq!(files.linked().collect::<Vec<_>>(), [real]);
    }

    #[test]
    fn links_in_a_circle_and_links_to_nowhere_end() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        symlink("nowhere", root.path().join("c")).unwrap();
        assert!(Files::default().add(&root.path().join("a")).is_err());
        fs::remove_file(root.path().join("a")).unwrap();
        let mut files = Files::default();
        files.add_tree(root.path(), &[]).unwrap();
        assert!(files.entries.values().any(|entry| *entry == Entry::Link("nowhere".into())));
    }

    #[test]
    fn what_the_linker_says_is_read_by_path() {
        let said = "/usr/bin/python3:\n\tlinux-vdso.so.1 (0x00007ff)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x7f)\n\
                    \tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tstatically linked\n";
        let paths: Vec<_> = needed(said).collect();
        assert_eq!(paths, ["/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
    }
}
