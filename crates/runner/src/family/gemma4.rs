//! Gemma 4, text: Gemma 3 with wider heads in the layers of full attention, values normalised, layers that use the keys
//! and values of one below, an input of its own for every layer, and, in some checkpoints, experts beside the MLP.

use super::rope::{self, Defaults};
use super::{Config, gemma, parts, shape};
use crate::architecture::{Architecture, BesideDense, Experts, Keys, NormPlace, QkNorm};
use crate::error::{Error, Result};
use crate::weights::{
    Block, ExpertWeights, MlpWeights, NormWeights, OwnNorms, PerLayerInputs, PerLayerWeights, TensorSource,
    Weights,
};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = gemma::common(config)?;
    arch.norms.place = NormPlace::Sandwich;
    arch.norms.qk = Some(QkNorm::Head);
    arch.norms.v = true;
    arch.layer_scale = true;
    arch.caps.logits = config.number_if("final_logit_softcapping")?;
    // Unlike other keys these have defaults that switch something on.
    let beside = config.size_if("hidden_size_per_layer_input")?.unwrap_or(256);
    arch.embedding.per_layer_width = (beside > 0).then_some(beside);
    if let Some(vocab) = config.size_if("vocab_size_per_layer_input")?
        && arch.embedding.per_layer_width.is_some()
        && vocab != arch.n_vocab
    {
        return Err(Error::Config(format!(
            "`vocab_size_per_layer_input` {vocab} is not `vocab_size` {}, which is not supported",
            arch.n_vocab
        )));
    }
    let mut slides = shape::sliding_layers(config, arch.n_layers, |layer| (layer + 1) % 6 != 0)?;
    // The last layer is one of full attention, whatever the file says.
    if let Some(last) = slides.last_mut() {
        *last = false;
    }
    shape::window_where(config, &mut arch, &slides)?;
    heads(config, &mut arch, &slides)?;
    rotations(config, &mut arch, &slides)?;
    keys(config, &mut arch, &slides)?;
    if config.flag_or("enable_moe_block", false)? {
        let experts = Experts {
            count: config.size("num_experts")?,
            per_token: config.size("top_k_experts")?,
            d_expert: config.size("moe_intermediate_size")?,
            renormalise: true,
            beside_dense: BesideDense::OwnNorms,
        };
        arch.layers.iter_mut().for_each(|layer| layer.experts = Some(experts.clone()));
    } else {
        for key in ["num_experts", "top_k_experts", "moe_intermediate_size"] {
            config.size_if(key)?;
        }
    }
    Ok(arch)
}

/// Wider and fewer key heads in the layers of full attention: `per_layer_config`, by layer, or `global_head_dim` and
/// `num_global_key_value_heads`.
fn heads(config: &Config, arch: &mut Architecture, slides: &[bool]) -> Result<()> {
    let shared = config.flag_or("attention_k_eq_v", false)?;
    let wide = config.size_if("global_head_dim")?;
    let few = config.size_if("num_global_key_value_heads")?.filter(|_| shared);
    let by_layer = config.object("per_layer_config")?;
    for (index, (layer, slides)) in arch.layers.iter_mut().zip(slides).enumerate() {
        match &by_layer {
            Some(by_layer) => {
                // transformers pads the numbers with zeros to one width.
                let key = by_layer.keys().into_iter().find(|key| key.parse() == Ok(index));
                if let Some(own) = key.map(|key| by_layer.object(&key)).transpose()?.flatten() {
                    layer.d_head = own.size_if("head_dim")?.unwrap_or(layer.d_head);
                    layer.n_kv_heads = own.size_if("num_key_value_heads")?.unwrap_or(layer.n_kv_heads);
                    own.refuse_unread()?;
                }
            }
            None if !slides => {
                layer.d_head = wide.unwrap_or(512);
                layer.n_kv_heads = few.unwrap_or(layer.n_kv_heads);
            }
            None => {}
        }
        layer.score_factor = 1.0;
        if shared && !slides {
            layer.keys = Keys::SharedProjection;
        }
    }
    by_layer.map_or(Ok(()), |by_layer| by_layer.refuse_unread())
}

