//! Rotations in the metadata.

use serde_json::{Value as Json, json};

use super::draft::Draft;

/// What Llama 3.1 and later state of their scaling.
const LLAMA3: [f64; 3] = [1.0, 4.0, 8192.0];

/// The base, and `rope_scaling` as `config.json` has it, of heads of which `dims` numbers are rotated.
pub(super) fn read(draft: &Draft<'_>, dims: usize) -> Result<(f64, Json), String> {
    let keys = draft.keys;
    let base = keys.number_if("rope.freq_base")?.unwrap_or(10_000.0);
    if let Some(factors) = draft.tensors.numbers("rope_freqs.weight")? {
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
        return Err(format!("tensor `rope_freqs.weight` has {} numbers, not {}", factors.len(), dims / 2));
    }
    let n_ctx = draft.keys.size("context_length")?;
    draft.keys.text_if("rope.scaling.type")?;
    draft.keys.number_if("rope.scaling.factor")?;
    draft.keys.size_if("rope.scaling.original_context_length")?;
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
