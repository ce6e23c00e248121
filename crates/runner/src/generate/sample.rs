//! Choosing the next token: what is done to the logits first, and how one token is taken from what is left.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::error::{Error, Result};
use crate::generate::process;

/// How the next token is chosen. Written as data, a table with `choice` and those of the processors that are to
/// differ from doing nothing: `{"choice": "sample", "temperature": 0.7, "top_p": 0.9}`.
///
/// The processors apply in the order of the fields, that of `transformers`' `generate`, and each gives the same scores.
/// Unlike there, temperature and the filters hold for greedy choice too; they cannot change it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// Divides the positive logits of tokens that the row has already, prompt included, and multiplies the negative
    /// ones; 1: no penalty. Padding does not count.
    #[serde(skip_serializing_if = "is_one")]
    pub repetition_penalty: f64,
    /// Excludes tokens that would end an n-gram that the row has already, prompt included; 0: none. Padding does not
    /// count (in `transformers` it does).
    #[serde(skip_serializing_if = "is_none")]
    pub no_repeat_ngram: usize,
    /// Divides the logits; positive.
    #[serde(skip_serializing_if = "is_one")]
    pub temperature: f64,
    /// Keep the k most probable tokens, and all that are as probable as the k-th; 0: all.
    #[serde(skip_serializing_if = "is_none")]
    pub top_k: usize,
    /// Keep the fewest most probable tokens whose probabilities reach this sum; 1: all. Taken from the other end, as
    /// in `transformers`: the least probable tokens go as long as their sum, each one's own probability included, is
    /// at most 1 - top_p; of equally probable ones those with smaller ids go first; one token always stays.
    #[serde(skip_serializing_if = "is_one")]
    pub top_p: f64,
    /// Keep tokens at least this fraction as probable as the most probable; 0: all.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_p: f64,
    /// How a token is taken from what is left.
    pub choice: Choice,
}

/// How a token is taken from the processed logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The most probable; of several, the one that libtorch's argmax finds, in practice that with the smallest id.
    #[default]
    Greedy,
    /// Drawn from the distribution: each row from a stream of its own, so that the other rows do not matter.
    Sample,
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_none(value: &usize) -> bool {
    *value == 0
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding::GREEDY
    }
}

impl Decoding {
    /// The most probable token, nothing done to the logits.
    pub const GREEDY: Decoding = Decoding {
        repetition_penalty: 1.0,
        no_repeat_ngram: 0,
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        choice: Choice::Greedy,
    };

