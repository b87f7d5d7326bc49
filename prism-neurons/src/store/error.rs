//! What can go wrong with the store.
use prism_core::{Error, Fault, Kind, Retry};
use std::{path::PathBuf, time::Duration};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite says no.
    #[error("database")]
    Sqlite(#[from] rusqlite::Error),
    /// The file or its folder can't be used.
    #[error("store file {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process writes this store.
    #[error("store {0} is in use by another process")]
    InUse(PathBuf),
    /// Written by a newer program.
    #[error("store has schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// In the file.
        found: u32,
        /// In the program.
        known: u32,
    },
    /// Open in an older program, whose schema can't be changed under it.
    #[error("store is open with schema version {found}, this program has {known}: restart the validator with it first")]
    Older {
        /// In the file.
        found: u32,
        /// In the program.
        known: u32,
    },
    /// A migration that was applied is not the one that this program has under the same number.
    #[error("schema version {0} of the store was made by another migration")]
    Migrated(u32),
    /// A stored value makes no sense.
    #[error("column `{column}` holds {value}")]
    Column {
        /// Where.
        column: &'static str,
        /// What, and why it is wrong.
        value: String,
    },
    /// A value that JSON can't carry or a stored JSON text that does not parse.
    #[error("JSON in column `{column}`")]
    Json {
        /// Where.
        column: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The row asked for does not exist.
    #[error("no {what} {id} in the store")]
    NotFound {
        /// Of which kind.
        what: &'static str,
        /// Its key.
        id: String,
    },
    /// The row is not in the state that this step starts from.
    #[error("{what} {id} is {found}, not {expected}")]
    State {
        /// Of which kind.
        what: &'static str,
        /// Its key.
        id: String,
        /// Where it stands.
        found: String,
        /// Where it had to stand.
        expected: &'static str,
    },
    /// The operating system has no randomness.
    #[error("no randomness for a name: {0}")]
    Random(String),
    /// The writer has stopped.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Whether another process had the database for so long that waiting was given up.
    pub(crate) fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        matches!(self, Self::Sqlite(rusqlite::Error::SqliteFailure(e, _)) if matches!(e.code, DatabaseBusy | DatabaseLocked))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Sqlite(_) | StoreError::File { .. } | StoreError::Random(_) | StoreError::Closed => {
                Kind::Unavailable
            }
            StoreError::InUse(_) | StoreError::State { .. } => Kind::Conflict,
            StoreError::Newer { .. } | StoreError::Older { .. } | StoreError::Migrated(_) => Kind::Unsupported,
            StoreError::Column { .. } | StoreError::Json { .. } => Kind::Corrupt,
            StoreError::NotFound { .. } => Kind::NotFound,
        };
        let fault = match kind {
            Kind::Unavailable => Fault::Infrastructure,
            _ => Fault::Validator,
        };
        let retry = if error.is_busy() { Retry::After(Duration::from_secs(1)) } else { Retry::Never };
        Self::new(kind, fault, "store").retry(retry).because(error)
    }
}
