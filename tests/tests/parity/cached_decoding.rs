//! Decoding with keys and values kept: the tokens of `transformers`, and the logits of running everything anew.

use refrain_runner::{HookPoint, KvCache, LogitPositions, NameFilter, Run};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{Golden, real_columns};
use tch::{Kind, Tensor, no_grad};

fn room(golden: &Golden, batch: i64, columns: i64) -> Result<KvCache> {
    let (arch, device) = (golden.model.architecture(), golden.model.device());
    Ok(KvCache::new(arch, batch as usize, columns as usize, device)?)
}

/// Runs `ids` after what is in `kv` and gives the logits of all of its columns.
fn step(
    golden: &Golden,
    ids: &Tensor,
    mask: Option<&Tensor>,
    kv: &mut KvCache,
    logits: LogitPositions,
) -> Result<Tensor> {
    let run = Run { mask, kv: Some(kv), logits, ..Run::default() };
    Ok(no_grad(|| golden.model.run(ids, run))?.logits()?.shallow_clone())
}

/// `steps` greedy tokens after left-padded prompts; all ids, and the logits that each new token was taken from,
/// `[batch, step, vocab]`.
fn decode(golden: &Golden, prompts: &Tensor, mask: &Tensor, steps: i64) -> Result<(Tensor, Tensor)> {
    let (batch, width) = prompts.size2()?;
    let mut kv = room(golden, batch, width + steps)?;
    let mut logits = step(golden, prompts, Some(mask), &mut kv, LogitPositions::Last)?;
    let (mut ids, mut all) = (vec![prompts.shallow_clone()], Vec::new());
    for t in 0..steps {
        let token = logits.argmax(-1, false);
        all.push(logits);
        ids.push(token.shallow_clone());
        logits = match t {
            last if last == steps - 1 => break,
            _ => step(golden, &token, None, &mut kv, LogitPositions::All)?,
        };
    }
    Ok((Tensor::cat(&ids, 1), Tensor::cat(&all, 1)))
}

#[test]
fn greedy_tokens_and_logits_are_those_of_transformers() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (prompts, mask) = (golden.get("prompts.input_ids")?, golden.get("prompts.attention_mask")?);
        let want = golden.double("generated.logits_f64")?;
        let steps = want.size()[1];
        let (ids, logits) = decode(&golden, prompts, mask, steps)?;
        check.same(format!("{}: tokens", golden.name), &ids, golden.get("generated")?);
        check.close(format!("{}: logits of every step", golden.name), &logits, want, 1e-9);

        let all = Tensor::cat(
            &[mask.shallow_clone(), Tensor::ones([mask.size()[0], steps], (Kind::Int64, mask.device()))],
            1,
        );
        let run = Run { mask: Some(&all), ..Run::default() };
        let anew = no_grad(|| golden.model.run(&ids, run))?.logits()?.narrow(1, prompts.size()[1] - 1, steps);
        check.close(format!("{}: everything anew", golden.name), &logits, &anew, 1e-9);
    }
    check.finish();
    Ok(())
}

#[test]
fn batched_decoding_is_that_of_each_prompt_alone() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (prompts, mask) = (golden.get("prompts.input_ids")?, golden.get("prompts.attention_mask")?);
        let (want, logits) = (golden.get("generated")?, golden.double("generated.logits_f64")?);
        let steps = logits.size()[1];
        for row in 0..prompts.size()[0] {
            let (columns, alone) = real_columns(prompts, mask, row);
            let (ids, alone) = decode(&golden, &alone, &alone.ones_like(), steps)?;
            let new = ids.get(0).narrow(0, columns.size()[0], steps);
            check.same(
                format!("{}: tokens", golden.name),
                &new,
                &want.get(row).narrow(0, prompts.size()[1], steps),
            );
            check.close(format!("{}: logits", golden.name), &alone.squeeze_dim(0), &logits.get(row), 1e-9);
        }
    }
    check.finish();
    Ok(())
}

/// However a padded batch is cut into calls, the logits at its real tokens are the same.
#[test]
fn a_prompt_may_come_in_pieces() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        for side in ["left", "right"] {
            let (ids, mask) =
                (golden.get(&format!("{side}.input_ids"))?, golden.get(&format!("{side}.attention_mask"))?);
            let want = golden.double(&format!("{side}.logits_f64"))?;
            let (batch, pos) = ids.size2()?;
            // Rows of the model that rotates short ones otherwise must not be cut while they are short.
            let switch = golden.model.architecture().rotation_switch().map_or(0, |length| length as i64);
            for piece in
                [1, 3, 4, pos].into_iter().filter(|piece| switch == 0 || switch >= pos || *piece == pos)
            {
                let mut kv = room(&golden, batch, pos)?;
                let mut parts = Vec::new();
                for first in (0..pos).step_by(piece as usize) {
                    let cut = |t: &Tensor| t.narrow(1, first, piece.min(pos - first));
                    parts.push(step(&golden, &cut(ids), Some(&cut(mask)), &mut kv, LogitPositions::All)?);
                }
                let got = Tensor::cat(&parts, 1) * mask.to_kind(Kind::Double).unsqueeze(-1);
                check.close(format!("{}, padded {side}, {piece} at a time", golden.name), &got, want, 1e-9);
            }
        }
    }
    check.finish();
    Ok(())
}

