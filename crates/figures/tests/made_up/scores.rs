//! Made-up `head_scores`.

use arrow::array::RecordBatch;

pub use super::edges::{circuit_scores, edge_scores};
pub use super::readings::{detectors, lens};
use super::{bell, counts, flags, labels, labels_u32, noise, numbers, plain, table};

/// One row of `head_scores`; what is not said is null.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub task: Option<&'static str>,
    pub method: &'static str,
    pub component: &'static str,
    pub direction: Option<&'static str>,
    pub layer: u32,
    pub head: Option<u32>,
    pub neuron: Option<u32>,
    pub position: Option<u32>,
    pub from: Option<&'static str>,
    pub token: Option<&'static str>,
    pub key: Option<u32>,
    pub prompt: Option<u32>,
    pub n_prompts: u32,
    pub metric: &'static str,
    pub value: Option<f64>,
    pub change: Option<f64>,
    pub effect: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub selected: bool,
    pub reason: Option<&'static str>,
}

pub fn head_scores(rows: &[Row]) -> RecordBatch {
    let number = |of: fn(&Row) -> Option<f64>| numbers(rows.iter().map(of));
    let count = |of: fn(&Row) -> Option<u32>| counts(rows.iter().map(of));
    table(vec![
        ("run", labels(rows.iter().map(|_| Some("0a1b2c")))),
        ("task", labels(rows.iter().map(|r| r.task))),
        ("method", labels(rows.iter().map(|r| Some(r.method)))),
        ("component", labels_u32(rows.iter().map(|r| Some(r.component)))),
        ("direction", labels(rows.iter().map(|r| r.direction))),
        ("layer", count(|r| Some(r.layer))),
        ("head", count(|r| r.head)),
        ("neuron", count(|r| r.neuron)),
        ("position", count(|r| r.position)),
        ("position_from", labels(rows.iter().map(|r| r.from))),
        ("position_token", labels(rows.iter().map(|r| r.token))),
        ("key_position", count(|r| r.key)),
        ("prompt", count(|r| r.prompt)),
        ("n_prompts", count(|r| Some(r.n_prompts))),
        ("metric", plain(rows.iter().map(|r| Some(r.metric)))),
        ("value", number(|r| r.value)),
        ("change", number(|r| r.change)),
        ("effect", number(|r| r.effect)),
        ("ci_low", number(|r| r.interval.map(|i| i.0))),
        ("ci_high", number(|r| r.interval.map(|i| i.1))),
        ("selected", flags(rows.iter().map(|r| r.selected))),
        ("reason", labels(rows.iter().map(|r| r.reason))),
    ])
}

/// Patching of two components, DLA, all detectors and what a verification confirmed, of a model of that size.
pub fn whole(layers: u32, heads: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    let total = layers * heads;
    for id in 0..total {
        let (layer, head) = (id / heads, id % heads);
        let seed = u64::from(id);
        let selected = id % 53 == 7 % total;
        let task = Some("induction");
        let base = Row {
            task,
            layer,
            head: Some(head),
            n_prompts: 64,
            selected,
            metric: "logit_diff",
            ..Row::default()
        };
        let effect = if selected { 0.3 + 0.5 * noise(seed) } else { 0.02 * bell(seed) };
        let unmeasured = id == 5 && layers > 4;
        let measured = |effect: f64| Row {
            effect: (!unmeasured).then_some(effect),
            change: Some(effect * 3.0),
            value: Some(effect * 3.0),
            interval: (!unmeasured).then_some((effect - 0.05, effect + 0.06)),
            reason: unmeasured.then_some("clean and corrupted differ by less than 0.01"),
            ..base.clone()
        };
        let denoising = Some("denoising");
        rows.push(Row {
            method: "attribution-patching",
            component: "z",
            direction: denoising,
            ..measured(effect * 0.9)
        });
        if effect.abs() > 0.025 || unmeasured {
            // Confirmed exactly, the strongest only.
            rows.push(Row {
                method: "activation-patching",
                component: "z",
                direction: denoising,
                ..measured(effect)
            });
        }
        let contribution = if selected { -0.4 * noise(seed + 1) } else { 0.03 * bell(seed + 2) };
        rows.push(Row { method: "dla", component: "result", ..measured(contribution) });
        for single in 0..2 {
            let dla = Row { method: "dla", component: "result", prompt: Some(single), ..measured(9.0) };
            rows.push(Row { n_prompts: 1, ..dla });
        }
        if head < heads.div_ceil(4) {
            rows.push(Row {
                method: "attribution-patching",
                component: "k",
                direction: denoising,
                ..measured(0.01 * bell(seed))
            });
        }
        let detectors: [(&str, f64); 9] = [
            ("prefix_matching", if selected { 0.6 + 0.35 * noise(seed) } else { 0.08 * noise(seed) }),
            ("previous_token", noise(seed + 20).powi(6)),
            ("duplicate_token", noise(seed + 30).powi(9)),
            ("first_token", noise(seed + 40)),
            ("copying", 2.0 * noise(seed + 50) - 1.0),
            ("aeqd", 4.0 * noise(seed + 60)),
            ("ahon", 3.0 + 100.0 * noise(seed + 70).powi(2)),
            ("ahon_ln", 0.2 + 1.6 * noise(seed + 80)),
            ("not_described", 0.5 + bell(seed + 90)),
        ];
        for (metric, value) in detectors {
            let interval = Some((value - 0.02, value + 0.02));
            rows.push(Row {
                task: None,
                method: "detectors",
                component: "pattern",
                metric,
                n_prompts: 5,
                value: Some(value),
                interval,
                ..base.clone()
            });
        }
    }
    for layer in 0..layers {
        for (component, size) in [("mlp_out", 0.1), ("attn_out", 0.2)] {
            let effect = size * bell(u64::from(layer) + 900);
            let row = Row {
                task: Some("induction"),
                component,
                layer,
                n_prompts: 64,
                metric: "logit_diff",
                effect: Some(effect),
                ..Row::default()
            };
            rows.push(Row { method: "attribution-patching", direction: Some("denoising"), ..row.clone() });
            rows.push(Row { method: "dla", ..row });
        }
    }
    let embed = Row {
        task: Some("induction"),
        method: "dla",
        component: "embed",
        n_prompts: 64,
        metric: "logit_diff",
        effect: Some(0.11),
        ..Row::default()
    };
    rows.push(embed);
    rows
}

