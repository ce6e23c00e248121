//! Logits and what is inside, on a batch without padding.

use refrain_runner::{HookPoint, NameFilter};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{self, Golden};
use refrain_tests::parity::rms;
use tch::{Kind, no_grad};

#[test]
fn logits_in_f32() -> Result {
    let mut check = Check::new();
    for (name, _) in golden::models()? {
        let golden = Golden::load(&name)?;
        let model = golden::model(&name, Kind::Float)?;
        let ids = golden.get("input_ids")?;
        let logits = no_grad(|| model.logits(ids))?;
        check.holds(format!("{name}: computed in f32"), logits.kind() == Kind::Float);
        check.close(format!("{name}: logits in f32"), &logits, golden.get("logits")?, 1e-4);
    }
    check.finish();
    Ok(())
}

#[test]
fn logits_in_f64() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let name = &golden.name;
        // Without a hook attention is left to libtorch's fused kernel; with all hooks it goes through the pattern.
        let ids = golden.get("input_ids")?;
        let fused = no_grad(|| golden.model.logits(ids))?;
        let (seen, _) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
        let want = golden.double("logits_f64")?;
        check.close(format!("{name}: logits by the fused kernel"), &fused, want, 1e-9);
        check.close(format!("{name}: logits with every hook kept"), &seen, want, 1e-9);
    }
    check.finish();
    Ok(())
}

#[test]
fn what_is_inside_in_f64() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let name = &golden.name;
        let ids = golden.get("input_ids")?;
        let (_, cache) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
        for layer in 0..golden.model.architecture().n_layers {
            for (point, key) in [
                (HookPoint::ResidPre, "resid_pre"),
                (HookPoint::Pattern, "pattern"),
                (HookPoint::AttnOut, "attn_out"),
                (HookPoint::MlpOut, "mlp_out"),
                (HookPoint::ResidPost, "resid_post"),
            ] {
                let want = golden.double(&format!("{key}.{layer}"))?;
                check.close(format!("{name}: layer {layer} {key}"), cache.block(layer, point)?, want, 1e-9);
            }
        }
        let architecture = golden.model.architecture();
        let last = match architecture.norms.last {
            true => cache.get("ln_final.hook_normalized".parse()?)?,
            false => cache.block(architecture.n_layers - 1, HookPoint::ResidPost)?,
        };
        check.close(format!("{name}: final norm"), last, golden.double("final_norm")?, 1e-9);
    }
    check.finish();
    Ok(())
}

/// In bf16 the rounding is the error; it must not be larger than that of transformers in bf16.
#[test]
fn logits_in_bf16_are_as_good_as_those_of_transformers() -> Result {
    let mut check = Check::new();
    for (name, _) in golden::models()? {
        let golden = Golden::load(&name)?;
        let model = golden::model(&name, Kind::BFloat16)?;
        let ids = golden.get("input_ids")?;
        let logits = no_grad(|| model.logits(ids))?;
        check.holds(format!("{name}: computed in bf16"), logits.kind() == Kind::BFloat16);
        let want = golden.double("logits_f64")?;
        let ratio = rms(&logits, want) / rms(golden.get("logits_bf16")?, want);
        check.holds(format!("{name}: {ratio:.2} of the error of transformers"), ratio < 1.5);
    }
    check.finish();
    Ok(())
}

/// A kept hook changes nothing, and which hooks are kept changes nothing either.
#[test]
fn keeping_an_activation_does_not_change_it() -> Result {
    let mut check = Check::new();
    for golden in Golden::one_of_each_family()? {
        let ids = golden.get("input_ids")?;
        let (_, all) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
        let plain = no_grad(|| golden.model.logits(ids))?;
        for hook in all.hooks() {
            let (logits, one) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::hooks(&[hook])))?;
            let name = &golden.name;
            check.holds(format!("{name}: keeping one hook keeps one"), one.len() == 1);
            check.close(format!("{name}: {hook} alone"), one.get(hook)?, all.get(hook)?, 1e-12);
            check.close(format!("{name}: logits with {hook} kept"), &logits, &plain, 1e-12);
        }
    }
    check.finish();
    Ok(())
}
