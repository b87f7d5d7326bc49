//! What a guest receives of a bundle: the parts that run, as one document with one digest.
use crate::{
    bundle::Bundle,
    review::{Sources, error::PythonError, normalise::normalise},
};
use flate2::{Compression, write::ZlibEncoder};
use prism_core::{
    Digest, Error, Fault, Kind,
    manifest::{Component, Measuring, is_plain_path},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{self, Write},
};

/// Longest canonical form that is read: two parts of a full bundle each, escaped.
pub const MAX_CANONICAL_BYTES: usize = 16_000_000;

/// One part of a bundle: its files, and which of them is asked for the hooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestPart {
    /// Path of the entry point within `files`.
    pub entrypoint: String,
    /// Python sources by path, comments and docstrings blanked.
    pub files: BTreeMap<String, String>,
    /// How an architecture asks to be measured. A training part has no say in it.
    #[serde(default, skip_serializing_if = "is_claims")]
    pub measuring: Measuring,
}

fn is_claims(measuring: &Measuring) -> bool {
    *measuring == Measuring::Claims
}

/// An architecture, and the training code that goes with it where a submission brings some. For a `TrainingForArch` the
/// first is the family's and the second the miner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestBundle {
    /// Has `build_model` and `get_recipe`.
    pub architecture: GuestPart,
    /// Has the other hooks; when absent they are looked for in the architecture.
    pub training: Option<GuestPart>,
}

/// The parts that a submission brings itself. A `TrainingForArch` has no architecture of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestParts {
    /// The architecture.
    pub architecture: Option<GuestPart>,
    /// The training code; none where it would be the architecture once more.
    pub training: Option<GuestPart>,
}

/// Bytes that are no guest bundle in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestBundleError {
    /// More than is read.
    #[error("guest bundle has {0} bytes, at most {MAX_CANONICAL_BYTES} are read")]
    Size(usize),
    /// Not the JSON of a guest bundle.
    #[error("guest bundle: {0}")]
    Form(String),
    /// A path that leaves the bundle, or is no Python file.
    #[error("guest bundle: {0:?} is not the plain path of a Python file")]
    Path(String),
    /// A training part that says how a model is measured.
    #[error("guest bundle: a training part says how the architecture is measured")]
    Measuring,
    /// An entry point that isn't there.
    #[error("guest bundle: entry point {0:?} is not among the files")]
    Entrypoint(String),
    /// Another spelling of the same document: its digest would be another one.
    #[error("guest bundle is not in its canonical form")]
    Canonical,
}

impl From<GuestBundleError> for Error {
    fn from(error: GuestBundleError) -> Self {
        Error::new(Kind::Corrupt, Fault::Validator, error.to_string())
    }
}

impl GuestPart {
    fn of(sources: &Sources, bundle: &Bundle, component: &Component) -> Self {
        let reached = sources.reach(&component.entrypoint, &component.files);
        let files = reached.into_iter().filter_map(|path| {
            let normal = normalise(sources.module(&path)?, bundle.files().get(&path)?);
            Some((path, normal))
        });
        Self {
            entrypoint: component.entrypoint.clone(),
            files: files.collect(),
            measuring: component.measuring.unwrap_or_default(),
        }
    }

    fn check(&self) -> Result<(), GuestBundleError> {
        if let Some(path) = self.files.keys().find(|path| !is_plain_path(path) || !path.ends_with(".py")) {
            return Err(GuestBundleError::Path(path.clone()));
        }
        if !self.files.contains_key(&self.entrypoint) {
            return Err(GuestBundleError::Entrypoint(self.entrypoint.clone()));
        }
        Ok(())
    }
}

impl GuestParts {
    /// The parts of a bundle of Python: for each its entry point, the Python files listed with it, and all that these
    /// import from the bundle.
    #[must_use]
    pub fn of(bundle: &Bundle, sources: &Sources) -> Self {
        let part = |component: &Option<Component>| component.as_ref().map(|it| GuestPart::of(sources, bundle, it));
        let architecture = part(&bundle.manifest().architecture);
        let same =
            |one: &GuestPart, other: &GuestPart| (&one.entrypoint, &one.files) == (&other.entrypoint, &other.files);
        let training = part(&bundle.manifest().training)
            .filter(|training| architecture.as_ref().is_none_or(|architecture| !same(architecture, training)));
        Self { architecture, training }
    }

    /// What a guest receives: these parts, and the family's architecture where they bring none. Nothing without either.
    #[must_use]
    pub fn join(&self, family: Option<&GuestPart>) -> Option<GuestBundle> {
        let architecture = self.architecture.as_ref().or(family)?.clone();
        Some(GuestBundle { architecture, training: self.training.clone() })
    }

