//! The schema, version by version. A version that was released is never edited: the next one is added.
use super::StoreError;
use prism_core::Digest;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

const MIGRATIONS: [&str; 8] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_version (
  version    INTEGER PRIMARY KEY,
  digest     TEXT    NOT NULL,
  applied_at INTEGER NOT NULL DEFAULT (unixepoch() * 1000)
) STRICT";

/// Brings the schema to the newest version, each step in a transaction of its own.
///
/// # Errors
/// `Newer` for a store of a newer program; `Migrated` when an applied version has other text than ours.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    db.execute_batch(VERSIONS)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = db.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, sql) in (1u32..).zip(MIGRATIONS) {
        let digest = Digest::of(sql.as_bytes()).to_string();
        let applied: Option<String> = db
            .query_row("SELECT digest FROM schema_version WHERE version = ?1", [version], |row| row.get(0))
            .optional()?;
        match applied {
            Some(applied) if applied == digest => {}
            Some(_) => return Err(StoreError::Migrated(version)),
            None => {
                let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
                step.execute_batch(sql)?;
                step.execute("INSERT INTO schema_version (version, digest) VALUES (?1, ?2)", params![version, digest])?;
                step.commit()?;
            }
        }
    }
    Ok(())
}

/// Whether a store that another process may have open has the schema that this program knows; it is not changed.
///
/// # Errors
/// `Newer` and `Older`.
pub(super) fn check(db: &Connection) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = db.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { found, known }),
        std::cmp::Ordering::Less => Err(StoreError::Older { found, known }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let schema = |db: &Connection| -> String {
            db.query_row("SELECT group_concat(sql, char(10)) FROM sqlite_schema", [], |row| row.get(0)).unwrap()
        };
        let before = schema(&db);
        migrate(&mut db).unwrap();
        assert_eq!(schema(&db), before);
    }

    #[test]
    fn rows_of_numbers_become_rows_of_sections_and_what_was_refused_stays_refused() {
        let db = Connection::open_in_memory().unwrap();
        for sql in &MIGRATIONS[..4] {
            db.execute_batch(sql).unwrap();
        }
        let old = [
            r#"{"reward.margin": 0.05, "score.z": 3}"#,
            r#"{"reward.target": 0.2}"#,
            r#"{"margin": 0.1, "score.z": 4}"#,
            r#"{"score.z": 1e999, "reward.z": true}"#,
            "nothing of the kind",
            "[1]",
        ];
        for (numbers, at) in old.iter().zip(1..) {
            let row = "INSERT INTO policy (numbers, note, created_at) VALUES (?1, 'why', ?2)";
            db.execute(row, params![numbers, at]).unwrap();
        }
        db.execute_batch(MIGRATIONS[4]).unwrap();
        let mut rows = db.prepare("SELECT version, section, value, note, created_at FROM policy ORDER BY 1").unwrap();
        let rows = rows.query_map([], |row| {
            assert_eq!(row.get::<_, String>(3)?, "why");
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(4)?))
        });
        let rows: Vec<_> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        let (rewards, scores) = ("reward_pools".to_owned(), "score_weights".to_owned());
        let row = |version, section: &String, value: &str, at| (version, section.clone(), value.to_owned(), at);
        assert_eq!(rows[0], row(7, &rewards, r#"{"margin":0.05}"#, 1));
        assert_eq!(rows[1], row(8, &scores, r#"{"z":3}"#, 1));
        assert_eq!(rows[2], row(9, &rewards, r#"{"target":0.2}"#, 2));
        assert_eq!(rows[3], row(10, &scores, "{}", 2));
        assert_eq!((rows[4].2.as_str(), rows[5].2.as_str()), (old[2], old[2]));
        assert_eq!(rows[6].2, r#"{"z":true}"#);
        assert!(rows[7].2.starts_with(r#"{"z":"#), "{rows:?}");
        assert_eq!((rows[8].2.as_str(), rows[10].2.as_str(), rows.len()), (old[4], old[5], 12));
        db.execute("INSERT INTO policy (section, value) VALUES ('plan', '{}')", []).unwrap();
        assert_eq!(db.last_insert_rowid(), 19);
    }

    #[test]
    fn baselines_that_were_published_before_come_first_under_their_keys() {
        let db = Connection::open_in_memory().unwrap();
        for sql in &MIGRATIONS[..7] {
            db.execute_batch(sql).unwrap();
        }
        for (entry, hotkey) in [(1, "x'02'"), (2, "NULL"), (3, "x'03'"), (4, "NULL")] {
            let row = format!(
                "INSERT INTO fingerprints VALUES ({entry}, x'0{entry}', 'recipe', {hotkey}, x'', 0, 0, 0, x'', x'', NULL);
                 INSERT INTO fingerprint_keys VALUES (7, {entry});"
            );
            db.execute_batch(&row).unwrap();
        }
        db.execute_batch(MIGRATIONS[7]).unwrap();
        let entries = |sql: &str| -> String { db.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!(entries("SELECT group_concat(entry) FROM (SELECT entry FROM fingerprints ORDER BY 1)"), "-4,-2,1,3");
        assert_eq!(
            entries("SELECT group_concat(entry) FROM (SELECT entry FROM fingerprint_keys ORDER BY 1)"),
            "-4,-2,1,3"
        );
    }

    #[test]
    fn a_newer_or_foreign_schema_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        db.execute("INSERT INTO schema_version (version, digest) VALUES (99, 'x')", []).unwrap();
        assert!(matches!(migrate(&mut db), Err(StoreError::Newer { found: 99, .. })));
        db.execute("DELETE FROM schema_version WHERE version = 99", []).unwrap();
        db.execute("UPDATE schema_version SET digest = 'x' WHERE version = 1", []).unwrap();
        assert!(matches!(migrate(&mut db), Err(StoreError::Migrated(1))));
    }

    #[test]
    fn what_was_held_before_holds_were_recorded_is_a_hold_that_waits() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(VERSIONS).unwrap();
        for sql in &MIGRATIONS[..3] {
            db.execute_batch(sql).unwrap();
        }
        db.execute_batch(
            "INSERT INTO cohorts (number, status, opened_block) VALUES (1, 'open', 0);
             INSERT INTO submissions (id, source, hotkey, block, extrinsic, local, payload, status, rule, reason, cohort,
                                      received_at, updated_at)
             VALUES ('a', 'http', 'h', 1, 1, 1, '{}', 'held', 'review.odd', 'why', 1, 5, 6);",
        )
        .unwrap();
        db.execute_batch(MIGRATIONS[3]).unwrap();
        let row = db.query_row("SELECT rule, since, expires, answer FROM holds WHERE submission = 'a'", [], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Option<i64>>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        });
        assert_eq!(row.unwrap(), ("review.odd".to_owned(), 6, None, None));
    }
}
