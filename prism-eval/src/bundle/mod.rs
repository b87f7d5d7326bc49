//! What a miner sends: one Python file, or a ZIP archive with a manifest; unpacked, counted and checked, never run.
mod archive;
mod error;

pub use error::{BundleError, EntryRule};

use crate::{
    document,
    graph::{GraphError, GraphSpec},
    recipe::{Recipe, RecipeError, RecipeSpec},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prism_core::{
    Digest,
    manifest::{Component, Manifest},
    submission::SubmissionKind,
};
use std::collections::BTreeMap;

/// Most bytes of payload on the wire, in base64 or raw.
pub const MAX_WIRE_BYTES: usize = 7_500_000;
/// Most bytes of all files together, unpacked.
pub const MAX_UNPACKED_BYTES: usize = 2_000_000;
/// Most files.
pub const MAX_FILES: usize = 200;
/// Most entries of an archive, folders included.
pub const MAX_ENTRIES: usize = 1000;
/// What a file's name may end in.
pub const SUFFIXES: [&str; 7] = [".py", ".toml", ".yaml", ".yml", ".json", ".txt", ".md"];
/// What a single Python file is called.
pub const SINGLE_FILE: &str = "model.py";
/// What a manifest may be called; it stands at the root.
pub const MANIFESTS: [&str; 2] = ["prism.yaml", "prism.yml"];

const GRAPH_SUFFIXES: [&str; 3] = [".graph.yaml", ".graph.yml", ".graph.json"];

/// A submission's files with their manifest: in bounds, and entry points exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, String>,
    manifest: Manifest,
    archive: Digest,
    bytes: u64,
    native: bool,
}

/// The bytes of a payload as they came in JSON: base64 of the standard alphabet, padded, nothing else.
///
/// # Errors
/// Too many bytes, or where it stops being base64.
pub fn decode(code: &str) -> Result<Vec<u8>, BundleError> {
    if code.len() > MAX_WIRE_BYTES {
        return Err(BundleError::Payload { bytes: code.len() });
    }
    STANDARD.decode(code).map_err(|error| BundleError::Base64(error.to_string()))
}

/// A payload as it goes into JSON.
#[must_use]
pub fn encode(payload: &[u8]) -> String {
    STANDARD.encode(payload)
}

/// The archive of these files. The same files give the same bytes; the bundle is checked as a validator would.
///
/// # Errors
/// The first rule that a validator would refuse it by.
pub fn pack(files: &BTreeMap<String, String>) -> Result<Vec<u8>, BundleError> {
    let archive = archive::pack(files)?;
    Bundle::read(&archive)?;
    Ok(archive)
}

impl Bundle {
    /// Reads a payload: bytes that begin like a ZIP archive are one; other text that names `build_model` and
    /// `get_recipe` is a single Python file, of kind full, its own entry point for both parts.
    ///
    /// # Errors
    /// The first rule broken, naming entry or key.
    pub fn read(payload: &[u8]) -> Result<Self, BundleError> {
        if payload.len() > MAX_WIRE_BYTES {
            return Err(BundleError::Payload { bytes: payload.len() });
        }
        let (files, manifest) = if archive::is_zip(payload) {
            let files = archive::unpack(payload)?;
            let manifest = manifest(&files)?;
            (files, manifest)
        } else {
            single(payload)?
        };
        manifest.check()?;
        check_files(&manifest, &files)?;
        let native = language(&manifest)? == Language::Declarative;
        if native && parts(&manifest).any(|(_, component)| component.measuring.is_some()) {
            return Err(BundleError::Measuring);
        }
        Ok(Self { files, manifest, archive: Digest::of(payload), bytes: payload.len() as u64, native })
    }

    /// Reads a payload in base64.
    ///
    /// # Errors
    /// See [`decode`] and [`Bundle::read`].
    pub fn from_base64(code: &str) -> Result<Self, BundleError> {
        Self::read(&decode(code)?)
    }

    /// All files by path.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it brings.
    #[must_use]
    pub fn kind(&self) -> SubmissionKind {
        self.manifest.kind
    }

    /// Whether its parts are declared rather than programmed, so that it runs without a sandbox.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// SHA-256 of the payload as it came.
    #[must_use]
    pub fn archive(&self) -> Digest {
        self.archive
    }

