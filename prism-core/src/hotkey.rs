//! The identity of a neuron: an sr25519 public key, written as ss58.
use blake2::{Blake2b512, Digest as _};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The generic Substrate prefix, which Bittensor uses.
const PREFIX: u8 = 42;
/// An ss58 address with a one-byte prefix and a 32-byte key has exactly this many characters.
const ADDRESS_LENGTH: usize = 48;

/// A neuron's public key. Text and JSON form: ss58 with prefix 42, exactly 48 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hotkey(pub [u8; 32]);

/// Why a text is not a hotkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HotkeyError {
    /// Not 48 characters.
    #[error("ss58 address has {0} characters, expected 48")]
    Length(usize),
    /// A character outside base58.
    #[error("ss58 address is not base58")]
    Base58,
    /// Another network's prefix.
    #[error("ss58 prefix is {0}, expected 42")]
    Prefix(u8),
    /// The checksum does not fit the key.
    #[error("ss58 checksum does not match")]
    Checksum,
}

impl Hotkey {
    /// The ss58 form.
    #[must_use]
    pub fn ss58(&self) -> String {
        let mut bytes = Vec::with_capacity(35);
        bytes.push(PREFIX);
        bytes.extend(self.0);
        bytes.extend(checksum(PREFIX, &self.0));
        bs58::encode(bytes).into_string()
    }

    /// The first characters of the ss58 form, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.ss58();
        text.truncate(8);
        text
    }
}

/// First two bytes of blake2b-512("SS58PRE" ‖ prefix ‖ key): the Substrate ss58 specification.
fn checksum(prefix: u8, key: &[u8; 32]) -> [u8; 2] {
    let hash = Blake2b512::new().chain_update(b"SS58PRE").chain_update([prefix]).chain_update(key).finalize();
    let [first, second, ..]: [u8; 64] = hash.into();
    [first, second]
}

impl FromStr for Hotkey {
    type Err = HotkeyError;
    fn from_str(text: &str) -> Result<Self, HotkeyError> {
        if text.len() != ADDRESS_LENGTH {
            return Err(HotkeyError::Length(text.chars().count()));
        }
        let mut bytes = [0; 35];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(35) => {}
            Ok(_) | Err(_) => return Err(HotkeyError::Base58),
        }
        let [prefix, key @ .., first, second] = bytes;
        if prefix != PREFIX {
            return Err(HotkeyError::Prefix(prefix));
        }
        if [first, second] != checksum(prefix, &key) {
            return Err(HotkeyError::Checksum);
        }
        Ok(Self(key))
    }
}

impl TryFrom<String> for Hotkey {
    type Error = HotkeyError;
    fn try_from(text: String) -> Result<Self, HotkeyError> {
        text.parse()
    }
}

impl From<Hotkey> for String {
    fn from(hotkey: Hotkey) -> Self {
        hotkey.ss58()
    }
}

impl fmt::Display for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ss58())
    }
}

impl fmt::Debug for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ss58())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// //Alice and //Bob of every Substrate development chain.
    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const ALICE_KEY: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

    #[test]
    fn well_known_address_decodes_to_its_key_and_back() {
        let alice: Hotkey = ALICE.parse().unwrap();
        assert_eq!(hex::encode(alice.0), ALICE_KEY);
        assert_eq!(alice.ss58(), ALICE);
        assert_eq!(serde_json::to_string(&alice).unwrap(), format!("\"{ALICE}\""));
    }

    #[test]
    fn each_defect_has_its_own_error() {
        assert_eq!("5Grwva".parse::<Hotkey>(), Err(HotkeyError::Length(6)));
        assert_eq!(ALICE.replace('G', "0").parse::<Hotkey>(), Err(HotkeyError::Base58));
        let swapped = format!("{}Z", &ALICE[..47]);
        assert_eq!(swapped.parse::<Hotkey>(), Err(HotkeyError::Checksum));
        // Alice on Kusama (prefix 2) is one character shorter; prefix 41 keeps the length.
        let mut bytes = [0; 35];
        bytes[0] = 41;
        bytes[33..].copy_from_slice(&checksum(41, &[0; 32]));
        let other = bs58::encode(bytes).into_string();
        assert!(matches!(other.parse::<Hotkey>(), Err(HotkeyError::Prefix(41) | HotkeyError::Length(_))));
    }

    proptest! {
        #[test]
        fn every_key_survives_its_text_form(key: [u8; 32]) {
            prop_assert_eq!(Hotkey(key).ss58().parse::<Hotkey>(), Ok(Hotkey(key)));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<Hotkey>();
        }
    }
}
