//! Identifiers and chain units. Digests are written as 64 lowercase hexadecimal digits.
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("digest must be 64 lowercase hexadecimal digits")]
pub struct DigestError;

fn parse_hex(text: &str) -> Result<[u8; 32], DigestError> {
    let mut bytes = [0; 32];
    if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(DigestError);
    }
    hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError)?;
    Ok(bytes)
}

macro_rules! digests { ($($(#[$doc:meta])* $name:ident;)*) => { $(
    $(#[$doc])*
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    pub struct $name(pub [u8; 32]);

    impl $name {
        /// SHA-256 of a tag and parts, each preceded by its length, so that no two inputs run together.
        #[must_use]
        pub fn of_parts(tag: &str, parts: &[&[u8]]) -> Self {
            Self(hash_parts(tag, parts))
        }
        /// The first twelve digits, for people.
        #[must_use]
        pub fn short(&self) -> String {
            let mut text = hex::encode(self.0);
            text.truncate(12);
            text
        }
    }
    impl FromStr for $name {
        type Err = DigestError;
        fn from_str(text: &str) -> Result<Self, DigestError> {
            parse_hex(text).map(Self)
        }
    }
    impl TryFrom<String> for $name {
        type Error = DigestError;
        fn try_from(text: String) -> Result<Self, DigestError> {
            text.parse()
        }
    }
    impl From<$name> for String {
        fn from(id: $name) -> Self {
            hex::encode(id.0)
        }
    }
    impl fmt::Display for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&hex::encode(self.0))
        }
    }
    impl fmt::Debug for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}({})", stringify!($name), self.short())
        }
    }
)* } }

digests! {
    /// SHA-256 of some bytes.
    Digest;
    /// One submission: the digest of its author and its payload, so that sending it twice is one submission.
    SubmissionId;
    /// One training task: the digest of its canonical bytes. The key of cache, queue and replay.
    TaskId;
    /// One architecture family: the digest of the name-free canonical architecture.
    FamilyId;
}

impl Digest {
    /// SHA-256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

pub(crate) fn hash_parts(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(&tag.as_bytes()).chain(parts) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

macro_rules! units { ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => { $(
    $(#[$doc])*
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
    #[serde(transparent)]
    pub struct $name(pub $inner);

    impl fmt::Display for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(&self.0, f)
        }
    }
)* } }

units! {
    /// A subnet's number.
    Netuid(u16);
    /// An incentive mechanism's number within a subnet.
    MechanismId(u8);
    /// A neuron's slot on a subnet. Slots change hands: looked up when needed, never stored.
    Uid(u16);
    /// A block's height.
    Block(u64);
    /// A subnet epoch's number.
    Epoch(u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_abc_is_the_one_of_fips_180() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), abc);
        assert_eq!(abc.parse::<Digest>().unwrap(), Digest::of(b"abc"));
    }

    #[test]
    fn uppercase_short_and_foreign_digits_are_refused() {
        let abc = Digest::of(b"abc").to_string();
        for bad in [abc.to_uppercase(), abc[1..].to_owned(), abc.replace('b', "g"), String::new()] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError));
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Digest::of_parts("t", &[b"ab", b"c"]), Digest::of_parts("t", &[b"a", b"bc"]));
        assert_ne!(Digest::of_parts("t", &[b""]), Digest::of_parts("t", &[]));
    }
}
