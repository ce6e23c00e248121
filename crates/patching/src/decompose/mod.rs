//! The residual stream of one run taken apart: by layer, by component, by head, by neuron, at any position, and what
//! each part writes into a logit (Elhage et al. 2021; nostalgebraist 2020). The names are those of TransformerLens's
//! `ActivationCache`, and so are the values, with one difference: where a norm follows attention or the MLP (Gemma 2 to
//! 4, OLMo 2), heads and neurons are what arrives in the stream, through that norm with its scale frozen, so that they
//! sum to what the layer adds.

mod heads;
mod select;
mod stack;

use refrain_runner::{Hook, HookPoint, PromptRun};
use tch::{Tensor, no_grad};

use crate::attribution::linear::{check_additive, scale_between};
use crate::attribution::writers::{attention, has_per_layer, neurons};
use crate::error::{Error, Result};
use crate::tensors::wide;

pub use heads::HeadResults;
pub use select::{At, Before};
pub use stack::ResidualStack;

use select::Selected;

/// Decompositions of a [`PromptRun`] that kept the activations that they are made of: [`Prompted::cache`] says which.
/// `before` says of which stream, `at` at which positions.
///
/// [`Prompted::cache`]: refrain_runner::Prompted::cache
pub trait ResidualDecomposition {
    /// The stream as it grows: what enters every block (`0_pre`), what stands between attention and MLP where the block
    /// has that (`0_mid`), up to `before`, whose own stream is the last (`final_post` before the unembedding). From
    /// `ResidPre`, `ResidMid` and, before the unembedding, `ResidPost` of the last layer.
    ///
    /// # Errors
    /// [`Error::Input`] for a layer or a position that does not exist, and for `Before::Mlp` in a block that is
    /// parallel; [`Error::Runner`] if the run did not keep the activations.
    fn accumulated_resid(&self, before: Before, at: At) -> Result<ResidualStack<'_>>;

    /// What was added to make the stream: `embed`, `pos_embed`, `0_attn_out`, `0_mlp_out`, ... They sum to it. From
    /// `Embed`, `PosEmbed`, `AttnOut`, `MlpOut` (and `PerLayerOut` in Gemma 4).
    ///
    /// # Errors
    /// As [`ResidualDecomposition::accumulated_resid`]; [`Error::Input`] for a model that normalises the stream itself.
    fn decompose_resid(&self, before: Before, at: At) -> Result<ResidualStack<'_>>;

    /// What each head added to the stream, without the biases: `L0H0`, `L0H1`, ... From `Z`.
    ///
    /// # Errors
    /// As [`ResidualDecomposition::decompose_resid`].
    fn stack_head_results(&self, before: Before, at: At) -> Result<ResidualStack<'_>>;

    /// What each neuron added to the stream, without the biases: `L0N0`, `L0N1`, ... From `MlpPost`. It takes
    /// `d_model` numbers for each neuron and position.
    ///
    /// # Errors
    /// As [`ResidualDecomposition::decompose_resid`]; [`Error::Input`] for layers with experts.
    fn stack_neuron_results(&self, before: Before, at: At) -> Result<ResidualStack<'_>>;

    /// What each head wrote at the last position, to be read as a matrix of layers and heads. From `Z`.
    ///
    /// # Errors
    /// As [`ResidualDecomposition::stack_head_results`].
    fn head_results(&self) -> Result<HeadResults<'_>>;

    /// The same at `position`, from 0.
    ///
    /// # Errors
    /// As [`ResidualDecomposition::stack_head_results`].
    fn head_results_at(&self, position: usize) -> Result<HeadResults<'_>>;
}

