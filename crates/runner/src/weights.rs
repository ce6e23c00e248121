//! The weights in the one layout that the forward pass knows, and where they come from.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::family;

/// All weights of a decoder.
#[derive(Debug)]
pub struct Weights {
    /// Token embedding W_E, `[vocab, d_model]`.
    pub embed: Tensor,
    /// Learned positions W_pos, `[n_ctx, d_model]`.
    pub positions: Option<Tensor>,
    /// The blocks, from the input up.
    pub blocks: Vec<Block>,
    /// The norm before the unembedding.
    pub final_norm: NormWeights,
    /// Unembedding, `[vocab, d_model]`; shares memory with `embed` in a tied model.
    pub unembed: Tensor,
}

impl Weights {
    /// The same weights for another thread: tensors can be sent but not shared. Nothing is copied.
    pub(crate) fn shallow_clone(&self) -> Self {
        let norm = |norm: &NormWeights| NormWeights {
            weight: norm.weight.shallow_clone(),
            bias: norm.bias.as_ref().map(Tensor::shallow_clone),
        };
        let linear = |linear: &Linear| Linear {
            weight: linear.weight.shallow_clone(),
            bias: linear.bias.as_ref().map(Tensor::shallow_clone),
        };
        let block = |block: &Block| Block {
            ln1: norm(&block.ln1),
            attention: Attention {
                q: linear(&block.attention.q),
                k: linear(&block.attention.k),
                v: linear(&block.attention.v),
                out: linear(&block.attention.out),
            },
            ln2: norm(&block.ln2),
            mlp: MlpWeights {
                gate: block.mlp.gate.as_ref().map(linear),
                input: linear(&block.mlp.input),
                output: linear(&block.mlp.output),
            },
        };
        Weights {
            embed: self.embed.shallow_clone(),
            positions: self.positions.as_ref().map(Tensor::shallow_clone),
            blocks: self.blocks.iter().map(block).collect(),
            final_norm: norm(&self.final_norm),
            unembed: self.unembed.shallow_clone(),
        }
    }
}

/// The weights of one block.
#[derive(Debug)]
pub struct Block {
    /// Norm before attention.
    pub ln1: NormWeights,
    /// Attention.
    pub attention: Attention,
    /// Norm before the MLP.
    pub ln2: NormWeights,
    /// MLP.
    pub mlp: MlpWeights,
}

/// A norm's weights, each `[d_model]`.
#[derive(Debug)]
pub struct NormWeights {
    /// Multiplies the normalised input.
    pub weight: Tensor,
    /// Is added to it; LayerNorm only.
    pub bias: Option<Tensor>,
}

/// Attention weights; heads are contiguous slices of the rows (q, k, v) or columns (out).
#[derive(Debug)]
pub struct Attention {
    /// Queries, `[heads * d_head, d_model]`.
    pub q: Linear,
    /// Keys, `[kv_heads * d_head, d_model]`.
    pub k: Linear,
    /// Values, `[kv_heads * d_head, d_model]`.
    pub v: Linear,
    /// W_O, `[d_model, heads * d_head]`.
    pub out: Linear,
}

/// MLP weights.
#[derive(Debug)]
pub struct MlpWeights {
    /// W_gate, `[d_mlp, d_model]`, of a gated MLP.
    pub gate: Option<Linear>,
    /// W_in, `[d_mlp, d_model]`.
    pub input: Linear,
    /// W_out, `[d_model, d_mlp]`.
    pub output: Linear,
}

/// `y = W x + b`.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// Applies the map to the last axis of `x`, computing in the weight's dtype.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_to_kind(self.weight.kind())?.f_linear(&self.weight, self.bias.as_ref())?)
    }
}

/// Gives tensors by name; whoever asks states the shape that it must have.
pub trait Source {
    /// Whether there is a tensor of that name.
    fn has(&self, name: &str) -> bool;
    /// Takes the tensor `name`.
    ///
    /// # Errors
    /// [`Error::Weight`] if it is missing, of another shape, or not finite.
    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor>;
}

/// A [`Source`] over tensors in memory, for training and for tests. Differentiable: the tensors are not copied.
impl Source for BTreeMap<String, Tensor> {
    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let tensor = self.remove(name).ok_or_else(|| Error::weight(name, "is missing"))?;
        check_shape(name, &tensor.size(), shape)?;
        Ok(tensor)
    }
}

/// Refuses a tensor of the wrong shape.
pub(crate) fn check_shape(name: &str, found: &[i64], wanted: &[i64]) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::weight(name, format!("has shape {found:?}, but config.json implies {wanted:?}")))
}

/// A [`Source`] that answers every request with fresh random weights and keeps them under their names.
struct Fresh {
    std: f64,
    made: BTreeMap<String, Tensor>,
}

impl Source for Fresh {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let options = (Kind::Float, tch::Device::Cpu);
        let tensor = match shape {
            // Vectors are norm weights, which start at one, and biases, which start at zero.
            [_] if name.ends_with("bias") => Tensor::f_zeros(shape, options)?,
            [_] => Tensor::f_ones(shape, options)?,
            _ => Tensor::f_randn(shape, options)?.f_mul_scalar(self.std)?,
        };
        self.made.insert(name.to_owned(), tensor.shallow_clone());
        Ok(tensor)
    }
}

/// Fresh weights for `architecture` under the family's tensor names: matrices normal with standard deviation
/// `std` (from libtorch's global generator: seed it with [`tch::manual_seed`]), norms one, biases zero.
///
/// # Errors
/// [`Error::Config`] for an unknown family, [`Error::Torch`] when memory does not suffice.
pub fn fresh(architecture: &Architecture, std: f64) -> Result<BTreeMap<String, Tensor>> {
    let mut source = Fresh { std, made: BTreeMap::new() };
    family::weights(architecture, &mut source)?;
    Ok(source.made)
}
