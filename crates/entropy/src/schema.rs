//! Arrow schemas, and rows to record batches and back: the way every table of refrain is made.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_arrow::schema::{SchemaLike, TracingOptions};

use crate::error::{Error, Result};

/// A table. Its columns are the fields of its rows: text and enums become dictionary-encoded labels, options
/// nullable columns.
pub trait Table {
    /// A row.
    type Row: Serialize + DeserializeOwned;
    /// The name, also of its file.
    const NAME: &'static str;
    /// Columns of text that mostly differ from row to row, which a dictionary would not make smaller.
    const FREE_TEXT: &'static [&'static str] = &[];

    /// The columns, in order.
    ///
    /// # Errors
    /// [`Error::Table`] for a row type that is no flat record.
    fn fields() -> Result<Vec<FieldRef>> {
        let options = TracingOptions::default()
            .allow_null_fields(true)
            .string_dictionary_encoding(true)
            .enums_without_data_as_strings(true)
            .sequence_as_large_list(false)
            .strings_as_large_utf8(false);
        let fields = Vec::<FieldRef>::from_type::<Self::Row>(options)
            .map_err(|error| Error::Table { table: Self::NAME, what: error.to_string() })?;
        Ok(fields
            .iter()
            .map(|field| column(field, Self::FREE_TEXT.contains(&field.name().as_str())))
            .collect())
    }

    /// The rows as a record batch.
    ///
    /// # Errors
    /// [`Error::Table`] if a row does not fit the columns, or a number is NaN or infinite.
    fn batch(rows: &[Self::Row]) -> Result<RecordBatch> {
        let wrong = |what: String| Error::Table { table: Self::NAME, what };
        let batch = serde_arrow::to_record_batch(&Self::fields()?, &rows)
            .map_err(|error| wrong(error.to_string()))?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { continue };
            if let Some(row) = numbers.iter().position(|value| value.is_some_and(|value| !value.is_finite()))
            {
                return Err(wrong(format!(
                    "`{}` is {} in row {row}: what was computed is not a number",
                    field.name(),
                    numbers.value(row)
                )));
            }
        }
        Ok(batch)
    }

    /// The rows of a record batch. Columns that no row has are passed over.
    ///
    /// # Errors
    /// [`Error::Table`] if a column is missing or of another type.
    fn rows(batch: &RecordBatch) -> Result<Vec<Self::Row>> {
        let wrong = |what: String| Error::Table { table: Self::NAME, what };
        let fields = Self::fields()?;
        let known: HashSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let schema = batch.schema();
        let own: Vec<usize> = (0..batch.num_columns())
            .filter(|column| known.contains(schema.field(*column).name().as_str()))
            .collect();
        let batch = batch.project(&own).map_err(|error| wrong(error.to_string()))?;
        serde_arrow::from_record_batch(&batch).map_err(|error| wrong(error.to_string()))
    }
}

/// A column as it is written: labels with 32-bit keys, free text as it is.
fn column(field: &FieldRef, free_text: bool) -> FieldRef {
    let text =
        |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(..));
    let kind = match field.data_type() {
        kind if text(kind) && free_text => DataType::Utf8,
        kind if text(kind) => DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)),
        // Arrow's own name for what is in a list; texts in one are no labels.
        DataType::List(item) => {
            let kind = if text(item.data_type()) { DataType::Utf8 } else { item.data_type().clone() };
            DataType::List(Arc::new(Field::new("item", kind, item.is_nullable())))
        }
        kind => kind.clone(),
    };
    // What says how an enum is written is in the type already.
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}
