//! Declarative files: YAML or JSON of a miner's, read under a budget.
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use std::{collections::BTreeMap, fmt, marker::PhantomData};

/// Most bytes of one declarative file.
pub const MAX_DOCUMENT_BYTES: usize = 262_144;
/// Most levels of nesting in one.
const MAX_DEPTH: usize = 48;
/// Most scalars, lists and mappings in one.
const MAX_NODES: usize = 65_536;

/// Why a file can't be read. The message of the parser names key, line and column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The name ends in nothing that is known.
    #[error("`{name}` is neither .yaml, .yml nor .json")]
    Suffix {
        /// The file.
        name: String,
    },
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("`{name}` has {bytes} bytes, at most {MAX_DOCUMENT_BYTES} are read")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("`{name}` is not UTF-8 text")]
    NotText {
        /// The file.
        name: String,
    },
    /// Not the form that is expected.
    #[error("`{name}`: {message}")]
    Form {
        /// The file.
        name: String,
        /// What the parser says.
        message: String,
        /// Where, from 1; absent at the end of the file.
        line: Option<u64>,
    },
}

/// Reads one YAML or JSON document, told apart by the name's suffix. No anchors, aliases, merge keys, custom tags or
/// second documents; keys are unique; size, depth and number of nodes are bounded.
///
/// # Errors
/// What is wrong, and in which line.
pub fn read<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, DocumentError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge { name: name.to_owned(), bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::NotText { name: name.to_owned() })?;
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    match suffix {
        Some("yaml" | "yml") => serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
            let line = error.location().map(|place| place.line()).filter(|line| *line > 0);
            let message = error.without_snippet().to_string();
            DocumentError::Form { name: name.to_owned(), message, line }
        }),
        Some("json") => serde_json::from_str(text).map_err(|error| {
            let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
            DocumentError::Form { name: name.to_owned(), message: error.to_string(), line }
        }),
        _ => Err(DocumentError::Suffix { name: name.to_owned() }),
    }
}

/// Whether a name has a suffix that [`read`] knows.
#[must_use]
pub fn is_document(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((stem, "yaml" | "yml" | "json")) if !stem.is_empty())
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
            max_documents: 1,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 3,
            max_total_scalar_bytes: MAX_DOCUMENT_BYTES,
        },
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// A map that refuses a key written twice, for parsers that would let the last one win.
///
/// # Errors
/// The parser's, or the key.
pub(crate) fn unique_map<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Unique<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Unique<T> {
        type Value = BTreeMap<String, T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a mapping")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, T>()? {
                if entries.contains_key(&key) {
                    return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
                }
                entries.insert(key, value);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Unique(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u32,
        b: Option<Vec<u32>>,
    }

    fn message(text: &str, name: &str) -> (String, Option<u64>) {
        match read::<Pair>(text.as_bytes(), name) {
            Err(DocumentError::Form { message, line, .. }) => (message, line),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn yaml_and_json_give_the_same() {
        let pair = Pair { a: 1, b: Some(vec![2, 3]) };
        assert_eq!(read::<Pair>(b"a: 1\nb: [2, 3]\n", "x.yaml").unwrap(), pair);
        assert_eq!(read::<Pair>(b"{\"a\": 1, \"b\": [2, 3]}", "x.json").unwrap(), pair);
        assert!(matches!(read::<Pair>(b"a: 1", "x.toml"), Err(DocumentError::Suffix { .. })));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        for (text, name) in [("a: 1\nwidth: 2\n", "x.yaml"), ("{\"a\": 1,\n\"width\": 2}", "x.json")] {
            let (message, line) = message(text, name);
            assert!(message.contains("`width`"), "{message}");
            assert_eq!(line, Some(2), "{message}");
        }
    }

    #[test]
    fn anchors_aliases_merges_duplicates_and_second_documents_are_refused() {
        for text in [
            "a: &x 1\n",
            "a: 1\nb: [&x 1, *x]\n",
            "<<: {a: 1}\n",
            "a: 1\na: 2\n",
            "a: 1\n---\na: 2\n",
            "a: !secret 1\n",
        ] {
            message(text, "x.yaml");
        }
        message("{\"a\": 1, \"a\": 2}", "x.json");
    }

    #[test]
    fn deep_and_long_documents_are_refused_without_a_crash() {
        let deep = format!("a: {}", "[".repeat(100_000));
        message(&deep, "x.yaml");
        message(&format!("{{\"b\": {}", "[".repeat(100_000)), "x.json");
        let long = "a".repeat(MAX_DOCUMENT_BYTES + 1);
        assert!(matches!(read::<Pair>(long.as_bytes(), "x.yaml"), Err(DocumentError::TooLarge { .. })));
        assert!(matches!(read::<Pair>(b"a: \xff", "x.yaml"), Err(DocumentError::NotText { .. })));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-b:\\[\\]{}&*!#<>|\"'\\-\n 0-9]{0,60}") {
            let _ = read::<Pair>(text.as_bytes(), "x.yaml");
            let _ = read::<Pair>(text.as_bytes(), "x.json");
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Pair>(&bytes, "x.yaml");
        }
    }
}
