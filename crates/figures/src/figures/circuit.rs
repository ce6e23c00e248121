//! How much of the model's behaviour a growing circuit keeps.

use std::collections::BTreeMap;

use crate::draw::axis::Axis;
use crate::draw::drawing::Drawing;
use crate::draw::page::{Key, Page, WIDTH};
use crate::draw::palette::category;
use crate::draw::panel::Panel;
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::{Table, index, label, value};
use crate::read::tables::Tables;

const NAME: &str = "circuit";

pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "Faithfulness and incompleteness of a circuit against its number of heads: one drawing for each metric",
    tables: &["circuit_scores"],
    draw,
};

type Curves = BTreeMap<String, Vec<(f64, f64)>>;

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let table = Table::new(NAME, "circuit_scores", tables)?;
    let (method, metric, heads) = (table.text("method")?, table.text("metric")?, table.number("n_heads")?);
    let (faithful, incomplete) = (table.number("faithfulness")?, table.number("incompleteness")?);
    let measures = table.measures()?;
    let mut metrics: BTreeMap<&str, [Curves; 2]> = BTreeMap::new();
    for row in 0..table.rows() {
        let Some(n) = index(&heads, row) else { continue };
        let curves = metrics.entry(label(&metric, row)).or_default();
        for (curves, column) in curves.iter_mut().zip([&faithful, &incomplete]) {
            if let Some(v) = value(column, row) {
                curves.entry(label(&method, row).to_owned()).or_default().push((n as f64, v));
            }
        }
    }
    metrics.retain(|_, curves| curves.iter().any(|c| !c.is_empty()));
    if metrics.is_empty() {
        return Err(table.nothing("a faithfulness or an incompleteness", "see the column `reason`"));
    }
    Ok(metrics
        .iter()
        .map(|(metric, curves)| one(metric, &measures.get(metric).label, curves, about))
        .collect())
}

fn one(metric: &str, metric_label: &str, curves: &[Curves; 2], about: &About) -> Drawing {
    let all = || curves.iter().flat_map(|c| c.values()).flatten();
    let (most, top) = all().fold((1f64, 1f64), |(n, y), p| (n.max(p.0), y.max(p.1)));
    let low = all().map(|p| p.1).fold(0f64, f64::min);
    let title = format!("How few heads carry the {metric_label}");
    let mut page = Page::new(WIDTH, &title, &about.line(&[]));
    let mut methods: Vec<&String> = curves.iter().flat_map(|c| c.keys()).collect();
    methods.sort();
    methods.dedup();
    let mut legend: Vec<(Key, String)> = methods
        .iter()
        .enumerate()
        .map(|(i, method)| {
            let text = match method.as_str() {
                "greedy" => "greedy: each step adds the head that helps most",
                "top" => "top: the heads of largest effect first",
                other => other,
            };
            (Key::Line(category(i), true), text.to_owned())
        })
        .collect();
    legend.push((Key::Rule, "the whole model; nothing left outside".to_owned()));
    page.legend(&legend);
    let panels: Vec<_> = [("Faithfulness", 1.0), ("Incompleteness", 0.0)]
        .into_iter()
        .zip(curves)
        .filter(|(_, curves)| !curves.is_empty())
        .collect();
    let (left, gap, top_edge) = (64.0, 70.0, page.top + 26.0);
    let count = panels.len() as f64;
    let width = (WIDTH - 22.0 - left - gap * (count - 1.0)) / count;
    for (i, ((title, whole), curves)) in panels.into_iter().enumerate() {
        let left = left + i as f64 * (width + gap);
        let x = Axis::linear(0.0, most, "heads in the circuit");
        let y = Axis::linear(low, top * 1.02, &title.to_lowercase());
        let panel = Panel { left, right: left + width, top: top_edge, bottom: top_edge + 210.0, x, y };
        panel.frame(&mut page.canvas, title, true, true);
        panel.rule(&mut page.canvas, whole);
        for (i, method) in methods.iter().enumerate() {
            let Some(points) = curves.get(*method) else { continue };
            let mut points = points.clone();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            panel.line(&mut page.canvas, &points, category(i));
            for at in points {
                panel.marker(&mut page.canvas, at, category(i).marker, 3.2, category(i).colour);
            }
        }
    }
    let note = "Faithfulness: (m(circuit) − m(no heads)) / (m(model) − m(no heads)), with all heads outside the \
        circuit ablated. Incompleteness: the same share for the heads outside, with the circuit ablated; 0 for a \
        complete circuit. MLPs and embeddings belong to every circuit.";
    page.finish(&[NAME, metric], top_edge + 210.0 + 38.0, &[note.to_owned()])
}
