//! What a measure is: its label, its unit and its scale, as the schema's metadata says.

use arrow::array::RecordBatch;
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::draw::ramp::Ramp;
use crate::error::Error;

/// The key of the schema's metadata that holds them.
const KEY: &str = "refrain.measures";

/// One measure.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Measure {
    pub(crate) label: String,
    pub(crate) unit: String,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Where nothing is there, or nothing happens.
    pub(crate) neutral: Option<f64>,
    /// From less to more, rather than to both sides of `neutral`. Absent: as the values are.
    pub(crate) sequential: Option<bool>,
}

/// The measures of a table, by metric or quantity.
#[derive(Debug, Default)]
pub(crate) struct Measures(BTreeMap<String, Measure>);

impl Measures {
    /// Those in the metadata of `batch`; none if it has no such key.
    pub(crate) fn of(figure: &'static str, table: &'static str, batch: &RecordBatch) -> Result<Self, Error> {
        match batch.schema_ref().metadata().get(KEY) {
            None => Ok(Self::default()),
            Some(text) => serde_json::from_str(text).map(Self).map_err(|e| Error::Metadata {
                figure,
                table,
                key: KEY,
                why: e.to_string(),
            }),
        }
    }

    /// The measure of that name. One that the metadata does not describe has its name for a label and the range of
    /// the data for a scale.
    pub(crate) fn get(&self, name: &str) -> Measure {
        let mut measure = self.0.get(name).cloned().unwrap_or_default();
        if measure.label.is_empty() {
            measure.label = name.replace('_', " ");
        }
        measure
    }

    /// The label of that name, if the metadata has one.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|m| m.label.as_str()).filter(|label| !label.is_empty())
    }
}

impl Measure {
    /// Label and unit in one line.
    pub(crate) fn axis(&self) -> String {
        if self.unit.is_empty() { self.label.clone() } else { format!("{} ({})", self.label, self.unit) }
    }

    /// Whether values go from less to more: as the measure says, or, where it does not, if none is below `neutral`.
    pub(crate) fn is_sequential(&self, values: &[f64]) -> bool {
        let neutral = self.neutral.unwrap_or(0.0);
        self.sequential.unwrap_or_else(|| values.iter().all(|v| *v >= neutral))
    }

    /// The scale of colours for these values: the measure's own limits where it has some, and the values' where
    /// they go beyond these, so that the highest value has a colour of its own.
    pub(crate) fn ramp(&self, values: &[f64], sequential: bool) -> Ramp {
        if sequential {
            let low = values.iter().copied().chain(self.low).fold(f64::MAX, f64::min);
            let high = values.iter().copied().chain(self.high).fold(f64::MIN, f64::max);
            return if low > high { Ramp::sequential(0.0, 1.0) } else { Ramp::sequential(low, high) };
        }
        let limits = [self.low, self.high].into_iter().flatten();
        Ramp::around(self.neutral.unwrap_or(0.0), limits.chain(values.iter().copied()))
    }
}
