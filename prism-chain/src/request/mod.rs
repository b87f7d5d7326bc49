//! Signed requests: who sent these bytes, when, and never twice.
//!
//! Three forms are understood. The PRISM forms sign one line, `prism:{hotkey}:{nonce}:{timestamp}:{sha256hex}`, over the
//! decoded bundle (JSON form) or the raw body (header form); [`btauth`] is the official SDK's scheme. The order of checks is
//! the same for all: shape, freshness, signature, and last the nonce, so that nobody can spend another's nonces. A
//! [`Verifier`] keeps the third from taking more of the machine than it may.
pub mod btauth;
mod prism;
mod shape;
mod verifier;

pub use prism::{HEADER_HOTKEY, HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIMESTAMP, Signed, Unsigned, WINDOW};
pub use verifier::{Verifier, VerifierLimits, VerifyError};

use crate::signer::verify;
use prism_core::{Error, Fault, Hotkey, Kind, hotkey::HotkeyError};

/// Why a request isn't what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A header or field is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A header is there more than once.
    #[error("`{0}` is given more than once")]
    Repeated(&'static str),
    /// A field has another shape than the scheme says.
    #[error("`{field}` must be {expected}")]
    Shape {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A hotkey that is no address.
    #[error("`{field}`: {source}")]
    Hotkey {
        /// Which field.
        field: &'static str,
        /// Why.
        source: HotkeyError,
    },
    /// The identity key, for which anyone can sign.
    #[error("hotkey is the identity point, which proves nobody")]
    WeakKey,
    /// Signed too long ago.
    #[error("signature is {age} s old, at most {most} s are accepted")]
    Stale {
        /// Its age, seconds.
        age: u64,
        /// The window, seconds.
        most: u64,
    },
    /// Signed in the future: the sender's clock or ours is wrong.
    #[error("timestamp lies {ahead} s in the future, at most {most} s are accepted")]
    Future {
        /// How far, seconds.
        ahead: u64,
        /// The window, seconds.
        most: u64,
    },
    /// Meant for somebody else.
    #[error("request is bound to another receiver")]
    Receiver,
    /// The signature is not the hotkey's over these bytes.
    #[error("signature does not match the hotkey and the bytes sent")]
    Signature,
    /// Seen before.
    #[error("nonce was used before")]
    NonceReused,
}

impl RequestError {
    /// The rule's stable name.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Missing(_) => "request.missing",
            Self::Repeated(_) => "request.repeated",
            Self::Shape { .. } => "request.shape",
            Self::Hotkey { .. } => "request.hotkey",
            Self::WeakKey => "request.weak_key",
            Self::Stale { .. } => "request.stale",
            Self::Future { .. } => "request.future",
            Self::Receiver => "request.receiver",
            Self::Signature => "request.signature",
            Self::NonceReused => "request.nonce",
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        let kind = match error {
            RequestError::NonceReused => Kind::Conflict,
            RequestError::Stale { .. }
            | RequestError::Future { .. }
            | RequestError::Receiver
            | RequestError::Signature
            | RequestError::WeakKey => Kind::Refused,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Miner, error.to_string())
    }
}

/// A signature that is yet to be checked, of a request that is right in everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    hotkey: Hotkey,
    message: String,
    signature: [u8; 64],
}

impl Proof {
    pub(crate) fn new(hotkey: Hotkey, message: String, signature: [u8; 64]) -> Self {
        Self { hotkey, message, signature }
    }

    /// Who is said to have signed.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        self.hotkey
    }

    /// Whether this is the key's sr25519 signature over exactly these bytes (context `substrate`, no `<Bytes>` wrapping).
    /// Some 50 µs of one core; a [`Verifier`] bounds how much of that is done at once.
    ///
    /// # Errors
    /// `WeakKey` and `Signature`.
    pub fn check(&self) -> Result<(), RequestError> {
        // The ristretto group has prime order: its identity, all zeros, is the only key that verifies what anyone signs.
        if self.hotkey.0 == [0; 32] {
            return Err(RequestError::WeakKey);
        }
        if verify(&self.hotkey, self.message.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(RequestError::Signature)
        }
    }
}
