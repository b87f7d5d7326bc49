//! Why a bundle is refused.
use super::{MAX_ENTRIES, MAX_FILES, MAX_UNPACKED_BYTES, MAX_WIRE_BYTES, SUFFIXES};
use crate::document::DocumentError;
use prism_core::{Error, Fault, Kind, manifest::ManifestError};

/// Why a bundle is refused. [`BundleError::rule`] is the stable name of the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// More bytes on the wire than are taken.
    #[error("payload has {bytes} bytes, at most {MAX_WIRE_BYTES} are taken")]
    Payload {
        /// As many.
        bytes: usize,
    },
    /// Not base64 of the standard alphabet, padded, without whitespace.
    #[error("`code` is not base64: {0}")]
    Base64(String),
    /// Neither of the two forms.
    #[error("payload is neither a ZIP archive nor a Python file with `build_model` and `get_recipe`")]
    Form,
    /// A ZIP archive that can't be trusted to say the same to every reader.
    #[error("ZIP archive: {0}")]
    Archive(String),
    /// One entry of the archive.
    #[error("entry `{name}` {rule}")]
    Entry {
        /// Its name, escaped and cut for people.
        name: String,
        /// What it breaks.
        rule: EntryRule,
    },
    /// More entries than are read.
    #[error("archive has {0} entries, at most {MAX_ENTRIES} are read")]
    Entries(usize),
    /// More files than are taken.
    #[error("bundle has more than {MAX_FILES} files")]
    Files,
    /// More bytes than are taken, as counted while unpacking.
    #[error("bundle has more than {MAX_UNPACKED_BYTES} bytes unpacked, reached in entry `{name}`")]
    Unpacked {
        /// Where the count went over.
        name: String,
    },
    /// No manifest at the root, or two.
    #[error("{0}")]
    ManifestCount(&'static str),
    /// A manifest that doesn't parse.
    #[error(transparent)]
    Manifest(#[from] DocumentError),
    /// A manifest that makes no sense.
    #[error("manifest: {0}")]
    ManifestRule(#[from] ManifestError),
    /// A path of the manifest that no file has.
    #[error("manifest: `{field}` names `{path}`, which is not in the bundle")]
    Entrypoint {
        /// Where it stands.
        field: &'static str,
        /// What stands there.
        path: String,
    },
    /// An entry point of no known language.
    #[error("manifest: `{field}` is `{path}`, known are {known}")]
    Language {
        /// Where it stands.
        field: &'static str,
        /// What stands there.
        path: String,
        /// What could stand there.
        known: &'static str,
    },
    /// One part is declared, the other one is code.
    #[error("manifest: architecture and training must both be Python or both be declarative")]
    Mixed,
    /// A declared architecture needs no other measuring: nobody's claims are in it.
    #[error("manifest: `architecture.measuring` is for Python, and the architecture is declarative")]
    Measuring,
}

/// What one entry of an archive breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryRule {
    /// A link could lead anywhere.
    #[error("is a symbolic link")]
    Symlink,
    /// A device, pipe or socket.
    #[error("is neither a file nor a folder")]
    Special,
    /// Absolute, `..`, backslash, drive, control character, or too long.
    #[error("is not a plain relative path")]
    Path,
    /// A name that is not UTF-8.
    #[error("has a name that is not UTF-8")]
    Name,
    /// A name that is there already.
    #[error("is there twice")]
    Duplicate,
    /// A name that some systems can't tell from another one, or that is another one's folder.
    #[error("collides with another entry, but for upper and lower case")]
    Collision,
    /// A suffix that isn't on the list.
    #[error("has none of the suffixes {}", SUFFIXES.join(" "))]
    Suffix,
    /// Encrypted.
    #[error("is encrypted")]
    Encrypted,
    /// Neither stored nor deflated.
    #[error("is compressed by a method other than deflate")]
    Compression,
    /// Data that doesn't unpack to what the headers say.
    #[error("is damaged")]
    Damaged,
    /// Content that is not UTF-8.
    #[error("is not UTF-8 text")]
    Text,
}

impl BundleError {
    /// The stable name of the rule that was broken, for HTTP bodies and reviews.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Payload { .. } => "bundle.payload",
            Self::Base64(_) => "bundle.base64",
            Self::Form => "bundle.form",
            Self::Archive(_) => "bundle.archive",
            Self::Entries(_) => "bundle.entries",
            Self::Files => "bundle.files",
            Self::Unpacked { .. } => "bundle.unpacked",
            Self::ManifestCount(_) | Self::Manifest(_) | Self::ManifestRule(_) | Self::Measuring => "bundle.manifest",
            Self::Entrypoint { .. } => "bundle.entrypoint",
            Self::Language { .. } | Self::Mixed => "bundle.language",
            Self::Entry { rule, .. } => match rule {
                EntryRule::Symlink => "bundle.symlink",
                EntryRule::Special => "bundle.special",
                EntryRule::Path => "bundle.path",
                EntryRule::Name => "bundle.name",
                EntryRule::Duplicate => "bundle.duplicate",
                EntryRule::Collision => "bundle.collision",
                EntryRule::Suffix => "bundle.suffix",
                EntryRule::Encrypted => "bundle.encrypted",
                EntryRule::Compression => "bundle.compression",
                EntryRule::Damaged => "bundle.damaged",
                EntryRule::Text => "bundle.text",
            },
        }
    }

    pub(crate) fn entry(name: &[u8], rule: EntryRule) -> Self {
        Self::Entry { name: shown(name), rule }
    }
}

/// A foreign name, fit for a message.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().take(100).collect()
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        let kind = match &error {
            BundleError::Payload { .. }
            | BundleError::Entries(_)
            | BundleError::Files
            | BundleError::Unpacked { .. } => Kind::Limit,
            _ => Kind::Invalid,
        };
        Error::new(kind, Fault::Miner, format!("{}: {error}", error.rule()))
    }
}
