//! Keys that sign: the seam, and the sr25519 key pair that holds its secret in memory. Keys on disk are
//! [`wallet`](crate::wallet)'s.
use async_trait::async_trait;
use prism_core::{Error, Fault, Hotkey, Kind};
use sp_core::{Pair as _, sr25519};
use std::{fmt, sync::Arc, time::Duration};
use subxt::{
    config::SubstrateConfig,
    utils::{AccountId32, MultiSignature},
};

/// The longest that a signer may take. One that asks a person has that long, too.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why a key can't be had, or doesn't sign. Never holds any of the secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no secret URI.
    #[error("secret is not a mnemonic, a 0x seed or a secret URI: {0}")]
    Secret(String),
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
    /// A signer that lives elsewhere did not answer.
    #[error("signer of {hotkey} did not answer within {after:?}")]
    Deadline {
        /// Whose key.
        hotkey: Hotkey,
        /// The deadline.
        after: Duration,
    },
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let kind = match &error {
            KeyError::Secret(_) => Kind::Invalid,
            KeyError::Signature(_) => Kind::Corrupt,
            KeyError::Remote { .. } => Kind::Unavailable,
            KeyError::Deadline { .. } => Kind::Deadline,
        };
        Self::new(kind, Fault::Validator, error.to_string())
    }
}

/// Signs with one sr25519 key, wherever that is kept: in this process, in a daemon, on a device.
///
/// 1. `hotkey` never changes.
/// 2. A signature verifies under `hotkey` over exactly the message given, in the signing context `substrate`.
/// 3. Dropping the future of `sign` leaves the signer usable.
///
/// [`sign_checked`] holds a signer to 2, and to a deadline.
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

/// Signs, waits at most a minute, and doesn't believe the answer before it verifies: what leaves this machine under a
/// hotkey is signed by that hotkey.
///
/// # Errors
/// Those of the signer; `Deadline`; `Signature`.
pub async fn sign_checked(signer: &dyn Signer, message: &[u8]) -> Result<[u8; 64], KeyError> {
    let hotkey = signer.hotkey();
    let signature = tokio::time::timeout(DEADLINE, signer.sign(message)).await;
    let signature = signature.map_err(|_| KeyError::Deadline { hotkey, after: DEADLINE })??;
    if verify(&hotkey, message, &signature) { Ok(signature) } else { Err(KeyError::Signature(hotkey)) }
}

/// Whether this is the key's signature over the message: sr25519, context `substrate`, no `<Bytes>` wrapping.
#[must_use]
pub fn verify(hotkey: &Hotkey, message: &[u8], signature: &[u8; 64]) -> bool {
    sr25519::Pair::verify(&sr25519::Signature::from_raw(*signature), message, &sr25519::Public::from_raw(hotkey.0))
}

/// An sr25519 key pair in memory. Its secret is in no text form of it.
#[derive(Clone)]
pub struct Keypair(pub(crate) sr25519::Pair);

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
    use tokio::sync::{mpsc, oneshot};

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

    /// A key in another task, as one in another process or on another machine would be: messages go out, signatures come
    /// back, the secret stays. What it answers is the other side's word.
    #[derive(Debug)]
    struct Remote {
        hotkey: Hotkey,
        requests: mpsc::Sender<(Vec<u8>, oneshot::Sender<[u8; 64]>)>,
    }

    impl Remote {
        fn serving(hotkey: Hotkey, key: Keypair) -> Self {
            let (requests, mut incoming) = mpsc::channel::<(Vec<u8>, oneshot::Sender<[u8; 64]>)>(1);
            tokio::spawn(async move {
                while let Some((message, answer)) = incoming.recv().await {
                    if message != b"poison" {
                        let _ = answer.send(key.sign(&message));
                    }
                }
            });
            Self { hotkey, requests }
        }
    }

    #[async_trait]
    impl Signer for Remote {
        fn hotkey(&self) -> Hotkey {
            self.hotkey
        }
        async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
            let gone = |reason: &str| KeyError::Remote { hotkey: self.hotkey, reason: reason.to_owned() };
            let (answer, signature) = oneshot::channel();
            let sent = self.requests.send((message.to_vec(), answer)).await;
            sent.map_err(|_| gone("it is not running"))?;
            signature.await.map_err(|_| gone("it refused to sign"))
        }
    }

    #[tokio::test]
    async fn a_key_that_lives_elsewhere_signs_like_one_that_lives_here() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let remote: Arc<dyn Signer> = Arc::new(Remote::serving(alice.hotkey(), alice.clone()));
        let signature = sign_checked(&remote, b"message").await.unwrap();
        assert!(verify(&alice.hotkey(), b"message", &signature));
        assert!(matches!(sign_checked(&remote, b"poison").await, Err(KeyError::Remote { .. })));
        assert!(sign_checked(&remote, b"message").await.is_ok(), "after a refusal");
    }

    #[tokio::test]
    async fn a_signer_with_another_key_is_not_believed() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let remote = Remote::serving(alice.hotkey(), Keypair::from_uri("//Mallory").unwrap());
        let error = sign_checked(&remote, b"message").await.unwrap_err();
        assert!(matches!(error, KeyError::Signature(hotkey) if hotkey == alice.hotkey()), "{error}");
    }
}
