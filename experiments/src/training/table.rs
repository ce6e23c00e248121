//! The table `training_loss` (see `docs/tables.md`).

use anyhow::Result;
use arrow::array::{ArrayRef, DictionaryArray, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossRow {
    /// Optimiser steps done.
    pub step: u32,
    /// Training tokens seen.
    pub tokens: u64,
    /// `loss_nats` or `prefix_matching`.
    pub quantity: String,
    /// Which loss, or which head.
    pub part: String,
    /// The value. Saved as its bits, so that a continued run writes the same table.
    #[serde(with = "bits")]
    pub value: f64,
}

mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// The rows as a batch with the columns of `docs/tables.md`.
///
/// # Errors
/// When memory does not suffice.
pub fn batch(rows: &[LossRow]) -> Result<RecordBatch> {
    let label = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = Arc::new(Schema::new(vec![
        Field::new("step", DataType::UInt32, false),
        Field::new("tokens", DataType::UInt64, false),
        Field::new("quantity", label(), false),
        Field::new("part", label(), false),
        Field::new("value", DataType::Float64, false),
    ]));
    let labels = |of: fn(&LossRow) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<DictionaryArray<Int32Type>>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.step).collect::<UInt32Array>()),
        Arc::new(rows.iter().map(|row| row.tokens).collect::<UInt64Array>()),
        labels(|row| &row.quantity),
        labels(|row| &row.part),
        Arc::new(rows.iter().map(|row| row.value).collect::<Float64Array>()),
    ];
    Ok(RecordBatch::try_new(schema, columns)?)
}
