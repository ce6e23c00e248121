//! The MLP of a block.

use tch::Tensor;

use crate::architecture::{Activation, Mlp};
use crate::decoder::Tap;
use crate::error::{Error, Result};
use crate::hook::{Hook, Point};
use crate::weights::MlpWeights;

/// `x`, `[batch, pos, d_model]` after the norm, to the MLP's output of the same shape.
pub(crate) fn forward(
    form: Mlp,
    weights: &MlpWeights,
    x: &Tensor,
    layer: usize,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let post = match (form, &weights.gate) {
        (Mlp::Plain { activation }, _) => {
            let pre = tap.see(Hook::block(layer, Point::MlpPre), weights.input.forward(x)?)?;
            activate(activation, &pre)?
        }
        (Mlp::Gated { activation }, Some(gate)) => {
            let pre = tap.see(Hook::block(layer, Point::MlpPre), gate.forward(x)?)?;
            let linear = tap.see(Hook::block(layer, Point::MlpPreLinear), weights.input.forward(x)?)?;
            activate(activation, &pre)?.f_mul(&linear)?
        }
        (Mlp::Gated { .. }, None) => {
            return Err(Error::weight(format!("blocks.{layer}.mlp"), "has no gate in a gated MLP"));
        }
    };
    let post = tap.see(Hook::block(layer, Point::MlpPost), post)?;
    weights.output.forward(&post)
}

fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(match activation {
        Activation::Gelu => x.f_gelu("none")?,
        Activation::GeluTanh => x.f_gelu("tanh")?,
        Activation::Relu => x.f_relu()?,
        Activation::Silu => x.f_silu()?,
    })
}
