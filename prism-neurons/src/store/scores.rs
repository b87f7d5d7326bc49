//! What cohorts showed: score cards and standings.
use super::{
    Store, StoreError,
    cohorts::moved_one,
    column::{Columns, execute, first, int, json, millis, rows, word},
    submissions::Reason,
};
use prism_core::{
    Block, FamilyId, Hotkey, ScoreCard, Standings, SubmissionId,
    evidence::Estimate,
    score::Track,
    standings::{FamilyFacts, FamilySlots, Showing, Slot},
    submission::SubmissionStatus,
};
use rusqlite::{Connection, Transaction, params};
use std::{collections::BTreeMap, time::SystemTime};

/// All that follows from a measured cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The cards of all entrants that have one.
    pub cards: Vec<ScoreCard>,
    /// What becomes of each of the cohort's submissions.
    pub outcomes: Vec<(SubmissionId, SubmissionStatus, Option<Reason>)>,
    /// The standings after it.
    pub standings: Standings,
    /// Who holds what of each family, by the standings.
    pub slots: BTreeMap<FamilyId, FamilySlots>,
}

impl Store {
    /// Settles a seeded cohort, in one transaction.
    ///
    /// # Errors
    /// `State` when the cohort is not being measured.
    pub async fn settle_cohort(&self, number: u64, settlement: Settlement, now: SystemTime) -> Result<(), StoreError> {
        self.write(move |db| {
            let sql = "UPDATE cohorts SET status = 'settled', settled_at = ?2 WHERE number = ?1 AND status = 'seeded'";
            let moved = execute(db, sql, params![int(number), millis(now)])?;
            moved_one(db, moved, number, "seeded")?;
            settlement.cards.iter().try_for_each(|card| insert_card(db, number, card))?;
            for (id, status, reason) in &settlement.outcomes {
                let sql = "UPDATE submissions SET status = ?2, rule = ?3, reason = ?4, updated_at = ?5
                           WHERE id = ?1 AND status = 'running'";
                let rule = reason.as_ref().map(|reason| &reason.rule);
                let text = reason.as_ref().map(|reason| &reason.text);
                let moved = execute(db, sql, params![id.to_string(), status.as_str(), rule, text, millis(now)])?;
                super::submissions::moved_one(db, moved, *id, "running")?;
            }
            execute(db, "DELETE FROM showings", [])?;
            settlement.standings.showings.iter().try_for_each(|showing| insert_showing(db, showing))?;
            for (family, facts) in &settlement.standings.families {
                let class = facts.class.map(|class| word("class", &class)).transpose()?;
                execute(db, "UPDATE families SET class = ?2 WHERE id = ?1", params![family.to_string(), class])?;
            }
            for (family, slots) in &settlement.slots {
                if let Some(slot) = &slots.architecture {
                    let sql = "UPDATE families SET owner = ?2 WHERE id = ?1 AND owner IS NULL";
                    execute(db, sql, params![family.to_string(), slot.owner.ss58()])?;
                }
                for slot in [&slots.architecture, &slots.training].into_iter().flatten() {
                    insert_slot(db, number, slot)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The cards of a cohort: highest total first, equal ones (on a grid of 1e-9) in order of arrival, those without a
    /// total last.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cards(&self, cohort: u64) -> Result<Vec<ScoreCard>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT c.card FROM score_cards c LEFT JOIN entrants e USING (cohort, submission)
                       WHERE c.cohort = ?1
                       ORDER BY c.total IS NULL, round(c.total * 1e9) DESC, e.block, e.extrinsic, e.hotkey, c.submission";
            rows(db, sql, [int(cohort)], |row| row.json("card"))
        })
        .await
    }

    /// One card.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn card(&self, cohort: u64, submission: SubmissionId) -> Result<Option<ScoreCard>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT card FROM score_cards WHERE cohort = ?1 AND submission = ?2";
            first(db, sql, params![int(cohort), submission.to_string()], |row| row.json("card"))
        })
        .await
    }

    /// Submissions that count as tries of a hotkey or of a family: measured or being measured, in a cohort that was open
    /// at this block or later; failed ones count.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tries(&self, hotkey: Hotkey, family: FamilyId, since: Block) -> Result<u32, StoreError> {
        self.read(move |db| {
            let sql = "SELECT count(*) AS tries FROM submissions s JOIN cohorts c ON c.number = s.cohort
                       WHERE s.status IN ('running', 'completed', 'failed') AND (s.hotkey = ?1 OR s.family = ?2)
                         AND (c.closed_block IS NULL OR c.closed_block >= ?3)";
            let values = params![hotkey.ss58(), family.to_string(), int(since.0)];
            Ok(first(db, sql, values, |row| row.number("tries"))?.unwrap_or_default())
        })
        .await
    }

    /// All showings on record, and what is known of families.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn standings(&self) -> Result<Standings, StoreError> {
        self.read(|db| {
            let showings =
                rows(db, "SELECT * FROM showings ORDER BY block, extrinsic, submission, track", [], showing)?;
            let facts = rows(db, "SELECT id, name IS NOT NULL AS published, class FROM families", [], |row| {
                let facts = FamilyFacts { published: row.flag("published")?, class: row.variant_option("class")? };
                Ok((row.parsed("id")?, facts))
            })?;
            Ok(Standings { families: facts.into_iter().collect(), ..Standings::of(showings) })
        })
        .await
    }
}

