//! What must hold between the activations of a run, in every model; and that it would be noticed if it did not.

use std::collections::BTreeSet;

use refrain_runner::architecture::{Activation, Mlp, Norm, Pairing, Rotary, Scaling};
use refrain_runner::{
    ActivationCache, Architecture, Edit, Hook, HookPoint, Identities, Model, NameFilter, Run, identities,
    identities_of, recompute,
};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{self, Golden};
use tch::{Kind, Tensor, no_grad};

/// For values of the order of 10.
const EXACT: f64 = 1e-11;

fn every_activation(model: &Model, ids: &Tensor, mask: Option<&Tensor>) -> Result<ActivationCache> {
    let run = Run { mask, names: NameFilter::all(), ..Run::default() };
    Ok(no_grad(|| model.run(ids, run))?.cache)
}

fn broken(found: &Identities) -> BTreeSet<&str> {
    found.iter().filter(|(_, identity)| identity.error > 1e-9).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn every_identity_holds_in_every_model() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        for (batch, masked) in [("", false), ("left.", true), ("right.", true)] {
            let ids = golden.get(&format!("{batch}input_ids"))?;
            let mask = masked.then(|| golden.get(&format!("{batch}attention_mask"))).transpose()?;
            for (name, error) in identities(&golden.model, ids, mask)? {
                check.holds(format!("{}: {batch}{name}: {error:.1e}", golden.name), error < EXACT);
            }
        }
    }
    check.finish();
    Ok(())
}

/// A run block by block, each from the stream of the one below, is the run at once, and so are the identities.
#[test]
fn a_run_by_steps_is_the_run_at_once() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        for (batch, masked) in [("", false), ("left.", true)] {
            let ids = golden.get(&format!("{batch}input_ids"))?;
            let mask = masked.then(|| golden.get(&format!("{batch}attention_mask"))).transpose()?;
            let by_steps = recompute(&golden.model, ids, mask, None)?;
            let run = Run { mask, names: NameFilter::all(), ..Run::default() };
            let whole = no_grad(|| golden.model.run(ids, run))?;
            check.same(format!("{}: {batch}logits", golden.name), &by_steps.logits, whole.logits()?);
            let found = identities_of(&golden.model, ids, mask, &whole.cache)?;
            check.holds(format!("{}: {batch}identities", golden.name), by_steps.identities == found);
        }
    }
    check.finish();
    Ok(())
}

/// In f32 and bf16 what is left is the rounding of single steps.
#[test]
fn narrower_dtypes_round_single_steps() -> Result {
    let mut check = Check::new();
    for (kind, most) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.05), (Kind::Half, 0.01)] {
        let mut worst = (0.0, String::new());
        for (name, _) in golden::models()? {
            let golden = Golden::load(&name)?;
            let model = golden::model(&name, kind)?;
            let ids = golden.get("input_ids")?;
            let found = identities_of(&model, ids, None, &every_activation(&model, ids, None)?)?;
            for (identity, found) in found {
                if found.relative > worst.0 {
                    worst = (found.relative, format!("{name}: {identity} at {}", found.worst));
                }
            }
        }
        println!("{kind:?}: {worst:?}");
        check.holds(format!("{kind:?}: {worst:?}"), worst.0 < most && worst.0 > 0.0);
    }
    check.finish();
    Ok(())
}

/// A hook without an identity would fail here.
#[test]
fn every_hook_is_computed_anew() -> Result {
    let mut check = Check::new();
    let mut points = BTreeSet::new();
    for golden in Golden::all()? {
        let (model, ids) = (&golden.model, golden.get("input_ids")?);
        let cache = every_activation(model, ids, None)?;
        let anew: BTreeSet<Hook> = identities_of(model, ids, None, &cache)?
            .into_values()
            .flat_map(|identity| identity.hooks)
            .collect();
        for hook in cache.hooks() {
            check.holds(
                format!("{}: {hook} is on the left side of an identity", golden.name),
                anew.contains(&hook),
            );
            check.holds(format!("{}: has {hook}", golden.name), model.architecture().has(hook));
            points.insert(hook.point());
        }
        for &point in HookPoint::ALL {
            for layer in 0..model.architecture().n_layers {
                let hook = Hook::block(layer, point);
                let what = format!("{}: {hook} is there or not", golden.name);
                check.holds(what, model.architecture().has(hook) == cache.get(hook).is_ok());
            }
        }
    }
    for point in HookPoint::ALL {
        check.holds(format!("a golden has {}", point.name()), points.contains(point));
    }
    check.finish();
    Ok(())
}

