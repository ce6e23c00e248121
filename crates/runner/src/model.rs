//! A model in memory: its architecture and its weights.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::architecture::{Architecture, NormPlace};
use crate::cache::{ActivationCache, NameFilter};
use crate::error::{Error, Result};
use crate::family;
use crate::forward::{self, Output, Run};
use crate::hook::Head;
use crate::weights::{ShallowClone, TensorSource, Weights};

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
    pub fn from_source(architecture: Architecture, source: &mut dyn TensorSource) -> Result<Self> {
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
        Model { architecture: self.architecture.clone(), weights: self.weights.shallow() }
    }

    /// The description of the model.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where embedding and unembedding are: inputs go there, logits come from there.
    pub fn device(&self) -> Device {
        self.weights.embed.device()
    }

    /// Every device that holds a part of the model, in the order in which a run comes to them.
    pub fn devices(&self) -> Vec<Device> {
        let mut devices = vec![self.device()];
        for device in self.weights.blocks.iter().map(|block| block.attention.q.weight.device()) {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
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
        forward::forward(&self.architecture, &self.weights, ids, run)
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
        forward::unembed(&self.architecture, &self.weights, resid)
    }

    /// The logits of `tokens`, `[rows, n]` i64, alone: `[rows, n]` from the last block's stream `[rows, d_model]`.
    /// Far less work than all logits of a large vocabulary.
    ///
    /// # Errors
    /// [`Error::Torch`] if the shapes do not fit.
    pub fn logits_of(&self, resid: &Tensor, tokens: &Tensor) -> Result<Tensor> {
        forward::logits_of(&self.architecture, &self.weights, resid, tokens)
    }

    /// What `contribution`, `[..., d_model]`, part of a residual stream, adds to the logits `[..., vocab]` when the
    /// final norm divides by `scale` (`ln_final.hook_scale`, broadcast against it). Linear: the parts of a stream
    /// sum to its logits before a soft cap, but for the biases of norm and unembedding. A model without a final
    /// norm does not look at `scale`.
    ///
    /// # Errors
    /// [`Error::Torch`] if the shapes do not fit.
    pub fn direct_logits(&self, contribution: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let mut read = match &self.weights.final_norm {
            Some(norm) => {
                let centred = match self.architecture.norms.form.centres() {
                    true => contribution.f_sub(&contribution.f_mean_dim(-1, true, None)?)?,
                    false => contribution.shallow_clone(),
                };
                let unit = centred.f_div(scale)?;
                match &norm.weight {
                    Some(weight) => unit.f_mul(weight)?,
                    None => unit,
                }
            }
            None => contribution.shallow_clone(),
        };
        if let Some(projection) = &self.weights.unembed_in {
            read = projection.forward(&read)?;
        }
        let unembed = &self.weights.unembed.weight;
        Ok(read.f_to_kind(unembed.kind())?.f_linear(unembed, None::<&Tensor>)?)
    }

    /// What `output`, `[..., d_model]`, part of the output of attention in `layer` (heads' results), adds to the
    /// stream that leaves the last block, directly. Linear: a norm after attention divides by `scale`
    /// (`blocks.L.ln1_post.hook_scale`, broadcast against it; not looked at where the model has no such norm).
    ///
    /// # Errors
    /// [`Error::Input`] if the scale is missing where it is needed, and for a model that normalises the stream
    /// itself: there nothing goes through it unchanged.
    pub fn attention_to_stream(
        &self,
        layer: usize,
        output: &Tensor,
        scale: Option<&Tensor>,
    ) -> Result<Tensor> {
        if self.architecture.norms.place == NormPlace::Post {
            return Err(Error::Input(format!(
                "this {} model normalises the stream in every block: no head adds to the logits directly",
                self.architecture.family
            )));
        }
        let mut added = output.shallow_clone();
        if let Some(norm) = &self.weights.blocks[layer].ln1_post {
            let missing = || Error::Input(format!("the scale of blocks.{layer}.ln1_post is needed"));
            if self.architecture.norms.form.centres() {
                added = added.f_sub(&added.f_mean_dim(-1, true, None)?)?;
            }
            added = added.f_div(scale.ok_or_else(missing)?)?;
            if let Some(weight) = &norm.weight {
                added = added.f_mul(weight)?;
            }
        }
        for block in &self.weights.blocks[layer..] {
            if let Some(scale) = &block.layer_scale {
                added = added.f_mul(&scale.f_to_device(added.device())?)?;
            }
        }
        Ok(added)
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
