//! The architecture as it was understood, as text of 80 columns.

use refrain_runner::Architecture;
use refrain_runner::architecture::{
    BesideDense, Experts, Keys, Layer, Mlp, Norm, NormPlace, Pairing, QkNorm, Rotary, Scaling,
};

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns of a line's label.
const LABEL: usize = 12;

/// The description, a line or more for each choice, layers that are alike together.
pub fn describe(arch: &Architecture) -> String {
    let mut text = String::new();
    let mut line = |label: &str, parts: Vec<String>| text += &wrapped(label, &parts);
    let form = if arch.parallel { "attention and MLP in parallel" } else { "attention, then MLP" };
    line(
        "stream",
        vec![
            format!("{} layers", arch.n_layers),
            format!("d_model {}", arch.d_model),
            format!("{} tokens", arch.n_vocab),
            format!("window {}", arch.n_ctx),
            form.into(),
        ],
    );
    let mut embedding =
        vec![if arch.embedding.tied { "tied to the unembedding" } else { "not tied" }.to_owned()];
    embedding.extend(arch.embedding.scale.map(|scale| format!("scaled by {scale:.6}")));
    embedding.extend(arch.embedding.width.map(|width| format!("of width {width}, projected in and out")));
    embedding.extend(
        arch.embedding.per_layer_width.map(|width| format!("inputs of width {width} for every layer")),
    );
    embedding.extend(arch.embedding.learned_positions.then(|| "learned positions added".into()));
    line("embedding", embedding);
    line("norms", norms(arch));
    let some = [
        (arch.biases.qkv, "q k v"),
        (arch.biases.attention_out, "attention output"),
        (arch.biases.mlp, "MLP"),
        (arch.biases.unembed, "unembedding"),
    ];
    let mut biases: Vec<String> =
        some.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned()).collect();
    if biases.is_empty() {
        biases.push("none".into());
    }
    line("biases", biases);
    let mut cuts = Vec::new();
    cuts.extend(arch.caps.scores.map(|cap| format!("scores softly at {cap}")));
    cuts.extend(arch.caps.logits.map(|cap| format!("logits softly at {cap}")));
    cuts.extend(arch.caps.qkv.map(|most| format!("q k v at {most}")));
    if !cuts.is_empty() {
        line("capped", cuts);
    }
    if arch.layer_scale {
        line("scaled", vec!["the stream by a learned number after every block".into()]);
    }
    let mut kinds: Vec<(&Layer, Vec<usize>)> = Vec::new();
    for (index, layer) in arch.layers.iter().enumerate() {
        match kinds.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, members)) => members.push(index),
            None => kinds.push((layer, vec![index])),
        }
    }
    for (layer, members) in kinds {
        line(if members.len() == 1 { "layer" } else { "layers" }, ranges(&members));
        line("  attention", attention(arch, layer));
        let rotary = layer.rotary.as_ref().map_or_else(|| vec!["none".into()], rotary);
        line("  rotary", rotary);
        if let Some(width) = layer.d_mlp {
            line("  MLP", vec![format!("{width} neurons"), mlp(arch.mlp)]);
        }
        if let Some(form) = &layer.experts {
            line("  experts", experts(form, arch.mlp));
        }
    }
    text
}

fn norms(arch: &Architecture) -> Vec<String> {
    let kind = match arch.norms.form {
        Norm::Layer { eps } => format!("LayerNorm, epsilon {eps:e}"),
        Norm::Rms { eps } => format!("RMSNorm, epsilon {eps:e}"),
    };
    let place = match arch.norms.place {
        NormPlace::Pre => "before attention and MLP",
        NormPlace::PostSublayer => "after attention and MLP",
        NormPlace::Sandwich => "before and after attention and MLP",
        NormPlace::Post => "of the stream, after each addition",
    };
    let mut parts = vec![kind, place.to_owned()];
    parts.push(if arch.norms.last { "and a final one" } else { "no final one" }.into());
    if !arch.norms.affine {
        parts.push("no weights".into());
    }
    parts.extend(arch.norms.qk.map(|norm| {
        match norm {
            QkNorm::Head => "queries and keys by head",
            QkNorm::EachHead => "queries and keys by head, weights for each head",
            QkNorm::AllHeads => "queries and keys over all heads",
        }
        .to_owned()
    }));
    parts.extend(arch.norms.v.then(|| "values by head".into()));
    parts
}

