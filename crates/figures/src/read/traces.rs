//! The table `trace_summary`, with its conditions.

use std::collections::BTreeMap;

use crate::draw::estimate::Estimate;
use crate::error::Error;
use crate::read::columns::{Table, index, label, value};
use crate::read::conditions::{Condition, Conditions};
use crate::read::measures::Measures;
use crate::read::tables::Tables;

/// Up to this step every step is drawn; beyond it, eight an octave: a line over log2(1 + step) would otherwise put
/// hundreds of steps under one pixel.
pub(crate) const EVERY_STEP: f64 = 31.0;
const AN_OCTAVE: f64 = 8.0;

/// A mean at one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) step: f64,
    pub(crate) estimate: Option<Estimate>,
    /// Items that have a value here, items that still generate, and items that began.
    pub(crate) items: f64,
    pub(crate) alive: f64,
    pub(crate) begun: f64,
}

/// One line: a quantity over steps, in a condition.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) prompt_kind: String,
    pub(crate) condition: Condition,
    pub(crate) quantity: String,
    pub(crate) steps: Vec<Step>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Traces {
    pub(crate) all: Vec<Trace>,
    pub(crate) conditions: Conditions,
    pub(crate) measures: Measures,
}

impl Traces {
    /// Reads `trace_summary` and `conditions`; rows of single layers are passed over.
    pub(crate) fn read(figure: &'static str, tables: &Tables) -> Result<Self, Error> {
        let conditions = Conditions::read(figure, tables)?;
        let table = Table::new(figure, "trace_summary", tables)?;
        let (kind, condition, quantity) =
            (table.text("prompt_kind")?, table.text("condition")?, table.text("quantity")?);
        let (layer, step, score) = (table.number("layer")?, table.number("step")?, table.number("value")?);
        let (low, high) = (table.number("ci_low")?, table.number("ci_high")?);
        let (items, alive, begun) =
            (table.number("n_items")?, table.number("n_alive")?, table.number("n_begun")?);
        let mut lines: BTreeMap<(usize, &str, &str), Trace> = BTreeMap::new();
        for row in (0..table.rows()).filter(|row| value(&layer, *row).is_none()) {
            let Some(at_step) = value(&step, row) else { continue };
            let condition = conditions.get(figure, label(&condition, row))?;
            let (kind, quantity) = (label(&kind, row), label(&quantity, row));
            let line = lines.entry((condition.order, quantity, kind)).or_insert_with(|| Trace {
                prompt_kind: kind.to_owned(),
                condition: condition.clone(),
                quantity: quantity.to_owned(),
                steps: Vec::new(),
            });
            let interval = value(&low, row).zip(value(&high, row));
            line.steps.push(Step {
                step: at_step,
                estimate: value(&score, row).map(|at| Estimate { at, interval }),
                items: index(&items, row).unwrap_or(0) as f64,
                alive: index(&alive, row).unwrap_or(0) as f64,
                begun: index(&begun, row).unwrap_or(0) as f64,
            });
        }
        let mut all: Vec<Trace> = lines.into_values().collect();
        for trace in &mut all {
            trace.steps.sort_by(|a, b| a.step.total_cmp(&b.step));
            thin(&mut trace.steps);
        }
        all.retain(|trace| trace.steps.iter().any(|s| s.estimate.is_some()));
        Ok(Self { all, conditions, measures: table.measures()? })
    }
}

/// Keeps the first step of each eighth of an octave beyond [`EVERY_STEP`], and the last step of all.
fn thin(steps: &mut Vec<Step>) {
    let bin = |s: &Step| {
        if s.step <= EVERY_STEP { -1.0 - s.step } else { (AN_OCTAVE * (1.0 + s.step).log2()).floor() }
    };
    // A step without a value does not stand for one that has it.
    let first = |run: &[Step]| run.iter().find(|s| s.estimate.is_some()).or(run.first()).copied();
    let mut kept: Vec<Step> = steps.chunk_by(|a, b| bin(a) == bin(b)).filter_map(first).collect();
    kept.extend(steps.last().filter(|last| kept.last().is_some_and(|k| k.step < last.step)));
    *steps = kept;
}

impl Trace {
    /// The items that began.
    pub(crate) fn begun(&self) -> f64 {
        self.steps.iter().map(|s| s.begun).fold(0.0, f64::max)
    }

    /// Whether some item that still generates has no value at some step.
    pub(crate) fn is_measured_in_part(&self) -> bool {
        self.steps.iter().any(|s| s.items != s.alive)
    }
}
