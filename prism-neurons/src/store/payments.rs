//! What was to be paid, and the proof that it was: allocations and weight receipts.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, json, millis, rows},
};
use prism_core::{Block, Epoch, Receipt, reward::Allocation};
use rusqlite::params;
use std::time::SystemTime;

/// What an epoch was to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// The block at which it was decided.
    pub block: Block,
    /// The reward policy's name.
    pub policy: String,
    /// What is paid.
    pub allocation: Allocation,
}

impl AllocationRecord {
    fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            epoch: Epoch(row.number("epoch")?),
            block: Block(row.number("block")?),
            policy: row.text("policy")?,
            allocation: row.json("allocation")?,
        })
    }
}

/// A receipt on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// Which signed extrinsic for the same intent, from 1.
    pub attempt: u32,
    /// The receipt.
    pub receipt: Receipt,
}

impl ReceiptRecord {
    pub(super) fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self { attempt: row.number("attempt")?, receipt: row.json("receipt")? })
    }
}

impl Store {
    /// Records what an epoch pays. The first record of an epoch stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn allocate(&self, record: AllocationRecord, now: SystemTime) -> Result<AllocationRecord, StoreError> {
        self.write(move |db| {
            let kind = match &record.allocation {
                Allocation::Pay { .. } => "pay",
                Allocation::Burn { .. } => "burn",
                Allocation::KeepPrevious { .. } => "keep_previous",
            };
            let sql = "INSERT INTO allocations (epoch, block, policy, kind, allocation, created_at, cohort)
                       SELECT ?1, ?2, ?3, ?4, ?5, ?6, max(number) FROM cohorts WHERE status = 'settled'
                       ON CONFLICT DO NOTHING";
            let epoch = int(record.epoch.0);
            let allocation = json("allocation", &record.allocation)?;
            execute(db, sql, params![epoch, int(record.block.0), record.policy, kind, allocation, millis(now)])?;
            let sql = "SELECT * FROM allocations WHERE epoch = ?1";
            Ok(first(db, sql, [epoch], AllocationRecord::from_row)?.unwrap_or(record))
        })
        .await
    }

    /// What an epoch pays, if that is decided.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn allocation(&self, epoch: Epoch) -> Result<Option<AllocationRecord>, StoreError> {
        self.read(move |db| {
            first(db, "SELECT * FROM allocations WHERE epoch = ?1", [int(epoch.0)], AllocationRecord::from_row)
        })
        .await
    }

    /// What the last epoch before one paid, burning included; not one that kept what was before it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_allocation(&self, before: Epoch) -> Result<Option<AllocationRecord>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM allocations WHERE epoch < ?1 AND kind <> 'keep_previous'
                       ORDER BY epoch DESC LIMIT 1";
            first(db, sql, [int(before.0)], AllocationRecord::from_row)
        })
        .await
    }

    /// The newest allocations, newest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn allocations(&self, most: usize) -> Result<Vec<AllocationRecord>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM allocations ORDER BY epoch DESC LIMIT ?1";
            rows(db, sql, [int(most as u64)], AllocationRecord::from_row)
        })
        .await
    }

    /// Records a freshly signed receipt, before anything of it is sent.
    ///
    /// # Errors
    /// `State` while another receipt has an extrinsic on its way, or is open for the same epoch.
    pub async fn begin_receipt(&self, receipt: Receipt, now: SystemTime) -> Result<ReceiptRecord, StoreError> {
        self.write(move |db| {
            let open = rows(db, OPEN, [], ReceiptRecord::from_row)?;
            let blocks = |other: &ReceiptRecord| {
                other.receipt.stage.is_sending() || other.receipt.intent.epoch == receipt.intent.epoch
            };
            if let Some(other) = open.into_iter().find(blocks) {
                return Err(StoreError::State {
                    what: "receipt",
                    id: other.receipt.hash.to_string(),
                    found: other.receipt.stage.name().into(),
                    expected: "at its end",
                });
            }
            let intent = receipt.intent.digest().to_string();
            let sql = "INSERT INTO receipts (intent, attempt, epoch, stage, terminal, receipt, created_at, updated_at)
                       SELECT ?1, count(*) + 1, ?2, ?3, ?4, ?5, ?6, ?6 FROM receipts WHERE intent = ?1";
            let values = params![
                intent,
                int(receipt.intent.epoch.0),
                receipt.stage.name(),
                receipt.stage.is_terminal(),
                json("receipt", &receipt)?,
                millis(now),
            ];
            execute(db, sql, values)?;
            let sql = "SELECT attempt, receipt FROM receipts WHERE intent = ?1 ORDER BY attempt DESC LIMIT 1";
            first(db, sql, [&intent], ReceiptRecord::from_row)?
                .ok_or(StoreError::NotFound { what: "receipt", id: intent })
        })
        .await
    }

    /// Records how far a receipt has come, before the next step is asked for.
    ///
    /// # Errors
    /// `NotFound` when it was never begun; `State` when it is at its end already.
    pub async fn update_receipt(&self, record: ReceiptRecord, now: SystemTime) -> Result<(), StoreError> {
        self.write(move |db| {
            let ReceiptRecord { attempt, receipt } = &record;
            let intent = receipt.intent.digest().to_string();
            let sql = "UPDATE receipts SET stage = ?3, terminal = ?4, receipt = ?5, updated_at = ?6
                       WHERE intent = ?1 AND attempt = ?2 AND terminal = 0";
            let (stage, terminal) = (receipt.stage.name(), receipt.stage.is_terminal());
            let values = params![intent, attempt, stage, terminal, json("receipt", receipt)?, millis(now)];
            if execute(db, sql, values)? == 1 {
                return Ok(());
            }
            let sql = "SELECT stage FROM receipts WHERE intent = ?1 AND attempt = ?2";
            let found = first(db, sql, params![intent, attempt], |row| row.text("stage"))?;
            Err(match found {
                Some(found) => StoreError::State { what: "receipt", id: intent, found, expected: "in flight" },
                None => StoreError::NotFound { what: "receipt", id: intent },
            })
        })
        .await
    }

    /// The receipts that are not at their end: first the one that has an extrinsic on its way, if there is one, then
    /// commitments that wait for their reveal, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_receipts(&self) -> Result<Vec<ReceiptRecord>, StoreError> {
        self.read(|db| rows(db, OPEN, [], ReceiptRecord::from_row)).await
    }

    /// The last epoch whose weights were read back from the chain.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_landed(&self) -> Result<Option<Epoch>, StoreError> {
        self.read(|db| {
            let sql = "SELECT epoch FROM receipts WHERE stage = 'read_back' ORDER BY epoch DESC LIMIT 1";
            first(db, sql, [], |row| Ok(Epoch(row.number("epoch")?)))
        })
        .await
    }

    /// The receipts of an epoch, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn receipts(&self, epoch: Epoch) -> Result<Vec<ReceiptRecord>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT attempt, receipt FROM receipts WHERE epoch = ?1 ORDER BY created_at, attempt";
            rows(db, sql, [int(epoch.0)], ReceiptRecord::from_row)
        })
        .await
    }
}

const OPEN: &str = "SELECT attempt, receipt FROM receipts WHERE terminal = 0
                    ORDER BY stage IN ('committed', 'revealed'), epoch";
