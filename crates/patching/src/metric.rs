//! What is read from the next-token distribution of a run: one number a prompt, all of them from one pass.

use ndarray::Array2;
use refrain_entropy::distribution;
use refrain_runner::Model;
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::named::named;
use crate::pair::Pair;
use crate::tensors::{numbers, wide};

named! {
    /// A number that a run's logits at the last position come down to. Logarithms are natural, entropies in nats.
    pub enum Metric("metric", "snake_case") {
        /// Logit of the answer.
        Logit,
        /// Logit of the answer minus that of the incorrect answer.
        LogitDiff,
        /// Log-probability of the answer.
        LogProb,
        /// Probability of the answer.
        Prob,
        /// Tokens with a higher logit than the answer: 0 if it comes first. Has no gradient.
        Rank,
        /// KL(clean || run): divergence of the run's distribution from the clean run's.
        KlToClean,
        /// Entropy of the distribution.
        Entropy,
        /// Entropy minus that of the clean run.
        EntropyChange,
    }
}

impl Metric {
    /// Whether it is read from the logits of the answer and the incorrect answer alone.
    pub fn is_of_logits(self) -> bool {
        matches!(self, Metric::Logit | Metric::LogitDiff)
    }

    /// Whether it has a gradient.
    pub fn is_smooth(self) -> bool {
        self != Metric::Rank
    }

    /// Its value in each row of `logits`, `[rows, vocab]`: `[rows]`, in the dtype of the logits, at least f32. Keeps
    /// the graph.
    ///
    /// # Errors
    /// [`Error::Input`] for a logit difference without incorrect answers; [`Error::Torch`] if the shapes do not fit.
    pub fn of(self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        Distributions::new(logits, targets)?.metric(self)
    }
}

/// What the rows of a batch are measured against.
#[derive(Debug)]
pub struct Targets {
    /// `[rows]` i64.
    answers: Tensor,
    /// `[rows]` i64; none if a pair has none.
    foils: Option<Tensor>,
    /// Log-probabilities of the clean runs, `[rows, vocab]`.
    clean: Option<Tensor>,
}

impl Targets {
    /// Those of `pairs`, a row a pair, on the model's device; metrics against the clean run need
    /// [`Targets::with_clean`].
    ///
    /// # Errors
    /// [`Error::Input`] naming the pair whose answer or incorrect answer is not a token of the model.
    pub fn new(model: &Model, pairs: &[Pair]) -> Result<Self> {
        let n_vocab = model.architecture().n_vocab as i64;
        for (index, pair) in pairs.iter().enumerate() {
            for (what, id) in [("answer", Some(pair.answer)), ("incorrect answer", pair.foil)] {
                if let Some(id) = id.filter(|id| !(0..n_vocab).contains(id)) {
                    return Err(Error::Input(format!(
                        "pair {index}: the {what} {id} is outside the vocabulary of {n_vocab}"
                    )));
                }
            }
        }
        let device = model.device();
        let answers: Vec<i64> = pairs.iter().map(|pair| pair.answer).collect();
        let foils: Option<Vec<i64>> = pairs.iter().map(|pair| pair.foil).collect();
        let on_device =
            |ids: &[i64]| -> Result<Tensor> { Ok(Tensor::f_from_slice(ids)?.f_to_device(device)?) };
        Ok(Targets {
            answers: on_device(&answers)?,
            foils: foils.map(|ids| on_device(&ids)).transpose()?,
            clean: None,
        })
    }

    /// With the clean runs' `logits`, `[rows, vocab]`.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn with_clean(mut self, logits: &Tensor) -> Result<Self> {
        self.clean = Some(wide(logits)?.f_log_softmax(-1, None::<Kind>)?);
        Ok(self)
    }

    /// The same for another thread.
    pub fn shallow_clone(&self) -> Self {
        let clone = |t: &Option<Tensor>| t.as_ref().map(Tensor::shallow_clone);
        Targets {
            answers: self.answers.shallow_clone(),
            foils: clone(&self.foils),
            clean: clone(&self.clean),
        }
    }

    /// How many rows.
    pub fn rows(&self) -> i64 {
        self.answers.size()[0]
    }
}

/// The values of `metrics` in each row of `logits`, `[copies * rows, vocab]`, copies of the targets' rows one after the
/// other: `[metric, copies * rows]`.
///
/// # Errors
/// As [`Metric::of`].
pub fn measure(metrics: &[Metric], logits: &Tensor, targets: &Targets) -> Result<Array2<f64>> {
    let read = Distributions::new(logits, targets)?;
    by_metric(metrics, |metric| read.metric(metric))
}

