//! Submissions: taken in, examined, refused, read.
use super::{
    Store, StoreError,
    cohorts::open_cohort,
    column::{Columns, execute, first, int, json, millis, rows, word},
    duplicates::{self, Provenance},
    holds,
};
use prism_core::{
    Digest, FamilyId, SubmissionId,
    reviewer::Finding,
    source::{Batch, Cursor},
    submission::{Payload, Submission, SubmissionKind, SubmissionStatus},
};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::SystemTime};

/// Bytes kept in [`Artifacts`](prism_core::Artifacts), by what they are for.
pub type Material = BTreeMap<String, Digest>;

/// Why a submission stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule's stable name, such as `bundle/traversal`.
    pub rule: String,
    /// For people: what is wrong, and where.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(rule: impl Into<String>, text: impl Into<String>) -> Self {
        Self { rule: rule.into(), text: text.into() }
    }
}

/// A submission on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionRecord {
    /// As its source handed it out.
    pub submission: Submission,
    /// The source's name.
    pub source: String,
    /// What its author calls it; for display, unsigned.
    pub name: Option<String>,
    /// Where it stands.
    pub status: SubmissionStatus,
    /// Why, when it is failed, rejected or held.
    pub reason: Option<Reason>,
    /// What it brings, once examined.
    pub kind: Option<SubmissionKind>,
    /// The family it belongs to, once examined.
    pub family: Option<FamilyId>,
    /// What is measured, once examined.
    pub material: Option<Material>,
    /// The cohort it is measured in.
    pub cohort: u64,
    /// When it was taken in.
    pub received_at: SystemTime,
    /// When it last moved.
    pub updated_at: SystemTime,
}

impl SubmissionRecord {
    pub(super) const COLUMNS: &str = "id, source, name, hotkey, block, extrinsic, local, payload, status, rule, reason, \
                                      kind, family, material, cohort, received_at, updated_at";

