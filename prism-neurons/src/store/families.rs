//! Architecture families: named, attributed, found again by id or published name.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, json, millis, rows},
    submissions::Material,
};
use prism_core::{FamilyId, Hotkey, SubmissionId, standings::Class};
use rusqlite::params;
use std::time::SystemTime;

/// A family on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyRecord {
    /// Digest of the canonical, name-free architecture.
    pub id: FamilyId,
    /// Its published name, if it is a baseline.
    pub name: Option<String>,
    /// The first submission that brought it.
    pub submission: SubmissionId,
    /// Who sent that.
    pub hotkey: Hotkey,
    /// What is measured when a recipe targets it.
    pub material: Material,
    /// Who holds its slot: the first with an advantage above the margin.
    pub owner: Option<Hotkey>,
    /// What its operators make it; none for Python and for what has shown nothing yet.
    pub class: Option<Class>,
    /// When it was founded.
    pub created_at: SystemTime,
}

impl FamilyRecord {
    const COLUMNS: &str = "id, name, submission, hotkey, material, owner, class, created_at";

    fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.text_option("name")?,
            submission: row.parsed("submission")?,
            hotkey: row.parsed("hotkey")?,
            material: row.json("material")?,
            owner: row.parsed_option("owner")?,
            class: row.variant_option("class")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// A family that is there from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFamily {
    /// Digest of the canonical, name-free architecture.
    pub id: FamilyId,
    /// Its name.
    pub name: String,
    /// The id that its baseline runs are recorded under.
    pub submission: SubmissionId,
    /// What is measured.
    pub material: Material,
}

impl Store {
    /// Puts the published families on record; those that are there already get their name and material anew.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn publish_families(&self, families: Vec<PublishedFamily>, now: SystemTime) -> Result<(), StoreError> {
        self.write(move |db| {
            execute(db, "UPDATE families SET name = NULL WHERE name IS NOT NULL", [])?;
            for family in &families {
                let sql = "INSERT INTO families (id, name, submission, hotkey, material, created_at)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET name = ?2, material = ?5";
                let values = params![
                    family.id.to_string(),
                    family.name,
                    family.submission.to_string(),
                    Hotkey([0; 32]).ss58(),
                    json("material", &family.material)?,
                    millis(now),
                ];
                execute(db, sql, values)?;
            }
            Ok(())
        })
        .await
    }

    /// The family of an id (64 hexadecimal digits) or of a published name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn family(&self, id_or_name: &str) -> Result<Option<FamilyRecord>, StoreError> {
        let key = id_or_name.to_owned();
        self.read(move |db| {
            let sql = format!("SELECT {} FROM families WHERE id = ?1 OR name = ?1", FamilyRecord::COLUMNS);
            first(db, &sql, [key], FamilyRecord::from_row)
        })
        .await
    }

    /// The families, oldest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn families(&self, most: usize) -> Result<Vec<FamilyRecord>, StoreError> {
        self.read(move |db| {
            let sql = format!("SELECT {} FROM families ORDER BY created_at, id LIMIT ?1", FamilyRecord::COLUMNS);
            rows(db, &sql, [int(most as u64)], FamilyRecord::from_row)
        })
        .await
    }
}
