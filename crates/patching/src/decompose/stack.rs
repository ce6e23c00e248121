//! Parts of a stream, and what they write into logits.

use ndarray::Array2;
use refrain_runner::{Hook, HookPoint, Model, Prompt};
use tch::{Kind, Tensor, no_grad};

use crate::attribution::linear::{centred, frozen};
use crate::attribution::writers::reader;
use crate::decompose::select::{Before, Selected};
use crate::error::{Error, Result};
use crate::tensors::numbers;

/// Parts of the residual stream of one run, `[component, pos, d_model]`, in at least single precision.
#[derive(Debug)]
pub struct ResidualStack<'r> {
    of: Selected<'r>,
    labels: Vec<String>,
    values: Tensor,
}

impl<'r> ResidualStack<'r> {
    pub(super) fn new(of: Selected<'r>, labels: Vec<String>, values: Tensor) -> Self {
        ResidualStack { of, labels, values }
    }

    /// The parts, `[pos, d_model]` each, with their labels.
    pub(super) fn of(selected: Selected<'r>, parts: Vec<(String, Tensor)>) -> Result<Self> {
        let device = selected.model.device();
        let (labels, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let parts = parts.iter().map(|part| part.f_to_device(device)).collect::<Result<Vec<_>, _>>()?;
        let values = Tensor::f_stack(&parts, 0)?;
        Ok(ResidualStack::new(selected, labels, values))
    }

    pub(super) fn model(&self) -> &'r Model {
        self.of.model
    }

    /// What each component is, as TransformerLens calls it.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The parts, `[component, pos, d_model]`.
    pub fn tensor(&self) -> &Tensor {
        &self.values
    }

    /// With one more component, `remainder`: what else is in the stream. Then they sum to it.
    ///
    /// # Errors
    /// [`Error::Runner`] if the run did not keep the stream (`ResidPost` before the unembedding, else `ResidPre` or
    /// `ResidMid`).
    pub fn with_remainder(mut self) -> Result<Self> {
        let stream = self.of.stream()?.f_to_device(self.values.device())?;
        let sum = self.values.f_sum_dim_intlist(0, false, None::<Kind>)?;
        self.values = Tensor::f_cat(&[&self.values, &stream.f_sub(&sum)?.f_unsqueeze(0)?], 0)?;
        self.labels.push("remainder".to_owned());
        Ok(self)
    }

    /// Each part as the norm that reads this stream scales it: less its mean, where the norm takes it off, and divided
    /// by what the norm divided the whole stream by in this run (TransformerLens's `apply_ln_to_stack`). The norm's
    /// weight and bias are not applied. Unchanged where no norm comes before the unembedding.
    ///
    /// # Errors
    /// [`Error::Input`] for a layer that has no norm there (OLMo 2); [`Error::Runner`] if the run did not keep the
    /// scale.
    pub fn normalized(&self) -> Result<Tensor> {
        let model = self.of.model;
        let (norm, scale) = match self.of.before {
            Before::Unembed => (&model.weights().final_norm, Hook::top(HookPoint::FinalScale)),
            Before::Attention(layer) => {
                (&model.weights().blocks[layer].ln1, Hook::block(layer, HookPoint::Ln1Scale))
            }
            Before::Mlp(layer) => {
                (&model.weights().blocks[layer].ln2, Hook::block(layer, HookPoint::Ln2Scale))
            }
        };
        match (norm, self.of.before) {
            (Some(_), _) => {
                let values = match model.architecture().norms.form.centres() {
                    true => centred(&self.values)?,
                    false => self.values.shallow_clone(),
                };
                Ok(values.f_div(&self.of.kept(scale)?.f_to_device(values.device())?)?)
            }
            (None, Before::Unembed) => Ok(self.values.shallow_clone()),
            (None, before) => Err(Error::Input(format!(
                "{before:?}: this model has no norm there, so nothing scales the stream"
            ))),
        }
    }

    /// What each part writes into the logit of `answer` less that of `incorrect`: `[component, pos]`, in logits, with
    /// the final norm's scale frozen at what it is in this run. With the biases of final norm and unembedding, and the
    /// remainder, the parts sum to the difference that the model gives, before a soft cap. Tokens are texts or ids.
    ///
    /// # Errors
    /// As [`refrain_runner::LanguageModel::to_single_token`]; [`Error::Runner`] if the run did not keep the scale.
    pub fn logit_attrs<'t>(
        &self,
        answer: impl Into<Prompt<'t>>,
        incorrect: impl Into<Prompt<'t>>,
    ) -> Result<Array2<f64>> {
        let lm = self.of.run.language_model();
        self.attributed(lm.to_single_token(answer)?, Some(lm.to_single_token(incorrect)?))
    }

    /// What each part writes into the logit of `token` alone. What it adds to all logits alike is in that, too.
    ///
    /// # Errors
    /// As [`ResidualStack::logit_attrs`].
    pub fn logit_attrs_of<'t>(&self, token: impl Into<Prompt<'t>>) -> Result<Array2<f64>> {
        self.attributed(self.of.run.language_model().to_single_token(token)?, None)
    }

    fn attributed(&self, answer: i64, incorrect: Option<i64>) -> Result<Array2<f64>> {
        let model = self.of.model;
        let values = no_grad(|| -> Result<Vec<f64>> {
            let incorrect = incorrect.map(|id| [id]);
            let mut direction = reader(model, &[answer], incorrect.as_ref().map(|ids| &ids[..]))?;
            if let Some(norm) = &model.weights().final_norm {
                let scale = self.of.kept(Hook::top(HookPoint::FinalScale))?;
                direction = frozen(model.architecture().norms.form, norm, &scale, &direction)?;
            }
            let written = self.values.f_mul(&direction.f_to_device(self.values.device())?)?;
            numbers(&written.f_sum_dim_intlist(-1, false, None::<Kind>)?)
        })?;
        let shape = (self.labels.len(), self.of.n_positions());
        Array2::from_shape_vec(shape, values).map_err(|error| Error::Input(error.to_string()))
    }

    /// Each part put through the final norm, with a scale of its own, and the unembedding: `[component, pos, vocab]`.
    /// Of [`ResidualDecomposition::accumulated_resid`] this is the logit lens, and its last component gives the model's
    /// own logits.
    ///
    /// [`ResidualDecomposition::accumulated_resid`]: crate::decompose::ResidualDecomposition::accumulated_resid
    ///
    /// # Errors
    /// [`Error::Runner`].
    pub fn logit_lens(&self) -> Result<Tensor> {
        let model = self.of.model;
        Ok(no_grad(|| model.unembed(&self.values.f_to_kind(model.kind())?))?)
    }
}
