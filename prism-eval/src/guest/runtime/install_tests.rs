//! Installations from wheels of a few hundred bytes: a package that can do what the trial asks of PyTorch.
use super::super::wheels::Wheel;
use super::*;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    cell::RefCell,
    sync::{Arc, Barrier},
};
use zip::{ZipWriter, write::SimpleFileOptions};

const TORCH: &str = "
__version__ = '1.0'
float32 = None
class cuda:
    is_available = staticmethod(lambda: False)
class Matrix(list):
    def reshape(self, rows, columns):
        return Matrix(self[row * columns:(row + 1) * columns] for row in range(rows))
    T = property(lambda self: Matrix(zip(*self)))
    def __matmul__(self, other):
        return Matrix([sum(map(float.__mul__, row, column)) for column in zip(*other)] for row in self)
    def tolist(self):
        return [list(row) for row in self]
def arange(end, dtype):
    return Matrix(map(float, range(end)))
";

/// A wheel of one module, in a folder.
fn wheel(folder: &Path, package: &str, module: &str) -> Wheel {
    let info = format!("{package}-1.0.dist-info");
    let line = |path: &str, text: &str| {
        let digest = URL_SAFE_NO_PAD.encode(Digest::of(text.as_bytes()).0);
        format!("{path},sha256={digest},{}\n", text.len())
    };
    let metadata = format!("Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n");
    let about = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut files = vec![
        (format!("{package}/__init__.py"), module.to_owned()),
        (format!("{info}/METADATA"), metadata),
        (format!("{info}/WHEEL"), about.to_owned()),
    ];
    let record: String = files.iter().map(|(path, text)| line(path, text)).collect();
    files.push((format!("{info}/RECORD"), record + &format!("{info}/RECORD,,\n")));
    let path = folder.join(format!("{package}-1.0-py3-none-any.whl"));
    let mut writer = ZipWriter::new(File::create(&path).unwrap());
    for (name, text) in files {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    Wheel { package: package.into(), version: "1.0".into(), digest: digest_of(&path).unwrap() }
}

struct Place {
    root: tempfile::TempDir,
    install: Install,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let links = root.path().join("links");
        fs::create_dir(&links).unwrap();
        let wheels = vec![wheel(&links, "torch", TORCH), wheel(&links, "other", "value = 1\n")];
        let mut install = Install::new(root.path().join("runtime"), vec!["no-such-python".into(), "python3".into()]);
        install.find_links = Some(links);
        install.wheels = Some(Wheels { wheels, needed_bytes: 1 << 20 });
        Self { root, install }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("runtime")
    }

    /// The steps that it took, and what came of it.
    fn run(&self) -> (Vec<Step>, Result<Runtime, RuntimeError>) {
        let steps = RefCell::new(Vec::new());
        let done = self.install.run(&Cancel::new(), &mut |progress| steps.borrow_mut().push(progress.step));
        let mut steps = steps.into_inner();
        steps.dedup();
        (steps, done)
    }

    fn site(&self) -> PathBuf {
        Runtime::open(&self.folder()).unwrap().search.remove(0)
    }
}

#[test]
fn what_is_installed_is_found_again_and_not_touched() {
    let place = Place::new();
    let (steps, first) = place.run();
    let first = first.unwrap();
    assert_eq!(steps, [Step::Downloading, Step::Unpacking, Step::Compiling, Step::Trying]);
    assert_eq!((first.torch_version.as_str(), first.cuda), ("1.0", false));
    assert!(first.python.is_absolute() && first.libraries.is_empty(), "{first:?}");
    assert_eq!(first, Runtime::open(&place.folder()).unwrap());
    first.verify_contents().unwrap();

    let (steps, second) = place.run();
    assert_eq!((steps, second.unwrap()), (vec![], first));
}

#[test]
fn an_interrupted_installation_leaves_nothing_to_use_and_is_taken_up_without_a_download() {
    let mut place = Place::new();
    let cancel = Cancel::new();
    let broken = place.install.run(&cancel, &mut |progress| {
        if progress.step == Step::Unpacking {
            cancel.cancel();
        }
    });
    assert!(matches!(broken, Err(RuntimeError::Command(CommandError::Cancelled { .. }))), "{broken:?}");
    assert!(matches!(Runtime::open(&place.folder()), Err(RuntimeError::Missing(_))));
    let left: Vec<_> = fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("torch")), "{left:?}");

    // As a crash leaves it, with one part of a file more; and nothing to download from.
    fs::write(place.folder().join(".staging/wheels/part.whl"), "PK").unwrap();
    let nowhere = place.root.path().join("nowhere");
    fs::create_dir(&nowhere).unwrap();
    place.install.find_links = Some(nowhere);
    let (steps, done) = place.run();
    done.unwrap().verify_contents().unwrap();
    assert_eq!(steps, [Step::Unpacking, Step::Compiling, Step::Trying]);
    assert!(!place.folder().join(".staging").exists());
}

#[test]
fn a_wheel_with_another_digest_is_refused_and_nothing_is_installed() {
    let mut place = Place::new();
    let expected = Digest::of(b"another wheel");
    for wheel in place.install.wheels.as_mut().unwrap().wheels.iter_mut().skip(1) {
        wheel.digest = expected;
    }
    let error = place.run().1.unwrap_err();
    assert!(matches!(error, RuntimeError::Download(_)), "{error}");
    assert!(error.to_string().contains(&expected.to_string()), "{error}");
    assert!(matches!(Runtime::open(&place.folder()), Err(RuntimeError::Missing(_))));

    // Nor is one taken that was changed while it lay there.
    let place = Place::new();
    let store = place.folder().join(".staging/wheels");
    fs::create_dir_all(&store).unwrap();
    wheel(&store, "torch", "raise SystemExit('changed')");
    place.run().1.unwrap().verify_contents().unwrap();
}

