//! Methods that score edges: rows of edges, means over all pairs, and of the nodes that they leave.

use anyhow::{Context, Result, bail};
use refrain_patching::attribution::{Edges, IgSteps, Input, Node, Paths, eap, path_patching};
use refrain_patching::table::{EdgeScoreRow, HeadScoreRow};
use refrain_patching::{FLOOR, Pair, normalised_effect};

use super::method::{Inputs, Method, patching, sweep_settings};
use super::rows::{Labels, of_scores};

/// Rows of a batch of path patching.
const ROWS: usize = 64;

/// Scores the edges.
///
/// # Errors
/// What the method says, or for a receiver that is none.
pub fn score(
    method: Method,
    inputs: &Inputs<'_>,
    labels: Labels,
    pairs: &[Pair],
) -> Result<(Vec<HeadScoreRow>, Vec<EdgeScoreRow>)> {
    let model = &inputs.subject.model;
    let change = patching(inputs.asked);
    let found = match method {
        Method::PathPatching => {
            let receivers = inputs.settings.receiver.iter().map(|name| receiver(name));
            let mut receivers = receivers.collect::<Result<Vec<_>>>()?;
            if receivers.is_empty() {
                receivers.push((Node::Logits, Input::Whole));
            }
            let senders = inputs.asked.senders.iter().map(|head| Node::Head(*head)).collect();
            let metrics = inputs.metrics.to_vec();
            path_patching(model, pairs, &Paths { senders, receivers, metrics, change, rows: ROWS })?
        }
        _ => {
            let steps = IgSteps { count: inputs.settings.steps, ..IgSteps::default() };
            let steps = (method == Method::EapIg).then_some(steps);
            eap(model, pairs, &sweep_settings(inputs, change), steps)?
        }
    };
    if let (Method::PathPatching, Some(edges)) = (method, found.first()) {
        for (s, sender) in edges.senders.iter().enumerate() {
            for (r, (receiver, _)) in edges.receivers.iter().enumerate() {
                if !edges.exists(s, r) {
                    bail!(
                        "`{receiver}` does not read what `{sender}` writes: it stands below it, or beside it"
                    );
                }
            }
        }
    }
    // The sum over the edges of a path-patched head is no score of it: only those asked for were scored.
    let nodes: Vec<refrain_patching::Scores> = match method {
        Method::PathPatching => Vec::new(),
        _ => found.iter().map(|edges| edges.nodes(change)).collect(),
    };
    let heads = nodes.iter().flat_map(|scores| of_scores(scores, labels, &|pair| pair)).collect();
    Ok((heads, rows(&found, labels)))
}

/// A receiver by its name: `L5H3.q`, `mlp3` or `logits`.
pub fn receiver(name: &str) -> Result<(Node, Input)> {
    if name == "logits" {
        return Ok((Node::Logits, Input::Whole));
    }
    if let Some(layer) = name.strip_prefix("mlp") {
        let layer = layer.parse().with_context(|| format!("`{name}` is no receiver"))?;
        return Ok((Node::Mlp(layer), Input::Whole));
    }
    let parts = name.split_once('.').map(|(head, input)| (head.parse(), input));
    let (head, input) = match parts {
        Some((Ok(head), "q")) => (head, Input::Q),
        Some((Ok(head), "k")) => (head, Input::K),
        Some((Ok(head), "v")) => (head, Input::V),
        _ => bail!("`{name}` is no receiver\nhint: write L5H3.q (or .k, .v), mlp5 or logits"),
    };
    Ok((Node::Head(head), input))
}

/// A row an edge and metric: the mean change over all pairs, and its share of the mean difference between clean and corrupted.
fn rows(found: &[Edges], labels: Labels) -> Vec<EdgeScoreRow> {
    let Some(first) = found.first() else { return Vec::new() };
    let count: usize = found.iter().map(|edges| edges.pairs.len()).sum();
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count as f64;
    let mut rows = Vec::new();
    for (m, metric) in first.metrics.iter().enumerate() {
        let clean = mean(&mut found.iter().flat_map(|edges| edges.clean.row(m).to_vec()));
        let corrupted = mean(&mut found.iter().flat_map(|edges| edges.corrupted.row(m).to_vec()));
        for (sender, receiver) in first.all() {
            let scores = found.iter().flat_map(|edges| &edges.scores[m]);
            let change = mean(&mut scores.map(|of_pair| of_pair[[sender, receiver]]));
            // An effect is a share of what lies between the runs, from whichever the change begins.
            let value = if labels.into_clean { clean } else { corrupted } + change;
            let effect = normalised_effect(labels.change(), value, clean, corrupted, FLOOR);
            let (node, input) = first.receivers[receiver];
            rows.push(EdgeScoreRow {
                method: labels.method.into(),
                direction: labels.direction.map(str::to_owned),
                sender: first.senders[sender].to_string(),
                receiver: node.to_string(),
                receiver_input: match input {
                    Input::Q => Some("q".into()),
                    Input::K => Some("k".into()),
                    Input::V => Some("v".into()),
                    Input::Whole => None,
                },
                metric: metric.name().into(),
                value: Some(change),
                reason: effect.as_ref().err().cloned(),
                effect: effect.ok(),
                ..EdgeScoreRow::default()
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_by_name() {
        let head = refrain_runner::Head { layer: 5, head: 3 };
        assert_eq!(receiver("L5H3.k").unwrap(), (Node::Head(head), Input::K));
        assert_eq!(receiver("mlp2").unwrap(), (Node::Mlp(2), Input::Whole));
        assert_eq!(receiver("logits").unwrap(), (Node::Logits, Input::Whole));
        for wrong in ["L5H3", "L5H3.x", "mlp", "5.q", ""] {
            assert!(receiver(wrong).is_err(), "{wrong}");
        }
    }
}
