//! The ways of computing that users run: without a look at anything, token by token over kept keys and values, in a
//! padded batch. Each must give what the run gives in which every activation is looked at, which the identities are
//! about.

use anyhow::Result;
use refrain_runner::{Hook, HookPoint, Identities, Identity, KvCache, Model, NameFilter, Run};
use tch::{Kind, Tensor, no_grad};

/// The names of these comparisons.
pub const NAMES: [&str; 3] =
    ["logits: unwatched = watched", "logits: token by token = at once", "logits: padded = alone"];

/// Compares the logits of every way, for `ids`, `[1, pos]`, on the CPU.
///
/// # Errors
/// As [`Model::run`].
pub fn paths(model: &Model, ids: &Tensor) -> Result<Identities> {
    let ids = ids.f_to_device(model.device())?;
    let pos = ids.size()[1];
    let run = |ids: &Tensor, run: Run<'_>| -> Result<Tensor> {
        Ok(no_grad(|| model.run(ids, run))?
            .logits()?
            .f_to_device(tch::Device::Cpu)?
            .f_to_kind(Kind::Double)?)
    };
    let want = run(&ids, Run { names: NameFilter::all(), ..Run::default() })?;
    let mut found = Identities::new();
    let mut compare = |name: &str, got: &Tensor, want: &Tensor| -> Result<()> {
        let error = got.f_sub(want)?.f_abs()?.f_max()?.f_double_value(&[])?;
        let error = if error.is_nan() { f64::INFINITY } else { error };
        let relative = error / want.f_abs()?.f_max()?.f_double_value(&[])?.max(f64::MIN_POSITIVE);
        let logits = Hook::top(HookPoint::Logits);
        let identity = Identity { error, relative, worst: logits, hooks: [logits].into() };
        found.insert(name.to_owned(), identity);
        Ok(())
    };
    compare(NAMES[0], &run(&ids, Run::default())?, &want)?;

    // Half of the tokens at once, the others one by one; short rows of LongRoPE cannot grow past its limit that way.
    let limit = model.architecture().rotation_switch().map_or(0, |length| length as i64);
    let first = if limit < pos { (pos / 2).max(limit + 1).min(pos) } else { pos / 2 };
    if first > 0 && first < pos {
        let mut kv = KvCache::new(model.architecture(), 1, pos as usize, model.device())?;
        let mut parts = vec![run(&ids.f_narrow(1, 0, first)?, Run { kv: Some(&mut kv), ..Run::default() })?];
        for at in first..pos {
            let next = Run { kv: Some(&mut kv), ..Run::default() };
            parts.push(run(&ids.f_narrow(1, at, 1)?, next)?);
        }
        compare(NAMES[1], &Tensor::f_cat(&parts, 1)?, &want)?;
    }

    let pad = 3;
    let padded = Tensor::f_cat(&[ids.f_zeros_like()?.f_narrow(1, 0, pad.min(pos))?, ids.shallow_clone()], 1)?;
    let pad = pad.min(pos);
    let mask = padded.f_ones_like()?;
    let _ = mask.f_narrow(1, 0, pad)?.f_zero_()?;
    let got = run(&padded, Run { mask: Some(&mask), ..Run::default() })?.f_narrow(1, pad, pos)?;
    compare(NAMES[2], &got, &want)?;
    Ok(found)
}
