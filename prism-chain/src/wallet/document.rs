//! The JSON of a keyfile (bittensor-wallet, keyfile.rs: `serialized_keypair_to_keyfile_data`).
use super::{error::KeyfileError, secret::SecretKey};
use prism_core::Hotkey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// sr25519, as `cryptoType` has it.
const SR25519: u8 = 1;

/// What a keyfile holds.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one of them lives for a moment")]
pub(super) enum Held {
    Secret(SecretKey),
    Public(Hotkey),
}

/// All keys are optional, and older writers put `null` for what they don't have. Others are ignored.
#[derive(Default, Serialize, Deserialize, Zeroize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_phrase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<String>,
    #[serde(rename = "ss58Address", skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crypto_type: Option<u8>,
}

/// Reads a keyfile's JSON. The first of mnemonic, seed and private key that is there makes the key; what else is there must
/// be that key's.
pub(super) fn parse(bytes: &[u8]) -> Result<Held, KeyfileError> {
    // serde_json's own message may quote what it met.
    let document = serde_json::from_slice::<Document>(bytes)
        .map(Zeroizing::new)
        .map_err(|error| KeyfileError::Json { line: error.line(), column: error.column() })?;
    match document.crypto_type {
        None | Some(SR25519) => {}
        Some(other) => return Err(KeyfileError::CryptoType(other)),
    }
    let public = document.public()?;
    let Some(secret) = document.secret()? else {
        return public.map(|(_, hotkey)| Held::Public(hotkey)).ok_or(KeyfileError::NoKey);
    };
    match public {
        Some((field, hotkey)) if hotkey != secret.hotkey() => Err(KeyfileError::Mismatch(field)),
        _ => Ok(Held::Secret(secret)),
    }
}

/// The JSON of a secret key.
pub(super) fn secret(key: &SecretKey) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let mut document = Zeroizing::new(Document::of(&key.hotkey()));
    document.private_key = Some(prefixed(&key.private_key()));
    document.secret_phrase = key.phrase().map(str::to_owned);
    document.secret_seed = key.seed().map(|seed| prefixed(seed));
    document.write()
}

/// The JSON of a public key.
pub(super) fn public(hotkey: &Hotkey) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    Document::of(hotkey).write()
}

fn prefixed(bytes: &[u8]) -> String {
    let digits = Zeroizing::new(hex::encode(bytes));
    let mut text = String::with_capacity(digits.len() + 2);
    text.push_str("0x");
    text.push_str(&digits);
    text
}

impl Document {
    fn of(hotkey: &Hotkey) -> Self {
        Self {
            account_id: Some(prefixed(&hotkey.0)),
            public_key: Some(prefixed(&hotkey.0)),
            address: Some(hotkey.ss58()),
            crypto_type: Some(SR25519),
            ..Self::default()
        }
    }

    fn write(&self) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
        // Twice what the longest takes, so that the buffer never moves.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2048));
        // Texts and a number into memory: that can't fail.
        serde_json::to_writer(&mut *bytes, self).map_err(|_| KeyfileError::Unknown)?;
        Ok(bytes)
    }

    fn secret(&self) -> Result<Option<SecretKey>, KeyfileError> {
        if let Some(phrase) = &self.secret_phrase {
            return SecretKey::from_phrase(phrase, "").map(Some);
        }
        if let Some(seed) = &self.secret_seed {
            let seed = bytes::<32>("secretSeed", "32 bytes in hexadecimal", seed)?;
            return Ok(Some(SecretKey::from_seed(&seed)));
        }
        let Some(key) = &self.private_key else { return Ok(None) };
        let key = bytes::<64>("privateKey", "64 bytes in hexadecimal", key)?;
        SecretKey::from_private_key(&key).map(Some)
    }

    /// The public key, by all names it has here; which must agree.
    fn public(&self) -> Result<Option<(&'static str, Hotkey)>, KeyfileError> {
        let mut found: Option<(&'static str, Hotkey)> = None;
        let mut agree = |field, hotkey| match found {
            Some((_, other)) if other != hotkey => Err(KeyfileError::Mismatch(field)),
            _ => {
                found = Some((field, hotkey));
                Ok(())
            }
        };
        for (field, text) in [("publicKey", &self.public_key), ("accountId", &self.account_id)] {
            if let Some(text) = text {
                agree(field, Hotkey(*bytes::<32>(field, "32 bytes in hexadecimal", text)?))?;
            }
        }
        if let Some(text) = &self.address {
            let expected = "an ss58 address with prefix 42";
            let hotkey = text.parse().map_err(|_| KeyfileError::Field { field: "ss58Address", expected })?;
            agree("ss58Address", hotkey)?;
        }
        Ok(found)
    }
}

fn bytes<const N: usize>(
    field: &'static str,
    expected: &'static str,
    text: &str,
) -> Result<Zeroizing<[u8; N]>, KeyfileError> {
    let mut bytes = Zeroizing::new([0; N]);
    let decoded = hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut *bytes);
    decoded.map(|()| bytes).map_err(|_| KeyfileError::Field { field, expected })
}
