//! What tables and reports say of a file.

use std::collections::BTreeMap;

use super::container::Tensor;
use super::types::Stored;
use super::value::Value;

/// The recipes of `general.file_type` that are common.
const RECIPES: [(i64, &str); 18] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (30, "IQ4_XS"),
    (32, "BF16"),
];

/// Keys that tables repeat, and what they call them.
const KEPT: [(&str, &str); 2] =
    [("general.name", "gguf_name"), ("general.quantization_version", "gguf_quantization_version")];

fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.shown(),
    }
}

/// How the weights are stored, as name and value.
pub(super) fn entries<'a>(
    metadata: &BTreeMap<String, Value>,
    tensors: impl Iterator<Item = &'a Tensor>,
) -> Vec<(String, String)> {
    let mut counts: BTreeMap<Stored, usize> = BTreeMap::new();
    for tensor in tensors {
        *counts.entry(tensor.stored).or_default() += 1;
    }
    let quantised = counts.keys().any(|stored| !stored.is_float());
    let mut counts: Vec<(Stored, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let types: Vec<String> =
        counts.iter().map(|(stored, count)| format!("{} {count}", stored.name())).collect();
    let how = if quantised { "dequantised" } else { "as stored" };
    let mut entries = vec![("weights".to_owned(), format!("{how}: {}", types.join(", ")))];
    if let Some(Value::Integer(id)) = metadata.get("general.file_type") {
        let recipe = RECIPES.iter().find(|(known, _)| known == id);
        let text = recipe.map_or_else(|| id.to_string(), |(_, name)| format!("{id} ({name})"));
        entries.push(("gguf_file_type".to_owned(), text));
    }
    for (key, name) in KEPT {
        entries.extend(metadata.get(key).map(|value| (name.to_owned(), written(value))));
    }
    for (key, value) in metadata {
        if let Some(name) = key.strip_prefix("quantize.") {
            entries.push((format!("gguf_{}", name.replace('.', "_")), written(value)));
        }
    }
    entries
}
