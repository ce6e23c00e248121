//! How far refrain is from `transformers`, quantity by quantity: what the tests hold it to and docs/parity.md shows.

use refrain_runner::{
    DeviceChoice, HookPoint, KvCache, LoadOptions, LogitPositions, Model, ModelFiles, NameFilter, Run,
};
use tch::{Kind, Tensor, no_grad};

use crate::Result;
use crate::check::largest;
use crate::golden::{Golden, folder};

/// The quantities, in the order of the table: heading, and what it is.
pub const QUANTITIES: [(&str, &str); 9] = [
    ("logits, f32", "largest difference from transformers as it is, in f32"),
    (
        "logits, f64",
        "from transformers with its casts to f32 lifted, as everything in f64; attention by the fused kernel",
    ),
    ("logits, hooks", "the same with every hook kept, attention through scores and pattern"),
    ("residual", "the residual stream before and after every block, and after the final norm"),
    ("attention, MLP", "what attention and MLP of every block add to the residual stream"),
    ("pattern", "attention weights of every head"),
    ("padded", "logits of prompts of unequal length, padded on the left and on the right"),
    ("cached", "logits of greedy decoding with kept keys and values, left-padded prompts"),
    (
        "bf16, rms ratio",
        "rms error of the logits in bf16 over that of transformers in bf16, both against f64",
    ),
];

/// The error of one model in each of [`QUANTITIES`], computed on `device`.
pub fn errors(name: &str, device: DeviceChoice) -> Result<[f64; QUANTITIES.len()]> {
    let golden = Golden::on(name, device)?;
    let narrow = |kind: Kind| -> Result<Model> { load(name, kind, device) };
    let ids = golden.get("input_ids")?;
    let want = golden.double("logits_f64")?;
    let logits = |model: &Model| -> Result<Tensor> { Ok(no_grad(|| model.logits(ids))?) };

    let single = largest(&logits(&narrow(Kind::Float)?)?, golden.get("logits")?);
    let fused = largest(&logits(&golden.model)?, want);
    let (seen, cache) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
    let hooked = largest(&seen, want);
    let [mut resid, mut added, mut pattern] = [0.0f64; 3];
    let architecture = golden.model.architecture();
    for layer in 0..architecture.n_layers {
        let from = |point: HookPoint, key: &str| -> Result<f64> {
            Ok(largest(cache.block(layer, point)?, golden.double(&format!("{key}.{layer}"))?))
        };
        let (pre, post) =
            (from(HookPoint::ResidPre, "resid_pre")?, from(HookPoint::ResidPost, "resid_post")?);
        let (attn, mlp) = (from(HookPoint::AttnOut, "attn_out")?, from(HookPoint::MlpOut, "mlp_out")?);
        resid = resid.max(pre).max(post);
        added = added.max(attn).max(mlp);
        pattern = pattern.max(from(HookPoint::Pattern, "pattern")?);
    }
    let last = match architecture.norms.last {
        true => cache.get("ln_final.hook_normalized".parse()?)?,
        false => cache.block(architecture.n_layers - 1, HookPoint::ResidPost)?,
    };
    resid = resid.max(largest(last, golden.double("final_norm")?));

    let mut padded = 0.0f64;
    for side in ["left", "right"] {
        let (ids, mask) =
            (golden.get(&format!("{side}.input_ids"))?, golden.get(&format!("{side}.attention_mask"))?);
        let run = Run { mask: Some(mask), ..Run::default() };
        let got =
            no_grad(|| golden.model.run(ids, run))?.logits()? * mask.to_kind(Kind::Double).unsqueeze(-1);
        padded = padded.max(largest(&got, golden.double(&format!("{side}.logits_f64"))?));
    }
    let cached = largest(&decoded(&golden)?, golden.double("generated.logits_f64")?);
    let ours = rms(&logits(&narrow(Kind::BFloat16)?)?, want);
    let theirs = rms(golden.get("logits_bf16")?, want);
    Ok([single, fused, hooked, resid, added, pattern, padded, cached, ours / theirs])
}

fn load(name: &str, kind: Kind, device: DeviceChoice) -> Result<Model> {
    let options = LoadOptions { kind: Some(kind), device, ..LoadOptions::default() };
    Ok(Model::load(&ModelFiles::folder(&folder(name))?, &options)?)
}

/// The logits that each generated token was taken from, `[batch, step, vocab]`, with the golden's tokens given.
fn decoded(golden: &Golden) -> Result<Tensor> {
    let (prompts, mask) = (golden.get("prompts.input_ids")?, golden.get("prompts.attention_mask")?);
    let (ids, steps) = (golden.get("generated")?, golden.double("generated.logits_f64")?.size()[1]);
    let (batch, width) = prompts.size2()?;
    let architecture = golden.model.architecture();
    let mut kv = KvCache::new(architecture, batch as usize, (width + steps) as usize, golden.model.device())?;
    let mut all = Vec::new();
    for step in 0..steps {
        let (ids, mask) = match step {
            0 => (prompts.shallow_clone(), Some(mask)),
            _ => (ids.narrow(1, width + step - 1, 1), None),
        };
        let run = Run { mask, kv: Some(&mut kv), logits: LogitPositions::Last, ..Run::default() };
        all.push(no_grad(|| golden.model.run(&ids, run))?.logits()?.shallow_clone());
    }
    Ok(Tensor::cat(&all, 1))
}

/// Root mean square of the difference.
pub fn rms(a: &Tensor, b: &Tensor) -> f64 {
    let difference = a.to_kind(Kind::Double) - b.to_device(a.device());
    difference.square().mean(Kind::Double).sqrt().double_value(&[])
}