fn attention(arch: &Architecture, layer: &Layer) -> Vec<String> {
    let mut parts = vec![
        format!("{} heads of {}", arch.n_heads, layer.d_head),
        format!("{} key/value head{}", layer.n_kv_heads, if layer.n_kv_heads == 1 { "" } else { "s" }),
        layer.window.map_or_else(|| "no window".into(), |window| format!("window {window}")),
        format!("scores times {:.6}", layer.score_factor),
    ];
    match layer.keys {
        Keys::Own => {}
        Keys::SharedProjection => parts.push("values are the keys' projections".into()),
        Keys::OfLayer(source) => parts.push(format!("keys and values of layer {source}")),
    }
    parts
}

fn rotary(rotary: &Rotary) -> Vec<String> {
    let pairing = match rotary.pairing {
        Pairing::Halves => "halves",
        Pairing::Neighbours => "neighbours",
    };
    let mut parts = vec![
        format!("{} entries", rotary.dims),
        format!("{pairing} turn together"),
        format!("base {}", rotary.base),
    ];
    match &rotary.scaling {
        Scaling::None => {}
        Scaling::Linear { factor } => parts.push(format!("linear, factor {factor}")),
        Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => parts.push(format!(
            "llama3, factor {factor} between {low_freq_factor} and {high_freq_factor} turns in {original}"
        )),
        Scaling::Yarn { factor, beta_fast, beta_slow, original, attention_factor, .. } => {
            parts.push(format!(
                "yarn, factor {factor} between {beta_slow} and {beta_fast} turns in {original}"
            ));
            parts.push(format!("size {attention_factor:.6}"));
        }
        Scaling::LongRope { original, attention_factor, .. } => {
            parts.push(format!("longrope, other factors beyond {original}"));
            parts.push(format!("size {attention_factor:.6}"));
        }
        Scaling::Proportional { rotated, factor } => {
            parts.push(format!("{rotated} of each half turn"));
            parts.push(format!("proportional, factor {factor}"));
        }
    }
    parts
}

fn mlp(form: Mlp) -> String {
    match form {
        Mlp::Ungated { activation } => format!("ungated, {}", activation.name()),
        Mlp::Gated { activation } => format!("gated, {}", activation.name()),
    }
}

fn experts(form: &Experts, each: Mlp) -> Vec<String> {
    let mut parts = vec![
        format!("{} of {}", form.per_token, form.count),
        format!("{} neurons each", form.d_expert),
        mlp(each),
        if form.renormalise { "weights sum to 1" } else { "weights as they are" }.into(),
    ];
    match form.beside_dense {
        BesideDense::Alone => {}
        BesideDense::SharedExpert => parts.push("the MLP is a shared expert behind a gate".into()),
        BesideDense::OwnNorms => parts.push("beside the MLP, with norms of their own".into()),
    }
    parts
}

/// Ascending numbers with runs of them shortened: `0-3`, `5`.
fn ranges(numbers: &[usize]) -> Vec<String> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => found.push((number, number)),
        }
    }
    let shown = |(first, last): (usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    found.into_iter().map(shown).collect()
}

/// A label and parts with commas between, broken into lines.
pub(super) fn wrapped(label: &str, parts: &[String]) -> String {
    let mut text = format!("{label:LABEL$}");
    let mut used = LABEL;
    for (index, part) in parts.iter().enumerate() {
        let end = if index + 1 < parts.len() { "," } else { "" };
        if used > LABEL && used + 1 + part.len() + end.len() > WIDTH {
            text += &format!("\n{:LABEL$}", "");
            used = LABEL;
        }
        let gap = if used > LABEL { " " } else { "" };
        text += &format!("{gap}{part}{end}");
        used += gap.len() + part.len() + end.len();
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_layers_are_shortened() {
        assert_eq!(ranges(&[0, 1, 2, 4, 6, 7]), ["0-2", "4", "6-7"]);
    }

    #[test]
    fn lines_end_before_column_80() {
        let parts: Vec<String> = (0..40).map(|i| format!("number {i}")).collect();
        let text = wrapped("label", &parts);
        assert!(text.lines().all(|line| line.len() <= WIDTH) && text.lines().count() > 3, "{text}");
    }
}
