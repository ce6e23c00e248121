//! Made-up rows of `head_scores` that read a run without changing it.

use super::noise;
use super::scores::Row;

/// As many detectors as there are, some of names as long as theirs are.
pub fn detectors(layers: u32, heads: u32) -> Vec<Row> {
    let metrics = ["prefix_matching", "copying", "copying_eigenvalues", "aeqd", "ahon", "ahon_ln", "awft_ln"];
    let more = ["ftvvn_ln", "lthon_ln", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let places = (0..layers).flat_map(|layer| (0..heads).map(move |head| (layer, head)));
    let of = |(layer, head)| {
        metrics.into_iter().chain(more).enumerate().map(move |(i, metric)| Row {
            method: "detectors",
            component: "pattern",
            layer,
            head: Some(head),
            n_prompts: 5,
            metric,
            value: Some(
                2.0 * noise(u64::from(layer * heads + head) * 20 + i as u64) - if i == 2 { 1.0 } else { 0.0 },
            ),
            ..Row::default()
        })
    };
    places.flat_map(of).collect()
}

/// The logit lens of every layer: as a share of the whole metric, or the metric itself.
pub fn lens(layers: u32, metric: &'static str, share: bool) -> Vec<Row> {
    let places = (0..layers).flat_map(|l| ["resid_pre", "resid_post"].map(|component| (l, component)));
    let row = |(layer, component): (u32, &'static str)| {
        let value = f64::from(layer + u32::from(component == "resid_post")) / f64::from(layers) * 1.1 - 0.05;
        Row {
            task: Some("induction"),
            method: "logit-lens",
            component,
            layer,
            n_prompts: 64,
            metric,
            value: Some(if share { 3.0 * value } else { 4.0 * (value - 1.1) }),
            effect: share.then_some(value),
            ..Row::default()
        }
    };
    places.map(row).collect()
}
