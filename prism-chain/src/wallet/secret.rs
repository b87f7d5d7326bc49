//! A secret key with what it was made from.
use super::error::KeyfileError;
use crate::signer::Keypair;
use prism_core::Hotkey;
use sp_core::{Pair as _, sr25519};
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// How long a new mnemonic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
    /// 128 bits, the custom.
    #[default]
    Twelve,
    /// 256 bits.
    TwentyFour,
}

/// An sr25519 secret key, and the mnemonic or seed behind it where there is one. Wiped when dropped; its text form is its
/// address.
pub struct SecretKey {
    pair: Keypair,
    phrase: Option<Zeroizing<String>>,
    seed: Option<Zeroizing<[u8; 32]>>,
}

impl SecretKey {
    /// A new key, from the system's randomness.
    #[must_use]
    pub fn generate(words: Words) -> Self {
        match words {
            Words::Twelve => {
                let (pair, phrase, seed) = sr25519::Pair::generate_with_phrase(None);
                Self::of(pair, Some(Zeroizing::new(phrase)), seed)
            }
            Words::TwentyFour => Self::generate_longer(),
        }
    }

    /// From a mnemonic of 12, 15, 18, 21 or 24 English words (BIP-39, with Substrate's own way from words to key), and a
    /// path of `//hard` and `/soft` junctions, which may be empty.
    ///
    /// # Errors
    /// `Phrase` and `Path`, which don't repeat the text.
    pub fn from_phrase(phrase: &str, path: &str) -> Result<Self, KeyfileError> {
        let words: Vec<&str> = phrase.split_whitespace().collect();
        if words.len() > 24 || words.iter().any(|word| word.contains('/')) {
            return Err(KeyfileError::Phrase);
        }
        let phrase = Zeroizing::new(words.join(" "));
        let (pair, seed) = sr25519::Pair::from_phrase(&phrase, None).map_err(|_| KeyfileError::Phrase)?;
        let root = Self::of(pair, Some(phrase), seed);
        if path.is_empty() { Ok(root) } else { root.derive(path) }
    }

    /// From the 32 bytes of a mini secret key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::of(sr25519::Pair::from_seed(seed), None, *seed)
    }

    /// From the 64 bytes of an expanded key: scalar, then nonce seed.
    ///
    /// # Errors
    /// `Field` when the first half is no scalar.
    pub fn from_private_key(bytes: &[u8; 64]) -> Result<Self, KeyfileError> {
        let wrong = KeyfileError::Field { field: "privateKey", expected: "64 bytes of an sr25519 key in hexadecimal" };
        let pair = sr25519::Pair::from_seed_slice(bytes).map_err(|_| wrong)?;
        Ok(Self { pair: Keypair(pair), phrase: None, seed: None })
    }

    /// From a secret URI: a mnemonic, a `0x` seed or nothing (the development mnemonic), then a path.
    ///
    /// # Errors
    /// `Phrase`, `Field` and `Path`, which don't repeat the text.
    pub fn from_uri(uri: &str) -> Result<Self, KeyfileError> {
        let uri = uri.trim();
        let (root, path) = uri.split_at(uri.find('/').unwrap_or(uri.len()));
        if root.is_empty() && !path.is_empty() {
            return Self::from_phrase(sp_core::crypto::DEV_PHRASE, path);
        }
        let Some(digits) = root.strip_prefix("0x") else { return Self::from_phrase(root, path) };
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, &mut *seed)
            .map_err(|_| KeyfileError::Field { field: "secretSeed", expected: "32 bytes in hexadecimal" })?;
        let root = Self::from_seed(&seed);
        if path.is_empty() { Ok(root) } else { root.derive(path) }
    }

    /// The key at a path of `//hard` and `/soft` junctions below this one. A mnemonic alone doesn't lead there, so it is
    /// not kept; a seed is, where all junctions are hard.
    ///
    /// # Errors
    /// `Path`.
    pub fn derive(&self, path: &str) -> Result<Self, KeyfileError> {
        // Three slashes would begin a password.
        let empty = path.split('/').skip(1).collect::<Vec<_>>().windows(2).any(|two| two == ["", ""]);
        if !path.starts_with('/') || path.ends_with('/') || empty || path.contains(char::is_whitespace) {
            return Err(KeyfileError::Path);
        }
        let junctions = path.parse::<sp_core::crypto::SecretUri>().map_err(|_| KeyfileError::Path)?.junctions;
        let seed = self.seed.as_deref().copied();
        let (pair, seed) = self.pair.0.derive(junctions.into_iter(), seed).map_err(|_| KeyfileError::Path)?;
        Ok(Self { pair: Keypair(pair), phrase: None, seed: seed.map(Zeroizing::new) })
    }

    /// The key that signs.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        &self.pair
    }

    /// The public key.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        self.pair.hotkey()
    }

    /// The mnemonic that this very key comes from, for its owner to write down.
    #[must_use]
    pub fn phrase(&self) -> Option<&str> {
        self.phrase.as_deref().map(String::as_str)
    }

    pub(super) fn seed(&self) -> Option<&[u8; 32]> {
        self.seed.as_deref()
    }

    /// The expanded key.
    pub(super) fn private_key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.pair.0.to_raw_vec())
    }

    /// `sp_core` makes mnemonics of twelve words only. Their first eleven are independent and uniform; the last holds the
    /// checksum. 23 such words have eight of 2048 that complete them: the first of these to be drawn is as likely as any.
    fn generate_longer() -> Self {
        let mut draw =
            std::iter::repeat_with(|| Zeroizing::new(sr25519::Pair::generate_with_phrase(None).1)).flat_map(|phrase| {
                phrase.split(' ').take(11).map(|word| Zeroizing::new(word.to_owned())).collect::<Vec<_>>()
            });
        // The longest word has eight letters.
        let mut phrase = Zeroizing::new(String::with_capacity(24 * 9));
        for word in draw.by_ref().take(23) {
            phrase.push_str(&word);
            phrase.push(' ');
        }
        let head = phrase.len();
        loop {
            phrase.truncate(head);
            phrase.extend(draw.next().iter().map(|word| word.as_str()));
            if let Ok(key) = Self::from_phrase(&phrase, "") {
                return key;
            }
        }
    }

    fn of(pair: sr25519::Pair, phrase: Option<Zeroizing<String>>, mut seed: [u8; 32]) -> Self {
        let kept = Zeroizing::new(seed);
        seed.zeroize();
        Self { pair: Keypair(pair), phrase, seed: Some(kept) }
    }
}

impl From<SecretKey> for Keypair {
    fn from(key: SecretKey) -> Self {
        key.pair
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretKey").field(&self.hotkey()).finish()
    }
}
