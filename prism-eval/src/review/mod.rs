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
        Ok(Self { parts, hooks: hooks.found, findings, family, variant, mass })
    }

    /// The first finding that rejects.
    #[must_use]
    pub fn proof(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.grade == Grade::Proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundle,
        examination::{Content, Examination},
        graph::{Context, Limits},
    };
    use prism_core::submission::SubmissionKind;
    use std::{collections::BTreeMap, fs, path::Path};

    fn read(folder: &Path, below: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(folder, &path, files);
            } else if bundle::SUFFIXES.iter().any(|suffix| path.to_string_lossy().ends_with(suffix)) {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }

    fn examine(files: &BTreeMap<String, String>) -> Result<Review, String> {
        let archive = bundle::pack(files).unwrap();
        let examined = Examination::of(&archive, &Context::new(256, 64), &Limits::default());
        match examined.map_err(|error| error.rule().to_owned())?.content {
            Content::Python(review) => Ok(*review),
            Content::Native { .. } => panic!("not Python"),
        }
    }

    #[test]
    fn the_example_bundles_pass_without_a_suspicion() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bundles"));
        let mut seen = 0;
        for entry in fs::read_dir(root).unwrap() {
            let folder = entry.unwrap().path();
            if !folder.file_name().unwrap().to_string_lossy().starts_with("python-") {
                continue;
            }
            let mut files = BTreeMap::new();
            read(&folder, &folder, &mut files);
            let review = examine(&files).unwrap();
            let odd: Vec<&Finding> = review.findings.iter().filter(|one| one.grade > Grade::Note).collect();
            assert!(odd.is_empty(), "{}: {odd:?}", folder.display());
            assert!(review.mass < 4096, "{}: {}", folder.display(), review.mass);
            assert!(review.hooks.iter().all(|hook| hook.checked), "{}: {:?}", folder.display(), review.hooks);
            assert_eq!(review.family.is_some(), review.parts.architecture.is_some());
            seen += 1;
        }
        assert!(seen >= 6, "{seen}");
    }

    #[test]
    fn a_bundle_is_refused_by_the_rule_that_it_breaks() {
        const MODEL: &str = "def build_model(ctx): ...\ndef get_recipe(ctx): ...\n";
        let noise: String = (0..12_000_u64)
            .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)))
            .collect();
        let manifest = "architecture: { entrypoint: model.py }\n";
        let of = |model: &str| {
            let files = [("prism.yaml", manifest), ("model.py", model)];
            examine(&files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
        };
        assert!(of(MODEL).is_ok());
        assert_eq!(of("def build_model(ctx:").unwrap_err(), "python.syntax");
        assert_eq!(of("def build_model(ctx): ...").unwrap_err(), "python.hook.missing");
        assert_eq!(
            of(&MODEL.replace("get_recipe(ctx)", "get_recipe(ctx, more)")).unwrap_err(),
            "python.hook.signature"
        );
        assert_eq!(of(&format!("{MODEL}import socket\n")).unwrap_err(), "python.import.network");
        assert_eq!(of(&format!("{MODEL}x = '{noise}'\n")).unwrap_err(), "bundle.mass");
        // What the guest doesn't get weighs nothing, and what looks odd is for a person to decide.
        assert!(of(&format!("{MODEL}# {noise}\n")).is_ok());
        let odd = of(&format!("{MODEL}import base64\n")).unwrap();
        assert!(odd.proof().is_none() && odd.findings.iter().any(|one| one.grade == Grade::Suspicion));
    }

    #[test]
    fn a_recipe_alone_has_a_variant_and_no_family() {
        let manifest = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: t.py }\n";
        let recipe = |text: &str| {
            let files = [("prism.yaml", manifest), ("t.py", text)];
            let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            let bundle = Bundle::read(&bundle::pack(&files).unwrap()).unwrap();
            assert_eq!(bundle.kind(), SubmissionKind::TrainingForArch);
            Review::of(&bundle, u64::MAX)
        };
        let one = recipe("def compute_loss(model, batch, ctx): return model(batch.tokens).mean()\n").unwrap();
        let same = recipe("def compute_loss(m, b, c):\n    return m(b.tokens).mean()  # renamed\n").unwrap();
        let other = recipe("def compute_loss(model, batch, ctx): return model(batch.tokens).sum()\n").unwrap();
        assert_eq!((one.family, one.variant), (None, same.variant));
        assert_ne!(one.variant, other.variant);
        assert_eq!(recipe("build_model = 1\n").unwrap_err().rule(), "python.hook.model");
    }
}
