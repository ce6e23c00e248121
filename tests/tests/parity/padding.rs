//! Batches of prompts of unequal length, padded on either side.

use refrain_runner::{HookPoint, LogitPositions, NameFilter, Run};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{Golden, real_columns};
use tch::{Kind, Tensor, no_grad};

const SIDES: [&str; 2] = ["left", "right"];

fn logits(golden: &Golden, ids: &Tensor, mask: &Tensor, names: NameFilter) -> Result<Tensor> {
    let run = Run { mask: Some(mask), names, ..Run::default() };
    Ok(no_grad(|| golden.model.run(ids, run))?.logits()?.shallow_clone())
}

#[test]
fn padded_logits_equal_those_of_transformers_and_of_each_prompt_alone() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        for side in SIDES {
            let (ids, mask) =
                (golden.get(&format!("{side}.input_ids"))?, golden.get(&format!("{side}.attention_mask"))?);
            let want = golden.double(&format!("{side}.logits_f64"))?;
            for (path, names) in [("fused", NameFilter::none()), ("through the pattern", NameFilter::all())] {
                let got = logits(&golden, ids, mask, names)?;
                let what = format!("{}, padded {side}, {path}", golden.name);
                let real = mask.to_kind(Kind::Double).unsqueeze(-1);
                check
                    .holds(format!("{what}: finite at pads too"), got.isfinite().all().int64_value(&[]) == 1);
                check.close(format!("{what}: transformers"), &(&got * real), want, 1e-9);
                for row in 0..ids.size()[0] {
                    let (columns, alone) = real_columns(ids, mask, row);
                    let alone = no_grad(|| golden.model.logits(&alone))?.squeeze_dim(0);
                    check.close(
                        format!("{what}: one by one"),
                        &got.get(row).index_select(0, &columns),
                        &alone,
                        1e-9,
                    );
                }
            }
        }
    }
    check.finish();
    Ok(())
}

/// A mask of ones is no mask.
#[test]
fn a_mask_of_ones_changes_nothing() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let ids = golden.get("input_ids")?;
        let masked = logits(&golden, ids, &ids.ones_like(), NameFilter::none())?;
        check.close(&golden.name, &masked, &no_grad(|| golden.model.logits(ids))?, 1e-12);
    }
    check.finish();
    Ok(())
}

/// What the padding is made of is never seen: no attention goes to it, and other ids there give the same logits.
#[test]
fn padding_is_never_looked_at() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        for side in SIDES {
            let (ids, mask) =
                (golden.get(&format!("{side}.input_ids"))?, golden.get(&format!("{side}.attention_mask"))?);
            let what = format!("{}, padded {side}", golden.name);
            let other = ids.where_self(&mask.to_kind(Kind::Bool), &ids.full_like(7));
            check.holds(format!("{what}: the other ids are other ones"), other != *ids);
            let real = mask.to_kind(Kind::Double).unsqueeze(-1);
            let (a, b) = (
                logits(&golden, ids, mask, NameFilter::none())?,
                logits(&golden, &other, mask, NameFilter::none())?,
            );
            // To the last bit, but for experts: how many tokens one of them gets decides the order of its sums.
            let layers = &golden.model.architecture().layers;
            let exact = if layers.iter().any(|layer| layer.experts.is_some()) { 1e-13 } else { 0.0 };
            check.close(format!("{what}: logits whatever the pad"), &(a * &real), &(b * &real), exact);

            let run =
                Run { mask: Some(mask), names: NameFilter::points(&[HookPoint::Pattern]), ..Run::default() };
            let cache = no_grad(|| golden.model.run(ids, run))?.cache;
            // [batch, 1, query, key]: real queries, padded keys
            let pad: Tensor = 1.0 - mask.to_kind(Kind::Double);
            let forbidden = (real * pad.unsqueeze(1)).unsqueeze(1);
            for hook in cache.hooks() {
                let leak = cache.get(hook)? * &forbidden;
                check.same(format!("{what}: attention to pads"), &leak, &leak.zeros_like());
            }
        }
    }
    check.finish();
    Ok(())
}

/// Asking for the last column's logits only gives the last column's logits.
#[test]
fn the_last_logits_alone() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (ids, mask) = (golden.get("left.input_ids")?, golden.get("left.attention_mask")?);
        let run = Run { mask: Some(mask), logits: LogitPositions::Last, ..Run::default() };
        let output = no_grad(|| golden.model.run(ids, run))?;
        let want = golden.double("left.logits_f64")?.narrow(1, ids.size()[1] - 1, 1);
        check.close(&golden.name, output.logits()?, &want, 1e-9);
    }
    check.finish();
    Ok(())
}

#[test]
fn a_mask_that_does_not_fit_is_refused() -> Result {
    let golden = Golden::load("gpt2-tied")?;
    let (ids, mask) = (golden.get("left.input_ids")?, golden.get("left.attention_mask")?);
    let short = mask.narrow(1, 0, 9);
    let error = golden.model.run(ids, Run { mask: Some(&short), ..Run::default() }).unwrap_err();
    assert_eq!(error.to_string(), "the mask is [3, 9], the token ids are [3, 10]");
    Ok(())
}
