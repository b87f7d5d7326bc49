//! Policy rows by section: the newest that is in effect and valid is in force, and every newer invalid one is named.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, millis, rows},
};
use prism_core::{Block, Digest, Finite};
use prism_eval::policy::{MAX_ROW_BYTES, PolicyError, PrismPolicy, Section};
use rusqlite::{Connection, params};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

/// Policy numbers by name.
pub type Numbers = BTreeMap<String, Finite>;
/// Most rows of a section that are read, the newest.
const MOST_ROWS: u64 = 100;

/// A policy in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest row in it; 0 when all is the program's own.
    pub version: u64,
    /// The numbers of scoring and rewards.
    pub numbers: Numbers,
    /// All of it. `None` for a cohort that was seeded by a program that kept the numbers only.
    pub whole: Option<Box<PrismPolicy>>,
}

impl Policy {
    /// A policy as of a row.
    #[must_use]
    pub fn new(version: u64, whole: PrismPolicy) -> Self {
        Self { version, numbers: whole.numbers(), whole: Some(Box::new(whole)) }
    }

    /// Digest of all sections; equal policies have equal digests, whatever their version.
    #[must_use]
    pub fn digest(&self) -> Digest {
        if let Some(whole) = &self.whole {
            return whole.digest();
        }
        let text: BTreeMap<&str, u64> = self.numbers.iter().map(|(k, v)| (k.as_str(), v.get().to_bits())).collect();
        let parts: Vec<Vec<u8>> =
            text.iter().flat_map(|(name, bits)| [name.as_bytes().to_vec(), bits.to_le_bytes().to_vec()]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Digest::of_parts("prism/policy/1", &parts)
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// Its number; later rows have higher ones.
    pub version: u64,
    /// The section's name, as it stands there.
    pub section: String,
    /// The keys that it replaces, as JSON; cut where it is longer than any valid row.
    pub value: String,
    /// Why, for people.
    pub note: Option<String>,
    /// Who, for people.
    pub author: Option<String>,
    /// In effect from this block on.
    pub effective_block: Option<u64>,
    /// In effect from this time on, Unix milliseconds.
    pub effective_at: Option<i64>,
    /// Whether it is read.
    pub enabled: bool,
    /// When it was added, Unix milliseconds.
    pub created_at: i64,
}

impl PolicyRow {
    // A text one byte longer than any valid row is refused like the whole of it.
    const COLUMNS: &str = "version, section, substr(value, 1, ?1) AS value, note, author, effective_block,
                           effective_at, enabled, created_at";

    fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.number("version")?,
            section: row.text("section")?,
            value: row.text("value")?,
            note: row.text_option("note")?,
            author: row.text_option("author")?,
            effective_block: row.number_option("effective_block")?,
            effective_at: row.number_option("effective_at")?,
            enabled: row.flag("enabled")?,
            created_at: row.number("created_at")?,
        })
    }

    /// Whether it counts at a block and time.
    #[must_use]
    pub fn in_effect(&self, at: Moment) -> bool {
        let (block, time) = (self.effective_block.unwrap_or(0), self.effective_at.unwrap_or(i64::MIN));
        self.enabled && block <= at.block.0 && time <= millis(at.time)
    }
}

/// A row to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPolicyRow {
    /// Of which section.
    pub section: Section,
    /// The keys that it replaces, as JSON.
    pub value: String,
    /// Why, for people.
    pub note: Option<String>,
    /// Who, for people.
    pub author: Option<String>,
    /// In effect from this block on; at once without.
    pub effective_block: Option<Block>,
    /// In effect from this time on; at once without.
    pub effective_at: Option<SystemTime>,
    /// Whether it is read.
    pub enabled: bool,
}

impl NewPolicyRow {
    /// A row that is in effect at once.
    #[must_use]
    pub fn new(section: Section, value: impl Into<String>) -> Self {
        let (note, author, effective_block, effective_at) = (None, None, None, None);
        Self { section, value: value.into(), note, author, effective_block, effective_at, enabled: true }
    }
}

