//! Identities of attention.

use tch::{Kind, Tensor};

use super::Recomputed;
use super::rotation::rotated;
use super::textbook::{capped, divided, largest, linear, normalised, plus_bias, scale, softmax};
use crate::architecture::{Keys, Norm, QkNorm};
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint};
use crate::weights::{Linear, NormWeights};

impl Recomputed<'_> {
    /// Attention in `layer`, reading `x`. Gives the sum of the heads' results and b_O.
    pub(super) fn attention(&mut self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let weights = &self.weights.blocks[layer].attention;
        let q = self.by_head(layer, &linear(&weights.q, x)?)?;
        self.equal_at(&with_bias("q = W_Q x", " + b_Q", &weights.q), layer, HookPoint::Q, &q)?;
        if let Some(keys) = &weights.k {
            let projected = self.by_head(layer, &linear(keys, x)?)?;
            self.equal_at(&with_bias("k = W_K x", " + b_K", keys), layer, HookPoint::K, &projected)?;
            self.values(layer, x, projected)?;
        }
        let rotary = &self.arch.layers[layer].rotary;
        for (unrotated, turned, name) in
            [(HookPoint::Q, HookPoint::RotQ, "rot_q = R"), (HookPoint::K, HookPoint::RotK, "rot_k = R")]
        {
            if let Some(rotary) = rotary
                && (unrotated == HookPoint::Q || weights.k.is_some())
            {
                let want = rotated(rotary, &self.positions, &self.conditioned(layer, unrotated)?)?;
                let name = self.conditioning(name, unrotated);
                self.equal_at(&name, layer, turned, &want)?;
            }
        }
        self.mixing(layer)?;
        let z = self.at(layer, HookPoint::Z)?;
        let mut results = Vec::new();
        let d_head = self.arch.layers[layer].d_head as i64;
        for head in 0..self.arch.n_heads as i64 {
            let own = Linear { weight: weights.out.weight.f_narrow(1, head * d_head, d_head)?, bias: None };
            results.push(linear(&own, &z.f_select(2, head)?)?);
        }
        self.equal_at(
            "result = z W_O of the head",
            layer,
            HookPoint::Result,
            &Tensor::f_stack(&results, 2)?,
        )?;
        let sum = self.at(layer, HookPoint::Result)?.f_sum_dim_intlist(2, false, Kind::Double)?;
        plus_bias(&weights.out, sum)
    }

    /// Values, as they are mixed. `projected` are the keys' projections.
    fn values(&mut self, layer: usize, x: &Tensor, projected: Tensor) -> Result<()> {
        let weights = &self.weights.blocks[layer].attention;
        let (mut v, mut name) = match &weights.v {
            Some(map) => (self.by_head(layer, &linear(map, x)?)?, with_bias("W_V x", " + b_V", map)),
            None => (projected, "W_K x".to_owned()),
        };
        if let Some(most) = self.arch.caps.qkv {
            v = v.f_clamp(-most, most)?;
            name = format!("clip({name})");
        }
        if self.arch.norms.v {
            let norm = Norm::Rms { eps: self.arch.norms.form.eps() };
            v = v.f_div(&scale(norm, &v)?)?;
            name = format!("norm({name})");
        }
        self.equal_at(&format!("v = {name}"), layer, HookPoint::V, &v)
    }

    /// Scores, pattern and z.
    fn mixing(&mut self, layer: usize) -> Result<()> {
        let form = &self.arch.layers[layer];
        let source = match form.keys {
            Keys::OfLayer(source) => source,
            _ => layer,
        };
        let ready = |point, turned, layer: usize| match self.arch.layers[layer].rotary {
            Some(_) => self.at(layer, turned),
            None => self.conditioned(layer, point),
        };
        let (q, k) =
            (ready(HookPoint::Q, HookPoint::RotQ, layer)?, ready(HookPoint::K, HookPoint::RotK, source)?);
        let v = self.at(source, HookPoint::V)?;
        let allowed = self.allowed(form.window)?;
        let at = |point| Hook::block(layer, point);
        let pattern = self.at(layer, HookPoint::Pattern)?;
        let (mut scores, mut mixed) = (Vec::new(), Vec::new());
        for head in 0..self.arch.n_heads {
            // The group of query heads that this one is in.
            let group = (head / (self.arch.n_heads / form.n_kv_heads)) as i64;
            let head = head as i64;
            let products = q.f_select(2, head)?.f_matmul(&k.f_select(2, group)?.f_transpose(1, 2)?)?;
            let squashed = capped(self.arch.caps.scores, products.f_mul_scalar(form.score_factor)?)?;
            scores.push(squashed.f_masked_fill(&allowed.f_logical_not()?, f64::NEG_INFINITY)?);
            mixed.push(pattern.f_select(1, head)?.f_matmul(&v.f_select(2, group)?)?);
        }
        let name = match self.arch.caps.scores {
            Some(_) => "attn_scores = softcap(factor q k), masked",
            None => "attn_scores = factor q k, masked",
        };
        self.equal(name, at(HookPoint::AttnScores), &Tensor::f_stack(&scores, 1)?)?;
        let want = softmax(&self.at(layer, HookPoint::AttnScores)?)?;
        self.equal("pattern = softmax(attn_scores)", at(HookPoint::Pattern), &want)?;
        let sums = pattern.f_sum_dim_intlist(-1, false, Kind::Double)?;
        let error = largest(&sums, &sums.f_ones_like()?)?;
        self.note("pattern rows sum to 1", at(HookPoint::Pattern), error, 1.0);
        let error = largest(&pattern.f_clamp_max(0.0)?, &pattern.f_zeros_like()?)?;
        self.note("pattern >= 0", at(HookPoint::Pattern), error, 1.0);
        let outside = pattern.f_masked_fill(&allowed.f_unsqueeze(1)?, 0.0)?;
        let error = largest(&outside, &outside.f_zeros_like()?)?;
        self.note("pattern = 0 where masked", at(HookPoint::Pattern), error, 1.0);
        let name = if source == layer { "z = pattern v" } else { "z = pattern v of another layer" };
        self.equal(name, at(HookPoint::Z), &Tensor::f_stack(&mixed, 2)?)
    }

    /// `[batch, query, key]` bool: a query looks at itself and at the real tokens before it, within its window.
    fn allowed(&self, window: Option<usize>) -> Result<Tensor> {
        let (batch, pos) = (self.real.len(), self.real.first().map_or(0, Vec::len));
        let mut allowed = Vec::with_capacity(batch * pos * pos);
        for row in &self.real {
            for query in 0..pos {
                for (key, real) in row.iter().enumerate() {
                    let near = key <= query && window.is_none_or(|window| query - key < window);
                    allowed.push(near && (*real || key == query));
                }
            }
        }
        let size = [batch as i64, pos as i64, pos as i64];
        Ok(Tensor::f_from_slice(&allowed)?.f_reshape(size)?)
    }

    /// Queries or keys normalised and clipped, before rotation.
    fn conditioned(&self, layer: usize, point: HookPoint) -> Result<Tensor> {
        let mut x = self.at(layer, point)?;
        let weights = &self.weights.blocks[layer].attention;
        let norm = if point == HookPoint::Q { &weights.q_norm } else { &weights.k_norm };
        match (self.arch.norms.qk, norm) {
            (None, None) => {}
            (Some(QkNorm::AllHeads), Some(norm)) => {
                let flat = x.f_flatten(2, 3)?;
                x = normalised(self.arch.norms.form, norm, &flat)?.f_reshape(x.size())?;
            }
            (Some(QkNorm::Head), Some(norm)) => x = normalised(self.arch.norms.form, norm, &x)?,
            (Some(QkNorm::EachHead), Some(norm)) => {
                let mut heads = Vec::new();
                for head in 0..x.size()[2] {
                    let of_head = |t: &Tensor| t.f_select(0, head);
                    let own = NormWeights {
                        weight: norm.weight.as_ref().map(of_head).transpose()?,
                        bias: norm.bias.as_ref().map(of_head).transpose()?,
                    };
                    let x = x.f_select(2, head)?;
                    heads.push(divided(self.arch.norms.form, &own, &x, &scale(self.arch.norms.form, &x)?)?);
                }
                x = Tensor::f_stack(&heads, 2)?;
            }
            _ => return Err(Error::weight(format!("blocks.{layer}.attn"), "has norms that do not fit")),
        }
        match self.arch.caps.qkv {
            Some(most) => Ok(x.f_clamp(-most, most)?),
            None => Ok(x),
        }
    }

    /// The name of the identity of rotated queries or keys.
    fn conditioning(&self, rotated: &str, point: HookPoint) -> String {
        let mut inside = if point == HookPoint::Q { "q" } else { "k" }.to_owned();
        if self.arch.norms.qk.is_some() {
            inside = format!("norm({inside})");
        }
        if self.arch.caps.qkv.is_some() {
            inside = format!("clip({inside})");
        }
        format!("{rotated} {inside}")
    }

    /// `[batch, pos, heads * d_head]` to `[batch, pos, head, d_head]`.
    fn by_head(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let size = x.size();
        let d_head = self.arch.layers[layer].d_head as i64;
        Ok(x.f_reshape([size[0], size[1], size[2] / d_head, d_head])?)
    }
}

fn with_bias(name: &str, bias: &str, map: &Linear) -> String {
    format!("{name}{}", if map.bias.is_some() { bias } else { "" })
}