    /// Bytes of these parts compressed: see [`GuestBundle::compressed_bytes`].
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        compressed(&serde_json::to_vec(self).unwrap_or_default())
    }
}

impl GuestBundle {
    /// What a guest receives of a bundle that brings its own architecture; none for a `TrainingForArch`, whose parts
    /// are joined with the family's ([`GuestParts::join`]).
    ///
    /// # Errors
    /// Files that are no Python.
    pub fn of(bundle: &Bundle) -> Result<Option<Self>, PythonError> {
        let sources = Sources::parse(bundle.files())?;
        Ok(GuestParts::of(bundle, &sources).join(None))
    }

    /// The bytes that identify it: compact JSON, fields in declaration order, files sorted by path.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // All keys are strings and there are no numbers: nothing here that JSON can't carry.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads canonical bytes, and nothing but these.
    ///
    /// # Errors
    /// Bytes that [`GuestBundle::canonical_bytes`] doesn't write.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, GuestBundleError> {
        if bytes.len() > MAX_CANONICAL_BYTES {
            return Err(GuestBundleError::Size(bytes.len()));
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(|error| GuestBundleError::Form(error.to_string()))?;
        bundle.architecture.check()?;
        bundle.training.as_ref().map_or(Ok(()), GuestPart::check)?;
        if bundle.training.as_ref().is_some_and(|training| !is_claims(&training.measuring)) {
            return Err(GuestBundleError::Measuring);
        }
        if bundle.canonical_bytes() != bytes {
            return Err(GuestBundleError::Canonical);
        }
        Ok(bundle)
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }

    /// Bytes of the canonical form compressed by zlib at level 9: names, literals and paths, all that a guest can read.
    /// It bounds what its author can tell it.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        compressed(&self.canonical_bytes())
    }
}

