//! Made-up tables with the columns of docs/tables.md. Deterministic: the noise is a hash of the row.

#![allow(dead_code, reason = "shared by tests and the gallery, each of which uses a part")]

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Int32Type, UInt32Type};
use std::sync::Arc;

/// Uniform on 0 to 1, by hashing.
pub fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// About standard normal.
pub fn bell(seed: u64) -> f64 {
    (0..12).map(|i| noise(seed * 12 + i)).sum::<f64>() - 6.0
}

pub fn labels<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>())
}

pub fn labels_u32<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<DictionaryArray<UInt32Type>>())
}

pub fn plain<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

pub fn counts(values: impl IntoIterator<Item = Option<u32>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<UInt32Array>())
}

pub fn numbers(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

pub fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .expect("made-up columns have one length")
}

pub fn head_scores(layers: u32, heads: u32) -> RecordBatch {
    struct Row {
        method: &'static str,
        component: &'static str,
        direction: Option<&'static str>,
        metric: &'static str,
        layer: u32,
        head: u32,
        prompt: Option<u32>,
        value: Option<f64>,
        effect: Option<f64>,
        induction: bool,
        reason: Option<&'static str>,
    }
    let mut rows = Vec::new();
    let chosen = (layers * heads / 50).max(1);
    for layer in 0..layers {
        for head in 0..heads {
            let id = u64::from(layer * heads + head);
            // Spread the chosen heads over the upper half of the model.
            let rank = (layer * heads + head + layers * heads / 2) % (layers * heads);
            let induction = rank % 7 == 3 % (layers * heads).min(7) && rank / 7 < chosen;
            let effect = if induction { 0.2 + 0.4 * noise(id) } else { 0.03 * bell(id) };
            let unmeasured = layers > 4 && id == 5;
            for prompt in [None, Some(0)] {
                rows.push(Row {
                    method: "activation-patching",
                    component: "z",
                    direction: Some("denoise"),
                    metric: "logit",
                    layer,
                    head,
                    prompt,
                    value: Some(1.0),
                    effect: (!unmeasured).then_some(effect),
                    induction,
                    reason: unmeasured.then_some("clean and corrupted logit are equal"),
                });
                rows.push(Row {
                    method: "detectors",
                    component: "pattern",
                    direction: None,
                    metric: "prefix_matching",
                    layer,
                    head,
                    prompt,
                    value: Some(if induction { 0.6 + 0.35 * noise(id + 1) } else { 0.1 * noise(id + 2) }),
                    effect: None,
                    induction,
                    reason: None,
                });
            }
        }
    }
    table(vec![
        ("method", labels(rows.iter().map(|r| Some(r.method)))),
        ("component", labels_u32(rows.iter().map(|r| Some(r.component)))),
        ("direction", labels(rows.iter().map(|r| r.direction))),
        ("layer", counts(rows.iter().map(|r| Some(r.layer)))),
        ("head", counts(rows.iter().map(|r| Some(r.head)))),
        ("position", counts(rows.iter().map(|_| None))),
        ("prompt", counts(rows.iter().map(|r| r.prompt))),
        ("metric", plain(rows.iter().map(|r| Some(r.metric)))),
        ("value", numbers(rows.iter().map(|r| r.value))),
        ("effect", numbers(rows.iter().map(|r| r.effect))),
        ("induction", Arc::new(rows.iter().map(|r| Some(r.induction)).collect::<BooleanArray>())),
        ("reason", labels(rows.iter().map(|r| r.reason))),
    ])
}

