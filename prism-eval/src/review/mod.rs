//! Reading a miner's Python before anything of it runs: does it parse, has it the hooks of the contract, what in it is
//! evidence of something no model needs, how much can it carry, and whose idea is it.
//!
//! This is advice and evidence, not isolation: the sandbox is the wall.
pub mod error;
pub mod hooks;
pub mod identity;
mod modules;
mod names;
pub mod normalise;
pub mod parser;
pub mod reviewer;
pub mod rules;
pub mod similarity;
pub mod sources;
pub mod syntax;

pub use error::PythonError;
pub use hooks::{FoundHook, Hooks, Part};
pub use reviewer::StaticReviewer;
pub use similarity::Fingerprint;
pub use sources::Sources;

use crate::{bundle::Bundle, guest::GuestParts};
use prism_core::{
    Digest, FamilyId,
    manifest::Component,
    reviewer::{Finding, Grade},
};

/// All that is known of a bundle of Python without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What a guest receives of it.
    pub parts: GuestParts,
    /// The hooks that will be called.
    pub hooks: Vec<FoundHook>,
    /// What the rules found, notes included.
    pub findings: Vec<Finding>,
    /// The family of its architecture; none for a `training_for_arch`.
    pub family: Option<FamilyId>,
    /// What identifies its recipe and hooks; none for an `architecture_only`.
    pub variant: Option<Digest>,
    /// For finding near duplicates.
    pub fingerprint: Fingerprint,
    /// Bytes, compressed, of what a guest receives of it.
    pub mass: u64,
}

impl Review {
    /// Reads a bundle of Python. Findings don't stop it; what can't be run at all does.
    ///
    /// # Errors
    /// Files that are no Python, hooks that are missing or can't be called, or more than `most` bytes for a guest.
    pub fn of(bundle: &Bundle, most: u64) -> Result<Self, PythonError> {
        let sources = Sources::parse(bundle.files())?;
        let manifest = bundle.manifest();
        let entrypoint = |part: &'_ Option<Component>| part.as_ref().map(|part| part.entrypoint.clone());
        let (architecture, training) = (entrypoint(&manifest.architecture), entrypoint(&manifest.training));
        let hooks = Hooks::of(bundle.kind(), &sources, architecture.as_deref(), training.as_deref())?;
        let parts = GuestParts::of(bundle, &sources);
        let mass = parts.compressed_bytes();
        if mass > most {
            return Err(PythonError::Mass { bytes: mass, most });
        }
        let mut findings = rules::findings(&sources);
        findings.extend(hooks.notes);
        let recipe_hooks: Vec<&str> =
            hooks.found.iter().map(|hook| hook.name).filter(|name| *name != hooks::BUILD_MODEL.name).collect();
        let variant = training.as_deref().or(architecture.as_deref()).filter(|_| bundle.kind().brings_recipe());
        let variant = variant.map(|path| {
            let own = architecture.as_deref().unwrap_or(path);
            identity::variant(&sources, own, path, &recipe_hooks)
        });
        let family = architecture.as_deref().map(|path| identity::family(&sources, path));
        let fingerprint = Fingerprint::of(&sources);
        Ok(Self { parts, hooks: hooks.found, findings, family, variant, fingerprint, mass })
    }

    /// The first finding that rejects.
    #[must_use]
    pub fn proof(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.grade == Grade::Proof)
    }
}
