//! What an operator has to look at. An alarm is raised again and again while its cause lasts, and is over with it.
use super::{
    Store, StoreError,
    column::{execute, int, millis, rows},
};
use rusqlite::params;
use serde::Serialize;
use std::time::SystemTime;

/// Most alarms that are shown.
const MOST: u64 = 100;

/// Something that an operator has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// Which part raises it, as in `policy`.
    pub kind: String,
    /// What it is about; one alarm of a kind for each.
    pub subject: String,
    /// What is wrong.
    pub text: String,
    /// Since when, Unix milliseconds.
    pub raised_at: i64,
}

impl Store {
    /// Puts the alarms of a kind on record: those given stand, all others of the kind are over. Says which are new.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn alarm(
        &self,
        kind: &'static str,
        standing: Vec<(String, String)>,
        now: SystemTime,
    ) -> Result<Vec<String>, StoreError> {
        let before = self.alarms().await?;
        let same = before.iter().filter(|alarm| alarm.kind == kind).map(|alarm| (&alarm.subject, &alarm.text));
        let mut sorted: Vec<_> = standing.iter().map(|(subject, text)| (subject, text)).collect();
        sorted.sort();
        // Asked for at every step: nothing is written where nothing changed.
        if same.eq(sorted) {
            return Ok(Vec::new());
        }
        self.write(move |db| {
            let sql = "UPDATE alarms SET cleared_at = ?2 WHERE kind = ?1 AND cleared_at IS NULL";
            execute(db, sql, params![kind, millis(now)])?;
            let mut new = Vec::new();
            for (subject, text) in standing {
                let sql = "INSERT INTO alarms (kind, subject, text, raised_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?4)
                           ON CONFLICT (kind, subject) DO UPDATE SET text = ?3, seen_at = ?4, cleared_at = NULL,
                             raised_at = iif(cleared_at = ?4 AND text = ?3, raised_at, ?4)";
                execute(db, sql, params![kind, subject, text, millis(now)])?;
                if !before.iter().any(|alarm| alarm.kind == kind && alarm.subject == subject && alarm.text == text) {
                    new.push(subject);
                }
            }
            Ok(new)
        })
        .await
    }

    /// The alarms that stand, by kind and subject.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        self.read(|db| {
            let sql = "SELECT kind, subject, text, raised_at FROM alarms WHERE cleared_at IS NULL
                       ORDER BY kind, subject LIMIT ?1";
            rows(db, sql, [int(MOST)], |row| {
                Ok(Alarm {
                    kind: row.text("kind")?,
                    subject: row.text("subject")?,
                    text: row.text("text")?,
                    raised_at: row.number("raised_at")?,
                })
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[tokio::test]
    async fn an_alarm_stands_while_it_is_raised_and_is_new_once() {
        let store = Store::in_memory().unwrap();
        let now = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let one = |text: &str| vec![("row 2".to_owned(), text.to_owned())];
        assert_eq!(store.alarm("policy", one("bad"), now(1)).await.unwrap(), ["row 2"]);
        assert_eq!(store.alarm("policy", one("bad"), now(2)).await.unwrap(), Vec::<String>::new());
        assert_eq!(store.alarm("devices", one("none"), now(2)).await.unwrap(), ["row 2"]);
        let both = [one("bad"), vec![("row 3".to_owned(), "worse".to_owned())]].concat();
        assert_eq!(store.alarm("policy", both, now(3)).await.unwrap(), ["row 3"]);
        let standing = store.alarms().await.unwrap();
        let seen: Vec<_> = standing.iter().map(|a| (a.kind.as_str(), a.subject.as_str(), a.raised_at)).collect();
        assert_eq!(seen, [("devices", "row 2", 2000), ("policy", "row 2", 1000), ("policy", "row 3", 3000)]);
        assert_eq!(store.alarm("policy", vec![], now(4)).await.unwrap(), Vec::<String>::new());
        assert_eq!(store.alarms().await.unwrap().len(), 1);
        assert_eq!(store.alarm("policy", one("bad"), now(5)).await.unwrap(), ["row 2"]);
        assert_eq!(store.alarms().await.unwrap()[1].raised_at, 5000);
    }
}
