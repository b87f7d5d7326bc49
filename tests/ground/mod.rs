//! Where submitted Python runs in these suites: a runtime that is set up by itself, and a sandbox.
#[path = "../support/guest_runtime.rs"]
mod guest_runtime;

use guest_runtime::guest_runtime;
use prism_core::Sandbox;
use prism_eval::{
    guest::GuestSettings,
    sandbox::{
        UnsafeProcessSandbox,
        embedded::{EmbeddedConfig, EmbeddedSandbox},
    },
};
use std::{env, path::Path, sync::Arc};

/// The embedded sandbox; plain processes, which are no wall, where `PRISM_GUEST_SANDBOX` is `process`.
pub(crate) fn sandbox(folder: &Path) -> Arc<dyn Sandbox> {
    match env::var("PRISM_GUEST_SANDBOX").as_deref() {
        Ok("process") => Arc::new(UnsafeProcessSandbox::new(folder.to_owned())),
        _ => Arc::new(EmbeddedSandbox::new(EmbeddedConfig { label: "red-team".into(), ..EmbeddedConfig::default() })),
    }
}

/// Settings for models that are small: one thread, some sandboxes waiting.
pub(crate) fn settings(folder: &Path, warm: usize) -> GuestSettings {
    let mut settings = GuestSettings::new(guest_runtime(), folder.to_owned());
    settings.warm = warm;
    settings.limits.memory = 3 << 30;
    settings.limits.scratch = 256 << 20;
    settings
}