    pub(super) fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        let rule = row.text_option("rule")?;
        Ok(Self {
            submission: Submission {
                id: row.parsed("id")?,
                hotkey: row.parsed("hotkey")?,
                precedence: row.precedence()?,
                payload: row.json::<Payload>("payload")?,
            },
            source: row.text("source")?,
            name: row.text_option("name")?,
            status: row.word("status", SubmissionStatus::parse)?,
            reason: rule.map(|rule| Ok::<_, StoreError>(Reason { rule, text: row.text("reason")? })).transpose()?,
            kind: row.variant_option("kind")?,
            family: row.parsed_option("family")?,
            material: row.json_option("material")?,
            cohort: row.number("cohort")?,
            received_at: row.time("received_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// What an examination found: everything that measuring needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What it brings.
    pub kind: SubmissionKind,
    /// The family it belongs to.
    pub family: FamilyId,
    /// What is measured.
    pub material: Material,
    /// What the family is on record with if this submission is its first; `None` when the family must exist.
    pub founds: Option<Material>,
    /// What it resembles, and what later ones are compared with.
    pub provenance: Option<Provenance>,
}

/// A finding and who found it.
pub type ReviewerFinding = (String, Finding);

impl Store {
    /// Where a source is to go on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cursor(&self, source: &str) -> Result<Option<Cursor>, StoreError> {
        let source = source.to_owned();
        self.read(move |db| {
            first(db, "SELECT cursor FROM cursors WHERE source = ?1", [source], |row| row.text("cursor").map(Cursor))
        })
        .await
    }

    /// Takes in a batch and moves the cursor behind it, in one transaction. Says which submissions are new.
    ///
    /// # Errors
    /// `NotFound` while no cohort is open.
    pub async fn take_in(&self, source: &str, batch: Batch, now: SystemTime) -> Result<Vec<SubmissionId>, StoreError> {
        let source = source.to_owned();
        self.write(move |db| {
            let cohort = open_cohort(db)?.number;
            let mut new = Vec::new();
            for submission in &batch.submissions {
                if insert(db, &source, submission, cohort, now)? {
                    new.push(submission.id);
                }
            }
            let sql = "INSERT INTO cursors (source, cursor, updated_at) VALUES (?1, ?2, ?3)
                       ON CONFLICT (source) DO UPDATE SET cursor = ?2, updated_at = ?3";
            execute(db, sql, params![source, batch.next.0, millis(now)])?;
            Ok(new)
        })
        .await
    }

    /// The submissions that nobody has examined yet, in order of arrival.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unexamined(&self, most: usize) -> Result<Vec<SubmissionRecord>, StoreError> {
        let most = int(most as u64);
        self.read(move |db| {
            let sql = format!(
                "SELECT {} FROM submissions WHERE status = 'pending' AND material IS NULL
                 ORDER BY block, extrinsic, hotkey LIMIT ?1",
                SubmissionRecord::COLUMNS
            );
            rows(db, &sql, [most], SubmissionRecord::from_row)
        })
        .await
    }

    /// Records a passed examination. The first submission of a family founds it.
    ///
    /// # Errors
    /// `State` when the submission is not pending; `NotFound` when it belongs to a family that nobody founded.
    pub async fn pass(
        &self,
        id: SubmissionId,
        examined: Examined,
        findings: Vec<ReviewerFinding>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            if let Some(material) = &examined.founds {
                let sql = "INSERT INTO families (id, submission, hotkey, material, created_at)
                           SELECT ?1, id, hotkey, ?3, ?4 FROM submissions WHERE id = ?2
                           ON CONFLICT (id) DO NOTHING";
                let material = json("material", material)?;
                execute(db, sql, params![examined.family.to_string(), id.to_string(), material, millis(now)])?;
            }
            let sql = "UPDATE submissions SET kind = ?2, family = ?3, material = ?4, rule = NULL, reason = NULL,
                       updated_at = ?5 WHERE id = ?1 AND status = 'pending'";
            let kind = word("kind", &examined.kind)?;
            let material = json("material", &examined.material)?;
            let family = examined.family.to_string();
            let moved = execute(db, sql, params![id.to_string(), kind, family, material, millis(now)])?;
            moved_one(db, moved, id, "pending")?;
            if let Some(provenance) = &examined.provenance {
                duplicates::keep(db, id, provenance, now)?;
            }
            keep_findings(db, id, &findings)
        })
        .await
    }

    /// Rejects or holds a pending submission. A hold of this kind waits for what is missing, however long: see
    /// [`Store::hold`] for those that end by themselves.
    ///
    /// # Errors
    /// `State` when the submission is not pending.
    pub async fn refuse(
        &self,
        id: SubmissionId,
        status: SubmissionStatus,
        kind: Option<SubmissionKind>,
        reason: Reason,
        findings: Vec<ReviewerFinding>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            let sql = "UPDATE submissions SET status = ?2, rule = ?3, reason = ?4, kind = ?5, updated_at = ?6
                       WHERE id = ?1 AND status = 'pending'";
            let kind = kind.map(|kind| word("kind", &kind)).transpose()?;
            let values = params![id.to_string(), status.as_str(), reason.rule, reason.text, kind, millis(now)];
            let moved = execute(db, sql, values)?;
            moved_one(db, moved, id, "pending")?;
            if status == SubmissionStatus::Held {
                holds::open(db, id, &reason, None, now)?;
            }
            keep_findings(db, id, &findings)
        })
        .await
    }

    /// Puts submissions that one rule holds, or that failed by it, back to pending and into the open cohort: what was
    /// missing is there now, or this machine is well again. Says how many.
    ///
    /// # Errors
    /// `NotFound` while no cohort is open.
    pub async fn release(&self, rule: &str, now: SystemTime) -> Result<usize, StoreError> {
        let rule = rule.to_owned();
        self.write(move |db| {
            let cohort = open_cohort(db)?.number;
            holds::release(db, &rule, now)?;
            let sql = "UPDATE submissions SET status = 'pending', rule = NULL, reason = NULL, material = NULL,
                       cohort = ?2, updated_at = ?3 WHERE status IN ('held', 'failed') AND rule = ?1";
            execute(db, sql, params![rule, int(cohort), millis(now)])
        })
        .await
    }

    /// One submission.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn submission(&self, id: SubmissionId) -> Result<Option<SubmissionRecord>, StoreError> {
        self.read(move |db| {
            let sql = format!("SELECT {} FROM submissions WHERE id = ?1", SubmissionRecord::COLUMNS);
            first(db, &sql, [id.to_string()], SubmissionRecord::from_row)
        })
        .await
    }

    /// The submissions of a cohort, or of all, in order of arrival; of one status, or of any; at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn submissions(
        &self,
        cohort: Option<u64>,
        status: Option<SubmissionStatus>,
        most: usize,
    ) -> Result<Vec<SubmissionRecord>, StoreError> {
        self.read(move |db| {
            let sql = format!(
                "SELECT {} FROM submissions WHERE (?1 IS NULL OR cohort = ?1) AND (?2 IS NULL OR status = ?2)
                 ORDER BY block, extrinsic, hotkey LIMIT ?3",
                SubmissionRecord::COLUMNS
            );
            let status = status.map(SubmissionStatus::as_str);
            rows(db, &sql, params![cohort.map(int), status, int(most as u64)], SubmissionRecord::from_row)
        })
        .await
    }

    /// How many submissions have each status.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn queue(&self) -> Result<BTreeMap<SubmissionStatus, u64>, StoreError> {
        self.read(|db| {
            let counted = rows(db, "SELECT status, count(*) AS n FROM submissions GROUP BY status", [], |row| {
                Ok((row.word("status", SubmissionStatus::parse)?, row.number("n")?))
            })?;
            Ok(counted.into_iter().collect())
        })
        .await
    }

    /// What the reviewers found, in their order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn findings(&self, id: SubmissionId) -> Result<Vec<ReviewerFinding>, StoreError> {
        self.read(move |db| {
            let sql =
                "SELECT reviewer, rule, grade, file, line, text FROM findings WHERE submission = ?1 ORDER BY rowid";
            rows(db, sql, [id.to_string()], |row| {
                let finding = Finding {
                    rule: row.text("rule")?,
                    file: row.text("file")?,
                    line: row.number("line")?,
                    text: row.text("text")?,
                    grade: row.variant("grade")?,
                };
                Ok((row.text("reviewer")?, finding))
            })
        })
        .await
    }
}

