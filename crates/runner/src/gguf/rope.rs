//! Rotations in the metadata.

use serde_json::{Value as Json, json};

use super::draft::Draft;
use super::value::shortest;

/// Factors of the longest rows (LongRoPE) and of the others, and divisors of the frequencies (Llama 3).
const LONG: &str = "rope_factors_long.weight";
const SHORT: &str = "rope_factors_short.weight";
const DIVISORS: &str = "rope_freqs.weight";
/// Tensors that describe the rotation: they go into the configuration, and whatever is not asked for there is refused.
pub(super) const TENSORS: [&str; 3] = [DIVISORS, LONG, SHORT];

/// What Llama 3.1 and later state of their scaling.
const LLAMA3: [f64; 3] = [1.0, 4.0, 8192.0];

/// The base, and `rope_scaling` as `config.json` has it, of heads of which `dims` numbers are rotated.
pub(super) fn read(draft: &Draft<'_>, dims: usize) -> Result<(f64, Json), String> {
    let keys = draft.keys;
    let base = keys.number_if("rope.freq_base")?.unwrap_or(10_000.0);
    if let Some(factors) = draft.tensors.numbers(DIVISORS)? {
        return Ok((base, divided(draft, &factors, base, dims)?));
    }
    Ok((base, scaling(draft)?))
}

/// What `rope.scaling.*` says.
pub(super) fn scaling(draft: &Draft<'_>) -> Result<Json, String> {
    let keys = draft.keys;
    // An old name of the factor.
    let old = keys.number_if("rope.scale_linear")?;
    let factor = keys.number_if("rope.scaling.factor")?.or(old).filter(|factor| *factor != 0.0);
    let original = keys.size_if("rope.scaling.original_context_length")?;
    // Whether the model was trained further with it, which changes nothing.
    keys.flag_if("rope.scaling.finetuned")?;
    // llama.cpp takes a factor without a type for a linear one.
    match (keys.text_if("rope.scaling.type")?.unwrap_or("linear"), factor) {
        ("none", _) | ("linear", None) => Ok(Json::Null),
        ("linear", Some(1.0)) => Ok(Json::Null),
        ("linear", Some(factor)) => Ok(json!({"rope_type": "linear", "factor": factor})),
        ("yarn", Some(factor)) => {
            let mut yarn = json!({"rope_type": "yarn", "factor": factor});
            let mut set = |key: &str, value: Option<Json>| {
                if let (Some(value), Some(yarn)) = (value, yarn.as_object_mut()) {
                    yarn.insert(key.to_owned(), value);
                }
            };
            set("original_max_position_embeddings", original.map(Json::from));
            set("attention_factor", keys.number_if("rope.scaling.yarn_attn_factor")?.map(Json::from));
            // llama.cpp multiplies by this one, where the other is all there is.
            if let Some(factor) = keys.number_if("rope.scaling.attn_factor")?.filter(|factor| *factor != 1.0)
            {
                return Err(format!("YaRN with an `attn_factor` of {factor} is not supported"));
            }
            set("beta_fast", keys.number_if("rope.scaling.yarn_beta_fast")?.map(Json::from));
            set("beta_slow", keys.number_if("rope.scaling.yarn_beta_slow")?.map(Json::from));
            match keys.number_if("rope.scaling.yarn_ext_factor")? {
                None | Some(1.0) => Ok(yarn),
                Some(factor) => {
                    Err(format!("YaRN with an extrapolation factor of {factor} is not supported"))
                }
            }
        }
        (kind, _) => Err(format!("rotary scaling `{kind}` is not supported without its factor or factors")),
    }
}

