//! Made-up tables of the repetition experiment: summaries with their conditions.

use arrow::array::RecordBatch;

use super::{bell, counts, flags, labels, noise, numbers, table};

/// Condition, intervention, target set.
pub type Condition = (&'static str, &'static str, &'static str);

/// As the experiment runs them: three interventions on the induction heads and on two control sets.
pub const CONDITIONS: [Condition; 10] = [
    ("none", "none", "none"),
    ("log:induction", "log", "induction"),
    ("log:random_1", "log", "random_1"),
    ("log:random_2", "log", "random_2"),
    ("linear:induction", "linear", "induction"),
    ("linear:random_1", "linear", "random_1"),
    ("linear:random_2", "linear", "random_2"),
    ("constant:induction", "constant", "induction"),
    ("constant:random_1", "constant", "random_1"),
    ("constant:random_2", "constant", "random_2"),
];

/// Names as long as settings, sets and kinds can make them.
pub const LONG: [Condition; 7] = [
    ("none", "none", "none"),
    ("a", "log", "heads_that_match_prefixes_in_the_later_half_of_the_model"),
    ("b", "log", "random_12"),
    ("c", "projected_mean_of_the_other_heads_of_the_same_layer", "induction"),
    ("d", "projected_mean_of_the_other_heads_of_the_same_layer", "random_11"),
    ("e", "projected_mean_of_the_other_heads_of_the_same_layer", "random_12"),
    ("f", "constant", "heads_that_match_prefixes_in_the_later_half_of_the_model"),
];

const LONG_POOLS: [&str; 3] = [
    "phrases_of_one_common_word",
    "phrases_of_two_words_drawn_from_the_whole_vocabulary",
    "sentences_of_the_held_out_documents_cut_off_after_their_first_eight_words",
];
const LONG_QUANTITY: &str =
    "share_of_the_feasible_runs_that_stop_by_themselves_after_the_right_number_of_copies";

pub fn conditions(all: &[Condition]) -> RecordBatch {
    table(vec![
        ("condition", labels(all.iter().map(|c| Some(c.0)))),
        ("intervention", labels(all.iter().map(|c| Some(c.1)))),
        ("target_set", labels(all.iter().map(|c| Some(c.2)))),
        ("control", flags(all.iter().map(|c| c.2.starts_with("random")))),
        ("dose", numbers(all.iter().map(|c| (c.1 == "constant").then_some(0.5)))),
    ])
}

/// One row of `count_summary`.
#[derive(Debug, Clone)]
pub struct Count {
    pub condition: &'static str,
    pub n: u32,
    pub pool: Option<&'static str>,
    pub quantity: &'static str,
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub lower_bound: bool,
    /// Generations; those of the pool, or of all, where not said.
    pub runs: Option<u32>,
}

pub fn count_summary(rows: &[Count]) -> RecordBatch {
    table(vec![
        ("condition", labels(rows.iter().map(|r| Some(r.condition)))),
        ("n", counts(rows.iter().map(|r| Some(r.n)))),
        ("pool", labels(rows.iter().map(|r| r.pool))),
        ("quantity", labels(rows.iter().map(|r| Some(r.quantity)))),
        ("value", numbers(rows.iter().map(|r| r.value))),
        ("ci_low", numbers(rows.iter().map(|r| r.interval.map(|i| i.0)))),
        ("ci_high", numbers(rows.iter().map(|r| r.interval.map(|i| i.1).filter(|_| !r.lower_bound)))),
        ("lower_bound", flags(rows.iter().map(|r| r.lower_bound))),
        ("n_items", counts(rows.iter().map(|r| Some(if r.pool.is_some() { 12 } else { 36 })))),
        (
            "n_runs",
            counts(rows.iter().map(|r| Some(r.runs.unwrap_or(if r.pool.is_some() { 36 } else { 108 })))),
        ),
        (
            "reason",
            labels(rows.iter().map(|r| if r.value.is_none() { Some("no feasible run") } else { None })),
        ),
    ])
}

/// Of conditions, up to N = 2 to the power of `octaves`.
pub fn counted(all: &[Condition], octaves: u32) -> Vec<Count> {
    let mut rows = Vec::new();
    for (c, (condition, intervention, target)) in all.iter().enumerate() {
        for n in (1..=octaves).map(|e| 1u32 << e) {
            let pools = if all == LONG { LONG_POOLS } else { ["top", "random", "rare"] };
            for (p, pool) in [None].into_iter().chain(pools.map(Some)).enumerate() {
                let seed = (c * 1000 + p * 100) as u64 + u64::from(n);
                let strength = match (*intervention, *target) {
                    ("none", _) => 0.0,
                    (_, "induction") => 1.0,
                    _ => 0.2,
                };
                let late = (f64::from(n).log2() / 8.0).min(1.0);
                let lost = n >= 128 && strength < 0.5;
                let tokens =
                    if lost { 900.0 } else { f64::from(n) * (1.4 - 0.3 * strength + 0.1 * p as f64) };
                let mut push = |quantity, value: f64, half: f64, lower_bound| {
                    let interval = Some(((value - half).max(0.0), value + half));
                    rows.push(Count {
                        condition,
                        n,
                        pool,
                        quantity,
                        value: Some(value),
                        interval,
                        lower_bound,
                        runs: None,
                    });
                };
                push("median_response_tokens", tokens, tokens * 0.15, lost);
                push("median_overshoot", tokens / f64::from(n) / 1.3, 0.1, lost);
                if pool.is_some() {
                    continue;
                }
                let looped = (1.0 - strength) * late * 0.6;
                let endless = strength * late * 0.8;
                let none = 0.05 * noise(seed);
                let broke = 0.3 * (1.0 - looped - endless - none);
                push("phrase_loop_share", looped, 0.1, false);
                push("broke_off_endless_share", endless, 0.1, false);
                push("no_attempt_share", none, 0.05, false);
                push("broke_off_stopped_share", broke, 0.1, false);
                push("clean_stop_share", 1.0 - looped - endless - none - broke, 0.1, false);
                push("endless_share", looped + endless, 0.1, false);
                let feasible = n < 256;
                let value = feasible.then_some(0.7 * (1.0 - late));
                let interval = value.map(|v| ((v - 0.12f64).max(0.0), v + 0.12));
                rows.push(Count {
                    condition,
                    n,
                    pool,
                    quantity: "exact_share",
                    value,
                    interval,
                    lower_bound: false,
                    runs: Some(if n > 64 { 72 } else { 108 }),
                });
            }
        }
    }
    rows
}

/// Means over a set of items that shrinks, of conditions and of ordinary text.
pub fn trace_summary(all: &[Condition], begun: u32, last: u32) -> RecordBatch {
    struct Step(&'static str, &'static str, &'static str, u32, f64, Option<(f64, f64)>, u32);
    let alive = |kind: &str, step: u32| match kind {
        "ordinary" => begun,
        _ => (f64::from(begun) * (-f64::from(step) / 150.0).exp()).round() as u32,
    };
    let mut rows = Vec::new();
    let repetition = all.iter().map(|c| ("repetition", *c));
    for (s, (kind, (condition, intervention, target))) in repetition.chain([("ordinary", all[0])]).enumerate()
    {
        for step in 0..last {
            let t = f64::from(step);
            let left = alive(kind, step);
            if left == 0 {
                break;
            }
            let seed = (s as u64) * 10_000 + u64::from(step);
            let floor = match (intervention, target) {
                ("none", _) => 0.1,
                ("log", "induction") => 1.2,
                ("linear", "induction") => 2.0,
                ("constant", "induction") => 0.5,
                _ => 0.15 + 0.05 * s as f64,
            };
            let entropy =
                if kind == "ordinary" { 4.0 } else { floor + 3.6 / (1.0 + 0.6 * t) } + 0.1 * bell(seed);
            let half = 0.4 / f64::from(left).sqrt();
            let interval = (begun > 4).then_some((entropy - half, entropy + half));
            rows.push(Step(kind, condition, "entropy_nats", step, entropy.max(0.0), interval, left));
            if intervention == "none" && (step.is_power_of_two() || step == 0) {
                let level = if kind == "ordinary" { 0.35 } else { 0.25 + 0.6 * (1.0 - (-t / 6.0).exp()) };
                let around = |v: f64| (begun > 4).then_some((v - 0.07, v + 0.07));
                rows.push(Step(kind, condition, "toxicity_causal", step, level, around(level), left));
                for (quantity, of) in [("toxicity_norm_share", 0.7), ("toxicity_predicted", 0.3)] {
                    // The predicted one is not always defined.
                    let measured = if of < 0.5 { left.div_ceil(2) } else { left };
                    let level = level * of;
                    rows.push(Step(kind, condition, quantity, step, level, around(level), measured));
                }
            }
        }
    }
    table(vec![
        ("prompt_kind", labels(rows.iter().map(|r| Some(r.0)))),
        ("condition", labels(rows.iter().map(|r| Some(r.1)))),
        ("quantity", labels(rows.iter().map(|r| Some(r.2)))),
        ("layer", counts(rows.iter().map(|_| None))),
        ("step", counts(rows.iter().map(|r| Some(r.3)))),
        ("value", numbers(rows.iter().map(|r| Some(r.4)))),
        ("ci_low", numbers(rows.iter().map(|r| r.5.map(|i| i.0)))),
        ("ci_high", numbers(rows.iter().map(|r| r.5.map(|i| i.1)))),
        ("n_items", counts(rows.iter().map(|r| Some(r.6)))),
        ("n_alive", counts(rows.iter().map(|r| Some(alive(r.0, r.3))))),
        ("n_begun", counts(rows.iter().map(|_| Some(begun)))),
    ])
}

/// Of 36 items each, or of 36 phrases and 40 texts.
pub fn contrasts(all: &[Condition], texts: u32) -> RecordBatch {
    let first = if all == LONG { LONG_QUANTITY } else { "exact_share" };
    let quantities = [first, "endless_share", "clean_stop_share", "nll_nats"];
    let rows = || {
        quantities.into_iter().enumerate().flat_map(|(q, name)| all[1..].iter().map(move |c| (q, name, c)))
    };
    let estimate = |q: usize, c: &Condition| {
        let size = if c.2 == "induction" { 0.25 } else { 0.05 };
        let seed = (q * 100 + c.0.len() * 7 + c.2.len()) as u64;
        size * [-1.0, 1.0, -0.5, 0.3][q] + 0.02 * bell(seed)
    };
    let main = |c: &Condition| c.2 == "induction";
    table(vec![
        ("quantity", labels(rows().map(|r| Some(r.1)))),
        ("condition", labels(rows().map(|r| Some(r.2.0)))),
        ("baseline", labels(rows().map(|_| Some("none")))),
        ("n_items", counts(rows().map(|r| Some(if r.1 == "nll_nats" { texts } else { 36 })))),
        ("estimate", numbers(rows().map(|r| Some(estimate(r.0, r.2))))),
        ("ci_low", numbers(rows().map(|r| Some(estimate(r.0, r.2) - 0.08)))),
        ("ci_high", numbers(rows().map(|r| Some(estimate(r.0, r.2) + 0.08)))),
        ("p_value", numbers(rows().map(|r| main(r.2).then_some(0.0004 + 0.01 * r.0 as f64)))),
        ("test", labels(rows().map(|_| Some("sign-flip")))),
        ("random_sets", counts(rows().map(|r| main(r.2).then_some(2)))),
        ("did_as_much", counts(rows().map(|r| main(r.2).then_some(r.0 as u32 % 2)))),
        ("did_opposite", counts(rows().map(|r| main(r.2).then_some(u32::from(r.0 == 1))))),
    ])
}

pub fn perplexity(all: &[Condition]) -> RecordBatch {
    let rows = || all.iter().enumerate().flat_map(|(i, c)| [None, Some(0u32)].map(|text| (i, c, text)));
    let value = |i: usize| 26.48 + 0.05 * i as f64;
    table(vec![
        ("condition", labels(rows().map(|r| Some(r.1.0)))),
        ("text", counts(rows().map(|r| r.2))),
        ("tokens", counts(rows().map(|_| Some(10_240)))),
        ("nll_nats", numbers(rows().map(|r| Some(value(r.0).ln())))),
        ("perplexity", numbers(rows().map(|r| Some(value(r.0) * if r.2.is_some() { 2.0 } else { 1.0 })))),
        ("ci_low", numbers(rows().map(|r| r.2.is_none().then(|| value(r.0) - 0.3)))),
        ("ci_high", numbers(rows().map(|r| r.2.is_none().then(|| value(r.0) + 0.35)))),
        ("n_texts", counts(rows().map(|_| Some(40)))),
    ])
}