    /// Size of the payload as it came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 over names and contents, whatever the archive looks like.
    #[must_use]
    pub fn content(&self) -> Digest {
        let parts: Vec<&[u8]> = self.files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]).collect();
        Digest::of_parts("prism/bundle/1", &parts)
    }

    /// The declared architecture; none in Python bundles and in recipes for an existing family.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn graph(&self) -> Result<Option<GraphSpec>, GraphError> {
        self.declared(self.manifest.architecture.as_ref())
            .map(|(name, text)| GraphSpec::read(text.as_bytes(), name))
            .transpose()
    }

    /// The declared recipe; none in Python bundles and where the manifest has no `training`. A native bundle of kind
    /// full without one is measured like an architecture alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn recipe(&self) -> Result<Option<Recipe>, RecipeError> {
        self.declared(self.manifest.training.as_ref())
            .map(|(name, text)| RecipeSpec::read(text.as_bytes(), name).and_then(|spec| spec.resolve()))
            .transpose()
    }

    fn declared<'a>(&'a self, component: Option<&'a Component>) -> Option<(&'a str, &'a str)> {
        let entrypoint = component.filter(|_| self.native)?.entrypoint.as_str();
        self.files.get(entrypoint).map(|text| (entrypoint, text.as_str()))
    }
}

fn single(payload: &[u8]) -> Result<(BTreeMap<String, String>, Manifest), BundleError> {
    let text = std::str::from_utf8(payload).map_err(|_| BundleError::Form)?;
    if !text.contains("build_model") || !text.contains("get_recipe") {
        return Err(BundleError::Form);
    }
    if text.len() > MAX_UNPACKED_BYTES {
        return Err(BundleError::Unpacked { name: SINGLE_FILE.to_owned() });
    }
    let itself = Some(Component { entrypoint: SINGLE_FILE.to_owned(), files: Vec::new(), measuring: None });
    let manifest =
        Manifest { kind: SubmissionKind::Full, architecture_id: None, architecture: itself.clone(), training: itself };
    Ok((BTreeMap::from([(SINGLE_FILE.to_owned(), text.to_owned())]), manifest))
}

fn manifest(files: &BTreeMap<String, String>) -> Result<Manifest, BundleError> {
    let mut found = MANIFESTS.iter().filter_map(|name| files.get_key_value(*name));
    match (found.next(), found.next()) {
        (Some((name, text)), None) => Ok(document::read(text.as_bytes(), name)?),
        (Some(_), Some(_)) => {
            Err(BundleError::ManifestCount("archive has both prism.yaml and prism.yml at its root, one is needed"))
        }
        _ => Err(BundleError::ManifestCount("archive has no prism.yaml or prism.yml at its root")),
    }
}

fn parts(manifest: &Manifest) -> impl Iterator<Item = (bool, &Component)> {
    let architecture = manifest.architecture.iter().map(|component| (true, component));
    architecture.chain(manifest.training.iter().map(|component| (false, component)))
}

