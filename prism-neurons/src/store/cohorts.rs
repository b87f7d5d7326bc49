//! Cohorts: who is measured on the same rows, under which seed and policy.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, json, millis, rows, word},
    policy::Policy,
    submissions::Material,
};
use prism_core::{
    Block, FamilyId, Seed, SubmissionId,
    submission::{Precedence, SubmissionKind},
};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// How far a cohort has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CohortStatus {
    /// Takes submissions.
    Open,
    /// Takes none any more; its seed is not known yet.
    Closed,
    /// Its seed is known and its entrants are fixed: it is being measured.
    Seeded,
    /// Measured and scored; what it showed may be published.
    Settled,
}

/// A cohort on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortRecord {
    /// Its number, from 1.
    pub number: u64,
    /// How far it has come.
    pub status: CohortStatus,
    /// The block at which it opened.
    pub opened: Block,
    /// The first block whose submissions are too late.
    pub closed: Option<Block>,
    /// The block whose hash the seed comes from; `None` while open and when the seed is fixed.
    pub seed_block: Option<Block>,
    /// Root of its random streams.
    pub seed: Option<Seed>,
    /// What it is measured and scored under.
    pub policy: Option<Policy>,
    /// When it was settled.
    pub settled_at: Option<SystemTime>,
}

impl CohortRecord {
    const COLUMNS: &str =
        "number, status, opened_block, closed_block, seed_block, seed, policy, policy_json, policy_whole, settled_at";

    fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        let version: Option<u64> = row.number_option("policy")?;
        let policy = match version {
            Some(version) => {
                Some(Policy { version, numbers: row.json("policy_json")?, whole: row.json_option("policy_whole")? })
            }
            None => None,
        };
        Ok(Self {
            number: row.number("number")?,
            status: row.variant("status")?,
            opened: Block(row.number("opened_block")?),
            closed: row.number_option("closed_block")?.map(Block),
            seed_block: row.number_option("seed_block")?.map(Block),
            seed: row.parsed_option("seed")?.map(Seed),
            policy,
            settled_at: row.time_option("settled_at")?,
        })
    }
}

/// As what somebody is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntrantRole {
    /// A submission of this cohort.
    Candidate,
    /// A published baseline.
    Baseline,
    /// A title holder of an earlier cohort.
    Incumbent,
}

/// Somebody who is measured in a cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// Which submission or baseline.
    pub submission: SubmissionId,
    /// As what.
    pub role: EntrantRole,
    /// What it brings.
    pub kind: SubmissionKind,
    /// The family it belongs to.
    pub family: FamilyId,
    /// Its place in the order of arrival.
    pub precedence: Precedence,
    /// What is measured.
    pub material: Material,
}

impl Entrant {
    pub(super) fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            submission: row.parsed("submission")?,
            role: row.variant("role")?,
            kind: row.variant("kind")?,
            family: row.parsed("family")?,
            precedence: row.precedence()?,
            material: row.json("material")?,
        })
    }
}

