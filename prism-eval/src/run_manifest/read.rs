//! Reading under bounds: whatever is refused is named with its place in the JSON.
use super::error::ManifestError;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::{self, Write as _},
};

/// Most bytes of one document.
pub const MAX_BYTES: usize = 8 << 20;
/// Most levels of nesting.
const MAX_DEPTH: usize = 24;
/// Most entries of one list or mapping.
pub const MAX_ITEMS: usize = 65_536;
/// Longest key that is read.
const MAX_KEY: usize = 512;

/// Reads one JSON document: at most [`MAX_BYTES`], nested at most 24 levels, no list or mapping of more than
/// [`MAX_ITEMS`] entries, no key twice, no field unknown to the type, nothing behind it.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ManifestError> {
    if bytes.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge { bytes: bytes.len() });
    }
    let (walked, place) = walk(bytes);
    walked.map_err(|error| form(place, &error))?;
    serde_json::from_slice(bytes).map_err(|error| {
        // Up to the error the document is sound: where the walk over that part ends is where the error is.
        let (_, place) = walk(bytes.get(..offset(bytes, &error)).unwrap_or(bytes));
        form(place, &error)
    })
}

fn form(place: String, error: &serde_json::Error) -> ManifestError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let problem = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned();
    ManifestError::Form { place, problem, line, column }
}

/// Bytes that had been read when the error was found.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let start = match before {
        0 => 0,
        lines => {
            let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            ends.take(lines).last().unwrap_or(0)
        }
    };
    start.saturating_add(error.column()).min(bytes.len())
}

/// Walks through a document under the bounds. Also says where it came to.
fn walk(bytes: &[u8]) -> (serde_json::Result<()>, String) {
    let path = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Walk { path: &path, base: 0, step: None };
    let walked = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    (walked, told(&path.borrow()))
}

fn told(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        let _ = match step {
            Step::Key(key) if text.is_empty() => write!(text, "{}", key.escape_debug()),
            Step::Key(key) => write!(text, ".{}", key.escape_debug()),
            Step::Index(index) => write!(text, "[{index}]"),
        };
    }
    if text.is_empty() { "document".to_owned() } else { text }
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// `base` is the number of steps to what is walked; before [`DeserializeSeed::deserialize`] to what holds it. Keeps the step
/// to a value on the path until the next one begins, so that an error just behind a value is still its own.
struct Walk<'a> {
    path: &'a RefCell<Vec<Step>>,
    base: usize,
    step: Option<Step>,
}

impl Walk<'_> {
    fn below(&self, step: Step) -> Walk<'_> {
        Walk { path: self.path, base: self.base, step: Some(step) }
    }

    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.base >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn count<E: serde::de::Error>(&self, items: usize) -> Result<(), E> {
        if items >= MAX_ITEMS {
            return Err(E::custom(format_args!("more than {MAX_ITEMS} entries")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        let step = self.step.take();
        let mut path = self.path.borrow_mut();
        path.truncate(self.base);
        path.extend(step);
        self.base = path.len();
        drop(path);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut items = 0;
        while list.next_element_seed(self.below(Step::Index(items)))?.is_some() {
            items += 1;
            self.count(items - 1)?;
        }
        self.path.borrow_mut().truncate(self.base);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut keys = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let step = Step::Key(key.chars().take(80).collect());
            let mut path = self.path.borrow_mut();
            path.truncate(self.base);
            path.push(step.clone());
            drop(path);
            if key.len() > MAX_KEY {
                return Err(A::Error::custom(format_args!("key has {} bytes, at most {MAX_KEY} are read", key.len())));
            }
            self.count(keys.len())?;
            if !keys.insert(key) {
                return Err(A::Error::custom("key stands there twice"));
            }
            map.next_value_seed(self.below(step))?;
        }
        self.path.borrow_mut().truncate(self.base);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        list: Vec<Inner>,
        map: BTreeMap<String, f64>,
    }

    fn place(text: &str) -> (String, String) {
        match read::<Outer>(text.as_bytes()) {
            Err(ManifestError::Form { place, problem, .. }) => (place, problem),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn whatever_is_wrong_is_named_with_its_place() {
        let good = "{\"list\": [{\"count\": 1},\n {\"count\": 2}], \"map\": {\"a\": 1.5}}";
        assert!(read::<Outer>(good.as_bytes()).is_ok());
        for (change, expected) in [
            (("2}", "-2}"), "list[1].count"),
            (("2}", "\"2\"}"), "list[1].count"),
            (("2}", "2, \"other\": 0}"), "list[1].other"),
            (("{\"count\": 2}", "{}"), "list[1]"),
            (("{\"count\": 2}", "{\"count\": 2, \"count\": 2}"), "list[1].count"),
            (("1.5", "1.5, \"a\": 2"), "map.a"),
            (("1.5", "1e999"), "map.a"),
            (("1.5", "NaN"), "map.a"),
            (("1.5", "null"), "map.a"),
            (("1.5}}", "1.5}} x"), "document"),
            (("1.5}}", "1.5"), "map.a"),
            ((", \"map\": {\"a\": 1.5}", ""), "document"),
        ] {
            let text = good.replace(change.0, change.1);
            assert_eq!(place(&text).0, expected, "{text}");
        }
        let (place, problem) = place(&good.replace("1.5", "1.5, \"a\": 2"));
        assert_eq!((place.as_str(), problem.as_str()), ("map.a", "key stands there twice"));
    }

    #[test]
    fn deep_long_and_large_documents_are_refused() {
        assert!(place(&"[".repeat(100_000)).1.contains("nested deeper"));
        let many = format!("{{\"list\":[{}1]}}", "1,".repeat(MAX_ITEMS));
        let (place, problem) = place(&many);
        assert_eq!((place.as_str(), problem.contains("more than 65536")), ("list[65536]", true), "{problem}");
        let large = vec![b' '; MAX_BYTES + 1];
        assert!(matches!(read::<Outer>(&large), Err(ManifestError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a\\[\\]{}\",:\\\\ \n0-9.eE+-]{0,80}") {
            let _ = read::<Outer>(text.as_bytes());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = read::<Outer>(&bytes);
        }
    }
}
