//! What must hold between the activations of a run: each hook is computed anew, slowly and plainly, from the others.

use refrain_runner::architecture::{Activation, Mlp, Norm, Positions};
use refrain_runner::weights::{Linear, NormWeights};
use refrain_runner::{ActivationCache, NameFilter, Point};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::Golden;
use tch::{Kind, Tensor, no_grad};

const EXACT: f64 = 1e-12;

/// Runs `test` on every layer of every model, with all its activations.
fn every_layer(test: impl Fn(&mut Check, &Golden, &ActivationCache, usize) -> Result) -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let ids = golden.get("input_ids")?;
        let (_, cache) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
        for layer in 0..golden.model.architecture().n_layers {
            test(&mut check, &golden, &cache, layer)?;
        }
    }
    check.finish();
    Ok(())
}

fn apply(linear: &Linear, x: &Tensor) -> Tensor {
    let y = x.matmul(&linear.weight.tr());
    linear.bias.iter().fold(y, |y, bias| y + bias)
}

#[test]
fn the_residual_stream_is_a_sum() -> Result {
    every_layer(|check, golden, cache, layer| {
        let at = |point| cache.block(layer, point);
        let what = |name| format!("{}: {name}", golden.name);
        let mid = at(Point::ResidPre)? + at(Point::AttnOut)?;
        check.close(what("resid_mid = resid_pre + attn_out"), at(Point::ResidMid)?, &mid, EXACT);
        let post = at(Point::ResidMid)? + at(Point::MlpOut)?;
        check.close(what("resid_post = resid_mid + mlp_out"), at(Point::ResidPost)?, &post, EXACT);
        let before = if layer > 0 {
            cache.block(layer - 1, Point::ResidPost)?.shallow_clone()
        } else {
            let embed = cache.get("hook_embed".parse()?)?;
            match golden.model.architecture().positions {
                Positions::Learned => embed + cache.get("hook_pos_embed".parse()?)?,
                Positions::Rotary { .. } => embed.shallow_clone(),
            }
        };
        check.close(what("resid_pre = resid_post of the layer below"), at(Point::ResidPre)?, &before, EXACT);
        check.same(what("attn_in = resid_pre"), at(Point::AttnIn)?, at(Point::ResidPre)?);
        check.same(what("mlp_in = resid_mid"), at(Point::MlpIn)?, at(Point::ResidMid)?);
        Ok(())
    })
}

#[test]
fn heads_sum_to_attention() -> Result {
    every_layer(|check, golden, cache, layer| {
        let arch = golden.model.architecture();
        let out = &golden.model.weights().blocks[layer].attention.out;
        let (z, result) = (cache.block(layer, Point::Z)?, cache.block(layer, Point::Result)?);
        let sum = result.sum_dim_intlist(2, false, Kind::Double);
        let sum = out.bias.iter().fold(sum, |sum, bias| sum + bias);
        let what = format!("{}: sum over heads of result + b_O = attn_out", golden.name);
        check.close(what, &sum, cache.block(layer, Point::AttnOut)?, EXACT);
        for head in 0..arch.n_heads as i64 {
            let d_head = arch.d_head as i64;
            let own = z.select(2, head).matmul(&out.weight.narrow(1, head * d_head, d_head).tr());
            check.close(
                format!("{}: result = z W_O of the head", golden.name),
                &result.select(2, head),
                &own,
                EXACT,
            );
        }
        Ok(())
    })
}

#[test]
fn attention_is_a_causal_average() -> Result {
    every_layer(|check, golden, cache, layer| {
        let arch = golden.model.architecture();
        let what = |name| format!("{}: {name}", golden.name);
        let (pattern, scores) = (cache.block(layer, Point::Pattern)?, cache.block(layer, Point::AttnScores)?);
        let sums = pattern.sum_dim_intlist(-1, false, Kind::Double);
        check.close(what("rows of the pattern sum to 1"), &sums, &sums.ones_like(), EXACT);
        check.holds(what("no negative attention"), pattern.min().double_value(&[]) >= 0.0);
        let future = pattern.triu(1);
        check.same(what("no attention to the future"), &future, &future.zeros_like());
        check.close(
            what("pattern = softmax of the scores"),
            pattern,
            &scores.softmax(-1, Kind::Double),
            EXACT,
        );

        let (q, k) = match arch.positions {
            Positions::Learned => (cache.block(layer, Point::Q)?, cache.block(layer, Point::K)?),
            Positions::Rotary { .. } => (cache.block(layer, Point::RotQ)?, cache.block(layer, Point::RotK)?),
        };
        let (v, z) = (cache.block(layer, Point::V)?, cache.block(layer, Point::Z)?);
        for head in 0..arch.n_heads {
            let (head, group) = (head as i64, (head * arch.n_kv_heads / arch.n_heads) as i64);
            let mixed = pattern.select(1, head).matmul(&v.select(2, group));
            check.close(what("z = pattern v"), &z.select(2, head), &mixed, EXACT);
            let products = q.select(2, head).matmul(&k.select(2, group).transpose(1, 2));
            let seen = products.ones_like().tril(0);
            let scores = scores.select(1, head).masked_fill(&seen.eq(0.0), 0.0);
            let want = (products * arch.attention_factor(layer)).tril(0);
            check.close(what("scores = factor q k"), &scores, &want, EXACT);
        }
        Ok(())
    })
}

