//! From a `config.json` to the metadata, as llama.cpp's converter writes them.

use refrain_tests::Result;
use refrain_tests::gguf::{As, GgufWriter};
use serde_json::{Value, json};
use tch::Tensor;

pub(super) fn size(config: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| config.get(*key)?.as_u64())
}

pub(super) fn describe(file: &mut GgufWriter, arch: &str, config: &Value) -> Result {
    let key = |name: &str| format!("{arch}.{name}");
    let need = |keys: &[&str]| size(config, keys).ok_or_else(|| format!("no {keys:?}"));
    let (width, heads) = (need(&["hidden_size", "n_embd"])?, need(&["num_attention_heads", "n_head"])?);
    file.size(&key("context_length"), need(&["max_position_embeddings", "n_positions"])?);
    file.size(&key("embedding_length"), width);
    file.size(&key("block_count"), need(&["num_hidden_layers", "n_layer"])?);
    file.size(
        &key("feed_forward_length"),
        size(config, &["intermediate_size", "n_inner"]).unwrap_or(4 * width),
    );
    file.size(&key("attention.head_count"), heads);
    file.size("general.file_type", 0);
    if let Some(groups) = size(config, &["num_key_value_heads"]) {
        file.size(&key("attention.head_count_kv"), groups);
    }
    let d_head = size(config, &["head_dim"]).unwrap_or(width / heads);
    if config.get("head_dim").is_some() {
        file.size(&key("attention.key_length"), d_head);
        file.size(&key("attention.value_length"), d_head);
    }
    for (from, to) in [
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        ("layer_norm_eps", "attention.layer_norm_epsilon"),
        ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ] {
        if let Some(number) = config.get(from).and_then(Value::as_f64) {
            file.number(&key(to), number);
        }
    }
    for (from, to) in [
        ("num_experts", "expert_count"),
        ("num_local_experts", "expert_count"),
        ("num_experts_per_tok", "expert_used_count"),
        ("moe_intermediate_size", "expert_feed_forward_length"),
        ("shared_expert_intermediate_size", "expert_shared_feed_forward_length"),
        ("vocab_size", "vocab_size"),
    ] {
        if let Some(number) = size(config, &[from]) {
            file.size(&key(to), number);
        }
    }
    if let Some(flag) = config.get("norm_topk_prob").and_then(Value::as_bool) {
        file.flag(&key("expert_weights_norm"), flag);
    }
    if let Some(flag) = config.get("use_parallel_residual").and_then(Value::as_bool) {
        file.flag(&key("use_parallel_residual"), flag);
    }
    if config.get("use_sliding_window") != Some(&json!(false))
        && let Some(window) = size(config, &["sliding_window"])
    {
        file.size(&key("attention.sliding_window"), window);
    }
    if let Some(types) = config.get("layer_types").and_then(Value::as_array).filter(|_| arch == "gemma3") {
        let slides: Vec<u8> = types.iter().map(|kind| (kind == "sliding_attention").into()).collect();
        file.array(&key("attention.sliding_window_pattern"), 7, slides.len(), &slides);
    } else if let Some(every) = size(config, &["sliding_window_pattern"]) {
        file.size(&key("attention.sliding_window_pattern"), every);
    }
    file.size("tokenizer.ggml.bos_token_id", 1);
    file.size("tokenizer.ggml.eos_token_id", 2);
    if arch != "gpt2" {
        rotation(file, arch, config, d_head)?;
    }
    Ok(())
}

/// A key of the rotation's, wherever transformers 4 or 5 has it.
fn of_rotation<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    let full = ["/rope_parameters/full_attention/", "/rope_parameters/", "/rope_scaling/", "/"];
    full.iter().find_map(|at| config.pointer(&format!("{at}{key}"))).filter(|value| !value.is_null())
}

fn rotation(file: &mut GgufWriter, arch: &str, config: &Value, d_head: u64) -> Result {
    let key = |name: &str| format!("{arch}.{name}");
    let number = |name: &str| of_rotation(config, name).and_then(Value::as_f64);
    let base = number("rope_theta").or(number("rotary_emb_base")).unwrap_or(10_000.0);
    file.number(&key("rope.freq_base"), base);
    let share = number("partial_rotary_factor").or(number("rotary_pct"));
    let dims = share.map_or(d_head, |share| (d_head as f64 * share) as u64);
    if arch != "gemma3" {
        file.size(&key("rope.dimension_count"), dims);
    }
    let local = config.pointer("/rope_parameters/sliding_attention/rope_theta");
    if let Some(base) = local.or(config.get("rope_local_base_freq")).and_then(Value::as_f64) {
        file.number(&key("rope.freq_base_swa"), base);
    }
    let kind = of_rotation(config, "rope_type").or(of_rotation(config, "type")).and_then(Value::as_str);
    let original = number("original_max_position_embeddings");
    match kind {
        Some(kind @ ("linear" | "yarn")) => {
            file.text(&key("rope.scaling.type"), kind);
            file.number(&key("rope.scaling.factor"), number("factor").ok_or("no factor")?);
            if let Some(original) = original {
                file.size(&key("rope.scaling.original_context_length"), original as u64);
            }
        }
        Some("longrope") => {
            let original = original.ok_or("no original length")?;
            file.size(&key("rope.scaling.original_context_length"), original as u64);
            let scale = 64.0 / original;
            let factor = if scale <= 1.0 { 1.0 } else { (1.0 + scale.ln() / original.ln()).sqrt() };
            file.number(&key("rope.scaling.attn_factor"), factor);
            for (from, to) in [("long_factor", "long"), ("short_factor", "short")] {
                let list = of_rotation(config, from).and_then(Value::as_array).ok_or("no factors")?;
                let list: Vec<f32> = list.iter().filter_map(Value::as_f64).map(|n| n as f32).collect();
                file.tensor(&format!("rope_factors_{to}.weight"), &Tensor::from_slice(&list), As::F32)?;
            }
        }
        Some("llama3") => {
            let of = |name: &str| number(name).ok_or_else(|| format!("no {name}"));
            let (factor, low, high) = (of("factor")?, of("low_freq_factor")?, of("high_freq_factor")?);
            let original = original.ok_or("no original length")?;
            let divisor = |at: u64| {
                let wavelength = 2.0 * std::f64::consts::PI * base.powf(2.0 * at as f64 / dims as f64);
                let smooth = (original / wavelength - low) / (high - low);
                let between = 1.0 / ((1.0 - smooth) / factor + smooth);
                if wavelength < original / high {
                    1.0
                } else if wavelength > original / low {
                    factor as f32
                } else {
                    between as f32
                }
            };
            let list: Vec<f32> = (0..dims / 2).map(divisor).collect();
            file.tensor("rope_freqs.weight", &Tensor::from_slice(&list), As::F32)?;
        }
        _ => {}
    }
    Ok(())
}
