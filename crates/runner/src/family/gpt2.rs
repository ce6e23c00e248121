//! GPT-2 (Radford et al. 2019) as `transformers` stores it: LayerNorm, learned positions, fused q/k/v in
//! `Conv1D` layout, which keeps weights as `[in, out]`.

use super::Config;
use crate::architecture::{Activation, Architecture, AttentionScale, Mlp, Norm, Positions};
use crate::error::{Error, Result};
use crate::weights::{Attention, Block, Linear, MlpWeights, NormWeights, Source, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    if config.flag_or("add_cross_attention", false)? {
        return Err(Error::Config("`add_cross_attention` is true: this is no decoder-only model".into()));
    }
    // Only a numerical safeguard in half precision: the products are the same.
    config.flag_or("reorder_and_upcast_attn", false)?;
    let d_model = config.size("n_embd")?;
    let n_heads = config.size("n_head")?;
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(Error::Config(format!("`n_embd` {d_model} is not a multiple of `n_head` {n_heads}")));
    }
    // n_ctx is the old name of n_positions; both occur in one file.
    let n_ctx = config.size_if("n_ctx")?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    let by_head = config.flag_or("scale_attn_weights", true)?;
    let bos = config.tokens("bos_token_id")?;
    Ok(Architecture {
        family: "gpt2".into(),
        n_layers: config.size("n_layer")?,
        n_heads,
        n_kv_heads: n_heads,
        d_model,
        d_head: d_model / n_heads,
        d_mlp: config.size_if("n_inner")?.unwrap_or(4 * d_model),
        n_vocab: config.size("vocab_size")?,
        n_ctx: match config.size_if("n_positions")?.or(n_ctx) {
            Some(window) => window,
            None => return Err(Error::Config("`n_positions` is missing".into())),
        },
        norm: Norm::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? },
        positions: Positions::Learned,
        mlp: Mlp::Plain {
            activation: Activation::from_name(&config.string_or("activation_function", "gelu_new")?)?,
        },
        attention_scale: match (by_head, by_layer) {
            (true, false) => AttentionScale::SqrtHead,
            (true, true) => AttentionScale::SqrtHeadByLayer,
            (false, false) => AttentionScale::One,
            (false, true) => AttentionScale::ByLayer,
        },
        qkv_bias: true,
        attention_out_bias: true,
        mlp_bias: true,
        tied: config.flag_or("tie_word_embeddings", true)?,
        bos: bos.first().copied(),
        eos: config.tokens("eos_token_id")?,
    })
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn Source) -> Result<Weights> {
    let (d, heads) = (arch.d_model as i64, (arch.n_heads * arch.d_head) as i64);
    let (mlp, vocab) = (arch.d_mlp as i64, arch.n_vocab as i64);
    // Checkpoints of the bare GPT2Model lack the prefix.
    let prefix = if source.has("wte.weight") { "" } else { "transformer." };

    fn norm(source: &mut dyn Source, name: &str, d: i64) -> Result<NormWeights> {
        Ok(NormWeights {
            weight: source.take(&format!("{name}.weight"), &[d])?,
            bias: Some(source.take(&format!("{name}.bias"), &[d])?),
        })
    }
    fn conv1d(source: &mut dyn Source, name: &str, input: i64, output: i64) -> Result<Linear> {
        Ok(Linear {
            weight: source.take(&format!("{name}.weight"), &[input, output])?.f_tr()?,
            bias: Some(source.take(&format!("{name}.bias"), &[output])?),
        })
    }

    let embed = source.take(&format!("{prefix}wte.weight"), &[vocab, d])?;
    let positions = source.take(&format!("{prefix}wpe.weight"), &[arch.n_ctx as i64, d])?;
    let mut blocks = Vec::with_capacity(arch.n_layers);
    for layer in 0..arch.n_layers {
        let at = format!("{prefix}h.{layer}");
        let fused = conv1d(source, &format!("{at}.attn.c_attn"), d, 3 * heads)?;
        let part = |index: i64| -> Result<Linear> {
            let cut = |t: &tch::Tensor| t.f_narrow(0, index * heads, heads);
            Ok(Linear { weight: cut(&fused.weight)?, bias: fused.bias.as_ref().map(cut).transpose()? })
        };
        blocks.push(Block {
            ln1: norm(source, &format!("{at}.ln_1"), d)?,
            attention: Attention {
                q: part(0)?,
                k: part(1)?,
                v: part(2)?,
                out: conv1d(source, &format!("{at}.attn.c_proj"), heads, d)?,
            },
            ln2: norm(source, &format!("{at}.ln_2"), d)?,
            mlp: MlpWeights {
                gate: None,
                input: conv1d(source, &format!("{at}.mlp.c_fc"), d, mlp)?,
                output: conv1d(source, &format!("{at}.mlp.c_proj"), mlp, d)?,
            },
        });
    }
    let final_norm = norm(source, &format!("{prefix}ln_f"), d)?;
    let unembed =
        if arch.tied { embed.shallow_clone() } else { source.take("lm_head.weight", &[vocab, d])? };
    Ok(Weights { embed, positions: Some(positions), blocks, final_norm, unembed })
}