    /// Drawn from the model's distribution as it is.
    pub const SAMPLE: Decoding = Decoding { choice: Choice::Sample, ..Decoding::GREEDY };

    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Input`] naming the parameter.
    pub fn validated(self) -> Result<Self> {
        let positive = |name: &str, value: f64| {
            let right = value.is_finite() && value > 0.0;
            right.then_some(()).ok_or_else(|| Error::Input(format!("{name} {value} must be positive")))
        };
        positive("repetition_penalty", self.repetition_penalty)?;
        positive("temperature", self.temperature)?;
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::Input(format!("top_p {} must be above 0 and at most 1", self.top_p)));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return Err(Error::Input(format!("min_p {} must be at least 0 and at most 1", self.min_p)));
        }
        Ok(self)
    }

    /// What the token is chosen from: `logits`, `[rows, vocab]`, after every processor, in the order of the fields. Row
    /// i has `texts[i]` so far, without padding. Excluded tokens are -inf. Types narrower than f32 become f32.
    ///
    /// # Errors
    /// [`Error::Input`] if a parameter is out of range, `texts` do not fit the rows, or no token is left in a row.
    pub fn process(self, logits: &Tensor, texts: &[&[i64]]) -> Result<Tensor> {
        self.validated()?;
        if logits.dim() != 2 || logits.size()[0] != texts.len() as i64 {
            return Err(Error::Input(format!(
                "logits of shape {:?} do not fit {} texts: they must be [rows, vocab]",
                logits.size(),
                texts.len()
            )));
        }
        let mut scores = logits.f_to_kind(crate::dtype::wider(logits.kind()))?;
        if self.repetition_penalty != 1.0 {
            scores = process::repetition_penalty(&scores, texts, self.repetition_penalty)?;
        }
        if self.no_repeat_ngram > 0 {
            scores = process::no_repeat_ngram(&scores, texts, self.no_repeat_ngram)?;
        }
        if self.temperature != 1.0 {
            scores = scores.f_div_scalar(self.temperature)?;
        }
        if self.top_k > 0 {
            scores = process::top_k(&scores, self.top_k)?;
        }
        if self.top_p < 1.0 {
            scores = process::top_p(&scores, self.top_p)?;
        }
        if self.min_p > 0.0 {
            scores = process::min_p(&scores, self.min_p)?;
        }
        Ok(scores)
    }

    /// One token for each row of processed `scores`, `[rows, vocab]`; row i draws from `rngs[i]`.
    pub(crate) fn choose(self, scores: &Tensor, rngs: &mut [&mut ChaCha8Rng]) -> Result<Vec<i64>> {
        let vocab = scores.size()[1] as usize;
        if scores.f_amax([-1], false)?.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(Error::Input(
                "no token is left to choose from: no_repeat_ngram excludes every one, or temperature is too \
                    small"
                    .into(),
            ));
        }
        match self.choice {
            Choice::Greedy => {
                let best = scores.f_argmax(-1, false)?.f_to_device(Device::Cpu)?;
                Ok(Vec::<i64>::try_from(&best)?)
            }
            Choice::Sample => {
                let flat = scores.f_to_device(Device::Cpu)?.f_to_kind(tch::Kind::Double)?.f_reshape([-1])?;
                let flat = Vec::<f64>::try_from(&flat)?;
                let rows = flat.chunks(vocab).zip(rngs);
                Ok(rows.map(|(row, rng)| draw(row, rng.random::<f64>())).collect())
            }
        }
    }
}

/// The token at quantile `u`, in [0, 1), of the distribution over ids in their order.
fn draw(scores: &[f64], u: f64) -> i64 {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let mut left = u * weights.iter().sum::<f64>();
    for (token, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return token as i64;
        }
    }
    // Rounding can leave a last crumb.
    weights.iter().rposition(|weight| *weight > 0.0).map_or(0, |token| token as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_follow_the_probabilities() {
        // Probabilities 0.1, 0.2, 0.7, and a token that is excluded at either end.
        let scores = [f64::NEG_INFINITY, 0.1f64.ln(), 0.2f64.ln(), 0.7f64.ln(), f64::NEG_INFINITY];
        assert_eq!([0.0, 0.05, 0.15, 0.29, 0.31, 1.0].map(|u| draw(&scores, u)), [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn decodings_are_readable_data() {
        let read = |text: &str| serde_json::from_str::<Decoding>(text);
        assert_eq!(read(r#"{"choice":"greedy"}"#).unwrap(), Decoding::GREEDY);
        let filtered = Decoding { temperature: 0.5, top_k: 3, top_p: 0.9, ..Decoding::SAMPLE };
        let text = serde_json::to_string(&filtered).unwrap();
        assert_eq!(text, r#"{"temperature":0.5,"top_k":3,"top_p":0.9,"choice":"sample"}"#);
        for decoding in
            [filtered, Decoding::GREEDY, Decoding::SAMPLE, Decoding { no_repeat_ngram: 2, ..filtered }]
        {
            let text = serde_json::to_string(&decoding).unwrap();
            assert_eq!(read(&text).unwrap(), decoding, "{text}");
        }
        let wrong = read(r#"{"choice":"sample","topk":3}"#).unwrap_err().to_string();
        assert!(wrong.contains("unknown field `topk`"), "{wrong}");
        let wrong = read(r#"{"choice":"greeedy"}"#).unwrap_err().to_string();
        assert!(wrong.contains("expected `greedy` or `sample`"), "{wrong}");
        assert!(read("\"greedy\"").is_err());
        assert!(read(r#"{"sample":{"temperature":0.5,"top_k":3,"top_p":0.9}}"#).is_err());
    }

    #[test]
    fn a_parameter_out_of_range_is_named() {
        let sample = Decoding::SAMPLE;
        for (wrong, name) in [
            (Decoding { temperature: 0.0, ..sample }, "temperature"),
            (Decoding { temperature: f64::NAN, ..sample }, "temperature"),
            (Decoding { temperature: f64::INFINITY, ..sample }, "temperature"),
            (Decoding { top_p: 0.0, ..sample }, "top_p"),
            (Decoding { top_p: f64::NAN, ..sample }, "top_p"),
            (Decoding { min_p: 1.5, ..sample }, "min_p"),
            (Decoding { min_p: f64::NAN, ..sample }, "min_p"),
            (Decoding { repetition_penalty: -1.0, ..sample }, "repetition_penalty"),
        ] {
            let error = wrong.validated().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
