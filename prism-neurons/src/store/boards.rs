//! What is published: settled cohorts only, so that nothing of a run leaves before its cohort is scored.
use super::{
    Store, StoreError,
    cohorts::Entrant,
    column::{first, int, rows},
    families::FamilyRecord,
    payments::{AllocationRecord, ReceiptRecord},
    submissions::SubmissionRecord,
};
use prism_core::{Finite, ScoreCard, SubmissionId};
use rusqlite::{Connection, params};

/// A submission with its newest published card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The submission.
    pub record: SubmissionRecord,
    /// Cohort and card; `None` while no cohort that measured it is settled.
    pub card: Option<(u64, ScoreCard)>,
}

/// A family with the best that was shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The family.
    pub family: FamilyRecord,
    /// The best architecture quality of its members.
    pub quality: Option<Finite>,
}

/// A recipe that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingVariant {
    /// Who entered with it.
    pub entrant: Entrant,
    /// The cohort that measured it.
    pub cohort: u64,
    /// Its card there.
    pub card: ScoreCard,
}

/// What an epoch paid, and how far that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// What was to be paid.
    pub allocation: AllocationRecord,
    /// The newest receipt, if anything had to be sent.
    pub receipt: Option<ReceiptRecord>,
}

const CARD: &str = "SELECT s.cohort, s.card FROM score_cards s
                    JOIN cohorts c ON c.number = s.cohort AND c.status = 'settled'
                    WHERE s.submission = ?1 ORDER BY s.cohort DESC LIMIT 1";

impl Store {
    /// A submission as it may be shown.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn published(&self, id: SubmissionId) -> Result<Option<Published>, StoreError> {
        self.read(move |db| published(db, id)).await
    }

    /// The settled cohort of this number, or the newest, with its submissions in the order of the board.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn leaderboard(
        &self,
        cohort: Option<u64>,
        most: usize,
    ) -> Result<Option<(u64, Vec<Published>)>, StoreError> {
        let newest = "SELECT max(number) AS number FROM cohorts
                      WHERE status = 'settled' AND (?1 IS NULL OR number = ?1)";
        let number: Option<u64> = self
            .read(move |db| Ok(first(db, newest, [cohort.map(int)], |row| row.number_option("number"))?.flatten()))
            .await?;
        let Some(number) = number else { return Ok(None) };
        let mut cards = self.cards(number).await?;
        cards.truncate(most);
        let board = self
            .read(move |db| {
                let mut board = Vec::new();
                for card in cards {
                    let sql = format!("SELECT {} FROM submissions WHERE id = ?1", SubmissionRecord::COLUMNS);
                    let record = first(db, &sql, [card.submission.to_string()], SubmissionRecord::from_row)?;
                    board.extend(record.map(|record| Published { record, card: Some((number, card)) }));
                }
                Ok(board)
            })
            .await?;
        Ok(Some((number, board)))
    }

    /// The families, oldest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn architectures(&self, most: usize) -> Result<Vec<Architecture>, StoreError> {
        let families = self.families(most).await?;
        self.read(move |db| {
            let sql = "SELECT max(s.q_arch) AS quality FROM score_cards s
                       JOIN cohorts c ON c.number = s.cohort AND c.status = 'settled'
                       JOIN entrants e ON e.cohort = s.cohort AND e.submission = s.submission
                       WHERE e.family = ?1";
            let mut all = Vec::new();
            for family in families {
                let best = first(db, sql, [family.id.to_string()], |row| row.finite_option("quality"))?;
                all.push(Architecture { family, quality: best.flatten() });
            }
            Ok(all)
        })
        .await
    }

    /// The measured recipes, of one family or of all, best first within a cohort, newest cohort first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn training_variants(
        &self,
        family: Option<prism_core::FamilyId>,
        most: usize,
    ) -> Result<Vec<TrainingVariant>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT e.*, s.card FROM score_cards s
                       JOIN cohorts c ON c.number = s.cohort AND c.status = 'settled'
                       JOIN entrants e ON e.cohort = s.cohort AND e.submission = s.submission
                       WHERE s.q_recipe IS NOT NULL AND (?1 IS NULL OR e.family = ?1)
                       ORDER BY s.cohort DESC, round(s.q_recipe * 1e9) DESC, e.block, e.extrinsic LIMIT ?2";
            rows(db, sql, params![family.map(|family| family.to_string()), int(most as u64)], |row| {
                Ok(TrainingVariant {
                    entrant: Entrant::from_row(row)?,
                    cohort: row.number("cohort")?,
                    card: row.json("card")?,
                })
            })
        })
        .await
    }

    /// What the newest epochs paid, newest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn epochs(&self, most: usize) -> Result<Vec<EpochRecord>, StoreError> {
        let allocations = self.allocations(most).await?;
        self.read(move |db| {
            let sql =
                "SELECT attempt, receipt FROM receipts WHERE epoch = ?1 ORDER BY created_at DESC, attempt DESC LIMIT 1";
            let mut epochs = Vec::new();
            for allocation in allocations {
                let receipt = first(db, sql, [int(allocation.epoch.0)], ReceiptRecord::from_row)?;
                epochs.push(EpochRecord { allocation, receipt });
            }
            Ok(epochs)
        })
        .await
    }
}

fn published(db: &Connection, id: SubmissionId) -> Result<Option<Published>, StoreError> {
    let sql = format!("SELECT {} FROM submissions WHERE id = ?1", SubmissionRecord::COLUMNS);
    let Some(record) = first(db, &sql, [id.to_string()], SubmissionRecord::from_row)? else { return Ok(None) };
    let card = first(db, CARD, [id.to_string()], |row| Ok((row.number("cohort")?, row.json("card")?)))?;
    Ok(Some(Published { record, card }))
}
