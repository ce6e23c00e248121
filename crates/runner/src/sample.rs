//! Choosing the next token.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// The most probable token.
    Greedy,
    /// Drawn from the distribution. The filters apply in this order, as in `transformers`: temperature, top-k, top-p.
    Sample {
        /// Divides the logits; positive.
        temperature: f64,
        /// Keep the k most probable tokens; 0: all.
        top_k: usize,
        /// Keep the fewest most probable tokens whose probabilities reach this sum; 1: all.
        top_p: f64,
    },
}

impl Decoding {
    /// Refuses parameters outside their range.
    ///
    /// # Errors
    /// [`Error::Input`] naming the parameter.
    pub fn validated(self) -> Result<Self> {
        if let Decoding::Sample { temperature, top_p, .. } = self {
            if temperature.is_nan() || temperature <= 0.0 {
                return Err(Error::Input(format!("temperature {temperature} must be positive")));
            }
            if !(0.0..=1.0).contains(&top_p) || top_p == 0.0 {
                return Err(Error::Input(format!("top_p {top_p} must be above 0 and at most 1")));
            }
        }
        Ok(self)
    }

    /// One token for each row of `logits`, `[rows, vocab]`; row i draws from `rngs[i]`.
    pub(crate) fn choose(self, logits: &Tensor, rngs: &mut [&mut ChaCha8Rng]) -> Result<Vec<i64>> {
        match self {
            Decoding::Greedy => {
                let best = logits.f_argmax(-1, false)?.f_to_device(tch::Device::Cpu)?;
                Ok(Vec::<i64>::try_from(&best)?)
            }
            Decoding::Sample { temperature, top_k, top_p } => {
                let vocab = logits.size()[1] as usize;
                let flat = logits.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?.f_reshape([-1])?;
                let flat = Vec::<f64>::try_from(&flat)?;
                let rows = flat.chunks(vocab).zip(rngs);
                Ok(rows.map(|(row, rng)| draw(row, temperature, top_k, top_p, rng.random::<f64>())).collect())
            }
        }
    }
}

/// The token at quantile `u`, in [0, 1), of the filtered distribution; equal logits are ordered by token id.
fn draw(logits: &[f64], temperature: f64, top_k: usize, top_p: f64, u: f64) -> i64 {
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    if top_k > 0 || top_p < 1.0 {
        tokens.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    }
    if top_k > 0 {
        tokens.truncate(top_k);
    }
    let highest = tokens.iter().map(|token| logits[*token]).fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> =
        tokens.iter().map(|token| ((logits[*token] - highest) / temperature).exp()).collect();
    if top_p < 1.0 {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let kept = weights.iter().position(|weight| {
            sum += weight;
            sum >= top_p * total
        });
        weights.truncate(kept.map_or(weights.len(), |last| last + 1));
    }
    let mut left = u * weights.iter().sum::<f64>();
    for (weight, token) in weights.iter().zip(&tokens) {
        left -= weight;
        if left < 0.0 {
            return *token as i64;
        }
    }
    // Rounding can leave a last crumb.
    tokens.get(weights.len().saturating_sub(1)).map_or(0, |token| *token as i64)
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn quantiles_follow_the_probabilities() {
        // Probabilities 0.1, 0.2, 0.7.
        let logits = [0.1f64.ln(), 0.2f64.ln(), 0.7f64.ln()];
        let at = |u| draw(&logits, 1.0, 0, 1.0, u);
        assert_eq!([0.05, 0.15, 0.29, 0.31, 0.99].map(at), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn filters_keep_the_most_probable() {
        let logits = [0.1f64.ln(), 0.2f64.ln(), 0.7f64.ln()];
        // top-k 2 leaves 0.7 and 0.2, most probable first.
        assert_eq!([0.77, 0.79].map(|u| draw(&logits, 1.0, 2, 1.0, u)), [2, 1]);
        // top-p 0.7 is reached by the first alone.
        assert_eq!(draw(&logits, 1.0, 0, 0.69, 0.999), 2);
        // A low temperature is nearly greedy: 0.2/0.7 to the tenth power is below 1e-5.
        assert_eq!(draw(&logits, 0.1, 0, 1.0, 1e-4), 2);
    }
}
