//! What later submissions are compared with, and an index that finds what may be alike.
//!
//! Locality-sensitive hashing in SQLite: each part stands under a key for its work, one for its structure, and one for each
//! band of its sketch. A lookup reads the oldest few entries of each key, and nothing else, however many there are. It costs
//! no memory, is part of the transaction that passes a submission, and needs no rebuilding at a start.
//!
//! Published baselines have entries below zero and always their keys, and so they are read first: one that is published
//! late still says of what came before it that it is nobody's.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, millis, rows},
};
use prism_core::{Block, Digest, FamilyId, Hotkey, SubmissionId, submission::Precedence};
use prism_eval::duplicate::{Compact, DuplicateReport, Entry, Fingerprint, Grade, Part};
use rusqlite::{Connection, Transaction, params};
use std::{collections::BTreeSet, time::SystemTime};

/// Entries of one key that are kept and read, the oldest. A popular band would otherwise make a lookup linear; who shares
/// it with more is found under bands that are less popular, or is as near to its oldest as to the rest.
const OLDEST: i64 = 32;

/// A fingerprint to be kept, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintRecord {
    /// Of which submission, or the id of a baseline's runs.
    pub submission: SubmissionId,
    /// The family it belongs to.
    pub family: FamilyId,
    /// Whose, and its place in the order of arrival.
    pub precedence: Precedence,
    /// Whether it is a published baseline: nobody's.
    pub published: bool,
    /// What is kept.
    pub fingerprint: Fingerprint,
}

/// What an examination found out about duplicates, kept with what became of the submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// What later ones are compared with.
    pub fingerprint: Fingerprint,
    /// The family it belongs to.
    pub family: FamilyId,
    /// What it resembles.
    pub report: DuplicateReport,
}

impl Store {
    /// What may be like a fingerprint: all that share a key with it, as far as each key reaches.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn alike(&self, fingerprint: &Fingerprint) -> Result<Vec<Entry>, StoreError> {
        let keys: BTreeSet<u64> = fingerprint.parts.iter().flat_map(|part| fingerprint.keys(part)).collect();
        self.read(move |db| {
            let mut entries = BTreeSet::new();
            let mut read =
                db.prepare_cached("SELECT entry FROM fingerprint_keys WHERE key = ?1 ORDER BY entry LIMIT ?2")?;
            for key in &keys {
                let mut found = read.query(params![int(*key), OLDEST])?;
                while let Some(row) = found.next()? {
                    entries.insert(row.get::<_, i64>(0)?);
                }
            }
            let sql = "SELECT submission, part, hotkey, family, block, extrinsic, local, work, structure, sketch
                       FROM fingerprints WHERE entry = ?1";
            let read = |entry: i64| first(db, sql, [entry], entry_of);
            entries.into_iter().filter_map(|entry| read(entry).transpose()).collect()
        })
        .await
    }

    /// Keeps fingerprints, in place of those of the same submissions.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_fingerprints(&self, records: Vec<FingerprintRecord>) -> Result<(), StoreError> {
        self.write(move |db| {
            let mut keys = Vec::new();
            records.iter().try_for_each(|record| insert(db, record, &mut keys))?;
            insert_keys(db, keys)
        })
        .await
    }

    /// What a submission resembles; none where nothing is alike, or nobody looked yet.
    ///
    /// # Errors
    /// Those of the database; `Column` for a report of another version.
    pub async fn duplicate_report(&self, id: SubmissionId) -> Result<Option<DuplicateReport>, StoreError> {
        self.read(move |db| report_of(db, id)).await
    }

    /// The newest reports of submissions measured in a cohort that don't say yet how losses compare.
    ///
    /// # Errors
    /// Those of the database; `Column` for a report of another version.
    pub async fn reports_without_losses(&self, cohort: u64) -> Result<Vec<DuplicateReport>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT d.report FROM duplicate_reports d JOIN entrants e ON e.submission = d.submission
                       WHERE e.cohort = ?1 AND json_extract(d.report, '$.losses') IS NULL ORDER BY d.submission";
            rows(db, sql, [int(cohort)], |row| read_report(&row.text("report")?))
        })
        .await
    }

    /// Replaces a report by one that says more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn amend_report(&self, report: DuplicateReport) -> Result<(), StoreError> {
        self.write(move |db| {
            let sql = "UPDATE duplicate_reports SET report = ?2 WHERE submission = ?1";
            execute(db, sql, params![report.submission.to_string(), report.to_json()])?;
            Ok(())
        })
        .await
    }
}

