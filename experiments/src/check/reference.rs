//! Logits that another program computed, and how far ours are from them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use refrain_runner::{Model, Run};
use serde::Serialize;
use tch::{Kind, Tensor, no_grad};

use super::args::Dtype;

/// What another program computed.
pub struct Reference {
    /// `[batch, pos]` i64.
    pub ids: Tensor,
    /// `[batch, pos]` bool, true for real tokens.
    mask: Option<Tensor>,
    /// `[batch, pos, vocab]` f64.
    logits: Tensor,
    /// The dtype that the logits are stored in.
    pub dtype: Dtype,
    /// The standard deviation of the logits of real tokens.
    pub spread: f64,
}

/// How far our logits are from a reference.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The largest absolute difference, at real tokens.
    pub max_abs_diff: f64,
    /// Its row.
    pub row: i64,
    /// Its column, padding counted.
    pub position: i64,
    /// The token at that column.
    pub token: i64,
    /// Its entry of the vocabulary.
    pub entry: i64,
    /// Our logit there; null if it is not finite.
    pub logit: f64,
    /// The reference's.
    pub reference: f64,
}

impl Reference {
    /// Reads `path`.
    ///
    /// # Errors
    /// If the file cannot be read or lacks a tensor, if one has a type or a shape that it should not have, if a
    /// token is outside the vocabulary of `n_vocab`, or if a logit of a real token is not finite.
    pub fn read(path: &Path, n_vocab: usize) -> Result<Self> {
        let shown = path.display();
        ensure!(path.is_file(), "{shown}: there is no such file");
        let tensors = Tensor::read_safetensors(path)
            .map_err(|error| anyhow!("{shown}: cannot read it as safetensors: {error}"))?;
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let get = |name: &str| {
            let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
            tensors.get(name).ok_or_else(|| {
                anyhow!("{shown}: there is no tensor `{name}`\nhint: the file holds {}", names.join(", "))
            })
        };
        let whole = |name: &str, tensor: &Tensor| {
            ensure!(
                matches!(
                    tensor.kind(),
                    Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8 | Kind::Bool
                ),
                "{shown}: `{name}` is of type {:?}, not whole numbers",
                tensor.kind()
            );
            Ok(tensor.f_to_kind(Kind::Int64)?)
        };
        let ids = whole("input_ids", get("input_ids")?)?;
        let [batch, pos] = ids.size()[..] else {
            bail!("{shown}: `input_ids` has shape {:?}, not [batch, pos]", ids.size());
        };
        ensure!(batch > 0 && pos > 0, "{shown}: `input_ids` has no token");
        for id in [ids.f_min()?, ids.f_max()?] {
            let id = id.f_int64_value(&[])?;
            ensure!(
                (0..n_vocab as i64).contains(&id),
                "{shown}: token id {id} is outside the vocabulary of {n_vocab}"
            );
        }
        let mask = match tensors.get("attention_mask") {
            None => None,
            Some(mask) => {
                let mask = whole("attention_mask", mask)?;
                ensure!(
                    mask.size() == ids.size(),
                    "{shown}: `attention_mask` has shape {:?}, `input_ids` {:?}",
                    mask.size(),
                    ids.size()
                );
                Some(mask.f_ne(0)?)
            }
        };
        let logits = get("logits")?;
        let wanted = [batch, pos, n_vocab as i64];
        ensure!(
            logits.size() == wanted,
            "{shown}: `logits` has shape {:?}, not {wanted:?}, as `input_ids` and the model's vocabulary imply",
            logits.size()
        );
        let Some(dtype) = Dtype::of(logits.kind()) else {
            bail!("{shown}: `logits` is of type {:?}, not floating-point", logits.kind());
        };
        let logits = logits.f_to_kind(Kind::Double)?;
        let mut reference = Reference { ids, mask, logits, dtype, spread: 0.0 };
        let real = reference.real()?;
        ensure!(real.f_any()?.f_int64_value(&[])? != 0, "{shown}: `attention_mask` leaves no token");
        let compared = reference.logits.f_masked_select(&real.f_unsqueeze(-1)?)?;
        ensure!(
            compared.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0,
            "{shown}: `logits` holds NaN or infinity at a real token"
        );
        reference.spread = compared.f_std(false)?.f_double_value(&[])?;
        Ok(reference)
    }

    /// Which tokens are real, `[batch, pos]` bool.
    fn real(&self) -> Result<Tensor> {
        Ok(match &self.mask {
            Some(mask) => mask.shallow_clone(),
            None => self.ids.f_ones_like()?.f_to_kind(Kind::Bool)?,
        })
    }

    /// Whether padding stands before the first real token of `row`.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn is_left_padded(&self, row: i64) -> Result<bool> {
        Ok(self.real()?.f_int64_value(&[row, 0])? == 0)
    }

    /// The largest difference of `ours`, as [`Reference::logits_of`] gives them, in rows that do not begin with
    /// padding; 0 if all do.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn difference_without_left_padding(&self, ours: &Tensor) -> Result<f64> {
        let real = self.real()?;
        let compared = real.f_logical_and(&real.f_narrow(1, 0, 1)?)?;
        let far = ours.f_sub(&self.logits)?.f_abs()?;
        let far = far.f_masked_fill(&far.f_isnan()?, f64::INFINITY)?;
        let far = far.f_masked_fill(&compared.f_logical_not()?.f_unsqueeze(-1)?, 0.0)?;
        Ok(far.f_max()?.f_double_value(&[])?)
    }

    /// The logits of `model` for the same tokens, `[batch, pos, vocab]` f64 on the CPU.
    ///
    /// # Errors
    /// If the tokens do not fit the model's window or libtorch fails.
    pub fn logits_of(&self, model: &Model) -> Result<Tensor> {
        let device = model.device();
        let mask = self.mask.as_ref().map(|mask| mask.f_to_device(device)).transpose()?;
        let ids = self.ids.f_to_device(device)?;
        let output = no_grad(|| model.run(&ids, Run { mask: mask.as_ref(), ..Run::default() }))?;
        Ok(output.logits()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?)
    }

    /// The largest difference between two models' logits at real tokens.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn apart(&self, one: &Tensor, other: &Tensor) -> Result<f64> {
        let far = one.f_sub(other)?.f_abs()?.f_mul(&self.real()?.f_unsqueeze(-1)?)?;
        Ok(far.f_max()?.f_double_value(&[])?)
    }

    /// The largest difference of `ours`, as [`Reference::logits_of`] gives them, and where it is.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn compare(&self, ours: &Tensor) -> Result<Difference> {
        let far = ours.f_sub(&self.logits)?.f_abs()?;
        // A NaN of ours is as far as can be.
        let far = far.f_masked_fill(&far.f_isnan()?, f64::INFINITY)?;
        let far = far.f_masked_fill(&self.real()?.f_logical_not()?.f_unsqueeze(-1)?, -1.0)?;
        let index = far.f_argmax(None, false)?.f_int64_value(&[])?;
        let (pos, vocab) = (ours.size()[1], ours.size()[2]);
        let (row, position, entry) = (index / (pos * vocab), index / vocab % pos, index % vocab);
        Ok(Difference {
            max_abs_diff: far.f_double_value(&[row, position, entry])?,
            row,
            position,
            token: self.ids.f_int64_value(&[row, position])?,
            entry,
            logit: ours.f_double_value(&[row, position, entry])?,
            reference: self.logits.f_double_value(&[row, position, entry])?,
        })
    }
}
