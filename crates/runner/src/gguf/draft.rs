//! A description in the making: what the families' descriptions have in common.

use serde_json::{Map, Value as Json};

use super::keys::Keys;

/// More layers than any decoder has.
const MOST_LAYERS: usize = 4096;

/// What a description may ask about the tensors.
pub(super) trait Tensors {
    /// The shape of a tensor, as torch has it.
    fn shape(&self, name: &str) -> Option<&[usize]>;
    /// All numbers of a small tensor.
    fn numbers(&self, name: &str) -> Result<Option<Vec<f32>>, String>;

    fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }
}

/// A description in the making, and what it is made from.
pub(super) struct Draft<'a> {
    pub(super) keys: &'a Keys<'a>,
    pub(super) tensors: &'a dyn Tensors,
    pub(super) config: Map<String, Json>,
}

impl Draft<'_> {
    pub(super) fn set(&mut self, key: &str, value: impl Into<Json>) {
        self.config.insert(key.to_owned(), value.into());
    }

    pub(super) fn layers(&self) -> Result<usize, String> {
        let layers = self.keys.size("block_count")?;
        if layers == 0 || layers > MOST_LAYERS {
            return Err(format!("has {layers} layers, not 1 to {MOST_LAYERS}"));
        }
        Ok(layers)
    }

    /// Numbers of a head.
    pub(super) fn d_head(&self) -> Result<usize, String> {
        let keys = self.keys;
        let (width, heads) = (keys.size("embedding_length")?, keys.size("attention.head_count")?);
        let even = (heads > 0 && width.is_multiple_of(heads)).then(|| width / heads);
        let (key, value) = (keys.size_if("attention.key_length")?, keys.size_if("attention.value_length")?);
        let d_head = key.or(even).ok_or_else(|| {
            format!(
                "the model's width {width} is not a multiple of its {heads} heads, and there is no key_length"
            )
        })?;
        if value.or(even.filter(|_| key.is_none())).is_some_and(|value| value != d_head) {
            return Err(format!(
                "has keys of {d_head} numbers and values of another width, which is not supported"
            ));
        }
        Ok(d_head)
    }

    /// The sizes, the norms' epsilon and the unembedding under the keys of Llama and those after it.
    pub(super) fn llama_sizes(&mut self) -> Result<(), String> {
        let keys = self.keys;
        let heads = keys.size("attention.head_count")?;
        self.set("max_position_embeddings", keys.size("context_length")?);
        self.set("hidden_size", keys.size("embedding_length")?);
        self.set("num_hidden_layers", self.layers()?);
        self.set("intermediate_size", keys.size("feed_forward_length")?);
        self.set("num_attention_heads", heads);
        self.set("num_key_value_heads", keys.size_if("attention.head_count_kv")?.unwrap_or(heads));
        self.set("rms_norm_eps", keys.number("attention.layer_norm_rms_epsilon")?);
        let biased = |name: &str| self.tensors.has(&format!("blk.0.{name}.bias"));
        self.set("attention_bias", biased("attn_q") || biased("attn_qkv"));
        self.tied();
        Ok(())
    }

    /// Refuses a rotation of a part of each head.
    pub(super) fn whole_heads(&self, d_head: usize) -> Result<(), String> {
        match self.keys.size_if("rope.dimension_count")? {
            Some(turned) if turned != d_head => Err(format!(
                "rotates {turned} of the {d_head} numbers of a head, which is not supported for this architecture"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn tied(&mut self) {
        let tied = !self.tensors.has("output.weight");
        self.set("tie_word_embeddings", tied);
    }

    /// Experts in every layer that has them.
    pub(super) fn experts(&mut self, count: &str) -> Result<(), String> {
        self.set(count, self.keys.size("expert_count")?);
        self.set("num_experts_per_tok", self.keys.size("expert_used_count")?);
        Ok(())
    }

    /// The layers without experts.
    pub(super) fn dense_layers(&self) -> Result<Vec<usize>, String> {
        let dense = |layer: &usize| self.tensors.has(&format!("blk.{layer}.ffn_gate.weight"));
        Ok((0..self.layers()?).filter(dense).collect())
    }
}
