//! What the label `condition` of a table stands for: the table `conditions`.

use arrow::array::Array;
use std::collections::BTreeMap;

use crate::draw::palette::{BASELINE, CONTROL, CONTROL_GREY, Style, category};
use crate::error::Error;
use crate::read::columns::{Table, label, value};
use crate::read::tables::Tables;

/// What was done in a condition, to what, and how it is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// Its place in the table: the order in which figures show conditions.
    pub(crate) order: usize,
    /// What was done, with its dose, such as `log` or `constant 0.5`; empty for the baseline.
    pub(crate) kind: String,
    /// To what, in words, such as `induction heads`.
    pub(crate) target: String,
    /// A random set, or another one with which the others are compared.
    pub(crate) control: bool,
    /// Without any intervention.
    pub(crate) baseline: bool,
    pub(crate) style: Style,
}

impl Condition {
    /// In full, for a legend or the title of a panel.
    pub(crate) fn name(&self) -> String {
        if self.baseline {
            "no intervention".to_owned()
        } else if self.target.is_empty() {
            self.kind.clone()
        } else {
            format!("{}, {}", self.kind, self.target)
        }
    }
}

/// The conditions of a run, by id.
#[derive(Debug)]
pub(crate) struct Conditions {
    by_id: BTreeMap<String, Condition>,
    /// What was done, in the table's order: the kinds of intervention.
    pub(crate) kinds: Vec<String>,
}

impl Conditions {
    /// Reads the table `conditions`.
    pub(crate) fn read(figure: &'static str, tables: &Tables) -> Result<Self, Error> {
        let table = Table::new(figure, "conditions", tables)?;
        let (id, intervention) = (table.text("condition")?, table.text("intervention")?);
        let (target, control, dose) =
            (table.text("target_set")?, table.flag("control")?, table.number("dose")?);
        let mut by_id = BTreeMap::new();
        let mut kinds: Vec<String> = Vec::new();
        let name = |row: usize| label(&intervention, row).replace('_', " ");
        // The dose tells conditions apart only where one intervention has several.
        let several = |row: usize| {
            (0..table.rows())
                .any(|other| name(other) == name(row) && value(&dose, other) != value(&dose, row))
        };
        for row in 0..table.rows() {
            let baseline = matches!(label(&intervention, row), "none" | "");
            let kind = match value(&dose, row).filter(|_| several(row)) {
                _ if baseline => String::new(),
                Some(dose) => format!("{} {dose}", name(row)),
                None => name(row),
            };
            let at = kinds.iter().position(|k| *k == kind).unwrap_or(kinds.len());
            if at == kinds.len() && !baseline {
                kinds.push(kind.clone());
            }
            let control = control.is_valid(row) && control.value(row);
            let style = if baseline {
                BASELINE
            } else if control {
                Style { colour: CONTROL_GREY, ..CONTROL }
            } else {
                category(at)
            };
            let target = target_in_words(label(&target, row));
            let condition = Condition { order: row, kind, target, control, baseline, style };
            by_id.insert(label(&id, row).to_owned(), condition);
        }
        Ok(Self { by_id, kinds })
    }

    /// The condition of an id; an error if the table does not explain it.
    pub(crate) fn get(&self, figure: &'static str, id: &str) -> Result<&Condition, Error> {
        self.by_id.get(id).ok_or_else(|| Error::UnknownCondition { figure, condition: id.to_owned() })
    }
}

/// `random_1` as `random set 1`: control sets are numbered.
fn target_in_words(set: &str) -> String {
    match (set, set.strip_prefix("random_")) {
        ("none" | "", _) => String::new(),
        ("induction", _) => "induction heads".to_owned(),
        ("file", _) => "from a file".to_owned(),
        (_, Some(number)) => format!("random set {number}"),
        _ => set.replace('_', " "),
    }
}