/// When a policy is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The finalized block.
    pub block: Block,
    /// The time.
    pub time: SystemTime,
}

/// A row that is not in force, though it is newer than what is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Which row.
    pub version: u64,
    /// Its section.
    pub section: String,
    /// What is wrong with it, by its place.
    pub defect: String,
}

/// The policy in force and the newer rows that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReading {
    /// What holds, section by section.
    pub policy: Policy,
    /// The row that each section comes from; sections without one are the program's own.
    pub rows: BTreeMap<Section, u64>,
    /// The rows that were refused, newest first.
    pub refused: Vec<Refused>,
    /// Why the sections don't fit together: under such a whole nothing is measured.
    pub inconsistent: Option<String>,
}

impl Store {
    /// Reads the policy: `own`, with each section's newest valid row in its place, as far as it is in effect. `check` may
    /// have more against the whole than its own rules.
    ///
    /// # Errors
    /// Those of the database; never for an invalid row.
    pub async fn policy(
        &self,
        own: &PrismPolicy,
        at: Moment,
        check: impl Fn(&PrismPolicy) -> Result<(), PolicyError>,
    ) -> Result<PolicyReading, StoreError> {
        let all = self
            .read(move |db| {
                let mut all = Vec::new();
                for section in Section::ALL {
                    all.push((*section, effective(db, *section, at)?));
                }
                Ok((all, strangers(db)?))
            })
            .await?;
        let (sections, strangers) = all;
        let (mut whole, mut in_force, mut refused) = (own.clone(), BTreeMap::new(), strangers);
        for (section, rows) in sections {
            for row in rows {
                match whole.with_row(section, &row.value) {
                    Ok(with) => {
                        whole = with;
                        in_force.insert(section, row.version);
                        break;
                    }
                    Err(defect) => {
                        let section = section.as_str().to_owned();
                        refused.push(Refused { version: row.version, section, defect: defect.to_string() });
                    }
                }
            }
        }
        refused.sort_by_key(|row| std::cmp::Reverse(row.version));
        let inconsistent = whole.check().and_then(|()| check(&whole)).err().map(|defect| defect.to_string());
        let version = in_force.values().copied().max().unwrap_or(0);
        Ok(PolicyReading { policy: Policy::new(version, whole), rows: in_force, refused, inconsistent })
    }

    /// Adds a row, as it is: whoever adds it has checked it. It counts from the next cohort on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_policy(&self, row: NewPolicyRow, now: SystemTime) -> Result<u64, StoreError> {
        self.write(move |db| {
            let sql = "INSERT INTO policy
                         (section, value, note, author, effective_block, effective_at, enabled, created_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![
                row.section.as_str(),
                row.value,
                row.note,
                row.author,
                row.effective_block.map(|block| int(block.0)),
                row.effective_at.map(millis),
                row.enabled,
                millis(now),
            ];
            execute(db, sql, values)?;
            Ok(u64::try_from(db.last_insert_rowid()).unwrap_or_default())
        })
        .await
    }

    /// Switches a row on or off.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn enable_policy(&self, version: u64, enabled: bool) -> Result<(), StoreError> {
        self.write(move |db| {
            let moved =
                execute(db, "UPDATE policy SET enabled = ?2 WHERE version = ?1", params![int(version), enabled])?;
            match moved {
                0 => Err(StoreError::NotFound { what: "policy row", id: version.to_string() }),
                _ => Ok(()),
            }
        })
        .await
    }

    /// The newest rows, of one section or of all, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn policy_rows(&self, section: Option<Section>, most: u64) -> Result<Vec<PolicyRow>, StoreError> {
        self.read(move |db| {
            let sql = format!(
                "SELECT {} FROM policy WHERE ?2 IS NULL OR section = ?2 ORDER BY version DESC LIMIT ?3",
                PolicyRow::COLUMNS
            );
            let values = params![longest(), section.map(Section::as_str), int(most)];
            rows(db, &sql, values, PolicyRow::from_row)
        })
        .await
    }

    /// The newest block that is on record: the last at which a cohort opened or closed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_block(&self) -> Result<Option<Block>, StoreError> {
        self.read(|db| {
            let sql = "SELECT max(max(opened_block, coalesce(closed_block, 0))) AS block FROM cohorts";
            Ok(first(db, sql, [], |row| row.number_option("block"))?.flatten().map(Block))
        })
        .await
    }
}

