//! Arrow schemas, and rows to record batches and back: the way every table of refrain is made.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A table's name and columns; its rows are values of a type `Row`.
pub trait Table {
    /// A row.
    type Row: Serialize + DeserializeOwned;
    /// The name, also of its file.
    const NAME: &'static str;
    /// The columns, in order.
    fn fields() -> Vec<FieldRef>;

    /// The rows as a record batch.
    ///
    /// # Errors
    /// [`Error::Table`] if a row does not fit the columns, or a number is NaN or infinite.
    fn batch(rows: &[Self::Row]) -> Result<RecordBatch> {
        let wrong = |what: String| Error::Table { table: Self::NAME, what };
        let batch =
            serde_arrow::to_record_batch(&Self::fields(), &rows).map_err(|error| wrong(error.to_string()))?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { continue };
            if let Some(row) = numbers.iter().position(|value| value.is_some_and(|value| !value.is_finite()))
            {
                return Err(wrong(format!(
                    "`{}` is {} in row {row}: what was computed is no number",
                    field.name(),
                    numbers.value(row)
                )));
            }
        }
        Ok(batch)
    }

    /// The rows of a record batch.
    ///
    /// # Errors
    /// [`Error::Table`] if a column is missing or of another type.
    fn rows(batch: &RecordBatch) -> Result<Vec<Self::Row>> {
        serde_arrow::from_record_batch(batch)
            .map_err(|error| Error::Table { table: Self::NAME, what: error.to_string() })
    }
}

fn field(name: &str, kind: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, kind, nullable))
}

/// A label from a small set, dictionary-encoded.
pub fn label(name: &str) -> FieldRef {
    field(name, DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)), false)
}

/// A label that may be null.
pub fn label_or_null(name: &str) -> FieldRef {
    field(name, DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)), true)
}

/// Free text.
pub fn text(name: &str) -> FieldRef {
    field(name, DataType::Utf8, false)
}

/// A count or an index.
pub fn count(name: &str) -> FieldRef {
    field(name, DataType::UInt32, false)
}

/// A count or an index that may be null.
pub fn count_or_null(name: &str) -> FieldRef {
    field(name, DataType::UInt32, true)
}

/// A large count.
pub fn large_count(name: &str) -> FieldRef {
    field(name, DataType::UInt64, false)
}

/// A measured number.
pub fn number(name: &str) -> FieldRef {
    field(name, DataType::Float64, false)
}

/// A measured number that may be null.
pub fn number_or_null(name: &str) -> FieldRef {
    field(name, DataType::Float64, true)
}

/// A truth value.
pub fn flag(name: &str) -> FieldRef {
    field(name, DataType::Boolean, false)
}