/// The means of one score, as `score-heads` writes them: of heads (0: of whole layers), at so many positions (0: all at
/// once), at single entries if `by_key_position`; by a method in a direction.
pub fn scores(
    (layers, heads, positions): (u32, u32, u32),
    by_key_position: bool,
    method: &'static str,
    direction: Option<&'static str>,
) -> RecordBatch {
    let mut places = Vec::new();
    for layer in 0..layers {
        for head in 0..heads.max(1) {
            for position in 0..positions.max(1) {
                for source in 0..=(if by_key_position { position } else { 0 }) {
                    places.push((layer, (heads > 0).then_some(head), position, source));
                }
            }
        }
    }
    let detector = method == "detectors";
    let neutral = if direction == Some("denoise") { 0.0 } else { 1.0 };
    let change = |i: usize| bell(i as u64) * if i % 11 == 3 { 0.4 } else { 0.05 };
    let unmeasured = |i: usize| !detector && places.len() > 20 && i == 7;
    let ids = 0..places.len();
    let number = |which: &dyn Fn(usize) -> Option<f64>| numbers(ids.clone().map(which));
    let count = |which: &dyn Fn(usize) -> Option<u32>| counts(ids.clone().map(which));
    table(vec![
        ("method", labels(ids.clone().map(|_| Some(method)))),
        ("component", labels(ids.clone().map(|_| Some(if detector { "pattern" } else { "z" })))),
        ("direction", labels(ids.clone().map(|_| direction))),
        ("layer", count(&|i| Some(places[i].0))),
        ("head", count(&|i| places[i].1)),
        ("neuron", count(&|_| None)),
        ("position", count(&|i| (positions > 0).then_some(places[i].2))),
        ("source_position", count(&|i| by_key_position.then_some(places[i].3))),
        ("prompt", count(&|_| None)),
        ("metric", labels(ids.clone().map(|_| Some("logit")))),
        ("value", number(&|i| Some(change(i).abs().min(1.0)))),
        ("clean_value", number(&|_| (!detector).then_some(2.0))),
        ("change", number(&|i| (!detector).then(|| change(i)))),
        ("effect", number(&|i| (!detector && !unmeasured(i)).then(|| neutral + change(i)))),
        ("reason", labels(ids.clone().map(|i| unmeasured(i).then_some("the metric is not finite")))),
    ])
}

/// What a made-up count sweep covers.
pub struct Sweep {
    pub pools: &'static [&'static str],
    pub last_n: u32,
    /// Tokens; a longer response fills it.
    pub window: u32,
    pub phrases: u32,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { pools: &["top", "random", "last"], last_n: 512, window: 1000, phrases: 12 }
    }
}

/// Interventions on head sets, as every experiment runs them.
pub const CONDITIONS: [(&str, &str); 10] = [
    ("none", "none"),
    ("log", "induction"),
    ("linear", "induction"),
    ("constant", "induction"),
    ("log", "random_1"),
    ("linear", "random_1"),
    ("constant", "random_1"),
    ("log", "random_2"),
    ("linear", "random_2"),
    ("constant", "random_2"),
];

pub fn count_sweep(sweep: &Sweep) -> RecordBatch {
    struct Row {
        condition: (&'static str, &'static str),
        n: u32,
        pool: &'static str,
        prompt: u32,
        phrase_tokens: u32,
        decoding: &'static str,
        draw: u32,
        repetitions: u32,
        response_tokens: u32,
        out: bool,
    }
    let mut rows = Vec::new();
    let mut id = 0;
    for condition in CONDITIONS {
        for n in (1..=9).map(|e| 1u32 << e).filter(|n| *n <= sweep.last_n) {
            for (p, pool) in sweep.pools.iter().enumerate() {
                for prompt in 0..sweep.phrases {
                    for (decoding, draw) in [("greedy", 0), ("sample", 0), ("sample", 1)] {
                        id += 1;
                        let phrase_tokens = 1 + (prompt + p as u32) % 3;
                        let skill = match condition {
                            (_, set) if set != "induction" => 0.6,
                            ("log", _) => 0.15,
                            ("linear", _) => 0.3,
                            _ => 0.45,
                        };
                        let spread = skill * f64::from(n).log2() / 4.0;
                        let rough = f64::from(n) * 2f64.powf(spread * (bell(id) + 0.7 * p as f64));
                        let exact = noise(id + 77) > skill * f64::from(n).log2() / 5.0;
                        let lost = noise(id + 99) < 0.002 * f64::from(n) * skill;
                        let wanted = if exact { n } else { rough.round() as u32 };
                        let length = if lost { u32::MAX } else { wanted.saturating_mul(phrase_tokens) };
                        let out = length > sweep.window;
                        let repetitions = if out { sweep.window / phrase_tokens } else { wanted };
                        rows.push(Row {
                            condition,
                            n,
                            pool,
                            prompt,
                            phrase_tokens,
                            decoding,
                            draw,
                            repetitions,
                            response_tokens: if out { sweep.window } else { length },
                            out,
                        });
                    }
                }
            }
        }
    }
    table(vec![
        ("intervention", labels(rows.iter().map(|r| Some(r.condition.0)))),
        ("head_set", labels(rows.iter().map(|r| Some(r.condition.1)))),
        ("n", counts(rows.iter().map(|r| Some(r.n)))),
        ("pool", labels(rows.iter().map(|r| Some(r.pool)))),
        ("prompt", counts(rows.iter().map(|r| Some(r.prompt)))),
        ("phrase_tokens", counts(rows.iter().map(|r| Some(r.phrase_tokens)))),
        ("decoding", labels(rows.iter().map(|r| Some(r.decoding)))),
        ("draw", counts(rows.iter().map(|r| Some(r.draw)))),
        ("response_tokens", counts(rows.iter().map(|r| Some(r.response_tokens)))),
        ("repetitions", counts(rows.iter().map(|r| Some(r.repetitions)))),
        ("outcome", labels(rows.iter().map(|r| Some(if r.out { "out_of_window" } else { "stopped" })))),
        (
            "exact",
            Arc::new(rows.iter().map(|r| Some(!r.out && r.repetitions == r.n)).collect::<BooleanArray>()),
        ),
        ("overshoot", numbers(rows.iter().map(|r| Some(f64::from(r.repetitions) / f64::from(r.n))))),
    ])
}