fn insert_card(db: &Transaction<'_>, cohort: u64, card: &ScoreCard) -> Result<(), StoreError> {
    let quality = |track| card.tracks.get(&track).map(|score| score.quality.get());
    let sql = "INSERT INTO score_cards (cohort, submission, scorer, total, standard_error, bits_per_byte, q_arch,
                                        q_recipe, eligible, card)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = params![
        int(cohort),
        card.submission.to_string(),
        card.scorer,
        card.total.map(f64::from),
        card.standard_error.map(f64::from),
        card.bits_per_byte.map(|estimate| estimate.mean.get()),
        quality(Track::Architecture),
        quality(Track::Training),
        card.eligible,
        json("card", card)?,
    ];
    execute(db, sql, values)?;
    Ok(())
}

fn insert_showing(db: &Connection, showing: &Showing) -> Result<(), StoreError> {
    let sql = "INSERT INTO showings (submission, track, hotkey, family, block, extrinsic, local, advantage,
                                     standard_error, since, trials, confirmations)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let values = params![
        showing.submission.to_string(),
        word("track", &showing.track)?,
        showing.hotkey.ss58(),
        showing.family.to_string(),
        int(showing.precedence.block.0),
        showing.precedence.extrinsic,
        showing.precedence.local,
        showing.advantage.mean.get(),
        showing.advantage.standard_error.get(),
        int(showing.since.0),
        showing.trials,
        showing.confirmations,
    ];
    execute(db, sql, values)?;
    Ok(())
}

/// Who took the slot first keeps it, whatever later measurements say of him.
fn insert_slot(db: &Connection, cohort: u64, Slot { owner, best }: &Slot) -> Result<(), StoreError> {
    let sql = "INSERT INTO slots (cohort, family, track, owner, submission, hotkey, advantage, standard_error,
                                  confirmations, trials)
               VALUES (?1, ?2, ?3,
                       coalesce((SELECT owner FROM slots WHERE family = ?2 AND track = ?3 ORDER BY cohort LIMIT 1), ?4),
                       ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = params![
        int(cohort),
        best.family.to_string(),
        word("track", &best.track)?,
        owner.ss58(),
        best.submission.to_string(),
        best.hotkey.ss58(),
        best.advantage.mean.get(),
        best.advantage.standard_error.get(),
        best.confirmations,
        best.trials,
    ];
    execute(db, sql, values)?;
    Ok(())
}

fn showing(row: Columns<'_>) -> Result<Showing, StoreError> {
    Ok(Showing {
        submission: row.parsed("submission")?,
        hotkey: row.parsed("hotkey")?,
        family: row.parsed("family")?,
        track: row.variant("track")?,
        precedence: row.precedence()?,
        advantage: Estimate { mean: row.finite("advantage")?, standard_error: row.finite("standard_error")? },
        since: Block(row.number("since")?),
        trials: row.number("trials")?,
        confirmations: row.number("confirmations")?,
    })
}
