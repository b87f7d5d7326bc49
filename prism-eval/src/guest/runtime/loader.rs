//! What the dynamic loader finds for a program and its libraries, as `ldd` says.
use super::{
    RuntimeError,
    command::{self, Bounds},
};
use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// What was looked for and found, or not.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Files found, by the names that the loader uses.
    pub(super) found: BTreeSet<PathBuf>,
    /// Libraries found nowhere, by `SONAME`.
    pub(super) missing: BTreeSet<String>,
}

/// Asks for the libraries of these files, with `libraries` searched first.
pub(super) fn ask(files: &[PathBuf], libraries: &[PathBuf], bounds: &Bounds) -> Result<Loaded, RuntimeError> {
    let mut loaded = Loaded::default();
    // One that is linked statically has nothing to say and counts as an error, so each is asked for alone where the
    // answer to all together is one.
    let mut ask = |files: &[PathBuf]| -> Result<(), command::CommandError> {
        let mut command = Command::new("ldd");
        command.args(files).env("LC_ALL", "C").env_remove("LD_PRELOAD").env("LD_LIBRARY_PATH", joined(libraries));
        for line in command::output(&mut command, bounds, &mut || ())?.lines() {
            loaded.line(line.trim());
        }
        Ok(())
    };
    match ask(files) {
        Err(command::CommandError::Failed { .. }) => {}
        other => return other.map(|()| loaded).map_err(RuntimeError::from),
    }
    for file in files {
        match ask(std::slice::from_ref(file)) {
            Ok(()) | Err(command::CommandError::Failed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(loaded)
}

impl Loaded {
    /// One of `NAME => PATH (ADDRESS)`, `NAME => not found`, `PATH (ADDRESS)`, or of no interest.
    fn line(&mut self, line: &str) {
        let (name, at) = line.split_once(" => ").unwrap_or(("", line));
        if at == "not found" {
            self.missing.insert(name.to_owned());
        } else if let Some((path, _)) = at.rsplit_once(" (")
            && Path::new(path).is_absolute()
        {
            self.found.insert(path.into());
        }
    }
}

/// Folders as a search path.
pub(super) fn joined(folders: &[PathBuf]) -> OsString {
    // One with a colon in its name can't be written, and then no library in it is found.
    env::join_paths(folders).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_ldd_are_read() {
        let mut loaded = Loaded::default();
        let said = "linux-vdso.so.1 (0x00007ffd)\nlibm.so.6 => /lib/a b/libm.so.6 (0x00007f)\nlibcuda.so.1 => not found\n\
                    /lib64/ld-linux-x86-64.so.2 (0x00007f)\nstatically linked\n/opt/x/_C.so:\n";
        said.lines().for_each(|line| loaded.line(line));
        assert_eq!(loaded.missing, ["libcuda.so.1".to_owned()].into());
        let found = ["/lib/a b/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(loaded.found, found.into());
    }

    #[test]
    fn a_program_of_this_host_is_asked_for() {
        let bounds = Bounds { deadline: std::time::Duration::from_secs(60), cancel: prism_core::Cancel::new() };
        let loaded = ask(&["/bin/sh".into()], &[], &bounds).unwrap();
        assert!(loaded.found.iter().any(|path| path.to_string_lossy().contains("libc")), "{loaded:?}");
        assert!(loaded.missing.is_empty(), "{loaded:?}");
    }
}