impl ResidualDecomposition for PromptRun<'_> {
    fn accumulated_resid(&self, before: Before, at: At) -> Result<ResidualStack<'_>> {
        let of = Selected::new(self, before, at)?;
        let arch = of.model.architecture();
        let mut parts = Vec::new();
        for layer in 0..=before.last_layer(arch) {
            let (pre, mid) =
                (Hook::block(layer, HookPoint::ResidPre), Hook::block(layer, HookPoint::ResidMid));
            parts.push((format!("{layer}_pre"), of.kept(pre)?));
            if arch.has(mid) && before.includes_mid(layer) {
                parts.push((format!("{layer}_mid"), of.kept(mid)?));
            }
        }
        if before == Before::Unembed {
            parts.push(("final_post".to_owned(), of.stream()?));
        }
        ResidualStack::of(of, parts)
    }

    fn decompose_resid(&self, before: Before, at: At) -> Result<ResidualStack<'_>> {
        let of = additive(self, before, at, "decompose_resid")?;
        let arch = of.model.architecture();
        let mut parts = vec![("embed".to_owned(), of.written(Hook::top(HookPoint::Embed), 0)?)];
        if arch.embedding.learned_positions {
            parts.push(("pos_embed".to_owned(), of.written(Hook::top(HookPoint::PosEmbed), 0)?));
        }
        for layer in 0..before.attention_layers(arch) {
            let attn = Hook::block(layer, HookPoint::AttnOut);
            parts.push((format!("{layer}_attn_out"), of.written(attn, layer)?));
            if layer >= before.mlp_layers(arch) {
                continue;
            }
            parts.push((
                format!("{layer}_mlp_out"),
                of.written(Hook::block(layer, HookPoint::MlpOut), layer)?,
            ));
            if has_per_layer(arch, layer) {
                let own = Hook::block(layer, HookPoint::PerLayerOut);
                parts.push((format!("{layer}_per_layer_out"), of.written(own, layer)?));
            }
        }
        ResidualStack::of(of, parts)
    }

    fn stack_head_results(&self, before: Before, at: At) -> Result<ResidualStack<'_>> {
        let of = additive(self, before, at, "stack_head_results")?;
        let layers = before.attention_layers(of.model.architecture());
        by_layer(of, layers, 'H', &|of, layer| Ok(attention(of.model, layer, &|hook| of.kept(hook))?.0))
    }

    fn stack_neuron_results(&self, before: Before, at: At) -> Result<ResidualStack<'_>> {
        let of = additive(self, before, at, "stack_neuron_results")?;
        let layers = before.mlp_layers(of.model.architecture());
        by_layer(of, layers, 'N', &|of, layer| {
            neurons(of.model, layer, &|hook| of.kept(hook))?.ok_or_else(|| {
                Error::Input(format!(
                    "layer {layer} has experts, whose neurons do not add to the stream one by one\nhint: \
                     `decompose_resid` has what the layer's experts add together"
                ))
            })
        })
    }

    fn head_results(&self) -> Result<HeadResults<'_>> {
        Ok(HeadResults::new(self.stack_head_results(Before::Unembed, At::Last)?))
    }

    fn head_results_at(&self, position: usize) -> Result<HeadResults<'_>> {
        Ok(HeadResults::new(self.stack_head_results(Before::Unembed, At::Positions(vec![position]))?))
    }
}

fn additive<'r>(run: &'r PromptRun<'_>, before: Before, at: At, what: &str) -> Result<Selected<'r>> {
    check_additive(&run.language_model().model, what)?;
    Selected::new(run, before, at)
}

/// A stack of what `written`, `[pos, index, d_model]`, gives for each of the first `layers` layers.
fn by_layer<'r>(
    of: Selected<'r>,
    layers: usize,
    letter: char,
    written: &dyn Fn(&Selected<'r>, usize) -> Result<Tensor>,
) -> Result<ResidualStack<'r>> {
    let (mut labels, mut parts) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        let own = no_grad(|| -> Result<Tensor> {
            let times = scale_between(of.model, layer, of.before.entered(of.model.architecture()))?;
            let own = written(&of, layer)?.f_mul_scalar(times)?;
            Ok(own.f_transpose(0, 1)?.f_to_device(of.model.device())?)
        })?;
        labels.extend((0..own.size()[0]).map(|index| format!("L{layer}{letter}{index}")));
        parts.push(own);
    }
    let values = match parts.is_empty() {
        true => of.empty()?,
        false => wide(&Tensor::f_cat(&parts, 0)?)?,
    };
    Ok(ResidualStack::new(of, labels, values))
}
