//! What is shown: to operators once a cohort is settled, so that nothing of a run leaves before its cohort is scored; to
//! everybody once the weights that follow from it can be read on the chain, so that nobody can copy them from a board.
use super::{
    Store, StoreError,
    cohorts::Entrant,
    column::{Columns, first, int, rows},
    families::FamilyRecord,
    payments::{AllocationRecord, ReceiptRecord},
    submissions::SubmissionRecord,
};
use prism_core::{Finite, Hotkey, ScoreCard, SubmissionId, evidence::Estimate, score::Track};
use rusqlite::{Connection, params};

/// Who looks at a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Anybody: cohorts whose weights were revealed.
    Public,
    /// Whoever runs the validator: all settled cohorts.
    Operator,
}

impl Sight {
    /// The cohorts seen, for a query.
    pub(super) fn cohorts(self) -> &'static str {
        match self {
            Self::Public => "published_cohorts",
            Self::Operator => "(SELECT number FROM cohorts WHERE status = 'settled')",
        }
    }
}

/// A submission with its newest published card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The submission.
    pub record: SubmissionRecord,
    /// Cohort and card; `None` while no cohort that measured it is seen.
    pub card: Option<(u64, ScoreCard)>,
}

/// A family with the best that was shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The family.
    pub family: FamilyRecord,
    /// The best architecture quality of its members.
    pub quality: Option<Finite>,
    /// How many architectures of it were measured.
    pub versions: u64,
    /// How many recipes for it were measured.
    pub variants: u64,
    /// Who holds the architecture.
    pub architecture: Option<SlotRecord>,
    /// Who holds the best recipe.
    pub training: Option<SlotRecord>,
}

/// Who held a track of a family after a cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRecord {
    /// Who took it.
    pub owner: Hotkey,
    /// Whose showing is the best.
    pub submission: SubmissionId,
    /// Who sent that.
    pub hotkey: Hotkey,
    /// Bits per byte saved, over all confirmations.
    pub advantage: Estimate,
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
    /// Whether it is the best on record for its family.
    pub best: bool,
}

/// What an epoch paid, and how far that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// What was to be paid.
    pub allocation: AllocationRecord,
    /// The newest receipt, if anything had to be sent.
    pub receipt: Option<ReceiptRecord>,
}

impl Store {
    /// A submission as it may be shown.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn published(&self, id: SubmissionId, sight: Sight) -> Result<Option<Published>, StoreError> {
        self.read(move |db| published(db, id, sight)).await
    }

    /// The cohort of this number, or the newest that is seen, with its submissions in the order of the board.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn leaderboard(
        &self,
        cohort: Option<u64>,
        most: usize,
        sight: Sight,
    ) -> Result<Option<(u64, Vec<Published>)>, StoreError> {
        let seen = sight.cohorts();
        let newest = format!("SELECT max(number) AS number FROM {seen} WHERE ?1 IS NULL OR number = ?1");
        let number: Option<u64> = self
            .read(move |db| Ok(first(db, &newest, [cohort.map(int)], |row| row.number_option("number"))?.flatten()))
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
    pub async fn architectures(&self, most: usize, sight: Sight) -> Result<Vec<Architecture>, StoreError> {
        let families = self.families(most).await?;
        self.read(move |db| {
            let seen = sight.cohorts();
            let counts = format!(
                "SELECT max(s.q_arch) AS quality,
                        count(DISTINCT s.submission) FILTER (WHERE s.q_arch IS NOT NULL) AS versions,
                        count(DISTINCT s.submission) FILTER (WHERE s.q_recipe IS NOT NULL) AS variants
                 FROM score_cards s JOIN {seen} c ON c.number = s.cohort
                 JOIN entrants e ON e.cohort = s.cohort AND e.submission = s.submission
                 WHERE e.family = ?1"
            );
            // Who holds nothing any more after the newest cohort that is seen is not shown as of an older one.
            let slots = format!("SELECT * FROM slots WHERE family = ?1 AND cohort = (SELECT max(number) FROM {seen})");
            let mut all = Vec::new();
            for family in families {
                let id = family.id.to_string();
                let counts = first(db, &counts, [&id], |row| {
                    Ok((row.finite_option("quality")?, row.number("versions")?, row.number("variants")?))
                })?;
                let (quality, versions, variants) = counts.unwrap_or_default();
                let (mut architecture, mut training) = (None, None);
                for (track, slot) in rows(db, &slots, [&id], slot)? {
                    match track {
                        Track::Architecture => architecture = Some(slot),
                        _ => training = Some(slot),
                    }
                }
                all.push(Architecture { family, quality, versions, variants, architecture, training });
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
        sight: Sight,
    ) -> Result<Vec<TrainingVariant>, StoreError> {
        self.read(move |db| {
            let seen = sight.cohorts();
            let sql = format!(
                "SELECT e.*, s.card, l.submission IS NOT NULL AS best
                 FROM score_cards s JOIN {seen} c ON c.number = s.cohort
                 JOIN entrants e ON e.cohort = s.cohort AND e.submission = s.submission
                 LEFT JOIN slots l ON l.cohort = (SELECT max(number) FROM {seen}) AND l.family = e.family
                                  AND l.track = 'training' AND l.submission = s.submission
                 WHERE s.q_recipe IS NOT NULL AND (?1 IS NULL OR e.family = ?1)
                 ORDER BY s.cohort DESC, round(s.q_recipe * 1e9) DESC, e.block, e.extrinsic LIMIT ?2"
            );
            rows(db, &sql, params![family.map(|family| family.to_string()), int(most as u64)], |row| {
                Ok(TrainingVariant {
                    entrant: Entrant::from_row(row)?,
                    cohort: row.number("cohort")?,
                    card: row.json("card")?,
                    best: row.flag("best")?,
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

fn slot(row: Columns<'_>) -> Result<(Track, SlotRecord), StoreError> {
    let advantage = Estimate { mean: row.finite("advantage")?, standard_error: row.finite("standard_error")? };
    let (owner, submission) = (row.parsed("owner")?, row.parsed("submission")?);
    Ok((row.variant("track")?, SlotRecord { owner, submission, hotkey: row.parsed("hotkey")?, advantage }))
}

fn published(db: &Connection, id: SubmissionId, sight: Sight) -> Result<Option<Published>, StoreError> {
    let sql = format!("SELECT {} FROM submissions WHERE id = ?1", SubmissionRecord::COLUMNS);
    let Some(record) = first(db, &sql, [id.to_string()], SubmissionRecord::from_row)? else { return Ok(None) };
    let seen = sight.cohorts();
    let card = format!(
        "SELECT s.cohort, s.card FROM score_cards s JOIN {seen} c ON c.number = s.cohort
         WHERE s.submission = ?1 ORDER BY s.cohort DESC LIMIT 1"
    );
    let card = first(db, &card, [id.to_string()], |row| Ok((row.number("cohort")?, row.json("card")?)))?;
    Ok(Some(Published { record, card }))
}