fn insert(
    db: &Transaction<'_>,
    source: &str,
    submission: &Submission,
    cohort: u64,
    now: SystemTime,
) -> Result<bool, StoreError> {
    let (archive, bytes) = match &submission.payload {
        Payload::Bundle { archive, bytes } => (Some(archive.to_string()), Some(int(*bytes))),
        _ => (None, None),
    };
    let sql = "INSERT INTO submissions (id, source, name, hotkey, block, extrinsic, local, payload, archive, bytes,
                                        status, cohort, received_at, updated_at)
               VALUES (?1, ?2, (SELECT name FROM intake WHERE id = ?1), ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending', ?10,
                       ?11, ?11)
               ON CONFLICT (id) DO NOTHING";
    let inserted = execute(
        db,
        sql,
        params![
            submission.id.to_string(),
            source,
            submission.hotkey.ss58(),
            int(submission.precedence.block.0),
            submission.precedence.extrinsic,
            submission.precedence.local,
            json("payload", &submission.payload)?,
            archive,
            bytes,
            int(cohort),
            millis(now),
        ],
    )?;
    Ok(inserted == 1)
}

/// Turns "no row moved" into why.
pub(super) fn moved_one(
    db: &Connection,
    moved: usize,
    id: SubmissionId,
    expected: &'static str,
) -> Result<(), StoreError> {
    if moved == 1 {
        return Ok(());
    }
    let found = first(db, "SELECT status FROM submissions WHERE id = ?1", [id.to_string()], |row| row.text("status"))?;
    let (what, id) = ("submission", id.to_string());
    Err(match found {
        Some(found) => StoreError::State { what, id, found, expected },
        None => StoreError::NotFound { what, id },
    })
}

pub(super) fn keep_findings(
    db: &Transaction<'_>,
    id: SubmissionId,
    findings: &[ReviewerFinding],
) -> Result<(), StoreError> {
    execute(db, "DELETE FROM findings WHERE submission = ?1", [id.to_string()])?;
    let sql = "INSERT INTO findings (submission, reviewer, rule, grade, file, line, text)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    for (reviewer, finding) in findings {
        let grade = word("grade", &finding.grade)?;
        let values = params![id.to_string(), reviewer, finding.rule, grade, finding.file, finding.line, finding.text];
        execute(db, sql, values)?;
    }
    Ok(())
}
