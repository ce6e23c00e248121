//! Next-token distributions from logits.

use tch::{Kind, Tensor};

use crate::error::Result;

/// Entropy over the last axis, in nats, of probabilities `p` whose logarithms are `log_p`. What has probability 0
/// adds nothing, also where its logarithm is -inf. In the dtype given; keeps the graph.
///
/// # Errors
/// [`crate::Error::Torch`] if the shapes differ.
pub fn entropy(p: &Tensor, log_p: &Tensor) -> Result<Tensor> {
    let mut terms = p.f_mul(log_p)?;
    let terms = terms.f_masked_fill_(&p.f_eq(0.0)?, 0.0)?;
    // Less, not negated: no entropy is 0, not -0.
    Ok(terms.f_sum_dim_intlist(-1, false, None::<Kind>)?.f_rsub_scalar(0.0)?)
}

/// KL(p || q) in nats for several q: of log-probabilities `log_p`, `[rows, vocab]`, and `log_q`, `[copies, rows,
/// vocab]`, it is `[copies, rows]`. Cross-entropy less entropy, so that no second tensor of the size of `log_q` is
/// made. Where p is 0, q must not be. In the dtype given; keeps the graph.
///
/// # Errors
/// [`crate::Error::Torch`] if the shapes do not fit.
pub fn kl(log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
    let p = log_p.f_exp()?;
    let cross = log_q.f_transpose(0, 1)?.f_bmm(&p.f_unsqueeze(-1)?)?.f_squeeze_dim(-1)?;
    Ok(entropy(&p, log_p)?.f_unsqueeze(1)?.f_add(&cross)?.f_neg()?.f_transpose(0, 1)?)
}

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
        numbers(&entropy(&self.0.f_exp()?, &self.0)?)
    }

    /// Probability of the most probable token of each row.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn top1_probability(&self) -> Result<Vec<f64>> {
        numbers(&self.0.f_amax(-1, false)?.f_exp()?)
    }

    /// KL(self || other) of each row, nats.
    ///
    /// # Errors
    /// [`crate::Error::Torch`], also if the shapes differ.
    pub fn kl_to_nats(&self, other: &LogProbs) -> Result<Vec<f64>> {
        // What p excludes may be excluded by q, too.
        let log_q = other.0.f_masked_fill(&self.0.f_exp()?.f_eq(0.0)?, 0.0)?;
        // Rounding alone makes it negative.
        numbers(&kl(&self.0, &log_q.f_unsqueeze(0)?)?.f_squeeze_dim(0)?.f_clamp_min(0.0)?)
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
        numbers(&self.0.f_gather(1, &index, false)?.f_squeeze_dim(1)?)
    }
}

fn numbers(rows: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::try_from(&rows.f_to_device(tch::Device::Cpu)?.f_contiguous()?)?)
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
        assert!(
            p.kl_to_nats(
                &LogProbs::from_logits(&Tensor::zeros([2, 2], (Kind::Double, tch::Device::Cpu))).unwrap()
            )
            .is_err()
        );
    }

    #[test]
    fn kl_of_excluded_tokens() {
        let probs =
            |logits: [f64; 3]| LogProbs::from_logits(&Tensor::from_slice(&logits).reshape([1, 3])).unwrap();
        let two = probs([0.0, 0.0, f64::NEG_INFINITY]);
        let skewed = probs([0.25f64.ln(), 0.75f64.ln(), f64::NEG_INFINITY]);
        close(&two.kl_to_nats(&skewed).unwrap(), &[0.5 * 2f64.ln() + 0.5 * (2f64 / 3.0).ln()]);
        close(&two.kl_to_nats(&probs([0.0; 3])).unwrap(), &[1.5f64.ln()]);
        assert_eq!(probs([0.0; 3]).kl_to_nats(&two).unwrap(), [f64::INFINITY]);
    }
}
