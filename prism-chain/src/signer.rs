//! Keys that sign: the seam, and the sr25519 key pair that holds its secret in memory.
use async_trait::async_trait;
use prism_core::{Error, Fault, Hotkey, Kind};
use sp_core::{Pair as _, sr25519};
use std::{fmt, io::Read as _, path::Path, sync::Arc};
use subxt::{
    config::SubstrateConfig,
    utils::{AccountId32, MultiSignature},
};

/// Longest secret text that is read: 24 words and a derivation path are far below it.
const MAX_SECRET_BYTES: u64 = 4096;

/// Why a key can't be had, or doesn't sign. Never holds any of the secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no secret URI.
    #[error("secret is not a mnemonic, a 0x seed or a secret URI: {0}")]
    Secret(String),
    /// The file can't be read.
    #[error("key file {path} cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The signer gave a signature that its own public key doesn't verify.
    #[error("signer of {0} returned a signature that does not verify")]
    Signature(Hotkey),
    /// A signer that lives elsewhere said no.
    #[error("signer of {hotkey} failed: {reason}")]
    Remote {
        /// Whose key.
        hotkey: Hotkey,
        /// Why.
        reason: String,
    },
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let kind = match &error {
            KeyError::Secret(_) => Kind::Invalid,
            KeyError::File { .. } => Kind::NotFound,
            KeyError::Signature(_) => Kind::Corrupt,
            KeyError::Remote { .. } => Kind::Unavailable,
        };
        Self::new(kind, Fault::Validator, error.to_string())
    }
}

/// Signs with one sr25519 key, wherever that is kept.
///
/// 1. `hotkey` never changes.
/// 2. A signature verifies under `hotkey` over exactly the message given, in the signing context `substrate`.
#[async_trait]
pub trait Signer: fmt::Debug + Send + Sync + 'static {
    /// The public key.
    fn hotkey(&self) -> Hotkey;
    /// Signs a message.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;
}

#[async_trait]
impl<T: Signer + ?Sized> Signer for Arc<T> {
    fn hotkey(&self) -> Hotkey {
        (**self).hotkey()
    }
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        (**self).sign(message).await
    }
}

/// Whether this is the key's signature over the message: sr25519, context `substrate`, no `<Bytes>` wrapping.
#[must_use]
pub fn verify(hotkey: &Hotkey, message: &[u8], signature: &[u8; 64]) -> bool {
    sr25519::Pair::verify(&sr25519::Signature::from_raw(*signature), message, &sr25519::Public::from_raw(hotkey.0))
}

/// An sr25519 key pair in memory. Its secret is in no text form of it.
#[derive(Clone)]
pub struct Keypair(sr25519::Pair);

impl Keypair {
    /// From a Substrate secret URI: a mnemonic, a `0x` seed or `//Name`, with `//hard` and `/soft` derivations.
    ///
    /// # Errors
    /// `Secret`, which doesn't repeat the text.
    pub fn from_uri(uri: &str) -> Result<Self, KeyError> {
        match sr25519::Pair::from_string(uri.trim(), None) {
            Ok(pair) => Ok(Self(pair)),
            Err(error) => Err(KeyError::Secret(format!("{error:?}"))),
        }
    }

    /// From the 32 bytes of a mini secret key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(sr25519::Pair::from_seed(seed))
    }

    /// From a file that holds one secret URI.
    ///
    /// # Errors
    /// `File` when it can't be read or is longer than 4096 bytes; `Secret`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let file = |reason: String| KeyError::File { path: path.display().to_string(), reason };
        let mut text = String::new();
        let mut reader = std::fs::File::open(path).map_err(|e| file(e.to_string()))?.take(MAX_SECRET_BYTES + 1);
        reader.read_to_string(&mut text).map_err(|e| file(e.to_string()))?;
        if text.len() as u64 > MAX_SECRET_BYTES {
            return Err(file(format!("longer than {MAX_SECRET_BYTES} bytes")));
        }
        Self::from_uri(&text)
    }

    /// The public key.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        Hotkey(self.0.public().0)
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).0
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keypair").field(&self.hotkey()).finish()
    }
}

#[async_trait]
impl Signer for Keypair {
    fn hotkey(&self) -> Hotkey {
        Self::hotkey(self)
    }
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        Ok(Self::sign(self, message))
    }
}

/// For use with subxt itself, through [`ChainClient::subxt`](crate::client::ChainClient::subxt).
impl subxt::transactions::Signer<SubstrateConfig> for Keypair {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.hotkey().0)
    }
    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(Self::sign(self, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const ABANDON: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    /// Made with bittensor-core 0.1.5.
    #[test]
    fn keys_are_those_of_the_official_wallet() {
        let ss58 = |uri: &str| Keypair::from_uri(uri).unwrap().hotkey().ss58();
        assert_eq!(
            ss58("bottom drive obey lake curtain smoke basket hold race lonely fit walk"),
            "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"
        );
        assert_eq!(ss58(ABANDON), "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH");
        assert_eq!(ss58(&format!("{ABANDON}//1//hot")), "5GpHap37hDSxJzzYx8Lw455bkA99ig2KvsY35vyQQo8Wg1gj");
        assert_eq!(ss58(&format!("{ABANDON}/soft")), "5CnncmpEwiXZ6NwSoMKJEXzuXS3McuBgyw95jqPnpboek17x");
        assert_eq!(
            ss58("0x4ed8d4b17698ddeaa1f1559f152f87b5d472f725ca86d341bd0276f1b61197e2"),
            "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH"
        );
        assert_eq!(ss58("//Alice"), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn no_text_form_of_a_key_or_of_its_errors_holds_the_secret() {
        let key = Keypair::from_uri(ABANDON).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, "Keypair(5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH)");
        let error = Keypair::from_uri("abandon correct horse battery staple").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("horse"), "{error:?}");
    }

    #[test]
    fn a_signature_verifies_over_its_own_message_and_key_alone() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let bob = Keypair::from_uri("//Bob").unwrap();
        let signature = alice.sign(b"message");
        assert!(verify(&alice.hotkey(), b"message", &signature));
        assert!(!verify(&bob.hotkey(), b"message", &signature));
        assert!(!verify(&alice.hotkey(), b"massage", &signature));
        let wrapped = alice.sign(b"<Bytes>message</Bytes>");
        assert!(!verify(&alice.hotkey(), b"message", &wrapped));
    }

    #[test]
    fn a_key_file_may_end_with_a_newline_and_has_a_bounded_size() {
        let folder = std::env::temp_dir().join(format!("prism-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("hotkey");
        std::fs::write(&path, "//Alice\n").unwrap();
        assert_eq!(Keypair::from_file(&path).unwrap().hotkey(), Keypair::from_uri("//Alice").unwrap().hotkey());
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&vec![b'a'; 5000]).unwrap();
        assert!(Keypair::from_file(&path).unwrap_err().to_string().contains("longer than 4096 bytes"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(Keypair::from_file(&path), Err(KeyError::File { .. })));
    }
}
