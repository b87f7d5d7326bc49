//! Checking signatures without letting them take the machine: so many at once, so many waiting, none for long.
use super::{Proof, RequestError};
use prism_core::{Error, Fault, Hotkey, Kind, Nonces, Retry};
use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How much is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierLimits {
    /// Signatures that are checked at the same time, each on a thread. Default one per core.
    pub workers: usize,
    /// Signatures that are being checked or wait for it. Default 64.
    pub pending: usize,
    /// Longest time from the call to the answer. Default 5 s.
    pub deadline: Duration,
}

impl Default for VerifierLimits {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { workers, pending: 64, deadline: Duration::from_secs(5) }
    }
}

/// Why a request was not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The request isn't what it claims to be.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// As many as may wait are waiting; the same request may be good in a moment.
    #[error("{most} signatures are waiting to be checked, no more are at once")]
    Busy {
        /// How many.
        most: usize,
    },
    /// It was not this request's turn in time.
    #[error("signature was not checked within {0:?}")]
    Deadline(Duration),
    /// The runtime is shutting down.
    #[error("signatures are not checked any more")]
    Stopped,
    /// The store of nonces.
    #[error("nonce can't be spent at this moment")]
    Nonces(#[source] Error),
}

impl From<VerifyError> for Error {
    fn from(error: VerifyError) -> Self {
        let text = error.to_string();
        let again = Retry::After(Duration::from_secs(1));
        match error {
            VerifyError::Request(error) => error.into(),
            VerifyError::Nonces(error) => error,
            VerifyError::Busy { .. } => Self::new(Kind::Limit, Fault::Infrastructure, text).retry(again),
            VerifyError::Deadline(_) => Self::new(Kind::Deadline, Fault::Infrastructure, text).retry(again),
            VerifyError::Stopped => Self::new(Kind::Cancelled, Fault::Validator, text),
        }
    }
}

/// Checks signatures on threads of its own, within limits. Clones share them. Needs a tokio runtime.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: VerifierLimits,
    pending: Semaphore,
    workers: Arc<Semaphore>,
}

impl Verifier {
    /// A verifier within these limits; each is at least one.
    #[must_use]
    pub fn new(limits: VerifierLimits) -> Self {
        let permits = |count: usize| count.clamp(1, Semaphore::MAX_PERMITS);
        let (pending, workers) = (Semaphore::new(permits(limits.pending)), Semaphore::new(permits(limits.workers)));
        Self(Arc::new(Inner { limits, pending, workers: Arc::new(workers) }))
    }

    /// Checks one signature.
    ///
    /// # Errors
    /// `Busy` at once; `Deadline`; `Request` with `WeakKey` or `Signature`.
    pub async fn check(&self, proof: Proof) -> Result<(), VerifyError> {
        let Inner { limits, pending, workers } = &*self.0;
        let Ok(_pending) = pending.try_acquire() else { return Err(VerifyError::Busy { most: limits.pending }) };
        let work = async {
            let worker = Arc::clone(workers).acquire_owned().await.map_err(|_| VerifyError::Stopped)?;
            let checked = spawn_blocking(move || {
                let checked = proof.check();
                // Given back here, not by the caller: who gives up waiting doesn't stop the thread.
                drop(worker);
                checked
            });
            Ok(checked.await.map_err(|_| VerifyError::Stopped)??)
        };
        timeout(limits.deadline, work).await.unwrap_or(Err(VerifyError::Deadline(limits.deadline)))
    }

    /// Checks one signature, then spends the request's nonce.
    ///
    /// # Errors
    /// Those of [`Verifier::check`]; `Request` with `NonceReused`; `Nonces`.
    pub async fn admit(
        &self,
        proof: Proof,
        nonces: &dyn Nonces,
        nonce: &str,
        keep_until: SystemTime,
    ) -> Result<Hotkey, VerifyError> {
        let hotkey = proof.hotkey();
        self.check(proof).await?;
        if nonces.spend(hotkey, nonce, keep_until).await.map_err(VerifyError::Nonces)? {
            Ok(hotkey)
        } else {
            Err(RequestError::NonceReused.into())
        }
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new(VerifierLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Keypair;
    use prism_core::testing::fakes::{ManualClock, MemoryNonces};
    use std::{future::Future as _, pin::pin, task::Context};

    fn proof(text: &str) -> Proof {
        let alice = Keypair::from_uri("//Alice").unwrap();
        Proof::new(alice.hotkey(), text.to_owned(), alice.sign(b"text"))
    }

    fn memory() -> MemoryNonces {
        MemoryNonces::new(Arc::new(ManualClock::new(SystemTime::now())))
    }

    fn one_at_a_time() -> Verifier {
        Verifier::new(VerifierLimits { workers: 1, pending: 1, deadline: Duration::from_millis(50) })
    }

    #[tokio::test]
    async fn a_nonce_is_spent_after_the_signature_is_found_good_and_once() {
        let (verifier, nonces) = (Verifier::default(), memory());
        let until = SystemTime::now() + Duration::from_secs(60);
        let forged = verifier.admit(proof("other"), &nonces, "1", until).await;
        assert!(matches!(forged, Err(VerifyError::Request(RequestError::Signature))), "{forged:?}");
        let alice = verifier.admit(proof("text"), &nonces, "1", until).await.unwrap();
        assert_eq!(alice, Keypair::from_uri("//Alice").unwrap().hotkey());
        let again = verifier.admit(proof("text"), &nonces, "1", until).await;
        assert!(matches!(again, Err(VerifyError::Request(RequestError::NonceReused))), "{again:?}");
    }

    #[tokio::test]
    async fn who_finds_no_place_to_wait_is_told_at_once() {
        let verifier = one_at_a_time();
        let worker = verifier.0.workers.acquire().await.unwrap();
        let mut waiting = pin!(verifier.check(proof("text")));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(futures::task::noop_waker_ref())).is_pending());
        let busy = verifier.check(proof("text")).await.unwrap_err();
        assert!(matches!(busy, VerifyError::Busy { most: 1 }), "{busy}");
        let busy = Error::from(busy);
        assert_eq!((busy.kind(), busy.retry_class()), (Kind::Limit, Retry::After(Duration::from_secs(1))));
        drop(worker);
        waiting.await.unwrap();
        verifier.check(proof("text")).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_too_long_is_sent_away_and_leaves_the_place_free() {
        let verifier = one_at_a_time();
        let worker = verifier.0.workers.acquire().await.unwrap();
        let late = verifier.check(proof("text")).await.unwrap_err();
        assert!(matches!(late, VerifyError::Deadline(_)), "{late}");
        drop(worker);
        verifier.check(proof("text")).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_at_once_are_each_answered_for_themselves() {
        let verifier = Verifier::new(VerifierLimits { pending: 200, ..VerifierLimits::default() });
        let checks = (0..200).map(|n| verifier.check(proof(if n % 2 == 0 { "text" } else { "other" })));
        for (n, answer) in futures::future::join_all(checks).await.into_iter().enumerate() {
            assert_eq!(answer.is_ok(), n % 2 == 0, "{n}");
        }
    }
}