#[test]
fn damage_is_named_and_mended() {
    let place = Place::new();
    let whole = place.run().1.unwrap();
    for (file, text) in [("other/__init__.py", "value = 2222\n"), ("torch-1.0.dist-info/RECORD", "")] {
        fs::write(place.site().join(file), text).unwrap();
        let error = whole.verify().unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
        assert_eq!(place.run().1.unwrap(), whole);
        whole.verify_contents().unwrap();
    }
    // Of the same size, and so seen only by those who read it.
    fs::write(place.site().join("other/__init__.py"), "value = 2\n").unwrap();
    whole.verify().unwrap();
    let error = prism_core::Error::from(whole.verify_contents().unwrap_err());
    assert_eq!(error.kind(), prism_core::Kind::Corrupt);
}

#[test]
fn a_pytorch_that_does_not_work_is_not_described() {
    for (module, said) in [("raise ImportError('libcudart')", "libcudart"), (&TORCH.replace("sum(", "max("), "wrong")] {
        let mut place = Place::new();
        let links = place.install.find_links.clone().unwrap();
        place.install.wheels.as_mut().unwrap().wheels[0] = wheel(&links, "torch", module);
        let error = place.run().1.unwrap_err();
        assert!(matches!(error, RuntimeError::Torch { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(matches!(Runtime::open(&place.folder()), Err(RuntimeError::Missing(_))));
    }
}

#[test]
fn of_installations_at_the_same_time_one_works_and_the_others_wait() {
    let place = Arc::new(Place::new());
    let barrier = Arc::new(Barrier::new(3));
    let started: Vec<_> = (0..3)
        .map(|_| {
            let (place, barrier) = (Arc::clone(&place), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                place.run()
            })
        })
        .collect();
    let ended: Vec<_> = started.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ended.iter().filter(|(steps, _)| steps.contains(&Step::Unpacking)).count(), 1);
    let runtimes: Vec<_> = ended.into_iter().map(|(_, done)| done.unwrap()).collect();
    assert!(runtimes.iter().all(|runtime| *runtime == runtimes[0]));

    let held = lock(&place.folder(), Duration::from_secs(10), &Cancel::new(), &mut |_| ()).unwrap();
    let impatient = place.install.clone().deadline(Duration::from_millis(300));
    let error = impatient.run(&Cancel::new(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, RuntimeError::Busy { .. }), "{error}");
    drop(held);
}

#[test]
fn an_environment_is_adopted_with_its_base_interpreter_and_its_own_packages() {
    let place = Place::new();
    let environment = place.root.path().join("environment");
    let bounds = Bounds { deadline: SHORT, cancel: Cancel::new() };
    let mut venv = Command::new("python3");
    command::output(venv.args(["-m", "venv", "--without-pip"]).arg(&environment), &bounds, &mut || ()).unwrap();
    let error = adopt(&environment, &place.folder(), &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("No module named 'torch'"), "{error}");

    let python = Interpreter::ask(&environment.join("bin/python"), &bounds).unwrap();
    let site = environment.canonicalize().unwrap();
    let site = python.search.iter().find(|path| path.starts_with(&site)).unwrap().clone();
    fs::create_dir(site.join("torch")).unwrap();
    fs::write(site.join("torch/__init__.py"), TORCH).unwrap();
    let runtime = adopt(&environment, &place.folder(), &Cancel::new()).unwrap();
    assert_eq!(runtime, Runtime::open(&place.folder()).unwrap());
    assert_eq!((&runtime.python, &runtime.search), (&python.base, &vec![site]));
    assert!(!runtime.python.starts_with(&environment), "{runtime:?}");
    runtime.verify_contents().unwrap();

    // It has no pip to install with.
    let install = Install { pythons: vec![environment.join("bin/python")], ..place.install.clone() };
    let error = install.run(&Cancel::new(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, RuntimeError::NoPip(_)), "{error}");

    let nothing = adopt(place.root.path(), &place.folder(), &Cancel::new()).unwrap_err();
    assert!(matches!(nothing, RuntimeError::NoEnvironment(_)), "{nothing}");
}

#[test]
fn programs_that_are_no_python_are_refused_each_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let install = Install::new(root.path(), vec!["no-such-python".into(), "/bin/false".into(), "/bin/echo".into()]);
    let error = install.run(&Cancel::new(), &mut |_| ()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/bin/false") && text.contains("/bin/echo") && !text.contains("no-such"), "{text}");
    let none = Install::new(root.path(), vec!["no-such-python".into(), "nor-this".into()]);
    let error = none.run(&Cancel::new(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("--python"), "{error}");
}

#[test]
fn the_digest_is_of_the_contents_and_not_of_the_place() {
    let (one, other) = (Place::new(), Place::new());
    let first = one.run().1.unwrap();
    assert_eq!(first.digest(), other.run().1.unwrap().digest());
    let mut changed = first.clone();
    let record = changed.files.keys().find(|path| path.ends_with("RECORD")).unwrap().clone();
    changed.files.insert(record, Digest::of(b"changed"));
    assert_ne!(first.digest(), changed.digest());
}

#[test]
fn a_disk_that_is_too_full_is_named_before_anything_is_downloaded() {
    let mut place = Place::new();
    place.install.wheels.as_mut().unwrap().needed_bytes = u64::MAX;
    let (steps, done) = place.run();
    assert!(matches!(done, Err(RuntimeError::Space { .. })), "{done:?}");
    assert_eq!(steps, []);
}