/// A hook that is changed breaks its own identity and no other: what comes after it goes on from the changed value.
#[test]
fn a_changed_activation_breaks_its_own_identity_only() -> Result {
    let mut check = Check::new();
    // Models of which all the same is to be said are tried once.
    let mut kinds = BTreeSet::new();
    for golden in Golden::all()? {
        let (model, ids) = (&golden.model, golden.get("input_ids")?.narrow(0, 0, 1));
        let plain = every_activation(model, &ids, None)?;
        let sound = identities_of(model, &ids, None, &plain)?;
        if !kinds.insert(sound.keys().cloned().collect::<Vec<_>>()) {
            continue;
        }
        for hook in plain.hooks() {
            // A fault of the forward pass, whatever the layer.
            let mut fault = |_: Hook, value: &Tensor| Ok(Some(value.f_mul_scalar(1.25)?));
            let edit = Edit::new(NameFilter::hooks(&[hook]), &mut fault);
            let found = recompute(model, &ids, None, Some(edit))?.identities;
            let broken = broken(&found);
            check.holds(format!("{}: {hook} breaks something", golden.name), !broken.is_empty());
            for name in broken {
                let own = sound[name].hooks.contains(&hook) && found[name].worst == hook;
                check.holds(format!("{}: {hook} breaks `{name}`", golden.name), own);
            }
        }
    }
    check.finish();
    Ok(())
}

/// The model `name` as it would be if its configuration were a little different.
fn changed(name: &str, change: impl Fn(&mut Architecture)) -> Result<Model> {
    let mut architecture = golden::model(name, Kind::Double)?.architecture().clone();
    let before = architecture.clone();
    change(&mut architecture);
    assert_ne!(before, architecture, "{name}: nothing was changed");
    let tensors = Tensor::read_safetensors(golden::folder(name).join("model.safetensors"))?;
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.to_kind(Kind::Double))).collect();
    Ok(Model::from_tensors(architecture, tensors)?)
}

/// Holds a run of the model `name` against a model that is a little different: the identities given break, and no
/// others.
fn notices(name: &str, change: impl Fn(&mut Architecture), wanted: &[&str]) -> Result {
    let golden = Golden::load(name)?;
    let ids = golden.get("input_ids")?;
    let cache = every_activation(&golden.model, ids, None)?;
    let found = identities_of(&changed(name, change)?, ids, None, &cache)?;
    assert_eq!(broken(&found).into_iter().collect::<Vec<_>>(), wanted, "{name}");
    Ok(())
}

fn every_rotary(arch: &mut Architecture, change: impl Fn(&mut Rotary)) {
    arch.layers.iter_mut().filter_map(|layer| layer.rotary.as_mut()).for_each(change);
}

#[test]
fn a_run_of_another_norm_is_noticed() -> Result {
    let eps = |arch: &mut Architecture| arch.norms.form = Norm::Rms { eps: 1e-3 };
    notices(
        "llama-gqa",
        eps,
        &["ln1.scale = rms(attn_in)", "ln2.scale = rms(mlp_in)", "ln_final.scale = rms(resid_post)"],
    )?;
    notices("gemma4-ple", |arch| arch.norms.v = false, &["v = W_V x"])?;
    notices(
        "olmo2-mha",
        eps,
        &[
            "ln1_post.scale = rms(sum of result + b_O)",
            "ln2_post.scale = rms(W_out post)",
            "ln_final.scale = rms(resid_post)",
            "rot_k = R norm(k)",
            "rot_q = R norm(q)",
        ],
    )
}

#[test]
fn a_run_of_another_attention_is_noticed() -> Result {
    let scores = "attn_scores = factor q k, masked";
    notices("gpt2-tied", |arch| arch.layers[1].score_factor *= 1.01, &[scores])?;
    let window = |arch: &mut Architecture| arch.layers[0].window = Some(5);
    notices("mistral-window", window, &[scores])?;
    let narrower = |arch: &mut Architecture| arch.layers[0].window = Some(3);
    notices("mistral-window", narrower, &[scores, "pattern = 0 where masked"])?;
    notices(
        "gemma2-caps",
        |arch| arch.caps.scores = Some(51.0),
        &["attn_scores = softcap(factor q k), masked"],
    )?;
    notices(
        "olmo-clip",
        |arch| arch.caps.qkv = arch.caps.qkv.map(|most| most * 1.1),
        &["rot_k = R clip(k)", "rot_q = R clip(q)", "v = clip(W_V x)"],
    )
}