#[test]
fn queries_keys_and_values_are_linear_in_the_normalised_stream() -> Result {
    every_layer(|check, golden, cache, layer| {
        let weights = &golden.model.weights().blocks[layer].attention;
        let x = cache.block(layer, Point::Ln1Normalized)?;
        for (linear, point, name) in
            [(&weights.q, Point::Q, "q"), (&weights.k, Point::K, "k"), (&weights.v, Point::V, "v")]
        {
            let made = cache.block(layer, point)?;
            check.close(format!("{}: {name}", golden.name), &made.flatten(2, 3), &apply(linear, x), EXACT);
        }
        Ok(())
    })
}

#[test]
fn rotation_keeps_norms_and_depends_on_distance_only() -> Result {
    every_layer(|check, golden, cache, layer| {
        if golden.model.architecture().positions == Positions::Learned {
            check.holds(format!("{}: no rotation", golden.name), cache.block(layer, Point::RotQ).is_err());
            return Ok(());
        }
        for (plain, rotated) in [(Point::Q, Point::RotQ), (Point::K, Point::RotK)] {
            let (x, y) = (cache.block(layer, plain)?, cache.block(layer, rotated)?);
            let norm = |t: &Tensor| t.square().sum_dim_intlist(-1, false, Kind::Double).sqrt();
            let what = |name| format!("{}: {rotated:?} {name}", golden.name);
            check.close(what("has the norm of before"), &norm(y), &norm(x), EXACT);
            check.same(what("at position 0 is as before"), &y.select(1, 0), &x.select(1, 0));
            let moved = (y - x).abs().amax([-1], false).narrow(1, 1, x.size()[1] - 1).min().double_value(&[]);
            check.holds(what("later is not as before"), moved > 1e-3);
        }
        Ok(())
    })
}

fn normalised(norm: Norm, weights: &NormWeights, x: &Tensor) -> (Tensor, Tensor) {
    let (centred, eps) = match norm {
        Norm::Layer { eps } => (x - x.mean_dim(-1, true, Kind::Double), eps),
        Norm::Rms { eps } => (x.shallow_clone(), eps),
    };
    let scale = ((&centred * &centred).mean_dim(-1, true, Kind::Double) + eps).sqrt();
    let y = &centred / &scale * &weights.weight;
    (scale, weights.bias.iter().fold(y, |y, bias| y + bias))
}

#[test]
fn norms_are_those_of_the_textbook() -> Result {
    every_layer(|check, golden, cache, layer| {
        let (norm, weights) = (golden.model.architecture().norm, golden.model.weights());
        let block = &weights.blocks[layer];
        let at = |point| cache.block(layer, point);
        let top = |name: &str| -> Result<&Tensor> { Ok(cache.get(name.parse()?)?) };
        let last = cache.block(golden.model.architecture().n_layers - 1, Point::ResidPost)?;
        for (name, weights, x, scale, out) in [
            ("ln1", &block.ln1, at(Point::ResidPre)?, at(Point::Ln1Scale)?, at(Point::Ln1Normalized)?),
            ("ln2", &block.ln2, at(Point::ResidMid)?, at(Point::Ln2Scale)?, at(Point::Ln2Normalized)?),
            (
                "ln_final",
                &weights.final_norm,
                last,
                top("ln_final.hook_scale")?,
                top("ln_final.hook_normalized")?,
            ),
        ] {
            let (by, want) = normalised(norm, weights, x);
            check.close(format!("{}: {name} scale", golden.name), scale, &by, EXACT);
            check.close(format!("{}: {name} normalized", golden.name), out, &want, EXACT);
        }
        let logits = top("ln_final.hook_normalized")?.matmul(&weights.unembed.tr());
        check.close(format!("{}: logits = normalized W_U", golden.name), top("hook_logits")?, &logits, EXACT);
        Ok(())
    })
}

#[test]
fn the_mlp_is_that_of_the_textbook() -> Result {
    fn activate(activation: Activation, x: &Tensor) -> Tensor {
        match activation {
            Activation::Gelu => x * 0.5 * ((x / 2f64.sqrt()).erf() + 1.0),
            Activation::GeluTanh => {
                let inner = (x + x.pow_tensor_scalar(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
                x * 0.5 * (inner.tanh() + 1.0)
            }
            Activation::Relu => x.clamp_min(0.0),
            Activation::Silu => x / ((-x).exp() + 1.0),
        }
    }
    every_layer(|check, golden, cache, layer| {
        let weights = &golden.model.weights().blocks[layer].mlp;
        let at = |point| cache.block(layer, point);
        let x = at(Point::Ln2Normalized)?;
        let what = |name| format!("{}: {name}", golden.name);
        let post = match (golden.model.architecture().mlp, &weights.gate) {
            (Mlp::Plain { activation }, None) => {
                check.close(what("pre"), at(Point::MlpPre)?, &apply(&weights.input, x), EXACT);
                activate(activation, at(Point::MlpPre)?)
            }
            (Mlp::Gated { activation }, Some(gate)) => {
                check.close(what("pre is the gate's"), at(Point::MlpPre)?, &apply(gate, x), EXACT);
                check.close(what("pre_linear"), at(Point::MlpPreLinear)?, &apply(&weights.input, x), EXACT);
                activate(activation, at(Point::MlpPre)?) * at(Point::MlpPreLinear)?
            }
            (form, _) => return Err(format!("{form:?} with the wrong weights").into()),
        };
        check.close(what("post"), at(Point::MlpPost)?, &post, EXACT);
        check.close(
            what("mlp_out = W_out post + b"),
            at(Point::MlpOut)?,
            &apply(&weights.output, &post),
            EXACT,
        );
        Ok(())
    })
}
