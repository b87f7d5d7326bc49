//! What came over HTTP, in the order of acceptance.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, millis, rows, word},
    nonces::spend,
};
use prism_core::{
    Block, Digest, Hotkey, SubmissionId,
    submission::{Precedence, Submission, SubmissionKind},
};
use rusqlite::{Connection, params};
use std::time::SystemTime;

/// A request that passed every check, about to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Who signed it.
    pub hotkey: Hotkey,
    /// Its nonce.
    pub nonce: String,
    /// Until when the nonce is kept.
    pub keep_nonce_until: SystemTime,
    /// What its author calls it.
    pub name: Option<String>,
    /// What it brings.
    pub kind: SubmissionKind,
    /// SHA-256 of the bytes as they came; they are in the artifacts already.
    pub archive: Digest,
    /// Their number.
    pub bytes: u64,
    /// The finalized head.
    pub block: Block,
    /// Most acceptances per hotkey and cohort.
    pub quota: u32,
    /// Now.
    pub received_at: SystemTime,
}

/// Why an arrival was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAccepted {
    /// The nonce was used before.
    NonceReused,
    /// The same hotkey sent the same bytes before.
    Duplicate(SubmissionId),
    /// The hotkey has sent as many as it may.
    QuotaExhausted {
        /// How many it may send.
        quota: u32,
    },
}

/// An accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalRecord {
    /// Its number in the order of acceptance, from 1.
    pub arrival: u32,
    /// As the source hands it out.
    pub submission: Submission,
    /// What its author calls it.
    pub name: Option<String>,
    /// What it brings.
    pub kind: SubmissionKind,
    /// When it was accepted.
    pub received_at: SystemTime,
}

impl ArrivalRecord {
    fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        let hotkey = row.parsed("hotkey")?;
        let arrival = row.number("arrival")?;
        let precedence = Precedence { block: Block(row.number("block")?), extrinsic: arrival, hotkey, local: true };
        Ok(Self {
            arrival,
            submission: Submission::bundle(hotkey, precedence, row.parsed("archive")?, row.number("bytes")?),
            name: row.text_option("name")?,
            kind: row.variant("kind")?,
            received_at: row.time("received_at")?,
        })
    }
}

const COLUMNS: &str = "arrival, hotkey, name, kind, archive, bytes, block, received_at";

impl Store {
    /// Accepts a request or says why not: nonce, duplicate, quota and the new row in one transaction. The nonce is spent
    /// either way.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn accept(&self, arrival: Arrival) -> Result<Result<ArrivalRecord, NotAccepted>, StoreError> {
        self.write(move |db| {
            if !spend(db, arrival.hotkey, &arrival.nonce, arrival.keep_nonce_until)? {
                return Ok(Err(NotAccepted::NonceReused));
            }
            if let Some(refused) = refusal(db, arrival.hotkey, arrival.archive, arrival.quota)? {
                return Ok(Err(refused));
            }
            let cohort = first(db, OPEN_COHORT, [], |row| row.number::<i64>("number"))?;
            let id = bundle_id(arrival.hotkey, arrival.archive);
            // Two requests may have seen the head in another order than they come here: arrival decides, and so the newest
            // row has the largest block.
            let sql = "INSERT INTO intake (id, hotkey, name, kind, archive, bytes, block, cohort, received_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                         max(?7, coalesce((SELECT block FROM intake ORDER BY arrival DESC LIMIT 1), 0)), ?8, ?9)";
            let values = params![
                id.to_string(),
                arrival.hotkey.ss58(),
                arrival.name,
                word("kind", &arrival.kind)?,
                arrival.archive.to_string(),
                int(arrival.bytes),
                int(arrival.block.0),
                cohort,
                millis(arrival.received_at),
            ];
            execute(db, sql, values)?;
            by_id(db, id)?.map(Ok).ok_or_else(|| StoreError::NotFound { what: "arrival", id: id.to_string() })
        })
        .await
    }

    /// Whether a bundle would be refused as a duplicate or beyond the quota, so that it need not be read nor kept. `accept`
    /// asks again.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn would_refuse(
        &self,
        hotkey: Hotkey,
        archive: Digest,
        quota: u32,
    ) -> Result<Option<NotAccepted>, StoreError> {
        self.read(move |db| refusal(db, hotkey, archive, quota)).await
    }

    /// An accepted request.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn arrival(&self, id: SubmissionId) -> Result<Option<ArrivalRecord>, StoreError> {
        self.read(move |db| by_id(db, id)).await
    }

    /// The accepted requests after an arrival number, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn arrivals_after(&self, arrival: u32, most: usize) -> Result<Vec<ArrivalRecord>, StoreError> {
        self.read(move |db| {
            let sql = format!("SELECT {COLUMNS} FROM intake WHERE arrival > ?1 ORDER BY arrival LIMIT ?2");
            rows(db, &sql, params![arrival, int(most as u64)], ArrivalRecord::from_row)
        })
        .await
    }
}

const OPEN_COHORT: &str = "SELECT number FROM cohorts WHERE status = 'open'";

fn refusal(db: &Connection, hotkey: Hotkey, archive: Digest, quota: u32) -> Result<Option<NotAccepted>, StoreError> {
    let id = bundle_id(hotkey, archive);
    let known = "SELECT 1 FROM submissions WHERE id = ?1 UNION ALL SELECT 1 FROM intake WHERE id = ?1";
    if first(db, known, [id.to_string()], |_| Ok(()))?.is_some() {
        return Ok(Some(NotAccepted::Duplicate(id)));
    }
    let sql = format!("SELECT count(*) AS n FROM intake WHERE hotkey = ?1 AND cohort IS ({OPEN_COHORT})");
    let sent: Option<u32> = first(db, &sql, [hotkey.ss58()], |row| row.number("n"))?;
    Ok((sent.unwrap_or(0) >= quota).then_some(NotAccepted::QuotaExhausted { quota }))
}

/// Precedence doesn't count in the id.
fn bundle_id(hotkey: Hotkey, archive: Digest) -> SubmissionId {
    let nowhere = Precedence { block: Block(0), extrinsic: 0, hotkey, local: true };
    Submission::bundle(hotkey, nowhere, archive, 0).id
}

fn by_id(db: &Connection, id: SubmissionId) -> Result<Option<ArrivalRecord>, StoreError> {
    first(db, &format!("SELECT {COLUMNS} FROM intake WHERE id = ?1"), [id.to_string()], ArrivalRecord::from_row)
}