#[test]
fn a_run_of_another_rotation_is_noticed() -> Result {
    let both = ["rot_k = R k", "rot_q = R q"];
    let base = |arch: &mut Architecture| every_rotary(arch, |rotary| rotary.base *= 1.1);
    for name in ["llama-gqa", "gptj-odd", "llama-rope3", "llama-yarn", "phi3-long", "llama-linear"] {
        notices(name, base, &both)?;
    }
    notices("gemma4-keqv", base, &["rot_k = R norm(k)", "rot_q = R norm(q)"])?;
    let paired = |arch: &mut Architecture| every_rotary(arch, |rotary| rotary.pairing = Pairing::Halves);
    notices("gptj-hub", paired, &both)?;
    notices("phi3-short", |arch| every_rotary(arch, |rotary| rotary.dims -= 2), &both)?;
    for name in
        ["llama-linear", "llama-yarn", "llama-yarn-mscale", "llama-rope3-past", "phi3-long", "phi3-short"]
    {
        notices(name, |arch| every_rotary(arch, |rotary| rotary.scaling = Scaling::None), &both)?;
    }
    Ok(())
}

#[test]
fn a_run_of_another_mlp_is_noticed() -> Result {
    let gelu = |arch: &mut Architecture| arch.mlp = Mlp::Ungated { activation: Activation::Gelu };
    notices("gpt2-tied", gelu, &["post = act(pre)"])?;
    let gated = |arch: &mut Architecture| arch.mlp = Mlp::Gated { activation: Activation::GeluTanh };
    notices("llama-gqa", gated, &["post = act(pre) pre_linear"])?;
    notices("mixtral-full", gated, &["mlp_out = sum of experts"])?;
    let experts = |change: fn(&mut refrain_runner::architecture::Experts)| {
        move |arch: &mut Architecture| {
            arch.layers.iter_mut().filter_map(|layer| layer.experts.as_mut()).for_each(change);
        }
    };
    notices(
        "mixtral-full",
        experts(|experts| experts.per_token = 1),
        &["experts chosen are the most probable"],
    )?;
    notices(
        "olmoe-norm",
        experts(|experts| experts.renormalise = false),
        &["expert_weights = p if chosen, p = softmax(router)"],
    )
}

#[test]
fn a_run_of_another_stream_is_noticed() -> Result {
    notices("gemma-mha", |arch| arch.embedding.scale = Some(4.0), &["embed = scale W_E[token]"])?;
    notices("gemma3-types", |arch| arch.caps.logits = None, &["logits = W_U ln_final.normalized"])?;
    Ok(())
}

/// Another token, another padding.
#[test]
fn a_run_of_other_tokens_is_noticed() -> Result {
    let golden = Golden::load("opt-350m")?;
    let (ids, mask) = (golden.get("left.input_ids")?, golden.get("left.attention_mask")?);
    let cache = every_activation(&golden.model, ids, Some(mask))?;
    let other = identities_of(&golden.model, &(ids + 1).remainder(5), Some(mask), &cache)?;
    assert_eq!(broken(&other).into_iter().collect::<Vec<_>>(), ["embed = W_in W_E[token]"]);
    let unmasked = identities_of(&golden.model, ids, None, &cache)?;
    assert_eq!(
        broken(&unmasked).into_iter().collect::<Vec<_>>(),
        ["attn_scores = factor q k, masked", "pos_embed = W_pos[position]",]
    );
    let short = mask.narrow(1, 0, 9);
    let error = identities_of(&golden.model, ids, Some(&short), &cache).unwrap_err();
    assert_eq!(error.to_string(), "the mask is [3, 9], the token ids are [3, 10]");
    Ok(())
}

/// `docs/hooks.md` has every hook, and every identity that a model here has.
#[test]
fn hooks_and_identities_are_documented() -> Result {
    let path = golden::folder("").join("../../docs/hooks.md");
    let text = std::fs::read_to_string(path)?;
    let mut missing = Vec::new();
    for point in HookPoint::ALL {
        if !text.lines().any(|line| line.starts_with(&format!("| `{}` | `[batch, ", point.name()))) {
            missing.push(point.name().to_owned());
        }
    }
    let mut names = BTreeSet::new();
    for golden in Golden::all()? {
        let ids = golden.get("input_ids")?.narrow(1, 0, 2);
        names.extend(identities(&golden.model, &ids, None)?.into_keys());
    }
    missing.extend(names.into_iter().filter(|name| !text.contains(&format!("- `{name}`\n"))));
    assert!(missing.is_empty(), "not in docs/hooks.md:\n{}", missing.join("\n"));
    let listed = text.lines().filter(|line| line.starts_with("- `")).count();
    println!("{listed} identities are listed");
    Ok(())
}