/// `rope_freqs.weight` divides the frequencies. It comes of Llama 3's scaling, whose parameters are not in the file:
/// the published ones if they give these numbers, and otherwise the numbers themselves.
fn divided(draft: &Draft<'_>, factors: &[f32], base: f64, dims: usize) -> Result<Json, String> {
    if factors.len() != dims / 2 {
        return Err(format!("tensor `{DIVISORS}` has {} numbers, not {}", factors.len(), dims / 2));
    }
    let n_ctx = draft.keys.size("context_length")?;
    // llama.cpp applies both. No published model has both.
    let beside = scaling(draft)?;
    if !beside.is_null() {
        return Err(format!(
            "has `{DIVISORS}` beside rotary scaling of its own, {beside}, which together are not supported"
        ));
    }
    let [low, high, original] = LLAMA3;
    // The longest wavelengths are multiplied in full.
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max)).round();
    let published = |(at, found): (usize, &f32)| {
        let wavelength = 2.0 * std::f64::consts::PI * base.powf(2.0 * at as f64 / dims as f64);
        let wanted = if wavelength < original / high {
            1.0
        } else if wavelength > original / low {
            factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        (wanted - f64::from(*found)).abs() <= 1e-4 * wanted
    };
    if factors.iter().enumerate().all(published) {
        return Ok(json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original as u64,
        }));
    }
    // Both sets alike, so that it does not matter from where on the second holds.
    Ok(json!({
        "rope_type": "longrope", "short_factor": factors, "long_factor": factors, "attention_factor": 1.0,
        "original_max_position_embeddings": n_ctx,
    }))
}

/// The share of a head that is rotated, so that the family, which rounds down, comes to the same number again.
fn share(turned: usize, d_head: usize) -> f64 {
    let share = turned as f64 / d_head as f64;
    if (d_head as f64 * share) as usize == turned { share } else { (turned as f64 + 0.5) / d_head as f64 }
}

/// A rotation of the first part of each head.
pub(super) fn partly(draft: &mut Draft<'_>) -> Result<(), String> {
    let d_head = draft.d_head()?;
    let turned = draft.keys.size_if("rope.dimension_count")?.unwrap_or(d_head);
    let (base, scaling) = read(draft, turned)?;
    draft.set("rope_theta", base);
    draft.set("rope_scaling", scaling);
    draft.set("partial_rotary_factor", share(turned, d_head));
    Ok(())
}

/// The same, or LongRoPE where the file has its factors.
pub(super) fn long_or_partly(draft: &mut Draft<'_>) -> Result<(), String> {
    let keys = draft.keys;
    let attention = keys.number_if("rope.scaling.attn_factor")?;
    let (long, short) = match (draft.tensors.numbers(LONG)?, draft.tensors.numbers(SHORT)?) {
        (Some(long), Some(short)) => (long, short),
        (None, None) => return partly(draft),
        (Some(_), None) => return Err(format!("has `{LONG}` without `{SHORT}`, and LongRoPE needs both")),
        (None, Some(_)) => return Err(format!("has `{SHORT}` without `{LONG}`, and LongRoPE needs both")),
    };
    // The factors hold whatever the type is, unless it is another scaling.
    if let Some(kind) =
        keys.text_if("rope.scaling.type")?.filter(|kind| !matches!(*kind, "longrope" | "none"))
    {
        return Err(format!(
            "has LongRoPE's factors beside rotary scaling `{kind}`, which together are not supported"
        ));
    }
    // The numbers of a configuration, too.
    let decimals = |list: Vec<f32>| list.into_iter().map(shortest).collect::<Vec<f64>>();
    let original = keys.size("rope.scaling.original_context_length")?;
    let d_head = draft.d_head()?;
    let turned = keys.size_if("rope.dimension_count")?.unwrap_or(d_head);
    draft.set("rope_theta", keys.number_if("rope.freq_base")?.unwrap_or(10_000.0));
    draft.set("partial_rotary_factor", share(turned, d_head));
    draft.set("original_max_position_embeddings", original);
    draft.set(
        "rope_scaling",
        json!({
            "rope_type": "longrope", "long_factor": decimals(long), "short_factor": decimals(short),
            "attention_factor": attention, "original_max_position_embeddings": original,
        }),
    );
    Ok(())
}