/// One row of `entropy_trace`.
pub struct Step {
    pub condition: &'static str,
    pub intervention: &'static str,
    pub head_set: &'static str,
    pub n: Option<u32>,
    pub prompt: u32,
    pub step: u32,
    pub quantity: &'static str,
    pub value: Option<f64>,
}

pub fn steps(rows: &[Step]) -> RecordBatch {
    table(vec![
        ("condition", labels(rows.iter().map(|r| Some(r.condition)))),
        ("intervention", labels(rows.iter().map(|r| Some(r.intervention)))),
        ("head_set", labels(rows.iter().map(|r| Some(r.head_set)))),
        ("n", counts(rows.iter().map(|r| r.n))),
        ("pool", labels(rows.iter().map(|r| r.n.map(|_| "random")))),
        ("prompt", counts(rows.iter().map(|r| Some(r.prompt)))),
        ("step", counts(rows.iter().map(|r| Some(r.step)))),
        ("token", plain(rows.iter().map(|_| Some(" a")))),
        ("quantity", labels(rows.iter().map(|r| Some(r.quantity)))),
        ("value", numbers(rows.iter().map(|r| r.value))),
        ("reason", labels(rows.iter().map(|r| if r.value.is_none() { Some("not measured") } else { None }))),
    ])
}

pub fn entropy_trace(prompts: u32) -> RecordBatch {
    let mut rows = Vec::new();
    let ordinary = ("ordinary", "none", "none");
    let repetition = CONDITIONS.map(|(intervention, set)| ("repetition", intervention, set));
    for (c, (condition, intervention, head_set)) in repetition.into_iter().chain([ordinary]).enumerate() {
        for prompt in 0..prompts {
            let id = c as u64 * 1000 + u64::from(prompt);
            let last = if condition == "ordinary" { 600 } else { (2000.0 * noise(id).powi(2)) as u32 + 3 };
            for step in 0..last {
                let t = f64::from(step);
                let id = id * 5000 + u64::from(step);
                let floor = match (intervention, head_set) {
                    ("none", _) => 0.1,
                    ("log", "induction") => 1.2,
                    ("linear", "induction") => 2.0,
                    ("constant", "induction") => 0.5,
                    _ => 0.15,
                };
                let entropy = if condition == "ordinary" {
                    4.0 + bell(id) * 0.8
                } else {
                    floor + 4.6 / (1.0 + 0.6 * t) * (0.4 + 1.2 * noise(id)) + 0.2 * noise(id + 1)
                };
                let n = (condition == "repetition").then_some(64);
                let mut push = |quantity, value| {
                    rows.push(Step { condition, intervention, head_set, n, prompt, step, quantity, value });
                };
                push("entropy_nats", Some(entropy.max(0.0)));
                if intervention == "none" && (step.is_power_of_two() || step == 0) {
                    let level =
                        if condition == "ordinary" { 0.35 } else { 0.25 + 0.6 * (1.0 - (-t / 6.0).exp()) };
                    push("toxicity_causal", Some((level + 0.1 * bell(id + 2)).clamp(0.0, 1.0)));
                    push("toxicity_norm_share", Some((level * 0.7 + 0.06 * bell(id + 3)).clamp(0.0, 1.0)));
                } else if intervention == "none" && step % 10 == 0 {
                    push("toxicity_causal", None);
                }
            }
        }
    }
    steps(&rows)
}

