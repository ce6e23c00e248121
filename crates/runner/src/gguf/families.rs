//! The architectures that are read: how the metadata of each becomes a `config.json`. Where the tensors of each are is
//! in [`super::names`].

use serde_json::{Value as Json, json};

use super::draft::Draft;
use super::names::{self, Entry};
use super::rope;
use super::value::Value;

impl Draft<'_> {
    /// The sizes of Llama's kind, with a rotation of whole heads in every layer.
    fn llama_like(&mut self) -> Result<(), String> {
        self.llama_sizes()?;
        let d_head = self.d_head()?;
        self.set("head_dim", d_head);
        self.whole_heads(d_head)?;
        let (base, scaling) = rope::read(self, d_head)?;
        self.set("rope_theta", base);
        self.set("rope_scaling", scaling);
        Ok(())
    }
}

/// One architecture of llama.cpp.
pub(super) struct Family {
    /// `general.architecture`.
    pub(super) name: &'static str,
    pub(super) describe: fn(&mut Draft<'_>) -> Result<(), String>,
    /// The tensors, given whether the model is a mixture of experts.
    pub(super) tensors: fn(bool) -> Vec<Entry>,
    /// Norms are stored whole, which Hugging Face stores less one.
    pub(super) whole_norms: bool,
}

const FAMILIES: [Family; 13] = [
    Family { name: "gemma", describe: gemma, tensors: names::llama, whole_norms: true },
    Family { name: "gemma2", describe: gemma2, tensors: names::sandwich, whole_norms: true },
    Family { name: "gemma3", describe: gemma3, tensors: names::sandwich, whole_norms: true },
    Family { name: "gpt2", describe: gpt2, tensors: names::gpt2, whole_norms: false },
    Family { name: "gptneox", describe: gptneox, tensors: names::gptneox, whole_norms: false },
    Family { name: "llama", describe: llama, tensors: names::llama_permuted, whole_norms: false },
    Family { name: "olmo2", describe: olmo2, tensors: names::sandwich, whole_norms: false },
    Family { name: "olmoe", describe: olmoe, tensors: names::llama, whole_norms: false },
    Family { name: "phi3", describe: phi3, tensors: names::phi3, whole_norms: false },
    Family { name: "qwen2", describe: qwen2, tensors: names::llama, whole_norms: false },
    Family { name: "qwen2moe", describe: qwen2moe, tensors: names::llama, whole_norms: false },
    Family { name: "qwen3", describe: qwen3, tensors: names::llama, whole_norms: false },
    Family { name: "qwen3moe", describe: qwen3moe, tensors: names::llama, whole_norms: false },
];

/// The family called `name`, or what to say of a file of another one.
pub(super) fn family(name: &str) -> Result<&'static Family, String> {
    FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        format!(
            "is a model of the architecture `{name}`, which is not read from GGUF\n\
             hint: read are {}; more families are read from folders in Hugging Face's layout",
            known.join(", ")
        )
    })
}

/// Llama, and what llama.cpp stores as it: Mistral and Mixtral.
fn llama(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    let keys = draft.keys;
    let layout = keys.text_if("tensor_data_layout")?.unwrap_or("Meta AI original pth");
    if layout != "Meta AI original pth" {
        return Err(format!("its tensors are laid out as `{layout}`, which is not supported"));
    }
    let window = keys.size_if("attention.sliding_window")?.filter(|window| *window > 0);
    if keys.size_if("expert_count")?.unwrap_or(0) > 0 {
        draft.set("model_type", "mixtral");
        draft.set("sliding_window", window);
        return draft.experts("num_local_experts");
    }
    // Files of dense models state it as zero.
    keys.size_if("expert_used_count")?;
    if window.is_some() {
        draft.set("model_type", "mistral");
        draft.set("sliding_window", window);
        return Ok(());
    }
    draft.set("model_type", "llama");
    draft.set("mlp_bias", draft.tensors.has("blk.0.ffn_gate.bias"));
    Ok(())
}

fn qwen2(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "qwen2");
    // q, k and v have biases without a key's saying so.
    draft.config.remove("attention_bias");
    Ok(())
}

fn qwen2moe(draft: &mut Draft<'_>) -> Result<(), String> {
    qwen2(draft)?;
    draft.set("model_type", "qwen2_moe");
    draft.set("moe_intermediate_size", draft.keys.size("expert_feed_forward_length")?);
    draft.set("shared_expert_intermediate_size", draft.keys.size("expert_shared_feed_forward_length")?);
    draft.set("norm_topk_prob", draft.keys.flag_if("expert_weights_norm")?.unwrap_or(false));
    draft.set("mlp_only_layers", draft.dense_layers()?);
    draft.experts("num_experts")
}

fn qwen3(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "qwen3");
    Ok(())
}

fn qwen3moe(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "qwen3_moe");
    draft.set("moe_intermediate_size", draft.keys.size("expert_feed_forward_length")?);
    // As llama.cpp has it for this architecture.
    draft.set("norm_topk_prob", draft.keys.flag_if("expert_weights_norm")?.unwrap_or(true));
    draft.set("mlp_only_layers", draft.dense_layers()?);
    draft.experts("num_experts")
}

fn olmo2(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "olmo2");
    Ok(())
}

fn olmoe(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "olmoe");
    draft.set("norm_topk_prob", draft.keys.flag_if("expert_weights_norm")?.unwrap_or(false));
    draft.set("clip_qkv", draft.keys.number_if("attention.clamp_kqv")?);
    draft.experts("num_experts")
}

