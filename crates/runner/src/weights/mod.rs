//! The weights in the one layout that the forward pass knows.

mod source;

use tch::Tensor;

use crate::error::Result;
use crate::kernels::{gemv, onednn};

pub use source::{Part, TensorSource};
pub(crate) use source::{check_shape, plus_one};

/// All weights of a decoder.
#[derive(Debug)]
pub struct Weights {
    /// Token embedding W_E, `[vocab, d_model]` (or `[vocab, embed_width]`).
    pub embed: Tensor,
    /// From the embedding to the stream, where their widths differ, `[d_model, embed_width]`.
    pub embed_in: Option<Linear>,
    /// Learned positions W_pos, `[n_ctx, d_model]` and, before them, the rows of
    /// [`crate::architecture::Embedding::position_offset`].
    pub positions: Option<Tensor>,
    /// What every token brings to every layer beside the stream.
    pub per_layer: Option<PerLayerInputs>,
    /// The blocks, from the input up.
    pub blocks: Vec<Block>,
    /// The norm before the unembedding.
    pub final_norm: Option<NormWeights>,
    /// From the stream back to the embedding's width, `[embed_width, d_model]`.
    pub unembed_in: Option<Linear>,
    /// Unembedding, `[vocab, d_model]` (or `[vocab, embed_width]`); shares memory with `embed` in a tied model.
    pub unembed: Linear,
}

impl Weights {
    /// How many numbers they are; what shares memory (a tied unembedding) counts once.
    pub fn n_params(&self) -> usize {
        let mut known = std::collections::BTreeSet::new();
        let mut count = 0;
        self.each(&mut |tensor| {
            if known.insert(tensor.data_ptr() as usize) {
                count += tensor.numel();
            }
        });
        // Kept with the weights, but not trained: `transformers` does not count it either.
        let scales = self.blocks.iter().filter_map(|block| block.layer_scale.as_ref());
        count - scales.map(Tensor::numel).sum::<usize>()
    }

    /// Weights of nothing but embedding and unembedding.
    pub(crate) fn new(embed: Tensor, unembed: Linear) -> Self {
        Weights {
            embed,
            embed_in: None,
            positions: None,
            per_layer: None,
            blocks: Vec::new(),
            final_norm: None,
            unembed_in: None,
            unembed,
        }
    }
}

/// Gemma 4's per-layer inputs: a second embedding, plus a projection of the first one.
#[derive(Debug)]
pub struct PerLayerInputs {
    /// `[vocab, layers * width]`.
    pub embed: Tensor,
    /// `[layers * width, d_model]`.
    pub projection: Linear,
    /// `[width]`, over each layer's part of the projection.
    pub norm: NormWeights,
}

/// The weights of one block.
#[derive(Debug)]
pub struct Block {
    /// Norm before attention, or after its addition to the stream.
    pub ln1: Option<NormWeights>,
    /// Norm of attention's output.
    pub ln1_post: Option<NormWeights>,
    /// Attention.
    pub attention: Attention,
    /// Norm before the MLP, or after its addition to the stream.
    pub ln2: Option<NormWeights>,
    /// Norm of the MLP's output.
    pub ln2_post: Option<NormWeights>,
    /// The dense MLP, or the shared expert.
    pub mlp: Option<MlpWeights>,
    /// The mixture of experts.
    pub experts: Option<ExpertWeights>,
    /// What the per-layer input goes through.
    pub per_layer: Option<PerLayerWeights>,
    /// Multiplies the stream at the end of the block, `[1]`.
    pub layer_scale: Option<Tensor>,
}

impl Block {
    /// A block of nothing but attention.
    pub(crate) fn new(attention: Attention) -> Self {
        Block {
            ln1: None,
            ln1_post: None,
            attention,
            ln2: None,
            ln2_post: None,
            mlp: None,
            experts: None,
            per_layer: None,
            layer_scale: None,
        }
    }
}

/// A norm's weights, each as wide as what is normalised.
#[derive(Debug, Default)]
pub struct NormWeights {
    /// Multiplies the normalised input; none: 1.
    pub weight: Option<Tensor>,
    /// Is added to it; LayerNorm only.
    pub bias: Option<Tensor>,
}