/// Without a mask too, where attention is left to the kernel, and with the pattern looked at.
#[test]
fn an_unpadded_prompt_may_come_in_pieces() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (ids, want) = (golden.get("input_ids")?, golden.double("logits_f64")?);
        let (batch, pos) = ids.size2()?;
        let switch = golden.model.architecture().rotation_switch().map_or(0, |length| length as i64);
        for piece in [1, 3, pos].into_iter().filter(|piece| *piece > switch || switch >= pos) {
            for names in [NameFilter::none(), NameFilter::points(&[HookPoint::Pattern])] {
                let mut kv = room(&golden, batch, pos)?;
                let mut parts = Vec::new();
                for first in (0..pos).step_by(piece as usize) {
                    let length = piece.min(pos - first);
                    let run = Run { kv: Some(&mut kv), names: names.clone(), ..Run::default() };
                    let output = no_grad(|| golden.model.run(&ids.narrow(1, first, length), run))?;
                    for hook in output.cache.hooks() {
                        let whole =
                            golden.double(&format!("pattern.{}", hook.layer().unwrap_or_default()))?;
                        let part = whole.narrow(2, first, length).narrow(3, 0, first + length);
                        check.close(
                            format!("{}: pattern, {piece} at a time", golden.name),
                            output.cache.get(hook)?,
                            &part,
                            1e-9,
                        );
                    }
                    parts.push(output.logits()?.shallow_clone());
                }
                check.close(
                    format!("{}: logits, {piece} at a time", golden.name),
                    &Tensor::cat(&parts, 1),
                    want,
                    1e-9,
                );
            }
        }
    }
    check.finish();
    Ok(())
}

/// What was rotated for short rows is of no use to a long one, and nothing is computed with it.
#[test]
fn a_row_that_outgrows_its_rotation_is_refused() -> Result {
    let mut seen = 0;
    for golden in Golden::all()? {
        let Some(length) = golden.model.architecture().rotation_switch() else { continue };
        let ids = golden.get("input_ids")?;
        let (batch, pos) = ids.size2()?;
        if length as i64 >= pos {
            continue;
        }
        let mut kv = room(&golden, batch, pos)?;
        let _ = step(&golden, &ids.narrow(1, 0, length as i64), None, &mut kv, LogitPositions::All)?;
        let next = ids.narrow(1, length as i64, 1);
        let error = step(&golden, &next, None, &mut kv, LogitPositions::All).unwrap_err().to_string();
        assert!(error.contains(&format!("grows past {length} tokens")), "{}: {error}", golden.name);
        seen += 1;
    }
    assert!(seen > 0, "no golden has such a rotation");
    Ok(())
}

/// Rows that have ended can be dropped on the way, and the order changed.
#[test]
fn rows_of_the_cache_can_be_dropped() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (prompts, mask) = (golden.get("prompts.input_ids")?, golden.get("prompts.attention_mask")?);
        let (generated, want) = (golden.get("generated")?, golden.double("generated.logits_f64")?);
        let (batch, width) = prompts.size2()?;
        let mut kv = room(&golden, batch, width + 2)?;
        let _ = step(&golden, prompts, Some(mask), &mut kv, LogitPositions::Last)?;
        kv.keep_rows(&[2, 0])?;
        let kept = Tensor::from_slice(&[2i64, 0]);
        for t in 0..2 {
            let token = generated.index_select(0, &kept).narrow(1, width + t, 1);
            let logits = step(&golden, &token, None, &mut kv, LogitPositions::All)?;
            let want = want.index_select(0, &kept).narrow(1, t + 1, 1);
            check.close(format!("{}: rows 2 and 0", golden.name), &logits, &want, 1e-9);
        }
        let error = step(&golden, &prompts.narrow(1, 0, 1), None, &mut kv, LogitPositions::All).unwrap_err();
        check.holds(format!("{}: another batch is refused", golden.name), error.to_string().contains("rows"));
    }
    check.finish();
    Ok(())
}