/// The rows of a section that are in effect, newest first.
fn effective(db: &Connection, section: Section, at: Moment) -> Result<Vec<PolicyRow>, StoreError> {
    let sql = format!(
        "SELECT {} FROM policy WHERE section = ?2 AND enabled = 1 AND coalesce(effective_block, 0) <= ?3
           AND coalesce(effective_at, ?4) <= ?4 ORDER BY version DESC LIMIT ?5",
        PolicyRow::COLUMNS
    );
    let values = params![longest(), section.as_str(), int(at.block.0), millis(at.time), int(MOST_ROWS)];
    rows(db, &sql, values, PolicyRow::from_row)
}

/// Enabled rows of sections that don't exist: most likely misspelt.
fn strangers(db: &Connection) -> Result<Vec<Refused>, StoreError> {
    let known: BTreeSet<&str> = Section::ALL.iter().map(|section| section.as_str()).collect();
    let sql = "SELECT max(version) AS version, substr(section, 1, 80) AS name FROM policy WHERE enabled = 1
               GROUP BY section ORDER BY 1 DESC LIMIT ?1";
    let found = rows(db, sql, [int(MOST_ROWS)], |row| Ok((row.number::<u64>("version")?, row.text("name")?)))?;
    let strange = found.into_iter().filter(|(_, section)| !known.contains(section.as_str()));
    Ok(strange
        .map(|(version, section)| {
            let defect = PolicyError::Section(section.clone()).to_string();
            Refused { version, section, defect }
        })
        .collect())
}

