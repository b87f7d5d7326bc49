//! Taking submissions in over HTTP.
//!
//! Checks go from cheap to dear, and nothing is believed before its turn: size, shape, registration, freshness, signature,
//! nonce, quota, the bundle itself (read, never run), then one transaction that spends the nonce and accepts. A request whose
//! signature is good spends its nonce, accepted or not, so that nobody can have it refused twice; anything before leaves no
//! trace.
#[cfg(test)]
mod bundle_tests;
mod error;
mod precheck;
mod registered;
mod request;
mod source;
#[cfg(test)]
mod tests;

pub use error::IntakeError;
pub(crate) use error::refusal;
pub use precheck::Precheck;
pub use request::HEADER_NAME;
pub use source::IntakeSource;

use crate::{
    deadline::within,
    store::{
        Store,
        intake::{Arrival, NotAccepted},
    },
    wire::{Accepted, MAX_BODY_BYTES},
};
use axum::{body::Body, extract::Request};
use prism_chain::request::{RequestError, Verifier, VerifierLimits};
use prism_core::{
    Artifacts, ChainView, Clock, Digest, Hotkey, Netuid, Nonces, artifacts::ArtifactsExt, submission::SubmissionStatus,
};
use registered::Registered;
use request::{Claim, Head, read_body};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// How often expired nonces are forgotten.
const PURGE: Duration = Duration::from_secs(60);
/// How many of them at a time.
const PURGE_MOST: u32 = 10_000;

/// How much is taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Longest body, bytes.
    pub body: usize,
    /// Requests that are read and checked at the same time.
    pub concurrent: usize,
    /// Longest time for one request, reading included.
    pub deadline: Duration,
    /// Submissions of one hotkey in one cohort.
    pub quota: u32,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self { body: MAX_BODY_BYTES, concurrent: 16, deadline: Duration::from_secs(30), quota: 8 }
    }
}

/// What an intake is made of.
#[derive(Debug, Clone)]
pub struct IntakeParts {
    /// The subnet that hotkeys must be registered on.
    pub netuid: Netuid,
    /// Who reads the chain.
    pub chain: Arc<dyn ChainView>,
    /// Where accepted requests and nonces are kept.
    pub store: Store,
    /// Where bundles are kept.
    pub artifacts: Arc<dyn Artifacts>,
    /// Who reads bundles.
    pub precheck: Arc<dyn Precheck>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The validator's hotkey: receiver of `btauth/1` requests, and not allowed to submit. Without it that scheme is
    /// refused.
    pub validator: Option<Hotkey>,
    /// How much is taken in.
    pub limits: IntakeLimits,
}

/// Takes submissions in. Clones share everything.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: IntakeParts,
    registered: Registered,
    permits: Semaphore,
    verifier: Verifier,
    /// When expired nonces were last forgotten, on the clock's monotonic time.
    purged: Mutex<Duration>,
}

impl Intake {
    /// Where bundles are kept, and what is published by digest.
    pub(crate) fn artifacts(&self) -> &dyn Artifacts {
        &*self.0.parts.artifacts
    }

    /// An intake of these parts.
    #[must_use]
    pub fn new(parts: IntakeParts) -> Self {
        let registered = Registered::new(Arc::clone(&parts.chain), parts.netuid, Arc::clone(&parts.clock));
        let IntakeLimits { concurrent, deadline, .. } = parts.limits;
        let permits = Semaphore::new(concurrent);
        let verifier = Verifier::new(VerifierLimits { pending: concurrent, deadline, ..VerifierLimits::default() });
        let purged = Mutex::new(parts.clock.monotonic());
        Self(Arc::new(Inner { parts, registered, permits, verifier, purged }))
    }

    /// Takes one request in.
    ///
    /// # Errors
    /// The first check that fails.
    pub async fn submit(&self, request: Request<Body>) -> Result<Accepted, IntakeError> {
        let IntakeLimits { deadline, concurrent, body: most, .. } = self.0.parts.limits;
        let Ok(_permit) = self.0.permits.try_acquire() else { return Err(IntakeError::Busy { most: concurrent }) };
        let (head, body) = request.into_parts();
        let head = Head { method: head.method, uri: head.uri, headers: head.headers };
        let work = async {
            let body = read_body(&head.headers, body, most).await?;
            self.purge().await?;
            self.take(&head, &body).await
        };
        let answer = within(&*self.0.parts.clock, deadline, work).await;
        answer.unwrap_or(Err(IntakeError::Deadline(deadline)))
    }

    async fn take(&self, head: &Head, body: &[u8]) -> Result<Accepted, IntakeError> {
        let parts = &self.0.parts;
        let claim = Claim::parse(head, body)?;
        let hotkey = claim.hotkey();
        if parts.validator == Some(hotkey) {
            return Err(IntakeError::OwnHotkey(hotkey));
        }
        let block = self.0.registered.check(hotkey).await?;
        let now = parts.clock.now();
        self.0.verifier.check(claim.proof(head, parts.validator, now)?).await?;
        if parts.store.is_spent(hotkey, &claim.nonce()).await? {
            return Err(RequestError::NonceReused.into());
        }
        let would_refuse = parts.store.would_refuse(hotkey, Digest::of(&claim.bundle), parts.limits.quota).await?;
        if let Some(why) = would_refuse {
            self.spend(&claim).await?;
            return Err(not_accepted(why));
        }
        let kind = match parts.precheck.check(&claim.bundle).await {
            Ok(kind) => kind,
            Err(error) => {
                if !error.status().is_server_error() {
                    self.spend(&claim).await?;
                }
                return Err(error);
            }
        };
        let archive = parts.artifacts.keep_bytes(&claim.bundle).await.map_err(IntakeError::Artifacts)?;
        let arrival = Arrival {
            hotkey,
            nonce: claim.nonce(),
            keep_nonce_until: claim.keep_nonce_until(now),
            name: claim.name.clone(),
            kind,
            archive,
            bytes: claim.bundle.len() as u64,
            block,
            quota: parts.limits.quota,
            received_at: now,
        };
        let record = parts.store.accept(arrival).await?.map_err(not_accepted)?;
        let id = record.submission.id;
        tracing::info!(submission = %id, %hotkey, ?kind, "submission accepted");
        Ok(Accepted { id, hotkey, kind, status: SubmissionStatus::Pending })
    }

    /// Forgets nonces whose requests are stale anyway, now and then.
    async fn purge(&self) -> Result<(), IntakeError> {
        let parts = &self.0.parts;
        let now = parts.clock.monotonic();
        {
            let mut purged = self.0.purged.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(*purged) < PURGE {
                return Ok(());
            }
            *purged = now;
        }
        parts.store.purge_nonces(parts.clock.now(), PURGE_MOST).await?;
        Ok(())
    }

    async fn spend(&self, claim: &Claim) -> Result<(), IntakeError> {
        let keep_until = claim.keep_nonce_until(self.0.parts.clock.now());
        match self.0.parts.store.spend(claim.hotkey(), &claim.nonce(), keep_until).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RequestError::NonceReused.into()),
            Err(error) => Err(IntakeError::Check(error)),
        }
    }
}

fn not_accepted(why: NotAccepted) -> IntakeError {
    match why {
        NotAccepted::NonceReused => RequestError::NonceReused.into(),
        NotAccepted::Duplicate(id) => IntakeError::Duplicate(id),
        NotAccepted::QuotaExhausted { quota } => IntakeError::Quota { quota },
    }
}