/// Rows of two tasks, of names as long as tasks have them, and of detectors, which have none.
pub fn two_tasks(layers: u32, heads: u32) -> Vec<Row> {
    let other = |row: &Row| Row {
        task: row.task.map(|_| "indirect-object-identification-with-distractors"),
        effect: row.effect.map(|effect| 0.5 - effect),
        interval: row.interval.map(|(low, high)| (0.5 - high, 0.5 - low)),
        ..row.clone()
    };
    let rows = whole(layers, heads);
    let more: Vec<Row> = rows.iter().filter(|r| r.task.is_some()).map(other).collect();
    rows.into_iter().chain(more).collect()
}

/// The same place names for every method that goes by position.
const TOKENS: [&str; 12] =
    ["<s>", " When", " Mary", " and", " John", "\n", " went", " to", " the", " store", "\u{1F600}", " gave"];

/// Patching by position: of heads (0: of layers), from either end, with tokens or without.
pub fn by_position(
    layers: u32,
    heads: u32,
    positions: u32,
    from: &'static str,
    tokens: bool,
    key: bool,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for layer in 0..layers {
        for head in 0..heads.max(1) {
            for position in 0..positions {
                for at in 0..=(if key { position } else { 0 }) {
                    let id = rows.len() as u64;
                    // The far positions are in one prompt only, and extreme there.
                    let partial = position + 1 == positions && positions > 4;
                    let strong = layer == layers / 2 && head == 1 % heads.max(1) && position == positions / 2;
                    let effect = match (partial, strong) {
                        (true, _) => 2.0,
                        (_, true) => 0.9,
                        _ => 0.05 * bell(id),
                    };
                    rows.push(Row {
                        method: "activation-patching",
                        component: if heads == 0 {
                            "resid_pre"
                        } else if key {
                            "pattern"
                        } else {
                            "z"
                        },
                        direction: Some("noising"),
                        layer,
                        head: (heads > 0).then_some(head),
                        position: Some(if from == "end" { position + 1 } else { position }),
                        from: Some(from),
                        token: tokens.then_some(TOKENS[position as usize % TOKENS.len()]),
                        key: key.then_some(at),
                        n_prompts: if partial { 1 } else { 12 },
                        metric: "logit_diff",
                        change: Some(effect),
                        effect: Some(effect),
                        ..Row::default()
                    });
                }
            }
        }
    }
    rows
}

/// Ablation of neurons.
pub fn neurons(layers: u32, neurons: u32) -> Vec<Row> {
    let places = (0..layers).flat_map(|l| (0..neurons).map(move |n| (l, n)));
    let row = |(layer, neuron): (u32, u32)| {
        let effect = 0.1 * bell(u64::from(layer * neurons + neuron)).powi(3);
        Row {
            method: "zero-ablation",
            component: "neuron",
            layer,
            neuron: Some(neuron),
            n_prompts: 16,
            metric: "logit_diff",
            effect: Some(effect),
            interval: Some((effect - 0.1, effect + 0.12)),
            ..Row::default()
        }
    };
    places.map(row).collect()
}
