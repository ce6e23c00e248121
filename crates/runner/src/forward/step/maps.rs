//! The weights as the step reads them: slices of the tensors' own memory.

use tch::{Device, Kind, Tensor};

use super::numbers::NormNumbers;
use crate::architecture::{Architecture, Norm};
use crate::dtype::wider;
use crate::error::Result;
use crate::kernels::product::Matrix;
use crate::weights::{Linear, NormWeights, Weights};

/// A linear map.
pub(super) struct Map<'m> {
    pub(super) weight: Matrix<'m>,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) out: usize,
}

/// The weights of a block.
pub(super) struct BlockMaps<'m> {
    pub(super) ln1: Option<NormNumbers>,
    pub(super) ln1_post: Option<NormNumbers>,
    pub(super) ln2: Option<NormNumbers>,
    pub(super) ln2_post: Option<NormNumbers>,
    pub(super) q: Map<'m>,
    pub(super) k: Option<Map<'m>>,
    pub(super) v: Option<Map<'m>>,
    pub(super) q_norm: Option<NormNumbers>,
    pub(super) k_norm: Option<NormNumbers>,
    pub(super) out: Map<'m>,
    pub(super) gate: Option<Map<'m>>,
    pub(super) input: Map<'m>,
    pub(super) output: Map<'m>,
    pub(super) scale: Option<f32>,
}

/// All weights.
pub(super) struct Maps<'m> {
    pub(super) embed: Matrix<'m>,
    pub(super) embed_width: usize,
    pub(super) embed_in: Option<Map<'m>>,
    pub(super) positions: Option<Matrix<'m>>,
    pub(super) blocks: Vec<BlockMaps<'m>>,
    pub(super) final_norm: Option<NormNumbers>,
    pub(super) unembed_in: Option<Map<'m>>,
    pub(super) unembed: Map<'m>,
}

/// The numbers of a contiguous tensor of `kind`, f32 or bf16, on the CPU.
pub(super) fn matrix(tensor: &Tensor, kind: Kind) -> Option<Matrix<'_>> {
    let fits = tensor.kind() == kind
        && tensor.device() == Device::Cpu
        && tensor.is_contiguous()
        && !tensor.requires_grad();
    let (data, length) = (tensor.data_ptr(), tensor.numel());
    // SAFETY: the memory of a contiguous tensor of that kind, which lives as long as the tensor is borrowed. Weights
    // are not written while a model is borrowed; of a cache, only columns that were written are read.
    match kind {
        _ if !fits => None,
        Kind::Float => Some(Matrix::Single(unsafe { std::slice::from_raw_parts(data.cast(), length) })),
        Kind::BFloat16 => Some(Matrix::Bf16(unsafe { std::slice::from_raw_parts(data.cast(), length) })),
        _ => None,
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(&tensor.f_to_kind(Kind::Float)?.f_reshape([-1])?)?)
}

pub(super) fn norm(form: Norm, weights: &NormWeights, kind: Kind) -> Result<NormNumbers> {
    let wide = weights.weight.as_ref().is_none_or(|weight| weight.kind() == wider(kind));
    Ok(NormNumbers {
        form,
        weight: weights.weight.as_ref().map(numbers).transpose()?,
        bias: weights.bias.as_ref().map(numbers).transpose()?,
        before_rounding: form.centres() || wide,
    })
}

impl<'m> Maps<'m> {
    /// None if some weights are not such that the step can read them.
    pub(super) fn new(arch: &Architecture, weights: &'m Weights, kind: Kind) -> Result<Option<Self>> {
        // A weight that cannot be read ends it by the error below, which nobody sees.
        let mut unreadable = false;
        let mut map = |linear: &'m Linear| -> Result<Map<'m>> {
            let weight = matrix(&linear.weight, kind);
            unreadable |= weight.is_none();
            let bias = linear.bias.as_ref().map(numbers).transpose()?;
            let out = linear.weight.size()[0] as usize;
            Ok(Map { weight: weight.unwrap_or(Matrix::Single(&[])), bias, out })
        };
        let normed = |weights: &Option<NormWeights>| -> Result<Option<NormNumbers>> {
            weights.as_ref().map(|weights| norm(arch.norms.form, weights, kind)).transpose()
        };
        let mut blocks = Vec::with_capacity(weights.blocks.len());
        for block in &weights.blocks {
            let (Some(mlp), None, None) = (&block.mlp, &block.experts, &block.per_layer) else {
                return Ok(None);
            };
            let attention = &block.attention;
            let scale = block.layer_scale.as_ref().map(numbers).transpose()?;
            blocks.push(BlockMaps {
                ln1: normed(&block.ln1)?,
                ln1_post: normed(&block.ln1_post)?,
                ln2: normed(&block.ln2)?,
                ln2_post: normed(&block.ln2_post)?,
                q: map(&attention.q)?,
                k: attention.k.as_ref().map(&mut map).transpose()?,
                v: attention.v.as_ref().map(&mut map).transpose()?,
                q_norm: normed(&attention.q_norm)?,
                k_norm: normed(&attention.k_norm)?,
                out: map(&attention.out)?,
                gate: mlp.gate.as_ref().map(&mut map).transpose()?,
                input: map(&mlp.input)?,
                output: map(&mlp.output)?,
                scale: scale.and_then(|scale| scale.first().copied()),
            });
        }
        let embed_in = weights.embed_in.as_ref().map(&mut map).transpose()?;
        let unembed_in = weights.unembed_in.as_ref().map(&mut map).transpose()?;
        let unembed = map(&weights.unembed)?;
        let positions = match &weights.positions {
            None => None,
            Some(table) => match matrix(table, kind) {
                None => return Ok(None),
                some => some,
            },
        };
        let (Some(embed), false) = (matrix(&weights.embed, kind), unreadable) else { return Ok(None) };
        let embed_width = weights.embed.size()[1] as usize;
        let final_norm = normed(&weights.final_norm)?;
        Ok(Some(Maps { embed, embed_width, embed_in, positions, blocks, final_norm, unembed_in, unembed }))
    }
}
