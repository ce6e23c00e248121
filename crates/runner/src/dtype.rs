//! Names of dtypes, and the dtype that a checkpoint is meant to be computed in.

use serde_json::Value;
use tch::Kind;

use crate::error::{Error, Result};
use crate::text::without_bom;

/// The dtypes that a model can be computed in, as flags and tables name them.
pub const DTYPES: [(&str, Kind); 4] =
    [("f32", Kind::Float), ("bf16", Kind::BFloat16), ("f16", Kind::Half), ("f64", Kind::Double)];

/// The dtype called `name` (`f32`, `bf16`, `f16`, `f64`).
///
/// # Errors
/// [`Error::Input`] for another name.
pub fn dtype(name: &str) -> Result<Kind> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
        Error::Input(format!("dtype `{name}` is not supported\nhint: choose one of f32, bf16, f16 and f64"))
    })
}

/// What [`dtype`] calls `kind`.
pub fn dtype_name(kind: Kind) -> &'static str {
    DTYPES.iter().find(|(_, known)| *known == kind).map_or("another dtype", |(name, _)| *name)
}

/// The dtype that a `config.json` states, as `dtype` (transformers 5) or `torch_dtype` (transformers 4); none if it
/// states none.
pub(crate) fn stated(config: &[u8]) -> Result<Option<Kind>> {
    // Whoever reads the rest of it says what is wrong with a text that is no object.
    let Ok(Value::Object(config)) = serde_json::from_slice(without_bom(config)) else { return Ok(None) };
    let value = |key: &'static str| Some((key, config.get(key).filter(|value| !value.is_null())?));
    let Some((key, value)) = value("dtype").or_else(|| value("torch_dtype")) else { return Ok(None) };
    match value.as_str().map(|name| name.strip_prefix("torch.").unwrap_or(name)) {
        Some("float32" | "float") => Ok(Some(Kind::Float)),
        Some("bfloat16") => Ok(Some(Kind::BFloat16)),
        Some("float16" | "half") => Ok(Some(Kind::Half)),
        Some("float64" | "double") => Ok(Some(Kind::Double)),
        Some("auto") => Ok(None),
        _ => Err(Error::Config(format!(
            "`{key}` = {value} is not supported\nhint: choose what to compute in (--dtype f32, bf16, f16 or f64)"
        ))),
    }
}

/// The dtype for sums over many terms: f64 stays, everything else becomes f32.
pub(crate) fn wider(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (name, kind) in DTYPES {
            assert_eq!((dtype(name).unwrap(), dtype_name(kind)), (kind, name));
        }
        assert!(dtype("fp8").is_err());
    }

    #[test]
    fn what_a_configuration_states() {
        let kind = |text: &str| stated(text.as_bytes()).unwrap();
        assert_eq!(kind(r#"{"torch_dtype": "bfloat16"}"#), Some(Kind::BFloat16));
        assert_eq!(kind(r#"{"dtype": null, "torch_dtype": "float16"}"#), Some(Kind::Half));
        assert_eq!(kind(r#"{"dtype": "torch.float64", "torch_dtype": "float16"}"#), Some(Kind::Double));
        for silent in [r#"{"dtype": null}"#, r#"{"dtype": "auto"}"#, "{}", "[1]", "{"] {
            assert_eq!(kind(silent), None, "{silent}");
        }
        let error = stated(br#"{"torch_dtype": "float8_e4m3fn"}"#).unwrap_err().to_string();
        assert!(error.contains("torch_dtype") && error.contains("--dtype"), "{error}");
    }
}
