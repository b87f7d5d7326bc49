//! The schema, version by version. A version that was released is never edited: the next one is added.
use super::StoreError;
use prism_core::Digest;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

const MIGRATIONS: [&str; 6] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
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
