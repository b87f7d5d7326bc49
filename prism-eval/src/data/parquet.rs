//! The two columns of a Parquet file that a dataset is made of.
use super::{corpus::Record, dataset::DatasetError};
use parquet::{
    errors::ParquetError,
    file::reader::{FileReader as _, SerializedFileReader},
    record::RowAccessor as _,
    schema::types::Type,
};
use std::{fs::File, path::Path, sync::Arc};

/// The columns, by name.
const COLUMNS: [&str; 2] = ["id", "text"];

/// Hands out the records of a file in order, one at a time.
///
/// # Errors
/// A file that can't be read or lacks a column, and what `each` says.
pub(super) fn read(path: &Path, each: &mut dyn FnMut(Record) -> Result<(), DatasetError>) -> Result<(), DatasetError> {
    let name = || path.display().to_string();
    let file = File::open(path).map_err(|error| DatasetError::Io { file: name(), error })?;
    let wrong = |error: ParquetError| DatasetError::Parquet { file: name(), reason: error.to_string() };
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let schema = reader.metadata().file_metadata().schema();
    let mut fields = Vec::new();
    for column in COLUMNS {
        let field = schema.get_fields().iter().find(|field| field.name() == column);
        let missing = || DatasetError::Parquet { file: name(), reason: format!("it has no column `{column}`") };
        fields.push(Arc::clone(field.ok_or_else(missing)?));
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(fields).build().map_err(wrong)?;
    for row in reader.get_row_iter(Some(projection)).map_err(wrong)? {
        let row = row.map_err(wrong)?;
        // The order of the file's own columns, whatever the projection's.
        let mut record = Record::default();
        for (place, (column, _)) in row.get_column_iter().enumerate() {
            let value = row.get_string(place).map_err(wrong)?.clone();
            if column == "id" { record.id = value } else { record.text = value }
        }
        each(record)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::{
        basic::Compression,
        data_type::{ByteArray, ByteArrayType, DoubleType},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };

    fn write(path: &Path, schema: &str, compression: Compression) {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        for group in ["a", "b"] {
            let mut rows = writer.next_row_group().unwrap();
            let mut place = 0;
            while let Some(mut column) = rows.next_column().unwrap() {
                let text = |kind: &str| -> Vec<ByteArray> {
                    (0..3).map(|n| ByteArray::from(format!("{kind} {group}{n}").as_str())).collect()
                };
                match place {
                    1 => drop(column.typed::<DoubleType>().write_batch(&[0.5; 3], None, None).unwrap()),
                    0 => drop(column.typed::<ByteArrayType>().write_batch(&text("text"), None, None).unwrap()),
                    _ => drop(column.typed::<ByteArrayType>().write_batch(&text("id"), None, None).unwrap()),
                }
                column.close().unwrap();
                place += 1;
            }
            rows.close().unwrap();
        }
        writer.close().unwrap();
    }

    const GOOD: &str = "message schema { REQUIRED BYTE_ARRAY text (UTF8); REQUIRED DOUBLE score; \
                        REQUIRED BYTE_ARRAY id (UTF8); }";

    #[test]
    fn both_columns_are_read_whatever_their_order_and_packing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        for compression in [Compression::SNAPPY, Compression::ZSTD(Default::default()), Compression::UNCOMPRESSED] {
            write(&path, GOOD, compression);
            let mut records = Vec::new();
            read(&path, &mut |record| {
                records.push((record.id, record.text));
                Ok(())
            })
            .unwrap();
            assert_eq!(records.len(), 6);
            assert_eq!(records[4], ("id b1".to_owned(), "text b1".to_owned()));
        }
    }

    #[test]
    fn a_missing_column_and_a_cut_file_are_errors_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.parquet");
        let other = GOOD.replace(" id ", " name ");
        write(&path, &other, Compression::SNAPPY);
        let error = read(&path, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.ends_with("b.parquet: it has no column `id`"), "{error}");
        write(&path, GOOD, Compression::SNAPPY);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert!(matches!(read(&path, &mut |_| Ok(())), Err(DatasetError::Parquet { .. })));
    }
}
