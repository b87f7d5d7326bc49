//! Numbers used once, kept as long as a request that carries them could still be fresh.
use super::{
    Store, StoreError,
    column::{execute, first, int, millis},
};
use async_trait::async_trait;
use prism_core::{Hotkey, Nonces, Result};
use rusqlite::{Transaction, params};
use std::time::SystemTime;

#[async_trait]
impl Nonces for Store {
    async fn spend(&self, hotkey: Hotkey, nonce: &str, keep_until: SystemTime) -> Result<bool> {
        let nonce = nonce.to_owned();
        Ok(self.write(move |db| spend(db, hotkey, &nonce, keep_until)).await?)
    }
}

impl Store {
    /// Whether a nonce was spent, without spending it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_spent(&self, hotkey: Hotkey, nonce: &str) -> Result<bool, StoreError> {
        let nonce = nonce.to_owned();
        self.read(move |db| {
            let sql = "SELECT 1 FROM nonces WHERE hotkey = ?1 AND nonce = ?2";
            Ok(first(db, sql, params![hotkey.ss58(), nonce], |_| Ok(()))?.is_some())
        })
        .await
    }

    /// Forgets nonces whose time is over, at most `most` of them. Says how many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn purge_nonces(&self, now: SystemTime, most: u32) -> Result<usize, StoreError> {
        self.write(move |db| {
            let sql = "DELETE FROM nonces WHERE (hotkey, nonce) IN
                       (SELECT hotkey, nonce FROM nonces WHERE keep_until < ?1 LIMIT ?2)";
            execute(db, sql, params![millis(now), int(u64::from(most))])
        })
        .await
    }
}

/// True for the first use.
pub(super) fn spend(
    db: &Transaction<'_>,
    hotkey: Hotkey,
    nonce: &str,
    keep_until: SystemTime,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO nonces (hotkey, nonce, keep_until) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    Ok(execute(db, sql, params![hotkey.ss58(), nonce, millis(keep_until)])? == 1)
}
