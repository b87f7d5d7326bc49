//! A miner: packs a bundle, signs it, sends it, and asks what became of it.
mod folder;

pub use folder::{PackError, pack_folder};

use crate::wire::{Accepted, Curve, Refused, SubmissionRequest, SubmissionView};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prism_chain::{
    request::Unsigned,
    signer::{Signer, sign_checked},
};
use prism_core::{Clock, Digest, Error, Fault, Kind, Retry, SubmissionId};
use reqwest::{Client, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use url::Url;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for a whole answer; a bundle may take a while on a slow line.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why a validator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MinerError {
    /// The address is no HTTP URL.
    #[error("validator address {address:?} is not an http or https URL")]
    Address {
        /// As given.
        address: String,
    },
    /// The key did not sign.
    #[error("request not signed")]
    Sign(#[from] prism_chain::signer::KeyError),
    /// No random nonce could be drawn.
    #[error("no random nonce: {0}")]
    Nonce(getrandom::Error),
    /// The validator could not be reached, or did not answer in time.
    #[error("validator at {address} did not answer")]
    Unreachable {
        /// Where.
        address: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// The validator said no.
    #[error("refused with {status} by rule {}: {}", .refused.error.rule, .refused.error.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        refused: Refused,
    },
    /// The answer is not what the protocol says.
    #[error("answer of {address} with status {status} is not understood: {reason}")]
    Answer {
        /// Where.
        address: Url,
        /// The HTTP status.
        status: u16,
        /// Why.
        reason: String,
    },
}

impl From<MinerError> for Error {
    fn from(error: MinerError) -> Self {
        let (kind, fault, retry) = match &error {
            MinerError::Address { .. } => (Kind::Invalid, Fault::Miner, Retry::Never),
            MinerError::Sign(_) | MinerError::Nonce(_) => (Kind::Unavailable, Fault::Miner, Retry::Never),
            MinerError::Unreachable { .. } => {
                (Kind::Unavailable, Fault::Infrastructure, Retry::After(Duration::from_secs(5)))
            }
            MinerError::Refused { status: 429 | 503, .. } => {
                (Kind::Refused, Fault::Policy, Retry::After(Duration::from_secs(60)))
            }
            MinerError::Refused { .. } => (Kind::Refused, Fault::Miner, Retry::Never),
            MinerError::Answer { .. } => (Kind::Corrupt, Fault::Infrastructure, Retry::Never),
        };
        Self::new(kind, fault, error.to_string()).because(error).retry(retry)
    }
}

/// A miner that talks to one validator.
#[derive(Debug, Clone)]
pub struct Miner {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    validator: Url,
    http: Client,
}

impl Miner {
    /// A miner with a key, and the address of a validator, as in `http://host:port`.
    ///
    /// # Errors
    /// `Address`; `Unreachable` when no HTTP client can be made.
    pub fn new(signer: Arc<dyn Signer>, clock: Arc<dyn Clock>, validator: &str) -> Result<Self, MinerError> {
        let address = || MinerError::Address { address: validator.to_owned() };
        let validator = Url::parse(validator).map_err(|_| address())?;
        if !matches!(validator.scheme(), "http" | "https") || validator.cannot_be_a_base() {
            return Err(address());
        }
        crate::tls::provide();
        // A redirect could lead a signed body elsewhere.
        let http =
            Client::builder().connect_timeout(CONNECT).timeout(ANSWER).redirect(reqwest::redirect::Policy::none());
        let http = http.build().map_err(|source| MinerError::Unreachable { address: validator.clone(), source })?;
        Ok(Self { signer, clock, validator, http })
    }

    /// Signs a bundle, under a fresh random nonce.
    ///
    /// # Errors
    /// `Sign` and `Nonce`.
    pub async fn sign(&self, bundle: &[u8], name: Option<&str>) -> Result<SubmissionRequest, MinerError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(MinerError::Nonce)?;
        let request = Unsigned::new(self.signer.hotkey(), hex::encode(nonce), self.clock.now(), Digest::of(bundle));
        let signature = sign_checked(&self.signer, request.line().as_bytes()).await?;
        Ok(SubmissionRequest {
            hotkey: request.hotkey.ss58(),
            signature: hex::encode(signature),
            timestamp: request.timestamp,
            nonce: request.nonce,
            code: STANDARD.encode(bundle),
            name: name.map(str::to_owned),
        })
    }

    /// Sends a signed request.
    ///
    /// # Errors
    /// `Refused` with the validator's rule; `Unreachable`, `Answer`.
    pub async fn send<B: Serialize + Sync>(&self, request: &B) -> Result<Accepted, MinerError> {
        let url = self.url("v1/submissions");
        let sent = self.http.post(url.clone()).json(request).send().await;
        read(url, sent).await
    }

    /// Signs a bundle and sends it.
    ///
    /// # Errors
    /// Those of [`Miner::sign`] and [`Miner::send`].
    pub async fn submit(&self, bundle: &[u8], name: Option<&str>) -> Result<Accepted, MinerError> {
        let request = self.sign(bundle, name).await?;
        self.send(&request).await
    }

    /// What became of a submission.
    ///
    /// # Errors
    /// `Refused` when it is not known; `Unreachable`, `Answer`.
    pub async fn status(&self, id: SubmissionId) -> Result<SubmissionView, MinerError> {
        self.get(&format!("v1/submissions/{id}")).await
    }

    /// How a submission learned.
    ///
    /// # Errors
    /// As [`Miner::status`].
    pub async fn curve(&self, id: SubmissionId) -> Result<Curve, MinerError> {
        self.get(&format!("v1/submissions/{id}/curve")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, MinerError> {
        let url = self.url(path);
        let sent = self.http.get(url.clone()).send().await;
        read(url, sent).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.validator.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }
}

/// Reads an answer, at most [`MAX_ANSWER_BYTES`] of it.
async fn read<T: DeserializeOwned>(address: Url, sent: reqwest::Result<Response>) -> Result<T, MinerError> {
    let unreachable = |source| MinerError::Unreachable { address: address.clone(), source };
    let mut response = sent.map_err(unreachable)?;
    let status = response.status();
    let answer = |reason: String| MinerError::Answer { address: address.clone(), status: status.as_u16(), reason };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(answer(format!("longer than {MAX_ANSWER_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status == StatusCode::OK || status == StatusCode::ACCEPTED {
        return serde_json::from_slice(&body).map_err(|e| answer(e.to_string()));
    }
    match serde_json::from_slice(&body) {
        Ok(refused) => Err(MinerError::Refused { status: status.as_u16(), refused }),
        Err(error) => Err(answer(error.to_string())),
    }
}
