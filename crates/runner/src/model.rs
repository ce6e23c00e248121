//! A model in memory: its architecture and its weights.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::architecture::{Architecture, Norm};
use crate::cache::{ActivationCache, NameFilter};
use crate::decoder::{self, Output, Run};
use crate::error::{Error, Result};
use crate::family;
use crate::hook::Head;
use crate::weights::{Source, Weights};

/// A model that can be run.
#[derive(Debug)]
pub struct Model {
    architecture: Architecture,
    weights: Weights,
}

impl Model {
    /// Takes the weights out of `source`.
    ///
    /// # Errors
    /// [`Error::Weight`] for a tensor that is missing or does not fit `architecture`.
    pub fn from_source(architecture: Architecture, source: &mut dyn Source) -> Result<Self> {
        let weights = family::weights(&architecture, source)?;
        Ok(Model { architecture, weights })
    }

    /// A model over tensors in memory under Hugging Face's names. They are not copied, so gradients reach them;
    /// matrices may be in a narrower dtype than the norms' weights and the embedding.
    ///
    /// # Errors
    /// [`Error::Weight`] for a tensor that is missing or has the wrong shape.
    pub fn from_tensors(architecture: Architecture, mut tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        Model::from_source(architecture, &mut tensors)
    }

    /// The same model for another thread (tensors can be sent but not shared). The weights are not copied.
    pub fn shallow_clone(&self) -> Self {
        Model { architecture: self.architecture.clone(), weights: self.weights.shallow_clone() }
    }

    /// The description of the model.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.weights.embed.device()
    }

    /// The dtype of the residual stream.
    pub fn kind(&self) -> Kind {
        self.weights.embed.kind()
    }

    /// Every query head, layer by layer.
    pub fn heads(&self) -> Vec<Head> {
        let per_layer = self.architecture.n_heads;
        (0..self.architecture.n_layers)
            .flat_map(|layer| (0..per_layer).map(move |head| Head { layer, head }))
            .collect()
    }

    /// Runs `ids`, `[batch, pos]` i64, as `run` says. Records gradients if the weights ask for them; wrap in
    /// [`tch::no_grad`] otherwise.
    ///
    /// # Errors
    /// [`Error::Window`] if there are more tokens than positions, [`Error::Input`] for shapes that do not
    /// fit, [`Error::Intervention`], [`Error::Torch`].
    pub fn run(&self, ids: &Tensor, run: Run<'_>) -> Result<Output> {
        decoder::forward(&self.architecture, &self.weights, ids, run)
    }

    /// The logits of `ids`, `[batch, pos, vocab]`.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn logits(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(self.run(ids, Run::default())?.logits()?.shallow_clone())
    }

    /// The logits of `ids` and the activations that `names` asks for.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_with_cache(&self, ids: &Tensor, names: NameFilter) -> Result<(Tensor, ActivationCache)> {
        let output = self.run(ids, Run { names, ..Run::default() })?;
        Ok((output.logits()?.shallow_clone(), output.cache))
    }

    /// The final norm and the unembedding applied to a residual stream: `[batch, pos, d_model]` to
    /// `[batch, pos, vocab]`. On the stream of an earlier layer this is the logit lens.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn unembed(&self, resid: &Tensor) -> Result<Tensor> {
        decoder::unembed(&self.architecture, &self.weights, resid)
    }

    /// What `contribution`, `[..., d_model]`, part of a residual stream, adds to the logits `[..., vocab]` when the final
    /// norm divides by `scale` (`ln_final.hook_scale`, broadcast against it). Linear: the parts of a
    /// stream sum to its logits, but for the norm's bias.
    ///
    /// # Errors
    /// [`Error::Torch`] if the shapes do not fit.
    pub fn direct_logits(&self, contribution: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let centred = match self.architecture.norm {
            Norm::Layer { .. } => contribution.f_sub(&contribution.f_mean_dim(-1, true, None)?)?,
            Norm::Rms { .. } => contribution.shallow_clone(),
        };
        let normalized = centred.f_div(scale)?.f_mul(&self.weights.final_norm.weight)?;
        let unembed = &self.weights.unembed;
        Ok(normalized.f_to_kind(unembed.kind())?.f_linear(unembed, None::<&Tensor>)?)
    }

    /// Rows of token ids of one length as a `[batch, pos]` tensor on the model's device.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first row of another length.
    pub fn ids(&self, rows: &[Vec<i64>]) -> Result<Tensor> {
        let length = rows.first().map_or(0, Vec::len);
        if let Some((row, other)) = rows.iter().enumerate().find(|(_, row)| row.len() != length) {
            return Err(Error::Input(format!(
                "row {row} has {} tokens, row 0 has {length}: pad them or run them apart",
                other.len()
            )));
        }
        let flat: Vec<i64> = rows.concat();
        let ids = Tensor::f_from_slice(&flat)?.f_reshape([rows.len() as i64, length as i64])?;
        Ok(ids.f_to_device(self.device())?)
    }
}
