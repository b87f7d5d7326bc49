//! Runs: planned, done or given up; and the evidence, as the very bytes that were hashed. Who carries them out is in
//! [`claims`](super::claims).
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, json, rows},
};
use prism_core::{Digest, Evidence, SubmissionId, TaskId, TrainTask};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// To be done, for the first time or again.
    Pending,
    /// A trainer has it.
    Running,
    /// There is evidence, of success or of the subject's failure.
    Done,
    /// This machine failed too often.
    Abandoned,
}

/// A run that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRun {
    /// What is to be done.
    pub task: TrainTask,
    /// How often it was started.
    pub attempts: u32,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Which.
    pub task: TaskId,
    /// How far it has come.
    pub status: RunStatus,
    /// How often it was started.
    pub attempts: u32,
    /// Why the last attempt failed on this machine.
    pub error: Option<String>,
}

impl Store {
    /// Adds tasks to what entrants of a cohort need. Tasks on record are not done again. Says how many are new.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn plan_runs(
        &self,
        cohort: u64,
        plans: Vec<(SubmissionId, Vec<TrainTask>)>,
    ) -> Result<usize, StoreError> {
        self.write(move |db| {
            let mut new = 0;
            for (submission, tasks) in &plans {
                for task in tasks {
                    let id = task.id().to_string();
                    let sql = "INSERT INTO runs (task, task_json, status) VALUES (?1, ?2, 'pending')
                               ON CONFLICT DO NOTHING";
                    new += execute(db, sql, params![id, json("task_json", task)?])?;
                    let sql = "INSERT INTO entrant_runs (cohort, submission, place, task)
                               SELECT ?1, ?2, count(*), ?3 FROM entrant_runs WHERE cohort = ?1 AND submission = ?2
                               ON CONFLICT DO NOTHING";
                    execute(db, sql, params![int(cohort), submission.to_string(), id])?;
                }
            }
            Ok(new)
        })
        .await
    }

    /// The runs of a cohort that are still to be done, in the order of their first entrant, then of its plan.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn due_runs(&self, cohort: u64) -> Result<Vec<DueRun>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT r.task_json, r.attempts FROM runs r
                       JOIN entrant_runs er ON er.task = r.task AND er.cohort = ?1
                       JOIN entrants e ON e.cohort = er.cohort AND e.submission = er.submission
                       WHERE r.status IN ('pending', 'running') GROUP BY r.task
                       ORDER BY min(e.block), min(e.extrinsic), min(er.place), r.task";
            rows(db, sql, [int(cohort)], |row| {
                Ok(DueRun { task: row.json("task_json")?, attempts: row.number("attempts")? })
            })
        })
        .await
    }

    /// Records what the next attempt at a run goes on from, while this attempt is running. Gives back what it was before,
    /// which nobody asks for any more.
    ///
    /// # Errors
    /// `State` when the run is not running, or in another attempt.
    pub async fn record_checkpoint(
        &self,
        task: TaskId,
        attempt: u32,
        checkpoint: Digest,
    ) -> Result<Option<Digest>, StoreError> {
        self.write(move |db| {
            let before = checkpoint_of(db, task)?;
            let sql = "UPDATE runs SET checkpoint = ?3 WHERE task = ?1 AND attempts = ?2 AND status = 'running'";
            let moved = execute(db, sql, params![task.to_string(), attempt, checkpoint.to_string()])?;
            moved_one(db, moved, task, "running in this attempt")?;
            Ok(before)
        })
        .await
    }

    /// What the next attempt at a run goes on from.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn checkpoint(&self, task: TaskId) -> Result<Option<Digest>, StoreError> {
        self.read(move |db| checkpoint_of(db, task)).await
    }

    /// Lets the next attempt at a run start anew. Gives back what it would have gone on from.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drop_checkpoint(&self, task: TaskId) -> Result<Option<Digest>, StoreError> {
        self.write(move |db| {
            let before = checkpoint_of(db, task)?;
            execute(db, "UPDATE runs SET checkpoint = NULL WHERE task = ?1", [task.to_string()])?;
            Ok(before)
        })
        .await
    }

    /// Runs of a cohort's baselines that were given up are to be done again: without them nobody can be scored. How many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn retry_baselines(&self, cohort: u64) -> Result<usize, StoreError> {
        self.write(move |db| {
            let sql = "UPDATE runs SET status = 'pending', attempts = 0, orphaned = 0, stopped = 0,
                         not_before = NULL, checkpoint = NULL
                       WHERE status = 'abandoned' AND task IN (
                           SELECT er.task FROM entrant_runs er JOIN entrants e USING (cohort, submission)
                           WHERE cohort = ?1 AND e.role = 'baseline')";
            execute(db, sql, [int(cohort)])
        })
        .await
    }

    /// How the runs of an entrant stand, in the order of the plan.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn runs(&self, cohort: u64, submission: SubmissionId) -> Result<Vec<RunRecord>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT r.task, r.status, r.attempts, r.error FROM entrant_runs er JOIN runs r USING (task)
                       WHERE er.cohort = ?1 AND er.submission = ?2 ORDER BY er.place";
            rows(db, sql, params![int(cohort), submission.to_string()], |row| {
                Ok(RunRecord {
                    task: row.parsed("task")?,
                    status: row.variant("status")?,
                    attempts: row.number("attempts")?,
                    error: row.text_option("error")?,
                })
            })
        })
        .await
    }

    /// The evidence of all entrants of a cohort, each in the order of its plan.
    ///
    /// # Errors
    /// `Column` when bytes no longer fit their digest.
    pub async fn evidence(&self, cohort: u64) -> Result<BTreeMap<SubmissionId, Vec<Evidence>>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT er.submission, r.evidence, r.digest FROM entrant_runs er JOIN runs r USING (task)
                       WHERE er.cohort = ?1 AND r.status = 'done' ORDER BY er.submission, er.place";
            let mut all: BTreeMap<SubmissionId, Vec<Evidence>> = BTreeMap::new();
            for (submission, evidence) in
                rows(db, sql, [int(cohort)], |row| Ok((row.parsed("submission")?, read_evidence(row)?)))?
            {
                all.entry(submission).or_default().push(evidence);
            }
            Ok(all)
        })
        .await
    }

    /// The evidence of one entrant, in the order of its plan.
    ///
    /// # Errors
    /// `Column` when bytes no longer fit their digest.
    pub async fn evidence_of(&self, cohort: u64, submission: SubmissionId) -> Result<Vec<Evidence>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT r.evidence, r.digest FROM entrant_runs er JOIN runs r USING (task)
                       WHERE er.cohort = ?1 AND er.submission = ?2 AND r.status = 'done' ORDER BY er.place";
            rows(db, sql, params![int(cohort), submission.to_string()], read_evidence)
        })
        .await
    }
}

fn checkpoint_of(db: &Connection, task: TaskId) -> Result<Option<Digest>, StoreError> {
    let sql = "SELECT checkpoint FROM runs WHERE task = ?1";
    Ok(first(db, sql, [task.to_string()], |row| row.parsed_option("checkpoint"))?.flatten())
}

fn read_evidence(row: Columns<'_>) -> Result<Evidence, StoreError> {
    let bytes = row.blob_option("evidence")?.unwrap_or_default();
    let digest: Digest = row.parsed("digest")?;
    if Digest::of(&bytes) != digest {
        let value = format!("bytes whose SHA-256 is not {digest}");
        return Err(StoreError::Column { column: "evidence", value });
    }
    serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { column: "evidence", source })
}

/// Turns "no row moved" into why.
pub(super) fn moved_one(db: &Connection, moved: usize, task: TaskId, expected: &'static str) -> Result<(), StoreError> {
    if moved == 1 {
        return Ok(());
    }
    let (what, id) = ("run", task.to_string());
    let found = first(db, "SELECT status FROM runs WHERE task = ?1", [&id], |row| row.text("status"))?;
    Err(match found {
        Some(found) => StoreError::State { what, id, found, expected },
        None => StoreError::NotFound { what, id },
    })
}
