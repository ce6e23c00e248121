//! From the metadata to the `config.json` that a folder with the same model has.

use serde_json::{Map, Value as Json, json};

use super::draft::{Draft, Tensors};
use super::families::Family;
use super::keys::Keys;

/// The configuration of a model of `family`, without its tokens.
pub(super) fn config(
    family: &Family,
    keys: &Keys<'_>,
    tensors: &dyn Tensors,
) -> Result<Map<String, Json>, String> {
    let mut draft = Draft { keys, tensors, config: Map::new() };
    let embedding = tensors.shape("token_embd.weight").and_then(|shape| shape.first());
    let rows = embedding.ok_or("has no tensor `token_embd.weight`: it is no language model")?;
    draft.set("vocab_size", *rows);
    // How many tokens the tokenizer has: the matrix may have more rows.
    keys.size_if("vocab_size")?;
    if keys.flag_if("attention.causal")? == Some(false) || keys.size_if("pooling_type")?.unwrap_or(0) != 0 {
        return Err("is an encoder: only causal attention is supported".into());
    }
    (family.describe)(&mut draft)?;
    keys.refuse_unread()?;
    Ok(draft.config)
}

/// The ids of the tokens that begin and end a text.
pub(super) fn tokens(config: &mut Map<String, Json>, begin: Option<u32>, ends: &[u32]) {
    config.insert("bos_token_id".into(), json!(begin));
    config.insert("eos_token_id".into(), json!(ends));
}
