//! Gemma 3, text (Gemma team 2025, arXiv 2503.19786): Gemma 2 with a norm of each query and key instead of the cap on
//! scores, five sliding layers for each full one, and a rotation of their own for each kind.

use super::rope::{self, Defaults};
use super::{Config, gemma2, shape};
use crate::architecture::{Architecture, QkNorm};
use crate::error::{Error, Result};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = gemma2::common(config)?;
    arch.norms.qk = Some(QkNorm::Head);
    arch.caps.logits = config.number_if("final_logit_softcapping")?;
    if config.number_if("attn_logit_softcapping")?.is_some() {
        return Err(Error::Config(
            "`attn_logit_softcapping`: Gemma 3 has no cap on scores, and transformers does not apply it"
                .into(),
        ));
    }
    let pattern = config.size_if("sliding_window_pattern")?.unwrap_or(6).max(1);
    let written = config.size_if("_sliding_window_pattern")?.unwrap_or(pattern);
    if written != pattern && !config.states("layer_types") {
        return Err(Error::Config(format!(
            "`_sliding_window_pattern` {written}: without `layer_types` only `sliding_window_pattern` counts, which \
                is {pattern}"
        )));
    }
    let slides = shape::sliding_layers(config, arch.n_layers, |layer| (layer + 1) % pattern != 0)?;
    shape::window_where(config, &mut arch, &slides)?;
    rotations(config, &mut arch, &slides)?;
    Ok(arch)
}

/// One rotation for layers that slide and one for the others: nested in `rope_parameters` (transformers 5), or
/// `rope_local_base_freq` beside `rope_theta` and `rope_scaling`, which is for full attention only (transformers 4).
fn rotations(config: &Config, arch: &mut Architecture, slides: &[bool]) -> Result<()> {
    let nested = config.object("rope_parameters")?;
    if nested.is_some() && config.get("rope_scaling").is_some() {
        return Err(Error::Config("`rope_scaling` beside `rope_parameters`: leave one of them out".into()));
    }
    let kind = |name: &str| nested.as_ref().map_or(Ok(None), |nested| nested.object(name));
    let (local, mut global) = (kind("sliding_attention")?, kind("full_attention")?);
    if let Some(nested) = &nested {
        nested.refuse_unread()?;
    }
    if let Some(scaling) = config.object("rope_scaling")? {
        global = Some(scaling);
    }
    let local_base = config.number_or("rope_local_base_freq", 10_000.0)?;
    let global_base = config.number_or("rope_theta", 1_000_000.0)?;
    let bare = Config::parse(b"{}", &[])?;
    for (layer, slides) in arch.layers.iter_mut().zip(slides) {
        let (inside, base) = if *slides { (&local, local_base) } else { (&global, global_base) };
        let defaults = Defaults { base, partial: None };
        layer.rotary = Some(rope::read(&bare, inside.as_ref(), layer.d_head, arch.n_ctx, &defaults)?);
    }
    Ok(())
}