/// The values of `of` for each of `metrics`: `[metric, row]`.
fn by_metric(metrics: &[Metric], of: impl Fn(Metric) -> Result<Tensor>) -> Result<Array2<f64>> {
    let values = metrics.iter().map(|metric| numbers(&of(*metric)?)).collect::<Result<Vec<_>>>()?;
    let rows = values.first().map_or(0, Vec::len);
    let flat = values.into_iter().flatten().collect();
    Array2::from_shape_vec((metrics.len(), rows), flat)
        .map_err(|error| Error::Input(format!("metrics of unequal length: {error}")))
}

/// The same for metrics that are read from logits alone, from the streams of the last position, `[copies * rows,
/// d_model]`: the logits of other tokens are never made.
///
/// # Errors
/// As [`Metric::of`]; [`Error::Input`] for a metric of the whole distribution.
pub(crate) fn measure_stream(
    metrics: &[Metric],
    model: &Model,
    stream: &Tensor,
    targets: &Targets,
) -> Result<Array2<f64>> {
    let tokens = match &targets.foils {
        Some(foils) => Tensor::f_stack(&[&targets.answers, foils], 1)?,
        None => targets.answers.f_unsqueeze(1)?,
    };
    let tokens = tokens.f_repeat([stream.size()[0] / targets.rows(), 1])?;
    let logits = wide(&model.logits_of(stream, &tokens)?)?;
    by_metric(metrics, |metric| match metric {
        Metric::Logit => Ok(logits.f_select(1, 0)?),
        Metric::LogitDiff if logits.size()[1] == 2 => {
            Ok(logits.f_select(1, 0)?.f_sub(&logits.f_select(1, 1)?)?)
        }
        other => Err(Error::Input(format!("{other} cannot be read from these logits alone"))),
    })
}

/// Logits and what several metrics share.
struct Distributions<'a> {
    /// `[copies, rows, vocab]`.
    logits: Tensor,
    log_probs: std::cell::OnceCell<Tensor>,
    targets: &'a Targets,
}

impl<'a> Distributions<'a> {
    fn new(logits: &Tensor, targets: &'a Targets) -> Result<Self> {
        let vocab = logits.size().last().copied().unwrap_or(0);
        let logits = wide(logits)?.f_reshape([-1, targets.rows(), vocab])?;
        Ok(Distributions { logits, log_probs: std::cell::OnceCell::new(), targets })
    }

    fn log_probs(&self) -> Result<&Tensor> {
        if let Some(known) = self.log_probs.get() {
            return Ok(known);
        }
        let made = self.logits.f_log_softmax(-1, None::<Kind>)?;
        Ok(self.log_probs.get_or_init(|| made))
    }

    /// The entries of `values`, `[copies, rows, vocab]`, for the tokens `ids`, `[rows]`: `[copies, rows]`.
    fn of_tokens(values: &Tensor, ids: &Tensor) -> Result<Tensor> {
        let index = ids.f_reshape([1, -1, 1])?.f_expand([values.size()[0], -1, 1], false)?;
        Ok(values.f_gather(2, &index, false)?.f_squeeze_dim(2)?)
    }

    fn entropy(log_probs: &Tensor) -> Result<Tensor> {
        Ok(distribution::entropy(&log_probs.f_exp()?, log_probs)?)
    }

    fn clean(&self) -> Result<&Tensor> {
        let missing = || Error::Input("a metric against the clean run needs its logits".into());
        self.targets.clean.as_ref().ok_or_else(missing)
    }

    /// `[copies * rows]`.
    fn metric(&self, metric: Metric) -> Result<Tensor> {
        let answers = &self.targets.answers;
        let value = match metric {
            Metric::Logit => Self::of_tokens(&self.logits, answers)?,
            Metric::LogitDiff => {
                let missing =
                    || Error::Input("a logit difference needs an incorrect answer in every pair".into());
                let foils = self.targets.foils.as_ref().ok_or_else(missing)?;
                Self::of_tokens(&self.logits, answers)?.f_sub(&Self::of_tokens(&self.logits, foils)?)?
            }
            Metric::LogProb => Self::of_tokens(self.log_probs()?, answers)?,
            Metric::Prob => Self::of_tokens(self.log_probs()?, answers)?.f_exp()?,
            Metric::Rank => {
                let own = Self::of_tokens(&self.logits, answers)?.f_unsqueeze(-1)?;
                self.logits.f_gt_tensor(&own)?.f_sum_dim_intlist(-1, false, Kind::Int64)?
            }
            Metric::KlToClean => distribution::kl(self.clean()?, self.log_probs()?)?,
            Metric::Entropy => Self::entropy(self.log_probs()?)?,
            Metric::EntropyChange => {
                Self::entropy(self.log_probs()?)?.f_sub(&Self::entropy(self.clean()?)?.f_unsqueeze(0)?)?
            }
        };
        Ok(value.f_reshape([-1])?)
    }
}

#[cfg(test)]
mod tests;
