//! The Python that guests run on, for tests: the one that `PRISM_GUEST_RUNTIME` describes, else one that is installed into
//! the cache folder once and shared by all tests of this machine.
//!
//! For `#[path]` inclusion. Fails where it can't be had, and never skips.
#![allow(dead_code, clippy::expect_used, clippy::panic, clippy::print_stderr)]
use prism_core::Cancel;
use prism_eval::guest::{Runtime, runtime::Install};
use std::{env, path::PathBuf};

/// What can be missing, and what to do about it.
const NEEDS: &str = "these tests need CPython 3.11 or newer with pip (Debian: python3 python3-pip), a C compiler, 2.5 GB of \
                     disk for the cache folder, and for the first run a Python package index; or name the runtime.json of \
                     an installed one with PRISM_GUEST_RUNTIME";

/// The runtime of these tests.
///
/// # Panics
/// When there is none and none can be installed; says what is missing.
pub(crate) fn guest_runtime() -> Runtime {
    match env::var_os("PRISM_GUEST_RUNTIME").map(PathBuf::from) {
        Some(path) => Runtime::open(&path).unwrap_or_else(|error| panic!("PRISM_GUEST_RUNTIME: {error}")),
        None => installed(),
    }
}

/// The runtime in the cache folder, installed now if it is not there.
///
/// # Panics
/// When it can't be installed; says what is missing.
pub(crate) fn installed() -> Runtime {
    let pythons = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "/usr/bin/python3"];
    let install = Install::new(folder(), pythons.map(PathBuf::from).into());
    let mut last = None;
    let runtime = install.run(&Cancel::new(), &mut |progress| {
        if last.replace(progress.step) != Some(progress.step) {
            eprintln!("guest runtime: {:?}", progress.step);
        }
    });
    runtime.unwrap_or_else(|error| panic!("no guest runtime: {}\n{NEEDS}", prism_core::Error::from(error).chain()))
}

/// Where it is installed: in `$XDG_CACHE_HOME` or `~/.cache`.
///
/// # Panics
/// When there is neither.
pub(crate) fn folder() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.expect("neither XDG_CACHE_HOME nor HOME is set").join("prism/guest-runtime")
}
