//! What a run of one prompt gave: logits, the activations that were kept, and what is read from them.

use tch::{Kind, Tensor};

use crate::cache::ActivationCache;
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint};
use crate::language_model::{LanguageModel, Prompt};

/// A finished run of one prompt. Numbers about tokens are of the model's next-token distributions, in f64.
#[derive(Debug)]
pub struct PromptRun<'a> {
    lm: &'a LanguageModel,
    tokens: Vec<i64>,
    logits: Option<Tensor>,
    /// The activations that were kept, `[1, pos, ...]` each.
    pub cache: ActivationCache,
}

impl AsRef<ActivationCache> for PromptRun<'_> {
    fn as_ref(&self) -> &ActivationCache {
        &self.cache
    }
}

impl<'a> PromptRun<'a> {
    pub(crate) fn new(
        lm: &'a LanguageModel,
        tokens: Vec<i64>,
        logits: Option<Tensor>,
        cache: ActivationCache,
    ) -> Self {
        PromptRun { lm, tokens, logits, cache }
    }

    /// The model that was run, with its tokenizer.
    pub fn language_model(&self) -> &'a LanguageModel {
        self.lm
    }

    /// The prompt's token ids.
    pub fn tokens(&self) -> &[i64] {
        &self.tokens
    }

    /// The text of each token of the prompt: see [`LanguageModel::to_str_tokens`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn str_tokens(&self) -> Result<Vec<String>> {
        self.lm.to_str_tokens(&self.tokens)
    }

    /// The logits, `[1, pos, vocab]`.
    ///
    /// # Errors
    /// [`Error::Input`] if the run was read from a file without them.
    pub fn logits(&self) -> Result<&Tensor> {
        self.logits.as_ref().ok_or_else(|| {
            Error::Input(
                "the file of this run has no logits\nhint: write it with `PromptRun::save`, or keep hook_logits".into(),
            )
        })
    }

    /// The activation at `point` in `layer`, `[1, pos, ...]`.
    ///
    /// # Errors
    /// As [`ActivationCache::get`].
    pub fn block(&self, layer: usize, point: HookPoint) -> Result<&Tensor> {
        self.cache.block(layer, point)
    }

    /// The logit of `token` at the last position: a text that is one token, or its id.
    ///
    /// # Errors
    /// As [`LanguageModel::to_single_token`] and [`PromptRun::logits`].
    pub fn logit<'t>(&self, token: impl Into<Prompt<'t>>) -> Result<f64> {
        let id = self.lm.to_single_token(token)?;
        Ok(self.last()?.f_get(id)?.f_double_value(&[])?)
    }

    /// The logit of `answer` less that of `incorrect`, at the last position. Each is a text that is one token, or an
    /// id.
    ///
    /// # Errors
    /// As [`PromptRun::logit`].
    pub fn logit_diff<'t>(
        &self,
        answer: impl Into<Prompt<'t>>,
        incorrect: impl Into<Prompt<'t>>,
    ) -> Result<f64> {
        Ok(self.logit(answer)? - self.logit(incorrect)?)
    }

    /// The `count` most probable next tokens, the text of each with its probability. Fewer in a smaller vocabulary.
    ///
    /// # Errors
    /// As [`PromptRun::logits`]; [`Error::Tokenizer`].
    pub fn top(&self, count: usize) -> Result<Vec<(String, f64)>> {
        let probabilities = self.last()?.f_softmax(-1, Kind::Double)?;
        let count = (count as i64).min(probabilities.size()[0]);
        let (values, ids) = probabilities.f_topk(count, -1, true, true)?;
        let (values, ids) = (Vec::<f64>::try_from(&values)?, Vec::<i64>::try_from(&ids)?);
        ids.iter().zip(values).map(|(id, p)| Ok((self.lm.tokenizer.decode(&[*id])?, p))).collect()
    }

    /// The log-probability, in nats, of every token of the prompt but the first, given those before it: entry i is of
    /// token i + 1.
    ///
    /// # Errors
    /// As [`PromptRun::logits`].
    pub fn log_probs(&self) -> Result<Vec<f64>> {
        let predicted = self.tokens.len() as i64 - 1;
        let logits = self.logits()?.f_get(0)?.f_narrow(0, 0, predicted)?;
        let next = Tensor::f_from_slice(&self.tokens[1..])?.f_unsqueeze(1)?.f_to_device(logits.device())?;
        let of_next = logits.f_log_softmax(-1, Kind::Double)?.f_gather(1, &next, false)?;
        numbers(&of_next.f_squeeze_dim(1)?)
    }

    /// The mean negative log-likelihood of the prompt's tokens but the first, in nats a token.
    ///
    /// # Errors
    /// [`Error::Input`] for a prompt of one token; as [`PromptRun::logits`].
    pub fn loss(&self) -> Result<f64> {
        let log_probs = self.log_probs()?;
        match log_probs.len() {
            0 => Err(Error::Input("a prompt of one token has no loss: the first token is given".into())),
            count => Ok(-log_probs.iter().sum::<f64>() / count as f64),
        }
    }

    /// The gradient of `of`, a single number made of this run's logits or activations, at the activation at `hook`,
    /// `[1, pos, ...]`; zeros where it does not depend on it. The graph is kept, so that others can follow.
    ///
    /// # Errors
    /// [`Error::Input`] unless the run was asked for gradients and kept the activation, and for several numbers.
    pub fn gradient(&self, of: &Tensor, hook: Hook) -> Result<Tensor> {
        let at = self.cache.get(hook)?;
        if !of.requires_grad() || !at.requires_grad() {
            return Err(Error::Input(format!(
                "there is no gradient at `{hook}`: the run recorded no graph\nhint: ask for it with `.gradients()` \
                 before `.run()`"
            )));
        }
        if of.numel() != 1 {
            return Err(Error::Input(format!(
                "a gradient is of a single number, not of {:?}: sum it or choose one",
                of.size()
            )));
        }
        let found = Tensor::f_run_backward(&[of], &[at], true, false)?;
        match found.first().filter(|gradient| gradient.defined()) {
            Some(gradient) => Ok(gradient.f_detach()?),
            None => Ok(at.f_detach()?.f_zeros_like()?),
        }
    }

    /// The logits at the last position, `[vocab]`.
    fn last(&self) -> Result<Tensor> {
        Ok(self.logits()?.f_get(0)?.f_get(self.tokens.len() as i64 - 1)?)
    }
}

fn numbers(row: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::try_from(&row.f_detach()?.f_to_device(tch::Device::Cpu)?.f_contiguous()?)?)
}