/// Keeps what an examination found out, beside what becomes of the submission.
pub(super) fn keep(
    db: &Transaction<'_>,
    id: SubmissionId,
    provenance: &Provenance,
    now: SystemTime,
) -> Result<(), StoreError> {
    let own = "SELECT block, extrinsic, hotkey, local FROM submissions WHERE id = ?1";
    let Some(precedence) = first(db, own, [id.to_string()], |row| row.precedence())? else {
        return Err(StoreError::NotFound { what: "submission", id: id.to_string() });
    };
    let record = FingerprintRecord {
        submission: id,
        family: provenance.family,
        precedence,
        published: false,
        fingerprint: provenance.fingerprint.clone(),
    };
    let mut keys = Vec::new();
    insert(db, &record, &mut keys)?;
    insert_keys(db, keys)?;
    let report = &provenance.report;
    execute(db, "DELETE FROM duplicate_reports WHERE submission = ?1", [id.to_string()])?;
    if report.grade > Grade::None {
        let sql = "INSERT INTO duplicate_reports (submission, grade, report, created_at) VALUES (?1, ?2, ?3, ?4)";
        execute(db, sql, params![id.to_string(), report.grade.as_str(), report.to_json(), millis(now)])?;
    }
    Ok(())
}

pub(super) fn report_of(db: &Connection, id: SubmissionId) -> Result<Option<DuplicateReport>, StoreError> {
    let sql = "SELECT report FROM duplicate_reports WHERE submission = ?1";
    first(db, sql, [id.to_string()], |row| read_report(&row.text("report")?))
}

fn read_report(text: &str) -> Result<DuplicateReport, StoreError> {
    DuplicateReport::from_json(text).map_err(|error| StoreError::Column { column: "report", value: error.to_string() })
}

/// Inserts the parts and gathers their keys. What is on record already keeps its entry.
fn insert(db: &Transaction<'_>, record: &FingerprintRecord, keys: &mut Vec<(i64, i64)>) -> Result<(), StoreError> {
    let place = &record.precedence;
    let hotkey = (!record.published).then_some(&place.hotkey.0[..]);
    let sql =
        "INSERT INTO fingerprints (entry, submission, part, hotkey, family, block, extrinsic, local, work, structure,
                                   sketch)
               VALUES (iif(?3 IS NULL, (SELECT min(coalesce(min(entry), 0), 0) - 1 FROM fingerprints), NULL),
                       ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (submission, part) DO UPDATE SET family = ?4, work = ?8, structure = ?9, sketch = ?10
               RETURNING entry";
    let mut statement = db.prepare_cached(sql)?;
    for part in &record.fingerprint.parts {
        let sketch = part.sketch.as_ref().map(|sketch| sketch.compact());
        let values = params![
            &record.submission.0[..],
            part.part.as_str(),
            hotkey,
            &record.family.0[..],
            int(place.block.0),
            place.extrinsic,
            place.local,
            &record.fingerprint.work.0[..],
            &part.structure.0[..],
            sketch.as_ref().map(Compact::as_bytes),
        ];
        let entry: i64 = statement.query_row(values, |row| row.get(0))?;
        keys.extend(record.fingerprint.keys(part).into_iter().map(|key| (int(key), entry)));
    }
    Ok(())
}

/// Inserts keys in their order, so that many at once touch each page of the index once; none where a key has its oldest,
/// but for those of published baselines.
fn insert_keys(db: &Transaction<'_>, mut keys: Vec<(i64, i64)>) -> Result<(), StoreError> {
    keys.sort_unstable();
    keys.dedup();
    let sql = "INSERT INTO fingerprint_keys (key, entry) SELECT ?1, ?2
               WHERE ?2 < 0 OR (SELECT count(*) FROM (SELECT 1 FROM fingerprint_keys WHERE key = ?1 LIMIT ?3)) < ?3
               ON CONFLICT DO NOTHING";
    for (key, entry) in keys {
        execute(db, sql, params![key, entry, OLDEST])?;
    }
    Ok(())
}

fn entry_of(row: Columns<'_>) -> Result<Entry, StoreError> {
    let id = |column| row.bytes::<32>(column);
    let hotkey = row.bytes_option::<32>("hotkey")?.map(Hotkey);
    let sketch = row.blob_option("sketch")?;
    let wrong = |column, what: &str| StoreError::Column { column, value: what.to_owned() };
    Ok(Entry {
        submission: SubmissionId(id("submission")?),
        hotkey,
        family: FamilyId(id("family")?),
        precedence: Precedence {
            block: Block(row.number("block")?),
            extrinsic: row.number("extrinsic")?,
            hotkey: hotkey.unwrap_or(Hotkey([0; 32])),
            local: row.flag("local")?,
        },
        part: row.word("part", Part::parse)?,
        work: Digest(id("work")?),
        structure: Digest(id("structure")?),
        sketch: sketch
            .map(|bytes| Compact::from_bytes(&bytes).ok_or_else(|| wrong("sketch", "another number of bytes")))
            .transpose()?,
    })
}
