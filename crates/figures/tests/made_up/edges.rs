//! Made-up `edge_scores` and `circuit_scores`.

use arrow::array::RecordBatch;

use super::{bell, counts, labels, noise, numbers, plain, table};

pub fn edge_scores() -> RecordBatch {
    struct Edge(
        &'static str,
        Option<&'static str>,
        String,
        String,
        Option<&'static str>,
        &'static str,
        Option<f64>,
    );
    let mut edges = Vec::new();
    for i in 0..60u64 {
        let (from, to) = (format!("L{}H{}", i % 4, i % 7), format!("L{}H{}", 4 + i % 5, i % 3));
        let input = ["q", "k", "v"][i as usize % 3];
        let effect = (i != 9).then(|| 0.2 * bell(i).powi(3));
        edges.push(Edge(
            "eap-ig",
            Some("noising"),
            from.clone(),
            to.clone(),
            Some(input),
            "logit_diff",
            effect,
        ));
        edges.push(Edge(
            "eap-ig",
            Some("noising"),
            format!("mlp{}", i % 6),
            "logits".into(),
            None,
            "logit_diff",
            Some(0.01 * bell(i + 99)),
        ));
        edges.push(Edge("detectors", None, from, to, Some(input), "composition", Some(noise(i))));
    }
    table(vec![
        ("method", labels(edges.iter().map(|e| Some(e.0)))),
        ("direction", labels(edges.iter().map(|e| e.1))),
        ("sender", labels(edges.iter().map(|e| Some(e.2.as_str())))),
        ("receiver", labels(edges.iter().map(|e| Some(e.3.as_str())))),
        ("receiver_input", labels(edges.iter().map(|e| e.4))),
        ("prompt", counts(edges.iter().map(|_| None))),
        ("n_prompts", counts(edges.iter().map(|_| Some(32)))),
        ("metric", labels(edges.iter().map(|e| Some(e.5)))),
        ("value", numbers(edges.iter().map(|e| e.6))),
        ("effect", numbers(edges.iter().map(|e| e.6.filter(|_| e.0 != "detectors")))),
    ])
}

pub fn circuit_scores() -> RecordBatch {
    let steps = || ["greedy", "top"].into_iter().flat_map(|m| (0..24u32).map(move |n| (m, n)));
    let kept =
        |method: &str, n: u32| 1.0 - (-f64::from(n) / if method == "greedy" { 4.0 } else { 8.0 }).exp();
    table(vec![
        ("method", labels(steps().map(|s| Some(s.0)))),
        ("n_heads", counts(steps().map(|s| Some(s.1)))),
        ("heads", plain(steps().map(|_| Some("L3H0 L3H1")))),
        ("metric", labels(steps().map(|_| Some("logit_diff")))),
        ("faithfulness", numbers(steps().map(|s| Some(kept(s.0, s.1) + 0.04 * bell(u64::from(s.1)))))),
        ("incompleteness", numbers(steps().map(|s| Some(1.0 - kept(s.0, s.1)).filter(|_| s.1 != 3)))),
    ])
}