fn gemma(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "gemma");
    Ok(())
}

/// Queries are scaled by the width of a head, but by another one in the largest models: their numbers of layers.
fn query_scale(draft: &mut Draft<'_>, largest: usize) -> Result<(), String> {
    let scalar = match draft.layers()? {
        layers if layers == largest => {
            draft.keys.size("embedding_length")? / draft.keys.size("attention.head_count")?.max(1)
        }
        _ => draft.d_head()?,
    };
    draft.set("query_pre_attn_scalar", scalar);
    Ok(())
}

fn gemma2(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_like()?;
    draft.set("model_type", "gemma2");
    query_scale(draft, 46)?;
    let keys = draft.keys;
    // llama.cpp's values where the file has none.
    draft.set("attn_logit_softcapping", keys.number_if("attn_logit_softcapping")?.unwrap_or(50.0));
    draft.set("final_logit_softcapping", keys.number_if("final_logit_softcapping")?.unwrap_or(30.0));
    draft.set("sliding_window", keys.size_if("attention.sliding_window")?.unwrap_or(4096));
    Ok(())
}

fn gemma3(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_sizes()?;
    draft.set("model_type", "gemma3_text");
    let d_head = draft.d_head()?;
    draft.set("head_dim", d_head);
    draft.whole_heads(d_head)?;
    query_scale(draft, 62)?;
    let keys = draft.keys;
    draft.set("final_logit_softcapping", keys.number_if("final_logit_softcapping")?);
    let window = keys.size_if("attention.sliding_window")?.filter(|window| *window > 0);
    let layers = draft.layers()?;
    let slides: Vec<bool> = match keys.get("attention.sliding_window_pattern") {
        Some(Value::Flags(list)) if list.len() == layers => list.clone(),
        Some(Value::Integers(list)) if list.len() == layers => {
            list.iter().map(|slides| *slides != 0).collect()
        }
        Some(Value::Integer(every)) if *every > 0 => {
            (0..layers).map(|layer| !(layer as u64 + 1).is_multiple_of(every.unsigned_abs())).collect()
        }
        None => (0..layers).map(|layer| !(layer + 1).is_multiple_of(6)).collect(),
        Some(other) => {
            return Err(format!("`attention.sliding_window_pattern` is {}, no pattern", other.shown()));
        }
    };
    let kind = |slides: &bool| match *slides && window.is_some() {
        true => "sliding_attention",
        false => "full_attention",
    };
    draft.set("layer_types", slides.iter().map(kind).collect::<Vec<_>>());
    draft.set("sliding_window", window);
    let local = keys.number_if("rope.freq_base_swa")?.unwrap_or(10_000.0);
    let mut full = match rope::scaling(draft)? {
        Json::Null => json!({"rope_type": "default"}),
        scaling => scaling,
    };
    full["rope_theta"] = keys.number("rope.freq_base")?.into();
    let sliding = json!({"rope_type": "default", "rope_theta": local});
    draft.set("rope_parameters", json!({"full_attention": full, "sliding_attention": sliding}));
    Ok(())
}

fn gpt2(draft: &mut Draft<'_>) -> Result<(), String> {
    let keys = draft.keys;
    draft.set("model_type", "gpt2");
    draft.set("n_positions", keys.size("context_length")?);
    draft.set("n_embd", keys.size("embedding_length")?);
    draft.set("n_layer", draft.layers()?);
    draft.set("n_head", keys.size("attention.head_count")?);
    draft.set("n_inner", keys.size("feed_forward_length")?);
    draft.set("layer_norm_epsilon", keys.number("attention.layer_norm_epsilon")?);
    own_keys(draft)?;
    draft.tied();
    Ok(())
}

/// Some writers state that every head has keys of its own.
fn own_keys(draft: &Draft<'_>) -> Result<(), String> {
    let (heads, groups) =
        (draft.keys.size("attention.head_count")?, draft.keys.size_if("attention.head_count_kv")?);
    match groups {
        Some(groups) if groups != heads => {
            Err(format!("has {groups} heads of keys for {heads} heads, which its architecture does not know"))
        }
        _ => Ok(()),
    }
}

fn gptneox(draft: &mut Draft<'_>) -> Result<(), String> {
    let keys = draft.keys;
    draft.set("model_type", "gpt_neox");
    draft.set("max_position_embeddings", keys.size("context_length")?);
    draft.set("hidden_size", keys.size("embedding_length")?);
    draft.set("num_hidden_layers", draft.layers()?);
    draft.set("num_attention_heads", keys.size("attention.head_count")?);
    draft.set("intermediate_size", keys.size("feed_forward_length")?);
    draft.set("layer_norm_eps", keys.number("attention.layer_norm_epsilon")?);
    draft.set("use_parallel_residual", keys.flag_if("use_parallel_residual")?.unwrap_or(true));
    draft.set("attention_bias", draft.tensors.has("blk.0.attn_qkv.bias"));
    own_keys(draft)?;
    rope::partly(draft)?;
    draft.tied();
    Ok(())
}

fn phi3(draft: &mut Draft<'_>) -> Result<(), String> {
    draft.llama_sizes()?;
    draft.set("model_type", "phi3");
    let window = draft.keys.size_if("attention.sliding_window")?.filter(|window| *window > 0);
    draft.set("sliding_window", window);
    draft.set("head_dim", draft.d_head()?);
    rope::long_or_partly(draft)
}
