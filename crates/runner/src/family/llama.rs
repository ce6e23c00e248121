//! Llama (Touvron et al. 2023) as `transformers` stores it: RMSNorm, rotary positions, SwiGLU, grouped queries.

use serde_json::Value;

use super::Config;
use crate::architecture::{Activation, Architecture, AttentionScale, Mlp, Norm, Positions};
use crate::error::{Error, Result};
use crate::weights::{Attention, Block, Linear, MlpWeights, NormWeights, Source, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    let d_head = match config.size_if("head_dim")? {
        Some(width) => width,
        None if n_heads > 0 && d_model.is_multiple_of(n_heads) => d_model / n_heads,
        None => {
            return Err(Error::Config(format!(
                "`hidden_size` {d_model} is not a multiple of `num_attention_heads` {n_heads} and there is no `head_dim`"
            )));
        }
    };
    // Slices of a tensor-parallel checkpoint; the sum of the slices' products is the product.
    config.size_if("pretraining_tp")?;
    let bias = config.flag_or("attention_bias", false)?;
    let bos = config.tokens("bos_token_id")?;
    Ok(Architecture {
        family: "llama".into(),
        n_layers: config.size("num_hidden_layers")?,
        n_heads,
        n_kv_heads: config.size_if("num_key_value_heads")?.unwrap_or(n_heads),
        d_model,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        n_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        norm: Norm::Rms { eps: config.number_or("rms_norm_eps", 1e-6)? },
        positions: Positions::Rotary { base: rotary_base(config)? },
        mlp: Mlp::Gated { activation: Activation::from_name(&config.string_or("hidden_act", "silu")?)? },
        attention_scale: AttentionScale::SqrtHead,
        qkv_bias: bias,
        attention_out_bias: bias,
        mlp_bias: config.flag_or("mlp_bias", false)?,
        tied: config.flag_or("tie_word_embeddings", false)?,
        bos: bos.first().copied(),
        eos: config.tokens("eos_token_id")?,
    })
}

/// `rope_theta` at the top (transformers 4) or inside `rope_parameters` (transformers 5). A scaled rotation is
/// another computation and is refused.
fn rotary_base(config: &Config) -> Result<f64> {
    let mut base = config.number_or("rope_theta", 10_000.0)?;
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(value) = config.get(key) else { continue };
        let Value::Object(object) = value else {
            return Err(Error::Config(format!("`{key}` must be an object")));
        };
        for (name, value) in object {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("rope_type" | "type", Value::String(kind)) if kind == "default" => {}
                ("rope_theta", value) if value.is_number() => base = value.as_f64().unwrap_or(base),
                // Llama rotates the whole head; a fraction of 1 says just that.
                ("partial_rotary_factor", value) if value.as_f64() == Some(1.0) => {}
                _ => {
                    return Err(Error::Config(format!(
                        "`{key}.{name}` = {value} is not supported: only the plain rotation is"
                    )));
                }
            }
        }
    }
    if base > 0.0 { Ok(base) } else { Err(Error::Config(format!("`rope_theta` {base} must be positive"))) }
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn Source) -> Result<Weights> {
    let d = arch.d_model as i64;
    let (heads, groups) = ((arch.n_heads * arch.d_head) as i64, (arch.n_kv_heads * arch.d_head) as i64);
    let (mlp, vocab) = (arch.d_mlp as i64, arch.n_vocab as i64);

    fn linear(source: &mut dyn Source, name: &str, output: i64, input: i64, bias: bool) -> Result<Linear> {
        Ok(Linear {
            weight: source.take(&format!("{name}.weight"), &[output, input])?,
            bias: if bias { Some(source.take(&format!("{name}.bias"), &[output])?) } else { None },
        })
    }
    fn norm(source: &mut dyn Source, name: &str, d: i64) -> Result<NormWeights> {
        Ok(NormWeights { weight: source.take(&format!("{name}.weight"), &[d])?, bias: None })
    }

    let embed = source.take("model.embed_tokens.weight", &[vocab, d])?;
    let mut blocks = Vec::with_capacity(arch.n_layers);
    for layer in 0..arch.n_layers {
        let at = format!("model.layers.{layer}");
        let attention = |name: &str| format!("{at}.self_attn.{name}_proj");
        let feed = |name: &str| format!("{at}.mlp.{name}_proj");
        blocks.push(Block {
            ln1: norm(source, &format!("{at}.input_layernorm"), d)?,
            attention: Attention {
                q: linear(source, &attention("q"), heads, d, arch.qkv_bias)?,
                k: linear(source, &attention("k"), groups, d, arch.qkv_bias)?,
                v: linear(source, &attention("v"), groups, d, arch.qkv_bias)?,
                out: linear(source, &attention("o"), d, heads, arch.attention_out_bias)?,
            },
            ln2: norm(source, &format!("{at}.post_attention_layernorm"), d)?,
            mlp: MlpWeights {
                gate: Some(linear(source, &feed("gate"), mlp, d, arch.mlp_bias)?),
                input: linear(source, &feed("up"), mlp, d, arch.mlp_bias)?,
                output: linear(source, &feed("down"), d, mlp, arch.mlp_bias)?,
            },
        });
    }
    let final_norm = norm(source, "model.norm", d)?;
    let unembed =
        if arch.tied { embed.shallow_clone() } else { source.take("lm_head.weight", &[vocab, d])? };
    Ok(Weights { embed, positions: None, blocks, final_norm, unembed })
}
