//! OLMoE (Muennighoff et al. 2024, arXiv 2409.02060): experts in every layer, one norm over all queries and one
//! over all keys of a token.

use super::{Config, rope, shape};
use crate::architecture::{Architecture, BesideDense, Experts, QkNorm};
use crate::error::Result;

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::unrotated(config, 1e-5)?;
    rope::everywhere(config, &mut arch, 10_000.0)?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.norms.qk = Some(QkNorm::AllHeads);
    arch.caps.qkv = config.number_if("clip_qkv")?;
    let experts = Experts {
        count: config.size("num_experts")?,
        per_token: config.size("num_experts_per_tok")?,
        d_expert: config.size("intermediate_size")?,
        renormalise: config.flag_or("norm_topk_prob", false)?,
        beside_dense: BesideDense::Alone,
    };
    for layer in &mut arch.layers {
        (layer.d_mlp, layer.experts) = (None, Some(experts.clone()));
    }
    Ok(arch)
}