/// A rotation for layers that slide and one for the others.
fn rotations(config: &Config, arch: &mut Architecture, slides: &[bool]) -> Result<()> {
    let nested = config.object("rope_parameters")?;
    let kind = |name: &str| nested.as_ref().map_or(Ok(None), |nested| nested.object(name));
    let (local, global) = (kind("sliding_attention")?, kind("full_attention")?);
    if let Some(nested) = &nested {
        nested.refuse_unread()?;
    }
    let default = Config::parse(br#"{"rope_type": "proportional", "partial_rotary_factor": 0.25}"#, &[])?;
    let global = global.unwrap_or(default);
    let bare = Config::parse(b"{}", &[])?;
    for (layer, slides) in arch.layers.iter_mut().zip(slides) {
        let (inside, base) = if *slides { (local.as_ref(), 10_000.0) } else { (Some(&global), 1_000_000.0) };
        let defaults = Defaults { base, partial: Some(1.0) };
        layer.rotary = Some(rope::read(&bare, inside, layer.d_head, arch.n_ctx, &defaults)?);
    }
    Ok(())
}

/// The last `num_kv_shared_layers` use the keys and values of the last layer of their kind below them; their MLP may be
/// twice as wide.
fn keys(config: &Config, arch: &mut Architecture, slides: &[bool]) -> Result<()> {
    let count = config.size_if("num_kv_shared_layers")?.unwrap_or(0);
    let double = config.flag_or("use_double_wide_mlp", false)?;
    let first = arch.n_layers.checked_sub(count).ok_or_else(|| {
        Error::Config(format!("`num_kv_shared_layers` {count} is more than the {} layers", arch.n_layers))
    })?;
    for index in first..arch.n_layers {
        let source = (0..first).rev().find(|below| slides[*below] == slides[index]).ok_or_else(|| {
            Error::Config(format!(
                "layer {index} is to share keys, but no layer below {first} is of its kind"
            ))
        })?;
        let layer = &mut arch.layers[index];
        layer.keys = Keys::OfLayer(source);
        if double {
            layer.d_mlp = layer.d_mlp.map(|width| 2 * width);
        }
    }
    Ok(())
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    let weights = parts::llama_weights(arch, source, block)?;
    let Some(width) = arch.embedding.per_layer_width else { return Ok(weights) };
    let all = arch.n_layers * width;
    source.enter(crate::weights::Part::Embed);
    let name = "model.embed_tokens_per_layer.weight";
    let per_layer = PerLayerInputs {
        embed: source.take(name, &[arch.n_vocab as i64, all as i64])?,
        projection: parts::linear(source, "model.per_layer_model_projection", [all, arch.d_model], false)?,
        norm: wide_norm(arch, source, "model.per_layer_projection_norm", width)?,
    };
    Ok(Weights { per_layer: Some(per_layer), ..weights })
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let (at, d) = (format!("model.layers.{layer}"), arch.d_model);
    let norm = |source: &mut dyn TensorSource, name: &str| {
        wide_norm(arch, source, &format!("{at}.{name}"), d).map(Some)
    };
    let form = &arch.layers[layer];
    if matches!(form.keys, Keys::OfLayer(_)) {
        // Checkpoints may hold projections that layers with the keys of another do not use.
        for name in ["k_proj.weight", "v_proj.weight", "k_norm.weight"] {
            source.skip(&format!("{at}.self_attn.{name}"));
        }
    }
    let dense = |width| parts::gated_mlp(arch, source, &format!("{at}.mlp"), parts::GATE_UP_DOWN, width);
    let mlp = form.d_mlp.map(dense).transpose()?;
    let experts = match &form.experts {
        Some(form) => Some(experts(arch, source, &at, form)?),
        None => None,
    };
    let per_layer = match arch.embedding.per_layer_width {
        Some(width) => Some(PerLayerWeights {
            gate: parts::linear(source, &format!("{at}.per_layer_input_gate"), [width, d], false)?,
            output: parts::linear(source, &format!("{at}.per_layer_projection"), [d, width], false)?,
            norm: wide_norm(arch, source, &format!("{at}.post_per_layer_input_norm"), d)?,
        }),
        None => None,
    };
    Ok(Block {
        ln1: norm(source, "input_layernorm")?,
        ln1_post: norm(source, "post_attention_layernorm")?,
        ln2: norm(source, "pre_feedforward_layernorm")?,
        ln2_post: norm(source, "post_feedforward_layernorm")?,
        mlp,
        experts,
        per_layer,
        layer_scale: Some(source.take(&format!("{at}.layer_scalar"), &[1])?),
        ..Block::new(parts::attention(arch, source, layer, &format!("{at}.self_attn"), "o_proj")?)
    })
}

/// Experts stored in two tensors for all of them.
fn experts(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    at: &str,
    form: &Experts,
) -> Result<ExpertWeights> {
    let (d, width, count) = (arch.d_model as i64, form.d_expert as i64, form.count as i64);
    let fused = source.take(&format!("{at}.experts.gate_up_proj"), &[count, 2 * width, d])?;
    let output = source.take(&format!("{at}.experts.down_proj"), &[count, d, width])?;
    let expert = |index: i64| -> Result<MlpWeights> {
        let linear = |weight| crate::weights::Linear { weight, bias: None };
        let fused = linear(fused.f_select(0, index)?);
        Ok(MlpWeights {
            gate: Some(parts::rows(&fused, 0, form.d_expert)?),
            input: parts::rows(&fused, form.d_expert, form.d_expert)?,
            output: linear(output.f_select(0, index)?),
        })
    };
    let scale = source.take(&format!("{at}.router.scale"), &[d])?;
    let norm = |source: &mut dyn TensorSource, name: &str| {
        wide_norm(arch, source, &format!("{at}.{name}"), arch.d_model)
    };
    let own_norms = OwnNorms {
        router: NormWeights { weight: Some(scale.f_div_scalar((d as f64).sqrt())?), bias: None },
        input: norm(source, "pre_feedforward_layernorm_2")?,
        output: norm(source, "post_feedforward_layernorm_2")?,
        dense_output: norm(source, "post_feedforward_layernorm_1")?,
        expert_scale: source.take(&format!("{at}.router.per_expert_scale"), &[count])?,
    };
    Ok(ExpertWeights {
        router: parts::linear(source, &format!("{at}.router.proj"), [form.count, arch.d_model], false)?,
        experts: (0..count).map(expert).collect::<Result<_>>()?,
        shared_gate: None,
        own_norms: Some(own_norms),
    })
}

/// A norm applied before the result is rounded to the model's dtype.
fn wide_norm(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    name: &str,
    width: usize,
) -> Result<NormWeights> {
    let norm = parts::norm(arch, source, name, width)?;
    let wide = |weight: tch::Tensor| weight.f_to_kind(crate::dtype::wider(weight.kind()));
    Ok(NormWeights { weight: norm.weight.map(wide).transpose()?, bias: None })
}