/// Every path of the manifest is a file of the bundle, by exactly this name.
fn check_files(manifest: &Manifest, files: &BTreeMap<String, String>) -> Result<(), BundleError> {
    for (architecture, component) in parts(manifest) {
        let (entrypoint, list) = if architecture {
            ("architecture.entrypoint", "architecture.files")
        } else {
            ("training.entrypoint", "training.files")
        };
        let listed = component.files.iter().map(|path| (list, path));
        for (field, path) in std::iter::once((entrypoint, &component.entrypoint)).chain(listed) {
            if !files.contains_key(path) {
                return Err(BundleError::Entrypoint { field, path: path.clone() });
            }
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    Declarative,
}

fn language(manifest: &Manifest) -> Result<Language, BundleError> {
    let mut common = None;
    for (architecture, component) in parts(manifest) {
        let path = component.entrypoint.as_str();
        let (field, declarative, known) = if architecture {
            let declarative = GRAPH_SUFFIXES.iter().any(|suffix| path.ends_with(suffix));
            ("architecture.entrypoint", declarative, ".py, .graph.yaml, .graph.yml and .graph.json")
        } else {
            ("training.entrypoint", document::is_document(path), ".py, .yaml, .yml and .json")
        };
        let language = match (path.ends_with(".py"), declarative) {
            (true, _) => Language::Python,
            (_, true) => Language::Declarative,
            _ => return Err(BundleError::Language { field, path: path.to_owned(), known }),
        };
        if common.is_some_and(|common| common != language) {
            return Err(BundleError::Mixed);
        }
        common = Some(language);
    }
    // Every kind has one part at least.
    Ok(common.unwrap_or(Language::Python))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        examination::{Content, Examination},
        graph::{Context, Limits, baselines, family},
    };
    use proptest::prelude::*;

    const PYTHON: &str = "def build_model(ctx): ...\ndef get_recipe(ctx): ...\n";

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn read(entries: &[(&str, &str)]) -> Result<Bundle, BundleError> {
        Bundle::read(&archive::pack(&files(entries)).unwrap())
    }

    #[test]
    fn a_single_python_file_is_full_and_its_own_entry_point() {
        let bundle = Bundle::from_base64(&encode(PYTHON.as_bytes())).unwrap();
        assert_eq!(bundle.kind(), SubmissionKind::Full);
        assert!(!bundle.is_native());
        assert_eq!(bundle.archive(), Digest::of(PYTHON.as_bytes()));
        let entrypoint = |part: &Option<Component>| part.as_ref().unwrap().entrypoint.clone();
        assert_eq!(entrypoint(&bundle.manifest().architecture), SINGLE_FILE);
        assert_eq!(entrypoint(&bundle.manifest().training), SINGLE_FILE);
        assert_eq!(bundle.files()[SINGLE_FILE], PYTHON);
    }

    #[test]
    fn base64_is_strict() {
        for code in ["QQ", "QQ=", "Q Q=", "QQ==\n", "QR==", "Q-_=", "é"] {
            assert_eq!(decode(code).unwrap_err().rule(), "bundle.base64", "{code}");
        }
        let long = "A".repeat(MAX_WIRE_BYTES + 4);
        assert_eq!(decode(&long).unwrap_err(), BundleError::Payload { bytes: MAX_WIRE_BYTES + 4 });
        assert!(decode(&long[..MAX_WIRE_BYTES]).is_ok());
        assert_eq!(Bundle::read(long.as_bytes()).unwrap_err().rule(), "bundle.payload");
    }

    #[test]
    fn what_is_neither_an_archive_nor_a_model_is_refused() {
        for payload in [&b""[..], b"hello", b"\x1f\x8b\x08gzip", b"PK", b"build_model get_recipe \xff"] {
            assert_eq!(Bundle::read(payload).unwrap_err(), BundleError::Form);
        }
        assert_eq!(Bundle::read(b"PK\x03\x04 and nothing more").unwrap_err().rule(), "bundle.archive");
        let long = format!("{PYTHON}{}", " ".repeat(MAX_UNPACKED_BYTES));
        assert_eq!(Bundle::read(long.as_bytes()).unwrap_err().rule(), "bundle.unpacked");
    }

    #[test]
    fn one_manifest_stands_at_the_root() {
        let manifest = "architecture: { entrypoint: model.py }\n";
        assert!(read(&[("prism.yaml", manifest), ("model.py", PYTHON)]).is_ok());
        assert!(read(&[("prism.yml", manifest), ("model.py", PYTHON)]).is_ok());
        for entries in [
            &[("prism.yaml", manifest), ("prism.yml", manifest), ("model.py", PYTHON)][..],
            &[("model.py", PYTHON)],
            &[("src/prism.yaml", manifest), ("model.py", PYTHON)],
        ] {
            assert_eq!(read(entries).unwrap_err().rule(), "bundle.manifest");
        }
    }

    #[test]
    fn unknown_keys_of_the_manifest_are_named_with_their_line() {
        let error = |manifest: &str| read(&[("prism.yaml", manifest), ("model.py", PYTHON)]).unwrap_err().to_string();
        let unknown = error("kind: full\nscore: 1\narchitecture: { entrypoint: model.py }\n");
        assert!(unknown.contains("`score`") && unknown.contains("line 2"), "{unknown}");
        let nested = error("architecture:\n  entrypoint: model.py\n  weights: model.bin\n");
        assert!(nested.contains("`weights`") && nested.contains("line 3"), "{nested}");
        let model = "architecture: { entrypoint: model.py, measuring: ";
        let measuring = error(&format!("{model}later }}\n"));
        assert!(measuring.contains("`measuring`") && measuring.contains("later"), "{measuring}");
        assert!(read(&[("prism.yaml", &format!("{model}prefixes }}\n")), ("model.py", PYTHON)]).is_ok());
        let declared = "architecture: { entrypoint: model.graph.yaml, measuring: prefixes }\n";
        let declared = read(&[("prism.yaml", declared), ("model.graph.yaml", "")]).unwrap_err();
        assert_eq!(declared, BundleError::Measuring);
        let kind = error("kind: everything\narchitecture: { entrypoint: model.py }\n");
        assert!(kind.contains("everything"), "{kind}");
        assert!(error("kind: training_for_arch\ntraining: { entrypoint: model.py }").contains("`architecture_id`"));
        assert!(error("architecture: { entrypoint: ../model.py }").contains("plain relative path"));
        for text in ["", "just text", "[1, 2]", "architecture: *x", "a: &a [*a]"] {
            error(text);
        }
    }

    #[test]
    fn entry_points_resolve_exactly() {
        let at = |path: &str| {
            let manifest = format!("architecture: {{ entrypoint: {path} }}\n");
            read(&[("prism.yaml", &manifest), ("src/model.py", PYTHON)])
        };
        assert!(at("src/model.py").is_ok());
        for path in ["model.py", "Src/model.py", "src/model"] {
            let expected = BundleError::Entrypoint { field: "architecture.entrypoint", path: path.into() };
            assert_eq!(at(path).unwrap_err(), expected);
        }
        let listed = "architecture: { entrypoint: src/model.py, files: [src/other.py] }\n";
        let error = read(&[("prism.yaml", listed), ("src/model.py", PYTHON)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "manifest: `architecture.files` names `src/other.py`, which is not in the bundle"
        );
    }

    #[test]
    fn both_parts_speak_one_language() {
        let kinds = |architecture: &str, training: &str| {
            let manifest =
                format!("architecture: {{ entrypoint: {architecture} }}\ntraining: {{ entrypoint: {training} }}\n");
            read(&[("prism.yaml", &manifest), (architecture, ""), (training, "")]).map(|bundle| bundle.is_native())
        };
        assert_eq!(kinds("m.graph.yaml", "r.recipe.json"), Ok(true));
        assert_eq!(kinds("m.graph.json", "recipe.yml"), Ok(true));
        assert_eq!(kinds("m.py", "t.py"), Ok(false));
        assert_eq!(kinds("m.graph.yaml", "t.py"), Err(BundleError::Mixed));
        assert_eq!(kinds("m.py", "r.yaml"), Err(BundleError::Mixed));
        assert_eq!(kinds("m.yaml", "r.yaml").unwrap_err().rule(), "bundle.language");
        assert_eq!(kinds("m.graph.yaml", "r.txt").unwrap_err().rule(), "bundle.language");
    }

    #[test]
    fn content_is_the_same_whatever_the_archive() {
        let manifest = "architecture: { entrypoint: model.py }\n";
        let entries = [("prism.yaml", manifest), ("model.py", PYTHON)];
        let packed = read(&entries).unwrap();
        let other = read(&[entries[0], entries[1], ("note.md", "")]).unwrap();
        assert_ne!(packed.content(), other.content());
        assert_eq!(pack(&files(&entries)).unwrap(), archive::pack(&files(&entries)).unwrap());
        assert_eq!(pack(&files(&entries[1..])).unwrap_err().rule(), "bundle.manifest");
    }

    /// The folder of an example as a miner would pack it, examined as a validator would.
    fn example(folder: &str, names: &[&str]) -> Examination {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bundles");
        let read =
            |name: &&str| ((*name).to_owned(), std::fs::read_to_string(format!("{root}/{folder}/{name}")).unwrap());
        let archive = pack(&names.iter().map(read).collect()).unwrap();
        Examination::of(&archive, &Context::new(256, 64), &Limits::default()).unwrap()
    }

    #[test]
    fn the_example_bundles_are_what_they_say() {
        let gpt = example("native-gpt", &["prism.yaml", "model.graph.yaml"]);
        assert_eq!(gpt.kind(), SubmissionKind::ArchitectureOnly);
        let published = baselines::spec("gpt").unwrap().unwrap();
        let published = published.resolve(&Context::new(256, 64), &Limits::default()).unwrap();
        assert_eq!(gpt.family(), Some(family(&published)));
        let llama = example("native-llama", &["prism.yaml", "model.graph.yaml", "recipe.yaml"]);
        assert_eq!(llama.kind(), SubmissionKind::Full);
        assert!(llama.family().is_some() && llama.family() != gpt.family());
        assert!(matches!(llama.content, Content::Native { graph: Some(_), recipe: Some(_) }));
        let recipe = example("native-recipe", &["prism.yaml", "recipe.yaml"]);
        assert_eq!((recipe.kind(), recipe.target()), (SubmissionKind::TrainingForArch, Some("gpt")));
        assert!(matches!(recipe.content, Content::Native { graph: None, recipe: Some(_) }));
    }

    proptest! {
        #[test]
        fn no_manifest_panics(text in "[a-z:{}\\[\\]&*\"' \n-]{0,120}") {
            let _ = read(&[("prism.yaml", &text), ("model.py", PYTHON)]);
        }

        #[test]
        fn no_text_panics_as_base64(code in "\\PC{0,40}", dense in "[A-Za-z0-9+/=]{0,60}") {
            let _ = Bundle::from_base64(&code);
            let _ = Bundle::from_base64(&dense);
        }
    }
}