/// Attention weights; heads are contiguous slices of the rows (q, k, v) or columns (out).
#[derive(Debug)]
pub struct Attention {
    /// Queries, `[heads * d_head, d_model]`.
    pub q: Linear,
    /// Keys, `[kv_heads * d_head, d_model]`; none in a layer that uses those of another.
    pub k: Option<Linear>,
    /// Values, `[kv_heads * d_head, d_model]`; none where the keys' projection serves for both.
    pub v: Option<Linear>,
    /// Norm of the queries, `[d_head]`, `[heads, d_head]` or `[heads * d_head]` (see [`crate::architecture::QkNorm`]).
    pub q_norm: Option<NormWeights>,
    /// Norm of the keys, alike.
    pub k_norm: Option<NormWeights>,
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

/// A mixture of experts.
#[derive(Debug)]
pub struct ExpertWeights {
    /// `[experts, d_model]`.
    pub router: Linear,
    /// The experts.
    pub experts: Vec<MlpWeights>,
    /// The shared expert's gate, `[1, d_model]`.
    pub shared_gate: Option<Linear>,
    /// What Gemma 4 adds.
    pub own_norms: Option<OwnNorms>,
}

/// The norms around Gemma 4's experts and the dense MLP beside them.
#[derive(Debug)]
pub struct OwnNorms {
    /// Of what the router reads, its scale and 1/sqrt(d_model) included.
    pub router: NormWeights,
    /// Of what the experts read.
    pub input: NormWeights,
    /// Of what the experts give.
    pub output: NormWeights,
    /// Of what the dense MLP gives.
    pub dense_output: NormWeights,
    /// Multiplies each expert's weight, `[experts]`.
    pub expert_scale: Tensor,
}

/// What a per-layer input goes through: `norm(W_out (act(W_gate x) * input))`.
#[derive(Debug)]
pub struct PerLayerWeights {
    /// `[width, d_model]`.
    pub gate: Linear,
    /// `[d_model, width]`.
    pub output: Linear,
    /// `[d_model]`.
    pub norm: NormWeights,
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
        let x = x.f_to_kind(self.weight.kind())?;
        let (weight, bias) = (&self.weight, self.bias.as_ref());
        if let Some(y) = gemv::linear(&x, weight, bias)? {
            return Ok(y);
        }
        match onednn::linear(&x, weight, bias)? {
            Some(y) => Ok(y),
            None => Ok(x.f_linear(weight, bias)?),
        }
    }
}

/// The same weights for another thread: tensors can be sent but not shared. Nothing is copied.
pub(crate) trait ShallowClone {
    fn shallow(&self) -> Self;
}

impl ShallowClone for Tensor {
    fn shallow(&self) -> Self {
        self.shallow_clone()
    }
}

impl<T: ShallowClone> ShallowClone for Option<T> {
    fn shallow(&self) -> Self {
        self.as_ref().map(T::shallow)
    }
}

impl<T: ShallowClone> ShallowClone for Vec<T> {
    fn shallow(&self) -> Self {
        self.iter().map(T::shallow).collect()
    }
}

/// Shows every tensor.
pub(crate) trait EachTensor {
    fn each(&self, see: &mut dyn FnMut(&Tensor));
}

impl EachTensor for Tensor {
    fn each(&self, see: &mut dyn FnMut(&Tensor)) {
        see(self);
    }
}

impl<T: EachTensor> EachTensor for Option<T> {
    fn each(&self, see: &mut dyn FnMut(&Tensor)) {
        self.iter().for_each(|inner| inner.each(see));
    }
}

impl<T: EachTensor> EachTensor for Vec<T> {
    fn each(&self, see: &mut dyn FnMut(&Tensor)) {
        self.iter().for_each(|inner| inner.each(see));
    }
}

macro_rules! shallow_clone {
    ($($name:ident { $($field:ident),* })*) => {
        $(impl ShallowClone for $name {
            fn shallow(&self) -> Self {
                $name { $($field: self.$field.shallow()),* }
            }
        }

        impl EachTensor for $name {
            fn each(&self, see: &mut dyn FnMut(&Tensor)) {
                $(self.$field.each(see);)*
            }
        })*
    };
}

shallow_clone! {
    Weights { embed, embed_in, positions, per_layer, blocks, final_norm, unembed_in, unembed }
    PerLayerInputs { embed, projection, norm }
    Block { ln1, ln1_post, attention, ln2, ln2_post, mlp, experts, per_layer, layer_scale }
    NormWeights { weight, bias }
    Attention { q, k, v, q_norm, k_norm, out }
    MlpWeights { gate, input, output }
    ExpertWeights { router, experts, shared_gate, own_norms }
    OwnNorms { router, input, output, dense_output, expert_scale }
    PerLayerWeights { gate, output, norm }
    Linear { weight, bias }
}
