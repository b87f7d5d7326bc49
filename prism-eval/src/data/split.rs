//! Which part of the dataset a document belongs to.
use prism_core::Digest;
use serde::{Deserialize, Serialize};

/// A part of the dataset. The rule is the contract with miners: `int(sha256(id)) % 1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// 0 to 949.
    Train,
    /// 950 to 974.
    Validation,
    /// 975 to 999.
    Test,
}

impl Split {
    /// All of them, in the order of a dataset's shards.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name, as in files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// The part of a document by its id: SHA-256 of the id's bytes, read as a big-endian number, modulo 1000.
    #[must_use]
    pub fn of(id: &str) -> Self {
        let bucket = Digest::of(id.as_bytes()).0.iter().fold(0u32, |rest, byte| (rest * 256 + u32::from(*byte)) % 1000);
        match bucket {
            0..=949 => Self::Train,
            950..=974 => Self::Validation,
            _ => Self::Test,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python: `int(hashlib.sha256(id.encode()).hexdigest(), 16) % 1000`, chosen to sit on the boundaries.
    #[test]
    fn splits_are_those_of_the_published_rule() {
        let golden = [
            ("doc-90", Split::Train),                                          // 0
            ("doc-183", Split::Train),                                         // 949
            ("doc-180", Split::Validation),                                    // 950
            ("b", Split::Validation),                                          // 965
            ("doc-1855", Split::Validation),                                   // 974
            ("doc-94", Split::Test),                                           // 975
            ("doc-661", Split::Test),                                          // 999
            ("", Split::Train),                                                // 549
            ("<urn:uuid:0d8a309d-25c5-405d-b1a4-b0b9b5c7b4a5>", Split::Train), // 882
        ];
        for (id, split) in golden {
            assert_eq!(Split::of(id), split, "{id:?}");
        }
    }
}
