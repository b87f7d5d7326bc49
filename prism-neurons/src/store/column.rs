//! Between Rust values and columns.
use super::StoreError;
use prism_core::{Block, Finite, Hotkey, submission::Precedence};
use rusqlite::{Connection, Params, Row};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::Display,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// SQLite's integers are signed; what does not fit is no block, count or size of this world and is cut.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Unix milliseconds; times before 1970 count as 1970.
pub(super) fn millis(time: SystemTime) -> i64 {
    let span = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn json<T: Serialize + ?Sized>(column: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Json { column, source })
}

pub(super) fn from_json<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Json { column, source })
}

/// The word of a variant, as in JSON without the quotes.
pub(super) fn word<T: Serialize>(column: &'static str, variant: &T) -> Result<String, StoreError> {
    match serde_json::to_value(variant).map_err(|source| StoreError::Json { column, source })? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(StoreError::Column { column, value: format!("{other}, not a word") }),
    }
}

fn variant<T: DeserializeOwned>(column: &'static str, word: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|source| StoreError::Json { column, source })
}

/// A row whose columns are read by name, each with an error that names it.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a>(&'a Row<'a>);

impl Columns<'_> {
    pub(super) fn text(self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.0.get(column)?)
    }

    pub(super) fn text_option(self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.0.get(column)?)
    }

    pub(super) fn blob_option(self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(column)?)
    }

    /// Bytes of a fixed number.
    pub(super) fn bytes<const N: usize>(self, column: &'static str) -> Result<[u8; N], StoreError> {
        fixed(column, &self.0.get::<_, Vec<u8>>(column)?)
    }

    pub(super) fn bytes_option<const N: usize>(self, column: &'static str) -> Result<Option<[u8; N]>, StoreError> {
        self.blob_option(column)?.map(|bytes| fixed(column, &bytes)).transpose()
    }

    pub(super) fn flag(self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.0.get(column)?)
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(self, column: &'static str) -> Result<T, StoreError> {
        parse(column, &self.text(column)?)
    }

    pub(super) fn parsed_option<T: FromStr<Err: Display>>(self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_option(column)?.map(|text| parse(column, &text)).transpose()
    }

    pub(super) fn word<T>(self, column: &'static str, of: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
        let text = self.text(column)?;
        of(&text).ok_or_else(|| StoreError::Column { column, value: format!("{text:?}, an unknown word") })
    }

    /// The variant that a word names, as [`word`] wrote it.
    pub(super) fn variant<T: DeserializeOwned>(self, column: &'static str) -> Result<T, StoreError> {
        variant(column, self.text(column)?)
    }

    pub(super) fn variant_option<T: DeserializeOwned>(self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_option(column)?.map(|word| variant(column, word)).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(self, column: &'static str) -> Result<T, StoreError> {
        from_json(column, &self.text(column)?)
    }

    pub(super) fn json_option<T: DeserializeOwned>(self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_option(column)?.map(|text| from_json(column, &text)).transpose()
    }

    pub(super) fn number<T: TryFrom<i64>>(self, column: &'static str) -> Result<T, StoreError> {
        number(column, self.0.get(column)?)
    }

    pub(super) fn number_option<T: TryFrom<i64>>(self, column: &'static str) -> Result<Option<T>, StoreError> {
        let value: Option<i64> = self.0.get(column)?;
        value.map(|value| number(column, value)).transpose()
    }

    pub(super) fn finite(self, column: &'static str) -> Result<Finite, StoreError> {
        finite(column, self.0.get(column)?)
    }

    pub(super) fn finite_option(self, column: &'static str) -> Result<Option<Finite>, StoreError> {
        let value: Option<f64> = self.0.get(column)?;
        value.map(|value| finite(column, value)).transpose()
    }

    pub(super) fn time(self, column: &'static str) -> Result<SystemTime, StoreError> {
        Ok(UNIX_EPOCH + Duration::from_millis(self.number(column)?))
    }

    pub(super) fn time_option(self, column: &'static str) -> Result<Option<SystemTime>, StoreError> {
        Ok(self.number_option(column)?.map(|millis| UNIX_EPOCH + Duration::from_millis(millis)))
    }

    /// From the columns `block`, `extrinsic`, `hotkey` and `local`.
    pub(super) fn precedence(self) -> Result<Precedence, StoreError> {
        Ok(Precedence {
            block: Block(self.number("block")?),
            extrinsic: self.number("extrinsic")?,
            hotkey: self.parsed::<Hotkey>("hotkey")?,
            local: self.flag("local")?,
        })
    }
}

fn parse<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|e| StoreError::Column { column, value: format!("{text:?}: {e}") })
}

fn fixed<const N: usize>(column: &'static str, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Column { column, value: format!("{} bytes, not {N}", bytes.len()) })
}

fn finite(column: &'static str, value: f64) -> Result<Finite, StoreError> {
    Finite::new(value).ok_or_else(|| StoreError::Column { column, value: format!("{value}, not a finite number") })
}

fn number<T: TryFrom<i64>>(column: &'static str, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Column { column, value: format!("{value}, out of range") })
}

/// All rows of a query.
pub(super) fn rows<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(Columns<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(Columns(row))?);
    }
    Ok(all)
}

/// The first row of a query.
pub(super) fn first<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(Columns<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| read(Columns(row))).transpose()
}

/// Runs a statement and says how many rows it touched.
pub(super) fn execute(db: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    Ok(db.prepare_cached(sql)?.execute(params)?)
}