fn longest() -> i64 {
    int(MAX_ROW_BYTES as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn at(block: u64) -> Moment {
        Moment { block: Block(block), time: UNIX_EPOCH + Duration::from_secs(block) }
    }

    fn fine(_: &PrismPolicy) -> Result<(), PolicyError> {
        Ok(())
    }

    async fn add(store: &Store, section: Section, value: &str) -> u64 {
        store.set_policy(NewPolicyRow::new(section, value), UNIX_EPOCH).await.unwrap()
    }

    async fn read(store: &Store, block: u64) -> PolicyReading {
        store.policy(&PrismPolicy::default(), at(block), fine).await.unwrap()
    }

    fn whole(reading: &PolicyReading) -> &PrismPolicy {
        reading.policy.whole.as_ref().unwrap()
    }

    #[tokio::test]
    async fn each_section_s_newest_valid_row_is_in_force_and_newer_invalid_ones_are_named() {
        let store = Store::in_memory().unwrap();
        let none = read(&store, 0).await;
        assert_eq!((none.policy.version, whole(&none), &none.refused), (0, &PrismPolicy::default(), &vec![]));
        add(&store, Section::RewardPools, r#"{"margin": 0.05}"#).await;
        add(&store, Section::RewardPools, r#"{"margin": 70}"#).await;
        add(&store, Section::RewardPools, r#"{"margn": 0.1}"#).await;
        add(&store, Section::ScoreWeights, r#"{"z": 3}"#).await;
        for value in ["{\"z\": 1e999}", "{\"z\":", "[1]"] {
            let row = format!("INSERT INTO policy (section, value) VALUES ('score_weights', '{value}')");
            store.write(move |db| execute(db, &row, [])).await.unwrap();
        }
        let huge = "INSERT INTO policy (section, value) VALUES ('score_weights', '{\"z\": 4' || printf('%.*c', 9999999, ' ') || '}')";
        store.write(move |db| execute(db, huge, [])).await.unwrap();
        let misspelt = "INSERT INTO policy (section, value) VALUES ('reward_pool', '{}')";
        store.write(move |db| execute(db, misspelt, [])).await.unwrap();

        let reading = read(&store, 0).await;
        assert_eq!((reading.policy.version, &reading.inconsistent), (4, &None));
        let in_force = whole(&reading);
        assert_eq!((in_force.reward.margin.get(), in_force.score.z.get()), (0.05, 3.0));
        assert_eq!(reading.rows, [(Section::RewardPools, 1), (Section::ScoreWeights, 4)].into());
        let refused: Vec<u64> = reading.refused.iter().map(|row| row.version).collect();
        assert_eq!(refused, [9, 8, 7, 6, 5, 3, 2]);
        let defect = |version: u64| &reading.refused.iter().find(|row| row.version == version).unwrap().defect;
        assert_eq!(defect(3), "`reward_pools.margn` does not exist");
        assert!(defect(8).contains("at most 65536 are read"), "{}", defect(8));
        assert_eq!(defect(9), "no policy section is called `reward_pool`");
        assert_eq!(reading.policy.digest(), in_force.digest());
    }

    #[tokio::test]
    async fn a_row_counts_from_its_block_or_time_on_and_not_while_it_is_disabled() {
        let store = Store::in_memory().unwrap();
        add(&store, Section::RewardPools, r#"{"margin": 0.1}"#).await;
        let later = NewPolicyRow {
            effective_block: Some(Block(50)),
            ..NewPolicyRow::new(Section::RewardPools, r#"{"margin": 0.2}"#)
        };
        let by_time = NewPolicyRow {
            effective_at: Some(UNIX_EPOCH + Duration::from_secs(90)),
            ..NewPolicyRow::new(Section::RewardPools, r#"{"margin": 0.3}"#)
        };
        let off = NewPolicyRow { enabled: false, ..NewPolicyRow::new(Section::RewardPools, r#"{"margin": 0.4}"#) };
        for row in [later, by_time, off] {
            store.set_policy(row, UNIX_EPOCH).await.unwrap();
        }
        let margin = async |block| whole(&read(&store, block).await).reward.margin.get();
        assert_eq!([margin(0).await, margin(49).await, margin(50).await], [0.1, 0.1, 0.2]);
        assert_eq!([margin(89).await, margin(90).await], [0.2, 0.3]);
        store.enable_policy(4, true).await.unwrap();
        assert_eq!(margin(0).await, 0.4);
        store.enable_policy(4, false).await.unwrap();
        assert_eq!(margin(0).await, 0.1);
        assert!(matches!(store.enable_policy(99, true).await, Err(StoreError::NotFound { .. })));
        assert_eq!(store.policy_rows(Some(Section::RewardPools), 2).await.unwrap()[0].version, 4);
        assert_eq!(store.policy_rows(Some(Section::Plan), 2).await.unwrap(), []);
    }

    #[tokio::test]
    async fn sections_that_do_not_fit_together_are_told_though_each_is_valid() {
        let store = Store::in_memory().unwrap();
        add(&store, Section::GpuPolicy, r#"{"full_scale_eval": 2}"#).await;
        let reading = read(&store, 0).await;
        assert_eq!(reading.refused, []);
        assert!(reading.inconsistent.unwrap().contains("asks for 2 GPUs"));
        let target = r#"{"targets": [{"id": "box", "devices": ["0", "1"]}]}"#;
        add(&store, Section::ExecutionTargets, target).await;
        assert_eq!(read(&store, 0).await.inconsistent, None);
        let more = |_: &PrismPolicy| Err(PolicyError::Section("validator's own".into()));
        let reading = store.policy(&PrismPolicy::default(), at(0), more).await.unwrap();
        assert!(reading.inconsistent.unwrap().contains("validator's own"));
    }

    #[test]
    fn digest_depends_on_values_only() {
        let policy = |version, margin| {
            let row = format!("{{\"margin\": {margin}}}");
            Policy::new(version, PrismPolicy::default().with_row(Section::RewardPools, &row).unwrap())
        };
        assert_eq!(policy(1, "0.1").digest(), policy(2, "0.1").digest());
        assert_ne!(policy(1, "0.1").digest(), policy(1, "0.2").digest());
        let old = Policy { whole: None, ..policy(1, "0.1") };
        assert_ne!(old.digest(), policy(1, "0.1").digest());
    }
}
