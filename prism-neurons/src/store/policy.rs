//! Numbers that an operator may set: the newest valid row is in force, and every invalid one is named.
use super::{
    Store, StoreError,
    column::{execute, json, millis, rows},
};
use prism_core::{Digest, Finite};
use rusqlite::params;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::SystemTime};

/// Policy numbers by name.
pub type Numbers = BTreeMap<String, Finite>;

/// Numbers in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Row of the table; 0 is the program's own.
    pub version: u64,
    /// All numbers: the program's own, with those of the row in their place.
    pub numbers: Numbers,
}

impl Policy {
    /// Digest of the numbers; equal numbers have equal digests, whatever their version.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text: BTreeMap<&str, u64> = self.numbers.iter().map(|(k, v)| (k.as_str(), v.get().to_bits())).collect();
        let parts: Vec<Vec<u8>> =
            text.iter().flat_map(|(name, bits)| [name.as_bytes().to_vec(), bits.to_le_bytes().to_vec()]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Digest::of_parts("prism/policy/1", &parts)
    }
}

/// The policy in force and the newer rows that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReading {
    /// What holds.
    pub policy: Policy,
    /// Version and defect of each newer row.
    pub refused: Vec<(u64, String)>,
}

impl Store {
    /// Reads the policy: `own` numbers, with those of the newest valid row in their place. A row is valid when it is a
    /// JSON object of finite numbers, names only numbers that `own` has, and `check` has nothing against the result.
    ///
    /// # Errors
    /// Those of the database; never for an invalid row.
    pub async fn policy(
        &self,
        own: &Numbers,
        check: impl Fn(&Numbers) -> Result<(), String>,
    ) -> Result<PolicyReading, StoreError> {
        let sql = "SELECT version, numbers FROM policy ORDER BY version DESC LIMIT 100";
        let rows = self
            .read(move |db| rows(db, sql, [], |row| Ok((row.number::<u64>("version")?, row.text("numbers")?))))
            .await?;
        let mut refused = Vec::new();
        for (version, text) in rows {
            match overlay(own, &text).and_then(|numbers| check(&numbers).map(|()| numbers)) {
                Ok(numbers) => return Ok(PolicyReading { policy: Policy { version, numbers }, refused }),
                Err(defect) => refused.push((version, defect)),
            }
        }
        Ok(PolicyReading { policy: Policy { version: 0, numbers: own.clone() }, refused })
    }

    /// Adds a row; it is in force from the next cohort on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_policy(&self, numbers: &Numbers, note: &str, now: SystemTime) -> Result<u64, StoreError> {
        let (numbers, note) = (json("numbers", numbers)?, note.to_owned());
        self.write(move |db| {
            let sql = "INSERT INTO policy (numbers, note, created_at) VALUES (?1, ?2, ?3)";
            execute(db, sql, params![numbers, note, millis(now)])?;
            Ok(u64::try_from(db.last_insert_rowid()).unwrap_or_default())
        })
        .await
    }
}

fn overlay(own: &Numbers, text: &str) -> Result<Numbers, String> {
    let row: Numbers = serde_json::from_str(text).map_err(|e| format!("not an object of finite numbers: {e}"))?;
    let mut numbers = own.clone();
    for (name, value) in row {
        match numbers.get_mut(&name) {
            Some(number) => *number = value,
            None => return Err(format!("unknown number `{name}`")),
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn numbers(pairs: &[(&str, f64)]) -> Numbers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Finite::new(*value).unwrap())).collect()
    }

    fn below_one(numbers: &Numbers) -> Result<(), String> {
        match numbers.iter().find(|(_, value)| value.get() > 1.0) {
            Some((name, value)) => Err(format!("`{name}` is {value}, above 1")),
            None => Ok(()),
        }
    }

    #[tokio::test]
    async fn newest_valid_row_is_in_force_and_newer_invalid_ones_are_named() {
        let store = Store::in_memory().unwrap();
        let own = numbers(&[("margin", 0.01), ("z", 0.5)]);
        let none = store.policy(&own, below_one).await.unwrap();
        assert_eq!((none.policy.version, &none.policy.numbers), (0, &own));
        store.set_policy(&numbers(&[("margin", 0.02)]), "wider", UNIX_EPOCH).await.unwrap();
        store.set_policy(&numbers(&[("margin", 7.0)]), "too wide", UNIX_EPOCH).await.unwrap();
        store.set_policy(&numbers(&[("margn", 0.1)]), "misspelt", UNIX_EPOCH).await.unwrap();
        store.write(|db| execute(db, "INSERT INTO policy (numbers) VALUES ('{\"z\": 1e999}')", [])).await.unwrap();
        let reading = store.policy(&own, below_one).await.unwrap();
        assert_eq!(reading.policy, Policy { version: 1, numbers: numbers(&[("margin", 0.02), ("z", 0.5)]) });
        let refused: Vec<u64> = reading.refused.iter().map(|(version, _)| *version).collect();
        assert_eq!(refused, [4, 3, 2]);
        assert!(reading.refused[1].1.contains("`margn`"), "{:?}", reading.refused);
    }

    #[test]
    fn digest_depends_on_names_and_numbers_only() {
        let policy = |version, margin| Policy { version, numbers: numbers(&[("margin", margin)]) };
        assert_eq!(policy(1, 0.1).digest(), policy(2, 0.1).digest());
        assert_ne!(policy(1, 0.1).digest(), policy(1, 0.2).digest());
    }
}