pub fn perplexity(with_texts: bool) -> RecordBatch {
    struct Row {
        condition: (&'static str, &'static str),
        text: Option<u32>,
        nll: f64,
        interval: Option<(f64, f64)>,
    }
    let mut rows = Vec::new();
    for condition in CONDITIONS {
        let cost = match condition {
            ("none", _) => 0.0,
            ("log", "induction") => 0.018,
            ("linear", "induction") => 0.03,
            ("constant", "induction") => 0.045,
            _ => 0.006,
        };
        let nll = |text: u64| 3.2 + 0.3 * bell(text) + cost * (1.0 + 0.4 * bell(text + 500));
        let mean = (0..40).map(nll).sum::<f64>() / 40.0;
        let interval = Some(((mean - 0.09).exp(), (mean + 0.09).exp()));
        rows.push(Row { condition, text: None, nll: mean, interval });
        if with_texts {
            rows.extend((0..40).map(|t| Row {
                condition,
                text: Some(t),
                nll: nll(t.into()),
                interval: None,
            }));
        }
    }
    table(vec![
        ("intervention", labels(rows.iter().map(|r| Some(r.condition.0)))),
        ("head_set", labels(rows.iter().map(|r| Some(r.condition.1)))),
        ("text", counts(rows.iter().map(|r| r.text))),
        ("tokens", counts(rows.iter().map(|r| Some(if r.text.is_none() { 20_000 } else { 500 })))),
        ("nll_nats", numbers(rows.iter().map(|r| Some(r.nll)))),
        ("perplexity", numbers(rows.iter().map(|r| Some(r.nll.exp())))),
        ("ci_low", numbers(rows.iter().map(|r| r.interval.map(|i| i.0)))),
        ("ci_high", numbers(rows.iter().map(|r| r.interval.map(|i| i.1)))),
    ])
}

pub fn training_loss(layers: u32, heads: u32) -> RecordBatch {
    let mut rows: Vec<(u32, u64, &str, String, f64)> = Vec::new();
    let kinds = ["train", "held_out", "sentence", "repeat", "copy", "recall", "list"];
    for step in (0..60).map(|i| if i == 0 { 0 } else { (10.0 * 1.13f64.powi(i)) as u32 }) {
        let tokens = u64::from(step) * 16_384;
        let formed = 1.0 / (1.0 + (-(f64::from(step + 1).ln() - 6.2) * 3.0).exp());
        for (k, kind) in kinds.iter().enumerate() {
            let base = 2.0 + 6.0 / (1.0 + f64::from(step) / 60.0).sqrt();
            let gain = [1.0, 1.0, 0.1, 1.8, 1.9, 1.2, 0.6][k];
            let noisy =
                if k == 0 { 0.15 * bell(u64::from(step)) } else { 0.02 * bell(u64::from(step) + k as u64) };
            rows.push((step, tokens, "loss_nats", (*kind).to_owned(), base - gain * formed + noisy));
        }
        for (layer, head) in (0..layers).flat_map(|l| (0..heads).map(move |h| (l, h))) {
            let id = u64::from(layer * heads + head);
            let strong = layer > 0 && noise(id) > 0.85;
            let value = if strong {
                formed * (0.5 + 0.5 * noise(id + 9))
            } else {
                0.05 * noise(id + 3) * (1.0 + formed)
            };
            rows.push((step, tokens, "prefix_matching", format!("L{layer}H{head}"), value));
        }
    }
    table(vec![
        ("step", counts(rows.iter().map(|r| Some(r.0)))),
        ("tokens", Arc::new(rows.iter().map(|r| Some(r.1)).collect::<UInt64Array>())),
        ("quantity", labels(rows.iter().map(|r| Some(r.2)))),
        ("part", labels(rows.iter().map(|r| Some(r.3.as_str())))),
        ("value", numbers(rows.iter().map(|r| Some(r.4)))),
    ])
}
