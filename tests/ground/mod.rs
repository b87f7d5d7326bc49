//! Where submitted Python runs in these suites: a runtime that is set up by itself, and a sandbox.
use prism_core::{Cancel, Sandbox};
use prism_eval::{
    guest::{GuestSettings, Runtime, runtime::Install},
    sandbox::{
        UnsafeProcessSandbox,
        embedded::{EmbeddedConfig, EmbeddedSandbox},
    },
};
use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The runtime that `PRISM_GUEST_RUNTIME` describes, or one in the cache folder, installed on first use.
pub(crate) fn runtime() -> Runtime {
    if let Some(path) = env::var_os("PRISM_GUEST_RUNTIME") {
        return Runtime::open(Path::new(&path)).unwrap_or_else(|error| panic!("PRISM_GUEST_RUNTIME: {error}"));
    }
    let folder = cache().join("guest-runtime");
    let pythons = ["python3", "python3.13", "python3.12", "python3.11", "python3.10"].map(PathBuf::from).to_vec();
    let mut step = None;
    let mut show = |progress: prism_eval::guest::runtime::Progress| {
        if step != Some(progress.step) {
            step = Some(progress.step);
            eprintln!("guest runtime in {}: {:?}", folder.display(), progress.step);
        }
    };
    let runtime = Install::new(&folder, pythons).run(&Cancel::new(), &mut show);
    runtime.unwrap_or_else(|error| panic!("no guest runtime: {error}"))
}

/// Where what is set up once stays.
pub(crate) fn cache() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).expect("no HOME and no XDG_CACHE_HOME");
    cache.join("prism")
}

/// The embedded sandbox; plain processes, which are no wall, where `PRISM_GUEST_SANDBOX` is `process`.
pub(crate) fn sandbox(folder: &Path) -> Arc<dyn Sandbox> {
    match env::var("PRISM_GUEST_SANDBOX").as_deref() {
        Ok("process") => Arc::new(UnsafeProcessSandbox::new(folder.to_owned())),
        _ => Arc::new(EmbeddedSandbox::new(EmbeddedConfig { label: "red-team".into(), ..EmbeddedConfig::default() })),
    }
}

/// Settings for models that are small: one thread, some sandboxes waiting.
pub(crate) fn settings(folder: &Path, warm: usize) -> GuestSettings {
    let mut settings = GuestSettings::new(runtime(), folder.to_owned());
    settings.warm = warm;
    settings.limits.memory = 3 << 30;
    settings.limits.scratch = 256 << 20;
    settings
}
