//! From a folder to a GGUF file, doing what llama.cpp's `convert_hf_to_gguf.py` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use refrain_tests::Result;
use refrain_tests::gguf::{As, GgufWriter, rounded};
use refrain_tests::golden::folder;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::metadata::{describe, size};

/// A golden model, what llama.cpp calls its architecture, and how its logits must agree.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) architecture: &'static str,
    /// 0: bit for bit.
    pub(super) tolerance: f64,
}

/// The same model as a folder and as a file, its numbers those that `form` leaves of them.
pub(super) struct Both {
    pub(super) dir: tempfile::TempDir,
    pub(super) folder: PathBuf,
    pub(super) file: PathBuf,
    pub(super) writer: GgufWriter,
}

pub(super) fn both(case: &Case, form: As) -> Result<Both> {
    let from = folder(case.name);
    let mut config: Value = serde_json::from_slice(&std::fs::read(from.join("config.json"))?)?;
    if case.architecture.starts_with("gemma") && config.get("query_pre_attn_scalar").is_some() {
        // No key of the file says otherwise.
        config["query_pre_attn_scalar"] = config["head_dim"].clone();
    }
    if case.architecture == "gptneox" {
        // Nor of the activation.
        config["hidden_act"] = "gelu".into();
    }
    let weights = Tensor::read_safetensors(from.join("model.safetensors"))?;
    let weights: BTreeMap<String, Tensor> = weights
        .into_iter()
        .filter(|(name, _)| {
            ![".bias", ".masked_bias"].iter().any(|end| name.ends_with(&format!("attention{end}")))
        })
        .filter(|(name, _)| !name.ends_with("inv_freq"))
        .map(|(name, tensor)| {
            let tensor = match case.architecture.starts_with("gemma") && name.ends_with("norm.weight") {
                // As Gemma's are, so that one more is exact in f32, and tells whether it is kept in wide arithmetic.
                true => tensor.to_kind(Kind::BFloat16).to_kind(Kind::Float),
                false => tensor,
            };
            Ok((name.clone(), stored(&name, &tensor, form)?))
        })
        .collect::<Result<_>>()?;
    let dir = tempfile::tempdir()?;
    let to = dir.path().join("folder");
    std::fs::create_dir(&to)?;
    std::fs::write(to.join("config.json"), config.to_string())?;
    let named: Vec<(&String, &Tensor)> = weights.iter().collect();
    Tensor::write_safetensors(&named, to.join("model.safetensors"))?;
    let mut writer = GgufWriter::new(case.architecture);
    describe(&mut writer, case.architecture, &config)?;
    tensors(&mut writer, case.architecture, &config, &weights, form)?;
    let file = dir.path().join(format!("{}.gguf", case.name));
    std::fs::write(&file, writer.finish())?;
    Ok(Both { folder: to, file, writer, dir })
}

/// Conv1D weights are stored the other way round, and rounded so.
fn is_conv1d(name: &str) -> bool {
    name.ends_with(".weight") && [".c_attn.", ".c_proj.", ".c_fc."].iter().any(|part| name.contains(part))
}

fn stored(name: &str, tensor: &Tensor, form: As) -> Result<Tensor> {
    match is_conv1d(name) {
        true => Ok(rounded(&tensor.tr(), form)?.tr().contiguous()),
        false => rounded(tensor, form),
    }
}

