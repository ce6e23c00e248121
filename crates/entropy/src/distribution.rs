//! Next-token distributions from logits.

use tch::{Kind, Tensor};

use crate::error::Result;

/// Distributions of some rows in double precision: `[rows, vocab]` log-probabilities.
#[derive(Debug)]
pub struct LogProbs(Tensor);

impl LogProbs {
    /// From `logits`, `[rows, vocab]`.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn from_logits(logits: &Tensor) -> Result<Self> {
        Ok(LogProbs(logits.f_to_kind(Kind::Double)?.f_log_softmax(-1, None::<Kind>)?))
    }

    /// Entropy of each row, nats.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn entropy_nats(&self) -> Result<Vec<f64>> {
        let p = self.0.f_exp()?;
        // p ln p is 0 where p is 0, not NaN.
        let terms = p.f_mul(&self.0)?.f_masked_fill(&p.f_eq(0.0)?, 0.0)?;
        Ok(Vec::try_from(
            &terms.f_sum_dim_intlist(-1, false, None::<Kind>)?.f_neg()?.f_to_device(tch::Device::Cpu)?,
        )?)
    }

    /// Probability of the most probable token of each row.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn top1_probability(&self) -> Result<Vec<f64>> {
        Ok(Vec::try_from(&self.0.f_amax(-1, false)?.f_exp()?.f_to_device(tch::Device::Cpu)?)?)
    }

    /// KL(self || other) of each row, nats.
    ///
    /// # Errors
    /// [`crate::Error::Torch`], also if the shapes differ.
    pub fn kl_to_nats(&self, other: &LogProbs) -> Result<Vec<f64>> {
        let p = self.0.f_exp()?;
        let terms = p.f_mul(&self.0.f_sub(&other.0)?)?.f_masked_fill(&p.f_eq(0.0)?, 0.0)?;
        Ok(Vec::try_from(&terms.f_sum_dim_intlist(-1, false, None::<Kind>)?.f_to_device(tch::Device::Cpu)?)?)
    }

    /// Only `rows`, in this order.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] if a row does not exist.
    pub fn select(&self, rows: &[i64]) -> Result<Self> {
        Ok(LogProbs(self.0.f_index_select(0, &Tensor::f_from_slice(rows)?.f_to_device(self.0.device())?)?))
    }

    /// Log-probability of `tokens[i]` in row i.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn of(&self, tokens: &[i64]) -> Result<Vec<f64>> {
        let index = Tensor::f_from_slice(tokens)?.f_unsqueeze(1)?.f_to_device(self.0.device())?;
        Ok(Vec::try_from(
            &self.0.f_gather(1, &index, false)?.f_squeeze_dim(1)?.f_to_device(tch::Device::Cpu)?,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], wanted: &[f64]) {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} is not {wanted:?}");
    }

    #[test]
    fn entropy_of_known_distributions() {
        let half_quarter_quarter = [2f64.ln(), 0.0, 0.0];
        let certain = [0.0, f64::NEG_INFINITY, f64::NEG_INFINITY];
        let logits = Tensor::from_slice(&[half_quarter_quarter, certain].concat()).reshape([2, 3]);
        let probs = LogProbs::from_logits(&logits).unwrap();
        close(&probs.entropy_nats().unwrap(), &[1.5 * 2f64.ln(), 0.0]);
        close(&probs.top1_probability().unwrap(), &[0.5, 1.0]);
        close(&probs.of(&[1, 0]).unwrap(), &[0.25f64.ln(), 0.0]);
    }

    #[test]
    fn kl_by_hand() {
        let p =
            LogProbs::from_logits(&Tensor::from_slice(&[0.5f64.ln(), 0.5f64.ln()]).reshape([1, 2])).unwrap();
        let q = LogProbs::from_logits(&Tensor::from_slice(&[0.25f64.ln(), 0.75f64.ln()]).reshape([1, 2]))
            .unwrap();
        close(&p.kl_to_nats(&q).unwrap(), &[0.5 * 2f64.ln() + 0.5 * (2f64 / 3.0).ln()]);
        close(&p.kl_to_nats(&p).unwrap(), &[0.0]);
    }
}
