//! What entrants of settled cohorts were measured as: run manifests and the files beside them, by digest.
use super::{
    Store, StoreError,
    boards::Sight,
    column::{Columns, execute, first, int, millis, rows},
};
use prism_core::{Digest, FamilyId, SubmissionId, TaskId};
use rusqlite::params;
use std::time::{Duration, SystemTime};

/// What was written of one entrant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Which entrant.
    pub submission: SubmissionId,
    /// Its family.
    pub family: FamilyId,
    /// The files, or why there are none.
    pub files: Result<ManifestDigests, String>,
}

/// The files of one entrant, among the artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestDigests {
    /// `prism_run_manifest.v1.json`; none for a baseline.
    pub manifest: Option<Digest>,
    /// `architecture_graph.json`.
    pub graph: Digest,
    /// `architecture_metadata.v1.json`.
    pub metadata: Digest,
    /// `architecture.mmd`.
    pub mermaid: Digest,
    /// `run_log.jsonl`; none for a baseline.
    pub run_log: Option<Digest>,
}

impl Store {
    /// Settled cohorts with entrants of which nothing was written yet, oldest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unwritten_cohorts(&self, most: usize) -> Result<Vec<u64>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT DISTINCT e.cohort FROM entrants e
                       JOIN cohorts c ON c.number = e.cohort AND c.status = 'settled'
                       LEFT JOIN manifests m ON m.cohort = e.cohort AND m.submission = e.submission
                       WHERE m.cohort IS NULL ORDER BY e.cohort LIMIT ?1";
            rows(db, sql, [int(most as u64)], |row| row.number("cohort"))
        })
        .await
    }

    /// Puts on record what was written of a settled cohort's entrants. What is on record already stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record_manifests(
        &self,
        cohort: u64,
        records: Vec<ManifestRecord>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            for ManifestRecord { submission, family, files } in &records {
                let sql = "INSERT INTO manifests (cohort, submission, family, manifest, graph, metadata, mermaid,
                                                  run_log, error, created_at)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
                let of = |digest: fn(&ManifestDigests) -> Option<Digest>| {
                    files.as_ref().ok().and_then(digest).map(|digest| digest.to_string())
                };
                let values = params![
                    int(cohort),
                    submission.to_string(),
                    family.to_string(),
                    of(|files| files.manifest),
                    of(|files| Some(files.graph)),
                    of(|files| Some(files.metadata)),
                    of(|files| Some(files.mermaid)),
                    of(|files| files.run_log),
                    files.as_ref().err(),
                    millis(now),
                ];
                execute(db, sql, values)?;
            }
            Ok(())
        })
        .await
    }

    /// What was written of an entrant.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn manifest(&self, cohort: u64, submission: SubmissionId) -> Result<Option<ManifestRecord>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT * FROM manifests WHERE cohort = ?1 AND submission = ?2";
            first(db, sql, params![int(cohort), submission.to_string()], record)
        })
        .await
    }

    /// What was last written of any member of a family, its baseline included, in a cohort that is seen.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn architecture_files(
        &self,
        family: FamilyId,
        sight: Sight,
    ) -> Result<Option<ManifestDigests>, StoreError> {
        self.read(move |db| {
            let sql = format!(
                "SELECT m.* FROM manifests m JOIN {} c ON c.number = m.cohort
                 WHERE m.family = ?1 AND m.graph IS NOT NULL ORDER BY m.cohort DESC, m.submission LIMIT 1",
                sight.cohorts()
            );
            let found = first(db, &sql, [family.to_string()], record)?;
            Ok(found.and_then(|record| record.files.ok()))
        })
        .await
    }

    /// How long the last attempt at a finished run took, by the validator's clock.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn run_span(&self, task: TaskId) -> Result<Option<Duration>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT started_at, ended_at FROM runs WHERE task = ?1 AND status = 'done'";
            let times = first(db, sql, [task.to_string()], |row| {
                Ok((row.time_option("started_at")?, row.time_option("ended_at")?))
            })?;
            Ok(match times {
                Some((Some(start), Some(end))) => end.duration_since(start).ok(),
                _ => None,
            })
        })
        .await
    }
}

fn record(row: Columns<'_>) -> Result<ManifestRecord, StoreError> {
    let files = match (row.parsed_option("graph")?, row.parsed_option("metadata")?, row.parsed_option("mermaid")?) {
        (Some(graph), Some(metadata), Some(mermaid)) => Ok(ManifestDigests {
            manifest: row.parsed_option("manifest")?,
            graph,
            metadata,
            mermaid,
            run_log: row.parsed_option("run_log")?,
        }),
        _ => Err(row.text_option("error")?.unwrap_or_default()),
    };
    Ok(ManifestRecord { submission: row.parsed("submission")?, family: row.parsed("family")?, files })
}