fn tensors(
    file: &mut GgufWriter,
    arch: &str,
    config: &Value,
    weights: &BTreeMap<String, Tensor>,
    form: As,
) -> Result {
    let heads = size(config, &["num_attention_heads", "n_head"]).unwrap_or(1) as i64;
    let groups = size(config, &["num_key_value_heads"]).map_or(heads, |groups| groups as i64);
    let mut stacks: BTreeMap<String, Vec<(usize, &Tensor)>> = BTreeMap::new();
    for (name, tensor) in weights {
        let mut to = renamed(arch, name).ok_or_else(|| format!("no name for {name}"))?;
        if let Some((stem, rest)) = to.clone().split_once("#") {
            let (expert, end) = rest.split_once('.').ok_or("no end")?;
            stacks.entry(format!("{stem}.{end}")).or_default().push((expert.parse()?, tensor));
            continue;
        }
        let mut tensor = tensor.shallow_clone();
        if arch.starts_with("gemma") && name.ends_with("norm.weight") {
            tensor = tensor.to_kind(Kind::Float) + 1.0;
        }
        if arch == "llama" {
            for (stem, n) in [("attn_q.", heads), ("attn_k.", groups)] {
                if to.contains(stem) {
                    let (shape, rows) = (tensor.size(), tensor.size()[0]);
                    tensor = tensor.reshape([n, 2, rows / n / 2, -1]).swapaxes(1, 2).reshape(&shape[..]);
                }
            }
        }
        if arch == "gptneox" && to.contains("attn_qkv") {
            let (shape, rows) = (tensor.size(), tensor.size()[0]);
            tensor = tensor.reshape([heads, 3, rows / heads / 3, -1]).swapaxes(0, 1).reshape(&shape[..]);
        }
        if is_conv1d(name) {
            tensor = tensor.tr();
        }
        if to.contains("ffn_gate_inp_shexp") {
            tensor = tensor.view(-1);
        }
        if arch == "phi3" && to.contains("gate_up") {
            to = to.replace("gate_up", "ffn_up");
        }
        file.tensor(&to, &tensor, form)?;
    }
    for (name, mut parts) in stacks {
        parts.sort_by_key(|(expert, _)| *expert);
        let parts: Vec<&Tensor> = parts.into_iter().map(|(_, tensor)| tensor).collect();
        file.tensor(&name, &Tensor::stack(&parts, 0), form)?;
    }
    Ok(())
}

/// What llama.cpp calls a tensor; an expert's number stands after `#`.
fn renamed(arch: &str, name: &str) -> Option<String> {
    let (stem, end) = name.rsplit_once('.')?;
    let outside = match stem {
        "model.embed_tokens" | "transformer.wte" | "gpt_neox.embed_in" => Some("token_embd"),
        "transformer.wpe" => Some("position_embd"),
        "model.norm" | "transformer.ln_f" | "gpt_neox.final_layer_norm" => Some("output_norm"),
        "lm_head" | "embed_out" => Some("output"),
        _ => None,
    };
    if let Some(outside) = outside {
        return Some(format!("{outside}.{end}"));
    }
    let prefixes = ["model.layers.", "transformer.h.", "gpt_neox.layers."];
    let (layer, inner) = prefixes.iter().find_map(|prefix| stem.strip_prefix(prefix))?.split_once('.')?;
    let sandwich = arch == "gemma2" || arch == "gemma3" || arch == "olmo2";
    let to = match inner {
        "input_layernorm" | "ln_1" => "attn_norm",
        "post_attention_layernorm" if sandwich => "post_attention_norm",
        "post_attention_layernorm" | "ln_2" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.qkv_proj" | "attn.c_attn" | "attention.query_key_value" => "attn_qkv",
        "self_attn.o_proj" | "attn.c_proj" | "attention.dense" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.gate_up_proj" => "gate_up",
        "mlp.up_proj" | "mlp.c_fc" | "mlp.dense_h_to_4h" => "ffn_up",
        "mlp.down_proj" | "mlp.c_proj" | "mlp.dense_4h_to_h" => "ffn_down",
        "mlp.gate" | "block_sparse_moe.gate" => "ffn_gate_inp",
        "mlp.shared_expert_gate" => "ffn_gate_inp_shexp",
        "mlp.shared_expert.gate_proj" => "ffn_gate_shexp",
        "mlp.shared_expert.up_proj" => "ffn_up_shexp",
        "mlp.shared_expert.down_proj" => "ffn_down_shexp",
        other => {
            let (_, expert) = other.split_once("experts.")?;
            let (expert, part) = expert.split_once('.')?;
            let to = match part {
                "gate_proj" | "w1" => "ffn_gate_exps",
                "up_proj" | "w3" => "ffn_up_exps",
                "down_proj" | "w2" => "ffn_down_exps",
                _ => return None,
            };
            return Some(format!("blk.{layer}.{to}#{expert}.{end}"));
        }
    };
    Some(format!("blk.{layer}.{to}.{end}"))
}

/// The file's folder, to put more beside it.
pub(super) fn beside(both: &Both) -> &Path {
    both.dir.path()
}
