//! Identities of the residual stream: what enters it, what each block adds, how it is normalised and read.

use tch::Tensor;

use super::Recomputed;
use super::textbook::{activate, capped, divided, linear, normalised, scale, wide};
use crate::architecture::{Mlp, Norm, NormPlace};
use crate::error::Result;
use crate::hook::{Hook, HookPoint};
use crate::weights::{Linear, NormWeights};

const LN1: (&str, HookPoint, HookPoint) = ("ln1", HookPoint::Ln1Scale, HookPoint::Ln1Normalized);
const LN1_POST: (&str, HookPoint, HookPoint) =
    ("ln1_post", HookPoint::Ln1PostScale, HookPoint::Ln1PostNormalized);
const LN2: (&str, HookPoint, HookPoint) = ("ln2", HookPoint::Ln2Scale, HookPoint::Ln2Normalized);
const LN2_POST: (&str, HookPoint, HookPoint) =
    ("ln2_post", HookPoint::Ln2PostScale, HookPoint::Ln2PostNormalized);
const FINAL: (&str, HookPoint, HookPoint) = ("ln_final", HookPoint::FinalScale, HookPoint::FinalNormalized);

impl Recomputed<'_> {
    /// What enters the first block.
    pub(super) fn embedding(&mut self) -> Result<()> {
        let mut embed = self.looked_up(&self.weights.embed)?;
        if let Some(scale) = self.arch.embedding.scale {
            embed = embed.f_mul_scalar(self.rounded(scale)?)?;
        }
        let name = match (&self.weights.embed_in, self.arch.embedding.scale) {
            (Some(_), _) => "embed = W_in W_E[token]",
            (None, Some(_)) => "embed = scale W_E[token]",
            (None, None) => "embed = W_E[token]",
        };
        if let Some(projection) = &self.weights.embed_in {
            embed = linear(projection, &embed)?;
        }
        self.equal(name, Hook::top(HookPoint::Embed), &embed)?;
        if let Some(table) = &self.weights.positions {
            let offset = self.arch.embedding.position_offset as i64;
            let rows: Vec<i64> = self.positions.concat().iter().map(|position| position + offset).collect();
            let flat = Tensor::f_from_slice(&rows)?.f_to_device(table.device())?;
            let size = self.cache.get(Hook::top(HookPoint::Embed))?.size();
            let at = wide(&table.f_index_select(0, &flat)?)?.f_reshape(&size)?;
            self.equal("pos_embed = W_pos[position]", Hook::top(HookPoint::PosEmbed), &at)?;
        }
        Ok(())
    }

    /// One block.
    pub(super) fn block(&mut self, layer: usize) -> Result<()> {
        let block = &self.weights.blocks[layer];
        let on_stream = self.arch.norms.place == NormPlace::Post;
        let (below, name) = match (layer, self.arch.embedding.learned_positions) {
            (0, true) => (self.entering()?, "resid_pre = embed + pos_embed"),
            (0, false) => (self.entering()?, "resid_pre = embed"),
            _ => (self.at(layer - 1, HookPoint::ResidPost)?, "resid_pre = resid_post of the layer below"),
        };
        self.equal_at(name, layer, HookPoint::ResidPre, &below)?;
        let resid_pre = self.at(layer, HookPoint::ResidPre)?;
        self.equal_at("attn_in = resid_pre", layer, HookPoint::AttnIn, &resid_pre)?;

        let mut x = self.at(layer, HookPoint::AttnIn)?;
        if !on_stream {
            x = self.norm(layer, &block.ln1, LN1, x, "attn_in")?;
        }
        let out = self.attention(layer, &x)?;
        let out = self.norm(layer, &block.ln1_post, LN1_POST, out, "sum of result + b_O")?;
        let name = match block.ln1_post {
            Some(_) => "attn_out = ln1_post.normalized",
            None => "attn_out = sum of result + b_O",
        };
        self.equal_at(name, layer, HookPoint::AttnOut, &out)?;
        let attn_out = self.at(layer, HookPoint::AttnOut)?;

        let mut resid_mid = resid_pre.shallow_clone();
        if !self.arch.parallel {
            let (mut sum, mut name) = (resid_pre.f_add(&attn_out)?, "resid_mid = resid_pre + attn_out");
            if on_stream {
                sum = self.norm(layer, &block.ln1, LN1, sum, "resid_pre + attn_out")?;
                name = "resid_mid = ln1.normalized";
            }
            self.equal_at(name, layer, HookPoint::ResidMid, &sum)?;
            resid_mid = self.at(layer, HookPoint::ResidMid)?;
        }
        let name = if self.arch.parallel { "mlp_in = resid_pre" } else { "mlp_in = resid_mid" };
        self.equal_at(name, layer, HookPoint::MlpIn, &resid_mid)?;
        let mlp_in = self.at(layer, HookPoint::MlpIn)?;
        let mut x = mlp_in.shallow_clone();
        if !on_stream {
            x = self.norm(layer, &block.ln2, LN2, x, "mlp_in")?;
        }
        let (out, what) = self.mlp(layer, &x, &mlp_in)?;
        let out = self.norm(layer, &block.ln2_post, LN2_POST, out, &what)?;
        let name = match block.ln2_post {
            Some(_) => "mlp_out = ln2_post.normalized".to_owned(),
            None => format!("mlp_out = {what}"),
        };
        self.equal_at(&name, layer, HookPoint::MlpOut, &out)?;

        let mut sum = resid_mid.f_add(&self.at(layer, HookPoint::MlpOut)?)?;
        let mut name = "resid_mid + mlp_out".to_owned();
        if self.arch.parallel {
            sum = sum.f_add(&attn_out)?;
            name = "resid_pre + attn_out + mlp_out".to_owned();
        }
        if on_stream {
            sum = self.norm(layer, &block.ln2, LN2, sum, &name)?;
            name = "ln2.normalized".to_owned();
        }
        if block.per_layer.is_some() {
            let added = self.per_layer(layer, &sum)?;
            sum = sum.f_add(&added)?;
            name += " + per_layer_out";
        }
        if let Some(scale) = &block.layer_scale {
            sum = sum.f_mul(&wide(scale)?)?;
            name = format!("layer_scale ({name})");
        }
        self.equal_at(&format!("resid_post = {name}"), layer, HookPoint::ResidPost, &sum)
    }

    /// What leaves the last block, read.
    pub(super) fn unembedding(&mut self) -> Result<()> {
        let last = self.arch.n_layers - 1;
        let x = self.at(last, HookPoint::ResidPost)?;
        let mut x = self.norm(last, &self.weights.final_norm, FINAL, x, "resid_post")?;
        if let Some(projection) = &self.weights.unembed_in {
            x = linear(projection, &x)?;
        }
        let read = if self.weights.final_norm.is_some() { "ln_final.normalized" } else { "resid_post" };
        let read = if self.weights.unembed_in.is_some() { format!("W_out {read}") } else { read.to_owned() };
        let unembed = &self.weights.unembed;
        let bias = if unembed.bias.is_some() { " + b_U" } else { "" };
        let name = match self.arch.caps.logits {
            Some(_) => format!("logits = softcap(W_U {read}{bias})"),
            None => format!("logits = W_U {read}{bias}"),
        };
        let logits = capped(self.arch.caps.logits, linear(unembed, &x)?)?;
        self.equal(&name, Hook::top(HookPoint::Logits), &logits)
    }

    /// Holds both hooks of a norm, `(name, scale, normalized)`, of `x` against the textbook, and gives what the model
    /// goes on with; `x` itself where there is no norm.
    fn norm(
        &mut self,
        layer: usize,
        weights: &Option<NormWeights>,
        (name, by, out): (&str, HookPoint, HookPoint),
        x: Tensor,
        what: &str,
    ) -> Result<Tensor> {
        let Some(weights) = weights else { return Ok(x) };
        let norm = self.arch.norms.form;
        let (size, formula) = match (norm, weights.weight.is_some()) {
            (Norm::Layer { .. }, true) => ("std", "w (x - mean) / scale + b"),
            (Norm::Layer { .. }, false) => ("std", "(x - mean) / scale"),
            (Norm::Rms { .. }, true) => ("rms", "w x / scale"),
            (Norm::Rms { .. }, false) => ("rms", "x / scale"),
        };
        self.equal_at(&format!("{name}.scale = {size}({what})"), layer, by, &scale(norm, &x)?)?;
        let want = divided(norm, weights, &x, &self.at(layer, by)?)?;
        self.equal_at(&format!("{name}.normalized = {formula}"), layer, out, &want)?;
        self.at(layer, out)
    }

    /// What a token brings to `layer` beside the stream, and what comes of it where the stream is `resid`.
    fn per_layer(&mut self, layer: usize, resid: &Tensor) -> Result<Tensor> {
        let (Some(inputs), Some(weights), Some(width)) = (
            &self.weights.per_layer,
            &self.weights.blocks[layer].per_layer,
            self.arch.embedding.per_layer_width,
        ) else {
            return Ok(resid.f_zeros_like()?);
        };
        let (start, width) = ((layer * width) as i64, width as i64);
        let own = self.looked_up(&inputs.embed.f_narrow(1, start, width)?)?;
        let own = own.f_mul_scalar(self.rounded((width as f64).sqrt())?)?;
        let rows = Linear {
            weight: inputs.projection.weight.f_narrow(0, start, width)?,
            bias: inputs.projection.bias.as_ref().map(|bias| bias.f_narrow(0, start, width)).transpose()?,
        };
        let scaled = linear(&rows, &self.entering()?)?.f_div_scalar((self.arch.d_model as f64).sqrt())?;
        let projected = normalised(self.arch.norms.form, &inputs.norm, &scaled)?;
        let want = projected.f_add(&own)?.f_div_scalar(2f64.sqrt())?;
        let name = "per_layer_input = (norm(W embed) + W_E'[token]) / sqrt(2)";
        self.equal_at(name, layer, HookPoint::PerLayerInput, &want)?;

        let (Mlp::Gated { activation } | Mlp::Ungated { activation }) = self.arch.mlp;
        let gate = activate(activation, &linear(&weights.gate, resid)?)?;
        let gated = gate.f_mul(&self.at(layer, HookPoint::PerLayerInput)?)?;
        let want = normalised(self.arch.norms.form, &weights.norm, &linear(&weights.output, &gated)?)?;
        let name = "per_layer_out = norm(W_out (act(W_gate resid) per_layer_input))";
        self.equal_at(name, layer, HookPoint::PerLayerOut, &want)?;
        self.at(layer, HookPoint::PerLayerOut)
    }

    /// What enters the first block: embedding and positions.
    fn entering(&self) -> Result<Tensor> {
        let embed = wide(self.cache.get(Hook::top(HookPoint::Embed))?)?;
        match self.arch.embedding.learned_positions {
            true => Ok(embed.f_add(&wide(self.cache.get(Hook::top(HookPoint::PosEmbed))?)?)?),
            false => Ok(embed),
        }
    }

    /// The row of `table` of each token, `[batch, pos, width]`.
    fn looked_up(&self, table: &Tensor) -> Result<Tensor> {
        let flat = self.ids.f_reshape([-1])?.f_to_device(table.device())?;
        let mut size = self.ids.size();
        size.push(table.size()[1]);
        Ok(wide(&table.f_index_select(0, &flat)?)?.f_reshape(&size)?)
    }

    /// A factor as a model of this dtype has it.
    fn rounded(&self, factor: f64) -> Result<f64> {
        let kind = self.weights.embed.kind();
        Ok(Tensor::f_from_slice(&[factor])?
            .f_to_kind(kind)?
            .f_to_kind(tch::Kind::Double)?
            .f_double_value(&[0])?)
    }
}