fn compressed(bytes: &[u8]) -> u64 {
    let mut encoder = ZlibEncoder::new(Count(0), Compression::new(9));
    // Counting can't fail.
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(Count(bytes)) => bytes,
        Err(_) => u64::MAX,
    }
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::pack;
    use proptest::prelude::*;

    const MODEL: &str = "'''Doc.'''\nimport parts\n# remark\ndef build_model(ctx): ...\ndef get_recipe(ctx): ...\n";

    fn bundle(files: &[(&str, &str)]) -> Bundle {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Bundle::read(&pack(&files).unwrap()).unwrap()
    }

    #[test]
    fn only_what_runs_is_sent_and_without_remarks() {
        let manifest =
            "architecture: { entrypoint: m.py }\ntraining: { entrypoint: t.py, files: [extra.py, data.json] }\n";
        let bundle = bundle(&[
            ("prism.yaml", manifest),
            ("m.py", MODEL),
            ("parts.py", "x = 1  # x"),
            ("t.py", "import parts"),
            ("extra.py", ""),
            ("unused.py", "secret = 1"),
            ("data.json", "{}"),
            ("readme.md", "no"),
        ]);
        let guest = GuestBundle::of(&bundle).unwrap().unwrap();
        let files = |part: &GuestPart| part.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(files(&guest.architecture), ["m.py", "parts.py"]);
        assert_eq!(files(guest.training.as_ref().unwrap()), ["extra.py", "parts.py", "t.py"]);
        assert_eq!(guest.architecture.files["parts.py"], "x = 1");
        assert!(
            !guest.architecture.files["m.py"].contains("Doc") && !guest.architecture.files["m.py"].contains("remark")
        );
        assert_eq!(GuestBundle::from_canonical_bytes(&guest.canonical_bytes()), Ok(guest));
    }

    #[test]
    fn one_file_is_sent_once() {
        let single = Bundle::read(MODEL.as_bytes()).unwrap();
        let guest = GuestBundle::of(&single).unwrap().unwrap();
        assert_eq!((guest.architecture.files.len(), guest.training), (1, None));
    }

    #[test]
    fn how_an_architecture_is_measured_goes_where_it_goes() {
        let manifest = |measuring| {
            format!("architecture: {{ entrypoint: m.py, measuring: {measuring} }}\ntraining: {{ entrypoint: m.py }}\n")
        };
        let guest = |measuring| {
            let bundle = bundle(&[("prism.yaml", &manifest(measuring)), ("m.py", MODEL), ("parts.py", "")]);
            GuestBundle::of(&bundle).unwrap().unwrap()
        };
        let (claims, prefixes) = (guest("claims"), guest("prefixes"));
        assert_eq!((claims.architecture.measuring, &claims.training), (Measuring::Claims, &None));
        assert_eq!((prefixes.architecture.measuring, &prefixes.training), (Measuring::Prefixes, &None));
        assert_ne!(claims.digest(), prefixes.digest());
        let plain = bundle(&[
            ("prism.yaml", &manifest("claims").replace(", measuring: claims", "")),
            ("m.py", MODEL),
            ("parts.py", ""),
        ]);
        assert_eq!(GuestBundle::of(&plain).unwrap().unwrap(), claims);
        assert_eq!(GuestBundle::from_canonical_bytes(&prefixes.canonical_bytes()), Ok(prefixes.clone()));
        // A recipe for the family is measured as the family is.
        let recipe = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: t.py }\n";
        let recipe = bundle(&[("prism.yaml", recipe), ("t.py", "x = 1")]);
        let parts = GuestParts::of(&recipe, &Sources::parse(recipe.files()).unwrap());
        assert_eq!(parts.join(Some(&prefixes.architecture)).unwrap().architecture.measuring, Measuring::Prefixes);
    }

    #[test]
    fn a_recipe_is_joined_with_its_family() {
        let manifest = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: t.py }\n";
        let recipe = bundle(&[("prism.yaml", manifest), ("t.py", "x = 1")]);
        assert_eq!(GuestBundle::of(&recipe), Ok(None));
        let parts = GuestParts::of(&recipe, &Sources::parse(recipe.files()).unwrap());
        assert!(parts.compressed_bytes() > 0);
        let family = GuestBundle::of(&Bundle::read(MODEL.as_bytes()).unwrap()).unwrap().unwrap().architecture;
        let guest = parts.join(Some(&family)).unwrap();
        assert_eq!((guest.architecture, guest.training.unwrap().entrypoint), (family, "t.py".to_owned()));
    }

    #[test]
    fn mass_counts_what_a_guest_can_read_and_not_what_is_blanked() {
        let mass = |text: &str| {
            let single = Bundle::read(format!("{MODEL}{text}").as_bytes()).unwrap();
            GuestBundle::of(&single).unwrap().unwrap().compressed_bytes()
        };
        // Text that hardly compresses, as a name, a literal, a remark.
        let noise: String = (0..400_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
        let plain = mass("");
        assert!(mass(&format!("x = '{noise}'\n")) > plain + 1000);
        assert!(mass(&format!("x{noise} = 1\n")) > plain + 1000);
        assert!(mass(&format!("# {noise}\n'{noise}'\n")) <= plain + 8);
        assert_eq!(mass("y = 2\n"), mass("y = 2\n"));
    }

    #[test]
    fn nothing_but_canonical_bytes_is_read() {
        let good = r#"{"architecture":{"entrypoint":"m.py","files":{"m.py":""}},"training":null}"#;
        assert!(GuestBundle::from_canonical_bytes(good.as_bytes()).is_ok());
        for bad in [
            good.replace("\"m.py\":\"\"", "\"m.py\": \"\""),
            good.replace(",\"training\":null", ""),
            good.replace("null", "null,\"more\":1"),
            good.replace("}},\"t", "},\"measuring\":\"claims\"},\"t"),
            good.replace("}},\"t", "},\"measuring\":\"later\"},\"t"),
            good.replace("null", r#"{"entrypoint":"m.py","files":{"m.py":""},"measuring":"prefixes"}"#),
            good.replace("\"entrypoint\":\"m.py\"", "\"entrypoint\":\"n.py\""),
            good.replace("m.py", "../m.py"),
            good.replace("m.py", "m.so"),
            good.replace("{\"m.py\":\"\"}", "{\"m.py\":\"\",\"m.py\":\"\"}"),
            String::new(),
            "null".to_owned(),
        ] {
            assert!(GuestBundle::from_canonical_bytes(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = vec![b' '; MAX_CANONICAL_BYTES + 1];
        assert_eq!(GuestBundle::from_canonical_bytes(&long), Err(GuestBundleError::Size(long.len())));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            name in "[a-z]{1,8}", text in "\\PC{0,60}", more in prop::collection::btree_map("[a-z/]{1,9}", ".{0,20}", 0..4)
        ) {
            let entrypoint = format!("{name}.py");
            let mut files: BTreeMap<String, String> = more.into_iter().map(|(k, v)| (format!("f{k}x.py"), v)).collect();
            files.retain(|path, _| is_plain_path(path));
            files.insert(entrypoint.clone(), text);
            let part = GuestPart { entrypoint, files, measuring: Measuring::Claims };
            let guest = GuestBundle { training: Some(part.clone()), architecture: part };
            prop_assert_eq!(GuestBundle::from_canonical_bytes(&guest.canonical_bytes()), Ok(guest));
        }
    }
}
