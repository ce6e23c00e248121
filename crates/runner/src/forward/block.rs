//! One block: attention and MLP with the norms around them, added to the residual stream.

use tch::Tensor;

use crate::architecture::{Architecture, NormPlace};
use crate::error::Result;
use crate::forward::attention::{self, Context, KeysValues};
use crate::forward::mlp;
use crate::forward::norm::{self, NormHooks};
use crate::hook::{Hook, HookPoint};
use crate::tap::Tap;
use crate::weights::{NormWeights, Weights};

/// Takes the stream `resid`, `[batch, pos, d_model]`, through block `layer`. `input` is the layer's own input
/// beside the stream, `[batch, pos, width]`, where the model has one. What is given is not computed. Also gives the
/// keys and values that attention used, if it had to be computed. With `context.last_query` only the last position
/// leaves the block.
pub(crate) fn forward(
    arch: &Architecture,
    weights: &Weights,
    layer: usize,
    resid: Tensor,
    input: Option<&Tensor>,
    context: Context<'_>,
    tap: &mut Tap<'_>,
) -> Result<(Tensor, Option<KeysValues>)> {
    let block = &weights.blocks[layer];
    let at = |point| Hook::block(layer, point);
    let before = arch.norms.place != NormPlace::Post;
    let normed =
        |weights: &Option<NormWeights>, x: Tensor, hooks: [HookPoint; 2], tap: &mut Tap<'_>| match weights {
            Some(weights) => {
                let hooks = NormHooks::block(layer, hooks[0], hooks[1]);
                norm::forward(arch.norms.form, weights, &x, hooks, tap)
            }
            None => Ok(x),
        };
    let ln1 = [HookPoint::Ln1Scale, HookPoint::Ln1Normalized];
    let ln2 = [HookPoint::Ln2Scale, HookPoint::Ln2Normalized];

    // What is read of the stream is a tensor of its own, so that its gradient is its own and not that of all who
    // read it.
    let resid_pre = tap.observe(at(HookPoint::ResidPre), resid.f_alias()?)?;
    let given = context.given;
    let last = context.last_query.then(|| resid.size()[1] - 1);
    let read = |t: &Tensor| match last {
        Some(last) => t.f_narrow(1, last.min(t.size()[1] - 1), 1),
        None => Ok(t.shallow_clone()),
    };
    let (attn_out, used) = match (given.attn_out, given.z) {
        _ if given.resid_mid.is_some() => (None, None),
        (Some(out), _) => (Some(read(out)?), None),
        (None, z) => {
            let (out, used) = match z {
                Some(z) => (attention::output(&block.attention, &read(z)?, layer, tap)?, None),
                None => {
                    let mut x = tap.observe(at(HookPoint::AttnIn), resid_pre.f_alias()?)?;
                    if before {
                        x = normed(&block.ln1, x, ln1, tap)?;
                    }
                    let (out, used) = attention::forward(arch, &block.attention, &x, layer, context, tap)?;
                    (out, Some(used))
                }
            };
            let out =
                normed(&block.ln1_post, out, [HookPoint::Ln1PostScale, HookPoint::Ln1PostNormalized], tap)?;
            (Some(tap.observe(at(HookPoint::AttnOut), out)?), used)
        }
    };
    let resid_pre = read(&resid_pre)?;

    let resid_mid = if arch.parallel {
        resid_pre
    } else if let Some(resid_mid) = given.resid_mid {
        read(resid_mid)?
    } else {
        let mut sum = match &attn_out {
            Some(out) => resid_pre.f_add(out)?,
            None => resid_pre,
        };
        if !before {
            sum = normed(&block.ln1, sum, ln1, tap)?;
        }
        tap.observe(at(HookPoint::ResidMid), sum)?
    };
    let mlp_out = match given.mlp_out {
        Some(out) => read(out)?,
        None => {
            let stream = tap.observe(at(HookPoint::MlpIn), resid_mid.f_alias()?)?;
            let x = match before {
                true => normed(&block.ln2, stream.shallow_clone(), ln2, tap)?,
                false => stream.shallow_clone(),
            };
            let out = mlp::forward(arch, block, &x, &stream, layer, tap)?;
            let out =
                normed(&block.ln2_post, out, [HookPoint::Ln2PostScale, HookPoint::Ln2PostNormalized], tap)?;
            tap.observe(at(HookPoint::MlpOut), out)?
        }
    };

    let mut resid = resid_mid.f_add(&mlp_out)?;
    if let (true, Some(out)) = (arch.parallel, &attn_out) {
        resid = resid.f_add(out)?;
    }
    if !before {
        resid = normed(&block.ln2, resid, ln2, tap)?;
    }
    if let (Some(weights), Some(input)) = (&block.per_layer, input) {
        let input = tap.observe(at(HookPoint::PerLayerInput), read(input)?.f_to_device(resid.device())?)?;
        let out = mlp::per_layer(arch.mlp, arch.norms.form, weights, &resid, &input)?;
        resid = resid.f_add(&tap.observe(at(HookPoint::PerLayerOut), out)?)?;
    }
    if let Some(scale) = &block.layer_scale {
        resid = resid.f_mul(scale)?;
    }
    Ok((tap.observe(at(HookPoint::ResidPost), resid)?, used))
}
