//! From keys of `config.json` that nearly all families use to an [`Architecture`].

use crate::architecture::{
    Activation, Architecture, Biases, Caps, Embedding, Keys, Layer, Mlp, Norm, NormPlace, Norms,
};
use crate::error::{Error, Result};

use super::{Config, rope};

/// Sizes that every family states, under whatever keys.
pub(super) struct Sizes {
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) d_model: usize,
    pub(super) d_head: usize,
    pub(super) d_mlp: usize,
    pub(super) n_vocab: usize,
    pub(super) n_ctx: usize,
}

/// More layers than any decoder has: what is asked for must not be allocated before it is refused.
const MOST_LAYERS: usize = 10_000;

/// An architecture of these sizes with one norm before attention and one before the MLP and nothing else that is
/// special: families change what they do otherwise.
pub(super) fn default_shape(config: &Config, sizes: Sizes, norm: Norm, mlp: Mlp) -> Result<Architecture> {
    if sizes.n_layers == 0 || sizes.n_layers > MOST_LAYERS {
        return Err(Error::Config(format!("layers: {} is not between 1 and {MOST_LAYERS}", sizes.n_layers)));
    }
    let layer = Layer {
        n_kv_heads: sizes.n_kv_heads,
        d_head: sizes.d_head,
        window: None,
        rotary: None,
        score_factor: 1.0 / (sizes.d_head as f64).sqrt(),
        keys: Keys::Own,
        d_mlp: Some(sizes.d_mlp),
        experts: None,
    };
    Ok(Architecture {
        family: config.string("model_type")?,
        n_layers: sizes.n_layers,
        n_heads: sizes.n_heads,
        d_model: sizes.d_model,
        n_vocab: sizes.n_vocab,
        n_ctx: sizes.n_ctx,
        layers: vec![layer; sizes.n_layers],
        parallel: false,
        layer_scale: false,
        embedding: Embedding::default(),
        norms: Norms { form: norm, place: NormPlace::Pre, last: true, affine: true, qk: None, v: false },
        biases: Biases::default(),
        caps: Caps::default(),
        mlp,
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: config.tokens("eos_token_id")?,
    })
}

/// `d_model` over `n_heads`, which must divide it.
pub(super) fn even_heads(d_model: usize, n_heads: usize) -> Result<usize> {
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(Error::Config(format!(
            "the model's width {d_model} is not a multiple of its {n_heads} heads, and there is no `head_dim`"
        )));
    }
    Ok(d_model / n_heads)
}

/// The sizes under the keys of Llama and those after it. `head_dim` may be absent.
pub(super) fn llama_sizes(config: &Config) -> Result<Sizes> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    Ok(Sizes {
        n_layers: config.size("num_hidden_layers")?,
        n_heads,
        n_kv_heads: config.size_if("num_key_value_heads")?.unwrap_or(n_heads),
        d_model,
        d_head: match config.size_if("head_dim")? {
            Some(width) => width,
            None => even_heads(d_model, n_heads)?,
        },
        d_mlp: config.size("intermediate_size")?,
        n_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
    })
}

/// The sizes of a family whose heads share the model's width evenly, each with keys of its own; `mlp` is the key of
/// the MLP's width.
pub(super) fn even_head_sizes(config: &Config, mlp: &str) -> Result<Sizes> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    Ok(Sizes {
        n_layers: config.size("num_hidden_layers")?,
        n_heads,
        n_kv_heads: n_heads,
        d_model,
        d_head: even_heads(d_model, n_heads)?,
        d_mlp: config.size(mlp)?,
        n_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
    })
}

/// Llama and its like: RMSNorm, rotation, a gated MLP. Families change what they do otherwise.
pub(super) fn llama_like(config: &Config) -> Result<Architecture> {
    let mut arch = unrotated(config, 1e-6)?;
    rope::everywhere(config, &mut arch, 10_000.0)?;
    Ok(arch)
}

/// The same without a rotation, and with the epsilon that holds where the file does not state one: families differ
/// in it.
pub(super) fn unrotated(config: &Config, eps: f64) -> Result<Architecture> {
    let sizes = llama_sizes(config)?;
    let norm = Norm::Rms { eps: config.number_or("rms_norm_eps", eps)? };
    let activation = Activation::from_name(&config.string_or("hidden_act", "silu")?)?;
    let mut arch = default_shape(config, sizes, norm, Mlp::Gated { activation })?;
    arch.embedding.tied = config.flag_or("tie_word_embeddings", false)?;
    Ok(arch)
}

/// Gives every layer the window under `sliding_window`, if there is one.
pub(super) fn window_everywhere(config: &Config, arch: &mut Architecture) -> Result<()> {
    let window = config.size_if("sliding_window")?;
    arch.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(())
}

/// Which layers slide: `layer_types` if it is there, else `default` by layer.
pub(super) fn sliding_layers(
    config: &Config,
    n_layers: usize,
    default: impl Fn(usize) -> bool,
) -> Result<Vec<bool>> {
    let Some(types) = config.strings("layer_types")? else { return Ok((0..n_layers).map(default).collect()) };
    if types.len() != n_layers {
        return Err(Error::Config(format!("`layer_types` names {} layers of {n_layers}", types.len())));
    }
    let slides = |kind: &String| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => Err(Error::Config(format!(
            "`layer_types` has `{other}`, which is not supported (supported: full_attention, sliding_attention)"
        ))),
    };
    types.iter().map(slides).collect()
}

/// Gives the layers that slide the window under `sliding_window`.
pub(super) fn window_where(config: &Config, arch: &mut Architecture, slides: &[bool]) -> Result<()> {
    let window = config.size_if("sliding_window")?;
    if slides.contains(&true) && window.is_none() {
        return Err(Error::Config("layers slide, but `sliding_window` is missing".into()));
    }
    for (layer, slides) in arch.layers.iter_mut().zip(slides) {
        layer.window = window.filter(|_| *slides);
    }
    Ok(())
}
