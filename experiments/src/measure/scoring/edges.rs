//! Methods that score edges: rows of edges, means over all pairs, and of the nodes that they leave.

use anyhow::{Context, Result, bail};
use refrain_patching::attribution::{
    Edges, IgSteps, Input, Node, Paths, eap, path_attribution, path_patching,
};
use refrain_patching::table::{EdgeScoreRow, HeadScoreRow};
use refrain_patching::{FLOOR, Method, Pair, Scores, normalised_effect};

use super::rows::{Labels, finite, of_scores};
use super::settings::Scoring;

/// Rows of a batch of path patching.
const ROWS: usize = 64;

/// Scores the edges.
///
/// # Errors
/// What the method says.
pub fn score(
    scoring: &Scoring<'_>,
    method: Method,
    labels: Labels,
    pairs: &[Pair],
) -> Result<(Vec<HeadScoreRow>, Vec<EdgeScoreRow>)> {
    let change = scoring.change(method).context("an edge's score is of a change")?;
    let of_paths = matches!(method, Method::PathPatching | Method::PathAttribution);
    let found = if of_paths {
        let senders = scoring.senders.iter().map(|head| Node::Head(*head)).collect();
        let (receivers, metrics) = (scoring.receivers.clone(), scoring.metrics.clone());
        let paths = Paths { senders, receivers, metrics, change, rows: ROWS };
        match method {
            Method::PathPatching => path_patching(scoring.model, pairs, &paths)?,
            _ => path_attribution(scoring.model, pairs, &paths)?,
        }
    } else {
        let steps = IgSteps { count: scoring.steps, ..IgSteps::default() };
        eap(scoring.model, pairs, &scoring.sweep(change), (method == Method::EapIg).then_some(steps))?
    };
    if let (true, Some(edges)) = (of_paths, found.first()) {
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
    // The sum over the edges of a path-patched head is not a score of it: only those asked for were scored.
    let nodes: Vec<Scores> =
        if of_paths { Vec::new() } else { found.iter().map(|edges| edges.nodes(labels.change)).collect() };
    let heads = nodes.iter().flat_map(|scores| of_scores(scoring, scores, labels, &|pair| pair)).collect();
    Ok((heads, rows(&found, labels, pairs.len())))
}

/// What receives along a path, as the command line and files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver(pub Node, pub Input);

impl std::str::FromStr for Receiver {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        receiver(name).map(|(node, input)| Receiver(node, input)).map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 {
            Input::Q => write!(f, "{}.q", self.0),
            Input::K => write!(f, "{}.k", self.0),
            Input::V => write!(f, "{}.v", self.0),
            Input::Whole => write!(f, "{}", self.0),
        }
    }
}

impl serde::Serialize for Receiver {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Receiver {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A receiver by its name: `L5H3.q`, `mlp3` or `logits`.
fn receiver(name: &str) -> Result<(Node, Input)> {
    if name == "logits" {
        return Ok((Node::Logits, Input::Whole));
    }
    if let Some(layer) = name.strip_prefix("mlp") {
        let layer = layer.parse().with_context(|| format!("`{name}` is not a receiver"))?;
        return Ok((Node::Mlp(layer), Input::Whole));
    }
    let parts = name.split_once('.').map(|(head, input)| (head.parse(), input));
    let (head, input) = match parts {
        Some((Ok(head), "q")) => (head, Input::Q),
        Some((Ok(head), "k")) => (head, Input::K),
        Some((Ok(head), "v")) => (head, Input::V),
        _ => bail!("`{name}` is not a receiver\nhint: write L5H3.q (or .k, .v), mlp5 or logits"),
    };
    Ok((Node::Head(head), input))
}

/// A row an edge and metric: the mean change over all pairs, and its share of the mean difference between clean and
/// corrupted.
fn rows(found: &[Edges], labels: Labels, n_prompts: usize) -> Vec<EdgeScoreRow> {
    let Some(first) = found.first() else { return Vec::new() };
    let count: usize = found.iter().map(|edges| edges.pairs.len()).sum();
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count as f64;
    let mut rows = Vec::new();
    for (m, metric) in first.metrics.iter().enumerate() {
        let clean = mean(&mut found.iter().flat_map(|edges| edges.clean.row(m).into_iter().copied()));
        let corrupted = mean(&mut found.iter().flat_map(|edges| edges.corrupted.row(m).into_iter().copied()));
        for (sender, receiver) in first.all() {
            let scores = found.iter().flat_map(|edges| &edges.scores[m]);
            let change = mean(&mut scores.map(|of_pair| of_pair[[sender, receiver]]));
            // An effect is a share of what lies between the runs, from whichever the change begins.
            let value = labels.base(&clean, &corrupted) + change;
            let effect = normalised_effect(labels.change, value, clean, corrupted, FLOOR);
            let (node, input) = first.receivers[receiver];
            rows.push(EdgeScoreRow {
                method: labels.method,
                direction: labels.direction,
                sender: first.senders[sender].to_string(),
                receiver: node.to_string(),
                receiver_input: match input {
                    Input::Q => Some("q".into()),
                    Input::K => Some("k".into()),
                    Input::V => Some("v".into()),
                    Input::Whole => None,
                },
                prompt: None,
                n_prompts: n_prompts as u32,
                metric: (*metric).into(),
                value: finite(change),
                reason: effect.as_ref().err().cloned(),
                effect: effect.ok(),
                p_value: None,
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