impl Store {
    /// The open cohort; opens the first one at `block` if there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_cohort(&self, block: Block) -> Result<CohortRecord, StoreError> {
        self.write(move |db| {
            match open_cohort(db) {
                Err(StoreError::NotFound { .. }) => open_next(db, block)?,
                found => return found,
            }
            open_cohort(db)
        })
        .await
    }

    /// Closes the open cohort and opens the next, in one transaction: at any time exactly one is open.
    ///
    /// # Errors
    /// `State` when the cohort is not open.
    pub async fn close_cohort(&self, number: u64, at: Block, seed_block: Option<Block>) -> Result<(), StoreError> {
        self.write(move |db| {
            let sql = "UPDATE cohorts SET status = 'closed', closed_block = ?2, seed_block = ?3
                       WHERE number = ?1 AND status = 'open'";
            let moved = execute(db, sql, params![int(number), int(at.0), seed_block.map(|b| int(b.0))])?;
            moved_one(db, moved, number, "open")?;
            open_next(db, at)
        })
        .await
    }

    /// Gives a closed cohort its seed and policy and fixes its entrants: its examined submissions, which start running,
    /// and the baselines and title holders given.
    ///
    /// # Errors
    /// `State` when the cohort is not closed, or one of its submissions is not examined yet.
    pub async fn seed_cohort(
        &self,
        number: u64,
        seed: Seed,
        policy: Policy,
        others: Vec<Entrant>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            let unexamined = "SELECT id FROM submissions WHERE cohort = ?1 AND status = 'pending' AND material IS NULL";
            if let Some(id) = first(db, unexamined, [int(number)], |row| row.text("id"))? {
                let (what, expected) = ("submission", "examined");
                return Err(StoreError::State { what, id, found: "pending".into(), expected });
            }
            let sql = "UPDATE cohorts SET status = 'seeded', seed = ?2, policy = ?3, policy_json = ?4,
                         policy_whole = ?5
                       WHERE number = ?1 AND status = 'closed'";
            let numbers = json("policy_json", &policy.numbers)?;
            let whole = policy.whole.as_ref().map(|whole| json("policy_whole", whole)).transpose()?;
            let values = params![int(number), seed.0.to_string(), int(policy.version), numbers, whole];
            let moved = execute(db, sql, values)?;
            moved_one(db, moved, number, "closed")?;
            let candidates = "INSERT INTO entrants
                    (cohort, submission, role, kind, family, hotkey, block, extrinsic, local, material)
                SELECT cohort, id, 'candidate', kind, family, hotkey, block, extrinsic, local, material
                FROM submissions WHERE cohort = ?1 AND status = 'pending'";
            execute(db, candidates, [int(number)])?;
            let start = "UPDATE submissions SET status = 'running', updated_at = ?2
                         WHERE cohort = ?1 AND status = 'pending'";
            execute(db, start, params![int(number), millis(now)])?;
            others.iter().try_for_each(|entrant| enter(db, number, entrant))
        })
        .await
    }

    /// Moves pending submissions of a closed cohort to the open one: nobody has measured them yet, nor seen the closed
    /// one's rows.
    ///
    /// # Errors
    /// `State` when the cohort is not closed.
    pub async fn postpone(
        &self,
        number: u64,
        submissions: Vec<SubmissionId>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            let closed = "SELECT number FROM cohorts WHERE number = ?1 AND status = 'closed'";
            let closed = first(db, closed, [int(number)], |row| row.number::<u64>("number"))?;
            moved_one(db, usize::from(closed.is_some()), number, "closed")?;
            let open = open_cohort(db)?.number;
            for submission in &submissions {
                let sql = "UPDATE submissions SET cohort = ?3, updated_at = ?4
                           WHERE id = ?1 AND cohort = ?2 AND status = 'pending'";
                execute(db, sql, params![submission.to_string(), int(number), int(open), millis(now)])?;
            }
            Ok(())
        })
        .await
    }

    /// The oldest cohort that is closed and not settled yet.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unsettled_cohort(&self) -> Result<Option<CohortRecord>, StoreError> {
        self.read(|db| {
            let sql = format!(
                "SELECT {} FROM cohorts WHERE status IN ('closed', 'seeded') ORDER BY number LIMIT 1",
                CohortRecord::COLUMNS
            );
            first(db, &sql, [], CohortRecord::from_row)
        })
        .await
    }

    /// One cohort.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cohort(&self, number: u64) -> Result<Option<CohortRecord>, StoreError> {
        self.read(move |db| by_number(db, number)).await
    }

    /// The newest cohorts, newest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cohorts(&self, most: usize) -> Result<Vec<CohortRecord>, StoreError> {
        self.read(move |db| {
            let sql = format!("SELECT {} FROM cohorts ORDER BY number DESC LIMIT ?1", CohortRecord::COLUMNS);
            rows(db, &sql, [int(most as u64)], CohortRecord::from_row)
        })
        .await
    }

    /// Who is measured in a cohort, in order of arrival.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn entrants(&self, cohort: u64) -> Result<Vec<Entrant>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM entrants WHERE cohort = ?1 ORDER BY block, extrinsic, hotkey, submission";
            rows(db, sql, [int(cohort)], Entrant::from_row)
        })
        .await
    }

    /// Somebody as last measured, in any cohort: how a title holder enters the next one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_entry(&self, submission: SubmissionId) -> Result<Option<Entrant>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM entrants WHERE submission = ?1 ORDER BY cohort DESC LIMIT 1";
            first(db, sql, [submission.to_string()], Entrant::from_row)
        })
        .await
    }
}

pub(super) fn open_cohort(db: &Connection) -> Result<CohortRecord, StoreError> {
    let sql = format!("SELECT {} FROM cohorts WHERE status = 'open'", CohortRecord::COLUMNS);
    first(db, &sql, [], CohortRecord::from_row)?
        .ok_or_else(|| StoreError::NotFound { what: "cohort", id: "with status open".into() })
}

fn open_next(db: &Transaction<'_>, at: Block) -> Result<(), StoreError> {
    let sql = "INSERT INTO cohorts (number, status, opened_block)
               SELECT coalesce(max(number), 0) + 1, 'open', ?1 FROM cohorts";
    execute(db, sql, [int(at.0)])?;
    Ok(())
}

fn by_number(db: &Connection, number: u64) -> Result<Option<CohortRecord>, StoreError> {
    let sql = format!("SELECT {} FROM cohorts WHERE number = ?1", CohortRecord::COLUMNS);
    first(db, &sql, [int(number)], CohortRecord::from_row)
}

fn enter(db: &Transaction<'_>, cohort: u64, entrant: &Entrant) -> Result<(), StoreError> {
    let sql = "INSERT INTO entrants (cohort, submission, role, kind, family, hotkey, block, extrinsic, local, material)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
    let values = params![
        int(cohort),
        entrant.submission.to_string(),
        word("role", &entrant.role)?,
        word("kind", &entrant.kind)?,
        entrant.family.to_string(),
        entrant.precedence.hotkey.ss58(),
        int(entrant.precedence.block.0),
        entrant.precedence.extrinsic,
        entrant.precedence.local,
        json("material", &entrant.material)?,
    ];
    execute(db, sql, values)?;
    Ok(())
}

/// Turns "no row moved" into why.
pub(super) fn moved_one(db: &Connection, moved: usize, number: u64, expected: &'static str) -> Result<(), StoreError> {
    if moved == 1 {
        return Ok(());
    }
    let (what, id) = ("cohort", number.to_string());
    Err(match by_number(db, number)? {
        Some(cohort) => StoreError::State { what, id, found: word("status", &cohort.status)?, expected },
        None => StoreError::NotFound { what, id },
    })
}
