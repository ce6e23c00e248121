//! Identities of the MLP and of the mixture of experts.

use tch::{Kind, Tensor};

use super::Recomputed;
use super::textbook::{activate, linear, neurons, normalised, sigmoid, softmax, wide};
use crate::architecture::{Experts, Mlp};
use crate::error::Result;
use crate::hook::HookPoint;
use crate::weights::{ExpertWeights, MlpWeights};

impl Recomputed<'_> {
    /// What MLP and experts of `layer` make of `x`, the normalised stream, and of the stream `resid` itself; and a
    /// name for it.
    pub(super) fn mlp(&mut self, layer: usize, x: &Tensor, resid: &Tensor) -> Result<(Tensor, String)> {
        let block = &self.weights.blocks[layer];
        let dense = match &block.mlp {
            Some(weights) => Some(self.dense(layer, weights, x)?),
            None => None,
        };
        let (Some(weights), Some(form)) = (&block.experts, &self.arch.layers[layer].experts) else {
            let bias = block.mlp.as_ref().is_some_and(|mlp| mlp.output.bias.is_some());
            let name = if bias { "W_out post + b_out" } else { "W_out post" };
            return Ok((dense.map_or_else(|| x.f_zeros_like(), Ok)?, name.to_owned()));
        };
        let Some(norms) = &weights.own_norms else {
            let mixed = self.experts(layer, form, weights, x, x)?;
            return Ok(match (dense, &weights.shared_gate) {
                (None, _) => (mixed, "sum of experts".to_owned()),
                (Some(dense), None) => (mixed.f_add(&dense)?, "sum of experts + W_out post".to_owned()),
                (Some(dense), Some(gate)) => {
                    let shared = dense.f_mul(&sigmoid(&linear(gate, x)?)?)?;
                    (mixed.f_add(&shared)?, "sum of experts + sigmoid(gate) W_out post".to_owned())
                }
            });
        };
        let norm = self.arch.norms.form;
        let routed = normalised(norm, &norms.router, resid)?;
        let input = normalised(norm, &norms.input, resid)?;
        let mixed = normalised(norm, &norms.output, &self.experts(layer, form, weights, &input, &routed)?)?;
        Ok(match dense {
            None => (mixed, "norm(sum of experts)".to_owned()),
            Some(dense) => {
                let dense = normalised(norm, &norms.dense_output, &dense)?;
                (dense.f_add(&mixed)?, "norm(W_out post) + norm(sum of experts)".to_owned())
            }
        })
    }

    fn dense(&mut self, layer: usize, weights: &MlpWeights, x: &Tensor) -> Result<Tensor> {
        let (pre, name) = match &weights.gate {
            Some(gate) => (linear(gate, x)?, "pre = W_gate x"),
            None => (linear(&weights.input, x)?, "pre = W_in x"),
        };
        self.equal_at(name, layer, HookPoint::MlpPre, &pre)?;
        let pre = self.at(layer, HookPoint::MlpPre)?;
        let (post, name) = match self.arch.mlp {
            Mlp::Ungated { activation } => (activate(activation, &pre)?, "post = act(pre)"),
            Mlp::Gated { activation } => {
                let other = linear(&weights.input, x)?;
                self.equal_at("pre_linear = W_in x", layer, HookPoint::MlpPreLinear, &other)?;
                let other = self.at(layer, HookPoint::MlpPreLinear)?;
                (activate(activation, &pre)?.f_mul(&other)?, "post = act(pre) pre_linear")
            }
        };
        self.equal_at(name, layer, HookPoint::MlpPost, &post)?;
        linear(&weights.output, &self.at(layer, HookPoint::MlpPost)?)
    }

    /// The output of every expert for every token, weighted.
    fn experts(
        &mut self,
        layer: usize,
        form: &Experts,
        weights: &ExpertWeights,
        x: &Tensor,
        routed: &Tensor,
    ) -> Result<Tensor> {
        let name = if weights.own_norms.is_some() { "router = W_R norm(mlp_in)" } else { "router = W_R x" };
        self.equal_at(name, layer, HookPoint::Router, &linear(&weights.router, routed)?)?;
        let probabilities = softmax(&self.at(layer, HookPoint::Router)?)?;
        let share = self.at(layer, HookPoint::ExpertWeights)?;
        // Which experts were chosen is taken from the run, because some may be equally probable in a narrow dtype ...
        let chosen = share.f_ne(0.0)?;
        let kept = probabilities.f_mul(&chosen.f_to_kind(Kind::Double)?)?;
        let mut want = match form.renormalise {
            true => kept.f_div(&kept.f_sum_dim_intlist(-1, true, Kind::Double)?)?,
            false => kept.shallow_clone(),
        };
        if let Some(norms) = &weights.own_norms {
            want = want.f_mul(&wide(&norms.expert_scale)?)?;
        }
        let name = match (form.renormalise, &weights.own_norms) {
            (_, Some(_)) => "expert_weights = scale p / sum of p chosen, p = softmax(router)",
            (true, None) => "expert_weights = p / sum of p chosen, p = softmax(router)",
            (false, None) => "expert_weights = p if chosen, p = softmax(router)",
        };
        self.equal_at(name, layer, HookPoint::ExpertWeights, &want)?;
        // ... but they must be as probable as the most probable ones.
        let sorted = |p: &Tensor| -> Result<Tensor> { Ok(p.f_sort(-1, true)?.0) };
        let (most, all) = (sorted(&probabilities)?, form.count as i64);
        let (first, rest) = (form.per_token as i64, all - form.per_token as i64);
        let most = Tensor::f_cat(
            &[most.f_narrow(-1, 0, first)?, most.f_narrow(-1, first, rest)?.f_zeros_like()?],
            -1,
        )?;
        let error = super::textbook::largest(&sorted(&kept)?, &most)?;
        let hook = crate::hook::Hook::block(layer, HookPoint::ExpertWeights);
        self.note("experts chosen are the most probable", hook, error, 1.0);

        let mut sum = x.f_zeros_like()?;
        for (index, expert) in weights.experts.iter().enumerate() {
            let out = linear(&expert.output, &neurons(self.arch.mlp, expert, x)?)?;
            sum = sum.f_add(&out.f_mul(&share.f_narrow(-1, index as i64, 1)?)?)?;
        }
        Ok(sum)
    }
}
