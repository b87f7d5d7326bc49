//! The texts of a manifest, each within its bounds by type.
use prism_core::manifest::is_plain_path;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};

/// Most characters of a [`Label`].
pub const MAX_LABEL: usize = 512;
/// Most characters of a [`Note`].
pub const MAX_NOTE: usize = 8_192;

/// Why a text can't stand in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Nothing in it.
    #[error("text is empty")]
    Empty,
    /// More characters than are read.
    #[error("text has more than {0} characters")]
    Long(usize),
    /// A control character in a name.
    #[error("name has a control character")]
    Control,
    /// A path that leaves the folder that the manifest lies in, or is written in a foreign way.
    #[error("{0:?} is not a plain relative path")]
    Path(String),
}

macro_rules! texts { ($($(#[$doc:meta])* $name:ident, $check:ident, $schema:expr;)*) => { $(
    $(#[$doc])*
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    pub struct $name(String);

    impl $name {
        /// The text, if it keeps the bounds.
        ///
        /// # Errors
        /// The bound that it breaks.
        pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
            let text = text.into();
            $check(&text).map(|()| Self(text))
        }

        /// As it stands.
        #[must_use]
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }

    impl TryFrom<String> for $name {
        type Error = TextError;
        fn try_from(text: String) -> Result<Self, TextError> {
            Self::new(text)
        }
    }

    impl From<$name> for String {
        fn from(text: $name) -> Self {
            text.0
        }
    }

    impl fmt::Display for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl JsonSchema for $name {
        fn schema_name() -> Cow<'static, str> {
            stringify!($name).into()
        }
        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            $schema
        }
    }
)* } }

texts! {
    /// A name or an id: 1 to [`MAX_LABEL`] characters, none of them a control character.
    Label, label, json_schema!({
        "description": "A name or an id.",
        "type": "string", "minLength": 1, "maxLength": MAX_LABEL, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]+$"
    });
    /// Words for people: 1 to [`MAX_NOTE`] characters.
    Note, note, json_schema!({
        "description": "Words for people.",
        "type": "string", "minLength": 1, "maxLength": MAX_NOTE
    });
    /// A file beside the manifest: a plain relative path with `/`, without `.`, `..`, drives and empty parts.
    RelativePath, path, json_schema!({
        "description": "A file beside the manifest: relative, with `/`, without `.` and `..`.",
        "type": "string", "minLength": 1, "maxLength": 255,
        "pattern": "^(?!\\.{1,2}(/|$))[^/\\\\:\\x00-\\x1f\\x7f-\\x9f]+(/(?!\\.{1,2}(/|$))[^/\\\\:\\x00-\\x1f\\x7f-\\x9f]+)*$"
    });
}

impl Label {
    /// A name made to fit: control characters become spaces, what is too long is cut, nothing becomes `-`.
    #[must_use]
    pub fn fitted(text: &str) -> Self {
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let short: String = plain.take(MAX_LABEL).collect();
        Self(if short.is_empty() { "-".to_owned() } else { short })
    }
}

impl Note {
    /// Words made to fit: what is too long is cut, nothing becomes `-`.
    #[must_use]
    pub fn fitted(text: &str) -> Self {
        let short: String = text.chars().take(MAX_NOTE).collect();
        Self(if short.is_empty() { "-".to_owned() } else { short })
    }
}

fn label(text: &str) -> Result<(), TextError> {
    length(text, MAX_LABEL)?;
    if text.chars().any(char::is_control) { Err(TextError::Control) } else { Ok(()) }
}

fn note(text: &str) -> Result<(), TextError> {
    length(text, MAX_NOTE)
}

fn path(text: &str) -> Result<(), TextError> {
    if is_plain_path(text) { Ok(()) } else { Err(TextError::Path(text.chars().take(80).collect())) }
}

fn length(text: &str, most: usize) -> Result<(), TextError> {
    match text.chars().take(most + 1).count() {
        0 => Err(TextError::Empty),
        count if count > most => Err(TextError::Long(most)),
        _ => Ok(()),
    }
}

/// How a SHA-256 is described in the published schema.
pub(super) enum Sha256 {}

impl JsonSchema for Sha256 {
    fn schema_name() -> Cow<'static, str> {
        "Sha256".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A SHA-256 in 64 lowercase hexadecimal digits.",
            "type": "string", "pattern": "^[0-9a-f]{64}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_out_of_bounds_are_refused_and_can_be_made_to_fit() {
        assert_eq!(Label::new(""), Err(TextError::Empty));
        assert_eq!(Label::new("a\nb"), Err(TextError::Control));
        assert_eq!(Label::new("é".repeat(MAX_LABEL + 1)), Err(TextError::Long(MAX_LABEL)));
        assert!(Note::new("a\nb").is_ok());
        for foreign in ["a\nb", "", &"é".repeat(MAX_LABEL + 9)] {
            assert!(Label::new(Label::fitted(foreign).as_str()).is_ok());
        }
        assert!(Note::new(Note::fitted(&"é".repeat(MAX_NOTE + 9)).as_str()).is_ok());
    }
}
