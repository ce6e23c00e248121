//! The mixtures of experts of Qwen: Qwen 2 (Yang et al. 2024, arXiv 2407.10671), with a shared expert beside the
//! others, and Qwen 3 (Yang et al. 2025, arXiv 2505.09388), without.

use super::{Config, qwen2, shape};
use crate::architecture::{Architecture, BesideDense, Experts, QkNorm};
use crate::error::{Error, Result};

pub(super) fn qwen2(config: &Config) -> Result<Architecture> {
    let mut arch = shape::llama_like(config)?;
    arch.biases.qkv = config.flag_or("qkv_bias", true)?;
    // Every other layer below `max_window_layers`, where the dense Qwen 2 has those above it.
    qwen2::windows(config, &mut arch, |layer, limit| layer % 2 == 0 && layer < limit)?;
    let shared = config.size("shared_expert_intermediate_size")?;
    experts(config, &mut arch, Some(shared))?;
    Ok(arch)
}

pub(super) fn qwen3(config: &Config) -> Result<Architecture> {
    let mut arch = shape::llama_like(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.norms.qk = Some(QkNorm::Head);
    // Unlike in the dense Qwen 3 a window holds in every layer: `transformers` does not read `max_window_layers` here.
    config.size_if("max_window_layers")?;
    let on = config.flag_or("use_sliding_window", false)?;
    config.size_if("sliding_window")?;
    if on {
        shape::window_everywhere(config, &mut arch)?;
    }
    experts(config, &mut arch, None)?;
    Ok(arch)
}

/// Experts in every `decoder_sparse_step`-th layer but those of `mlp_only_layers`.
fn experts(config: &Config, arch: &mut Architecture, shared: Option<usize>) -> Result<()> {
    let newer = config.size_if("num_local_experts")?;
    let count = match config.size_if("num_experts")?.or(newer) {
        Some(count) => count,
        None => return Err(Error::Config("`num_experts` is missing".into())),
    };
    let experts = Experts {
        count,
        per_token: config.size("num_experts_per_tok")?,
        d_expert: config.size("moe_intermediate_size")?,
        renormalise: config.flag_or("norm_topk_prob", false)?,
        beside_dense: if shared.is_some() { BesideDense::SharedExpert } else { BesideDense::Alone },
    };
    let step = config.size_if("decoder_sparse_step")?.unwrap_or(1);
    let dense_only = config.sizes("mlp_only_layers")?;
    for (index, layer) in arch.layers.iter_mut().enumerate() {
        let sparse =
            count > 0 && step > 0 && (index + 1).is_multiple_of(step) && !dense_only.contains(&index);
        if sparse {
            (layer.d_mlp, layer.experts) = (shared, Some(experts.clone()));
        }
    }
    Ok(())
}
