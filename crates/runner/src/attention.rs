//! Causal attention with grouped queries, in two ways that must agree: through scores and pattern, where every
//! hook can be seen and changed, and through libtorch's fused kernel when nobody looks inside.

use tch::{Kind, Tensor};

use crate::architecture::Architecture;
use crate::decoder::Tap;
use crate::error::Result;
use crate::hook::{Hook, Point};
use crate::kv_cache::KvCache;
use crate::rotary::Rotation;
use crate::weights::Attention;

/// What attention needs beside its input; the same for every layer of a run.
pub(crate) struct Context {
    pub(crate) rotation: Option<Rotation>,
    /// `[batch or 1, 1, query, key]` bool, true where a query may look.
    pub(crate) mask: Option<Tensor>,
    /// The mask is the plain causal one (or all true for a single query) and can be left to the kernel.
    pub(crate) plain: bool,
}

/// `x`, `[batch, pos, d_model]` after the norm, to attention's output of the same shape.
pub(crate) fn forward(
    arch: &Architecture,
    weights: &Attention,
    x: &Tensor,
    layer: usize,
    context: &Context,
    kv: Option<&mut KvCache>,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let at = |point| Hook::block(layer, point);
    let (batch, pos) = (x.size()[0], x.size()[1]);
    let (n_heads, n_kv, d_head) = (arch.n_heads as i64, arch.n_kv_heads as i64, arch.d_head as i64);
    let split = |t: Tensor, heads: i64| t.f_reshape([batch, pos, heads, d_head]);

    // [batch, pos, head, d_head]
    let mut q = tap.see(at(Point::Q), split(weights.q.forward(x)?, n_heads)?)?;
    let mut k = tap.see(at(Point::K), split(weights.k.forward(x)?, n_kv)?)?;
    let v = tap.see(at(Point::V), split(weights.v.forward(x)?, n_kv)?)?;
    if let Some(rotation) = &context.rotation {
        q = tap.see(at(Point::RotQ), rotation.apply(&q)?)?;
        k = tap.see(at(Point::RotK), rotation.apply(&k)?)?;
    }
    let q = q.f_transpose(1, 2)?;
    let (mut k, mut v) = (k.f_transpose(1, 2)?, v.f_transpose(1, 2)?);
    if let Some(kv) = kv {
        (k, v) = kv.append(layer, &k, &v)?;
    }
    // [batch, head, key pos, d_head]: each key/value head serves n_heads / n_kv query heads in a row.
    let (k, v) = (spread(&k, n_heads / n_kv)?, spread(&v, n_heads / n_kv)?);

    let factor = arch.attention_factor(layer);
    let looked_at = tap.wants(at(Point::AttnScores)) || tap.wants(at(Point::Pattern));
    let mixed = if looked_at {
        let scores = q.f_matmul(&k.f_transpose(2, 3)?)?.f_mul_scalar(factor)?;
        let scores = match &context.mask {
            Some(mask) => scores.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?,
            None => scores,
        };
        let scores = tap.see(at(Point::AttnScores), scores)?;
        let wide = scores.f_to_kind(crate::norm::wider(scores.kind()))?;
        let pattern = wide.f_softmax(-1, None::<Kind>)?.f_to_kind(scores.kind())?;
        let pattern = tap.see(at(Point::Pattern), pattern)?;
        pattern.f_matmul(&v)?
    } else {
        let causal = context.plain && pos > 1;
        let mask = if context.plain { None } else { context.mask.as_ref() };
        Tensor::f_scaled_dot_product_attention(&q, &k, &v, mask, 0.0, causal, factor, false)?
    };
    let z = tap.see(at(Point::Z), mixed.f_transpose(1, 2)?)?;

    if tap.wants(at(Point::Result)) {
        // W_O by head: [head, d_head, d_model]
        let out = weights.out.weight.f_reshape([-1, n_heads, d_head])?.f_permute([1, 2, 0])?;
        let each = z.f_to_kind(out.kind())?.f_unsqueeze(3)?.f_matmul(&out)?.f_squeeze_dim(3)?;
        let each = tap.see(at(Point::Result), each)?;
        let sum = each.f_sum_dim_intlist(2, false, None::<Kind>)?;
        return Ok(match &weights.out.bias {
            Some(bias) => sum.f_add(bias)?,
            None => sum,
        });
    }
    weights.out.forward(&z.f_reshape([batch, pos, n_heads * d_head])?)
}

/// Repeats each key/value head `times` in a row along axis 1.
fn spread(t: &Tensor, times: i64) -> Result<Tensor> {
    if times == 1 {
        return Ok(t.shallow_clone());
    }
    let size = t.size();
    let wide = t.f_unsqueeze(2)?.f_expand([size[0], size[1], times, size[2], size[3]], false)?;
    Ok(wide.f_reshape([size[0], size[1] * times, size[2], size[3]])?)
}
