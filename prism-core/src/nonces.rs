//! Numbers used once. Needed below the store: requests are verified where the chain is known.
use crate::{error::Result, hotkey::Hotkey};
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc, time::SystemTime};

/// Remembers which nonces a hotkey has used.
///
/// 1. True exactly once per (hotkey, nonce) until `keep_until`, also when asked from many tasks at once.
/// 2. Hotkeys don't share nonces.
/// 3. Survives a restart of the store behind it.
/// 4. After `keep_until` a nonce may be forgotten: spending it again is no error, whichever the answer.
#[async_trait]
pub trait Nonces: Debug + Send + Sync + 'static {
    /// Whether this is the first use.
    async fn spend(&self, hotkey: Hotkey, nonce: &str, keep_until: SystemTime) -> Result<bool>;
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: Nonces + ?Sized> Nonces for $pointer<T> {
        async fn spend(&self, hotkey: Hotkey, nonce: &str, keep_until: SystemTime) -> Result<bool> {
            (**self).spend(hotkey, nonce, keep_until).await
        }
    }
)* } }
forward!(Box, Arc);
