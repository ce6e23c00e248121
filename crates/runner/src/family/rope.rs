//! Rotary positions in `config.json`: `rope_theta` and `rope_scaling` at the top (transformers 4) or everything inside
//! `rope_parameters` (transformers 5).

use super::Config;
use crate::architecture::Architecture;
use crate::architecture::{Pairing, Rotary, Scaling};
use crate::error::{Error, Result};

/// What holds where the object that describes a rotation says nothing else.
pub(super) struct Defaults {
    pub(super) base: f64,
    /// Fraction of each head that is rotated; none: the whole head, and the file cannot say otherwise.
    pub(super) partial: Option<f64>,
}

/// Rotates every layer alike, whole heads. `base` holds where the file states none.
pub(super) fn everywhere(config: &Config, arch: &mut Architecture, base: f64) -> Result<()> {
    with(config, arch, &Defaults { base, partial: None })
}

/// Rotates the first part of each head in every layer, `partial` of it unless the file says otherwise.
pub(super) fn partly(config: &Config, arch: &mut Architecture, partial: f64) -> Result<()> {
    let base = config.number_if("rotary_emb_base")?.unwrap_or(10_000.0);
    let partial = config.number_if("rotary_pct")?.unwrap_or(partial);
    with(config, arch, &Defaults { base, partial: Some(partial) })
}

fn with(config: &Config, arch: &mut Architecture, defaults: &Defaults) -> Result<()> {
    let inside = one_of(config)?;
    for index in 0..arch.n_layers {
        let layer = &arch.layers[index];
        let rotary = read(config, inside.as_ref(), layer.d_head, arch.n_ctx, defaults)?;
        arch.layers[index].rotary = Some(rotary);
    }
    Ok(())
}

/// `rope_scaling` or `rope_parameters`, whichever is there.
fn one_of(config: &Config) -> Result<Option<Config>> {
    let (older, newer) = (config.object("rope_scaling")?, config.object("rope_parameters")?);
    if older.is_some() && newer.is_some() && config.get("rope_scaling") != config.get("rope_parameters") {
        return Err(Error::Config(
            "`rope_scaling` and `rope_parameters` say different things: leave one of them out".into(),
        ));
    }
    Ok(older.or(newer))
}

/// The rotation that `inside` describes, or the keys at the top of `config` where it is silent.
pub(super) fn read(
    config: &Config,
    inside: Option<&Config>,
    d_head: usize,
    n_ctx: usize,
    defaults: &Defaults,
) -> Result<Rotary> {
    let empty = Config::parse(b"{}", &[])?;
    let inside = inside.unwrap_or(&empty);
    let number = |key: &str, default: f64| -> Result<f64> {
        let outside = config.number_if(key)?;
        Ok(inside.number_if(key)?.or(outside).unwrap_or(default))
    };
    let base = number("rope_theta", defaults.base)?;
    let partial = number("partial_rotary_factor", defaults.partial.unwrap_or(1.0))?;
    if partial != 1.0 && defaults.partial.is_none() {
        return Err(Error::Config(format!(
            "`partial_rotary_factor` {partial}: this family rotates whole heads"
        )));
    }
    if !(partial > 0.0 && partial <= 1.0) {
        return Err(Error::Config(format!("`partial_rotary_factor` {partial} is not between 0 and 1")));
    }
    // As `transformers` rounds it.
    let part = (d_head as f64 * partial) as usize;
    let old = inside.string_or("type", "default")?;
    let kind = inside.string_or("rope_type", &old)?;
    let factor = || inside.number_if("factor");
    let required = |key: &str| -> Result<f64> {
        let missing = || Error::Config(format!("rotary scaling `{kind}` needs `{key}`"));
        inside.number_if(key)?.ok_or_else(missing)
    };
    let original = || -> Result<usize> {
        let key = "original_max_position_embeddings";
        let own = inside.size_if(key)?;
        Ok(config.size_if(key)?.or(own).unwrap_or(n_ctx))
    };
    let mut dims = part;
    let scaling = match kind.as_str() {
        "default" => Scaling::None,
        "linear" => Scaling::Linear { factor: required("factor")? },
        "llama3" => Scaling::Llama3 {
            factor: required("factor")?,
            low_freq_factor: required("low_freq_factor")?,
            high_freq_factor: required("high_freq_factor")?,
            original: original()?,
        },
        "yarn" => {
            let original = original()?;
            let factor = factor()?.unwrap_or(n_ctx as f64 / original as f64);
            // Whether the model was trained further with it, which changes nothing.
            inside.flag_or("finetuned", false)?;
            let given = inside.number_if("attention_factor")?;
            let mscale = inside.number_if("mscale")?.filter(|scale| *scale != 0.0);
            let all_dims = inside.number_if("mscale_all_dim")?.filter(|scale| *scale != 0.0);
            let hotter = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
            let attention_factor = match (given, mscale, all_dims) {
                (Some(given), ..) => given,
                (None, Some(mscale), Some(all)) => hotter(mscale) / hotter(all),
                _ => hotter(1.0),
            };
            Scaling::Yarn {
                factor,
                beta_fast: inside.number_or("beta_fast", 32.0)?,
                beta_slow: inside.number_or("beta_slow", 1.0)?,
                truncate: inside.flag_or("truncate", true)?,
                original,
                attention_factor,
            }
        }
        "longrope" | "su" => {
            let original = original()?;
            let factor = factor()?.unwrap_or(n_ctx as f64 / original as f64);
            let spread = (1.0 + factor.ln() / (original as f64).ln()).sqrt();
            let attention_factor = match inside.number_if("attention_factor")? {
                Some(given) => given,
                None if factor <= 1.0 => 1.0,
                None => spread,
            };
            Scaling::LongRope {
                short: inside.numbers("short_factor")?,
                long: inside.numbers("long_factor")?,
                original,
                attention_factor,
            }
        }
        "proportional" => {
            dims = d_head;
            Scaling::Proportional { rotated: part / 2, factor: factor()?.unwrap_or(1.0) }
        }
        "dynamic" => {
            return Err(Error::Config(
                "rotary scaling `dynamic` is not supported: every position would be rotated anew with each \
                    token"
                    .into(),
            ));
        }
        other => {
            return Err(Error::Config(format!(
                "rotary scaling `{other}` is not supported (supported: default, linear, llama3, yarn, longrope, \
                    proportional)"
            )));
        }
    };
    inside.refuse_unread()?;
    let rotary = Rotary { dims, base, pairing: Pairing::Halves, scaling };
    // Before it is copied to every layer: a list of factors may be of any length.
    rotary.check(d_head)?;
    Ok(rotary)
}
