//! The residual stream taken apart, against TransformerLens (goldens/residual.py made the numbers) and against itself.

use std::collections::BTreeMap;

use ndarray::Array2;
use refrain_patching::attribution::direct_logits;
use refrain_patching::prelude::*;
use refrain_tests::check::Check;
use refrain_tests::{Result, golden};
use serde_json::Value;

use crate::{PARTS, model};

/// The golden tensors of one model, and the labels of its stacks.
fn gold(name: &str) -> Result<(BTreeMap<String, Tensor>, Value)> {
    let folder = golden::folder(name);
    let tensors = Tensor::read_safetensors(folder.join("residual.safetensors"))?;
    Ok((
        tensors.into_iter().collect(),
        serde_json::from_slice(&std::fs::read(folder.join("residual.json"))?)?,
    ))
}

fn tensor(found: &Array2<f64>) -> Tensor {
    let flat: Vec<f64> = found.iter().copied().collect();
    Tensor::from_slice(&flat).view([found.nrows() as i64, found.ncols() as i64])
}

#[test]
fn stacks_equal_those_of_transformer_lens() -> Result {
    let mut check = Check::new();
    for (name, has_heads) in [("heads/gpt2", true), ("heads/llama-gqa", true), ("gemma2-nocaps", false)] {
        let lm = model(name)?;
        let (gold, about) = gold(name)?;
        let ids = golden::rows(&gold["input_ids"])?.remove(0);
        let id = |key: &str| [gold[key].int64_value(&[0])];
        let (answer, incorrect) = (id("answer"), id("incorrect"));
        let run = lm.prompt(&ids)?.cache(PARTS).run()?;
        let number = |key: &str| about[key].as_u64().map(|number| number as usize).ok_or("no number");
        let layer = number("layer")?;

        let labels = |key: &str, stack: &ResidualStack<'_>, check: &mut Check| {
            let same = serde_json::json!(stack.labels()) == about["labels"][key];
            check.holds(format!("{name} {key}: labels {:?}", stack.labels()), same);
        };
        let streams =
            [("", Before::Unembed), (".attention", Before::Attention(layer)), (".mlp", Before::Mlp(layer))];
        for (place, before) in streams {
            let accumulated = run.accumulated_resid(before, At::All)?;
            let key = format!("accumulated{place}");
            labels(&key, &accumulated, &mut check);
            check.close(format!("{name} {key}"), accumulated.tensor(), &gold[&key], 1e-12);
            let decomposed = run.decompose_resid(before, At::All)?;
            let key = format!("decomposed{place}");
            labels(&key, &decomposed, &mut check);
            check.close(format!("{name} {key}"), decomposed.tensor(), &gold[&key], 1e-12);
            let key = format!("normalized{place}");
            check.close(format!("{name} {key}"), &decomposed.normalized()?, &gold[&key], 1e-12);
        }
        let stack = run.accumulated_resid(Before::Unembed, At::All)?;
        let attrs = stack.logit_attrs(&answer, &incorrect)?;
        check.close(format!("{name} attrs.accumulated"), &tensor(&attrs), &gold["attrs.accumulated"], 1e-10);
        check.close(format!("{name} lens"), &stack.logit_lens()?, &gold["lens"], 1e-10);
        check.close(
            format!("{name} lens of the whole"),
            &stack.logit_lens()?.get(-1),
            &run.logits()?.get(0),
            1e-10,
        );
        let stack = run.decompose_resid(Before::Unembed, At::All)?;
        let attrs = tensor(&stack.logit_attrs(&answer, &incorrect)?);
        check.close(format!("{name} attrs.decomposed"), &attrs, &gold["attrs.decomposed"], 1e-10);
        let of = tensor(&stack.logit_attrs_of(&answer)?);
        check.close(format!("{name} attrs_of.decomposed"), &of, &gold["attrs_of.decomposed"], 1e-10);

        // One position, and several in another order, are those of all.
        let (at, last) = (number("neurons_at")?, ids.len() as i64 - 1);
        for (positions, columns) in [(At::Last, vec![last]), (At::Positions(vec![at, 2]), vec![at as i64, 2])]
        {
            let some = run.decompose_resid(Before::Unembed, positions)?;
            let columns = Tensor::from_slice(&columns);
            check.same(format!("{name} positions"), some.tensor(), &stack.tensor().index_select(1, &columns));
            let some = tensor(&some.logit_attrs(&answer, &incorrect)?);
            check.close(format!("{name} attrs by position"), &some, &attrs.index_select(1, &columns), 1e-12);
        }
        if !has_heads {
            continue;
        }
        let heads = run.stack_head_results(Before::Unembed, At::All)?.with_remainder()?;
        labels("heads", &heads, &mut check);
        check.close(format!("{name} heads"), heads.tensor(), &gold["heads"], 1e-12);
        let n_heads = heads.labels().len() as i64 - 1;
        let found = tensor(&heads.logit_attrs(&answer, &incorrect)?).narrow(0, 0, n_heads);
        check.close(format!("{name} attrs.heads"), &found, &gold["attrs.heads"], 1e-10);
        // As a matrix of layers and heads, at the last position and at another.
        let by_head = |position: i64| gold["attrs.heads"].select(1, position).view([3, 4]);
        let matrix = tensor(&run.head_results()?.logit_attrs(&answer, &incorrect)?);
        check.close(format!("{name} head_results"), &matrix, &by_head(last), 1e-10);
        let matrix = tensor(&run.head_results_at(2)?.logit_attrs(&answer, &incorrect)?);
        check.close(format!("{name} head_results_at"), &matrix, &by_head(2), 1e-10);

        let neurons = run.stack_neuron_results(Before::Unembed, At::All)?;
        labels("neurons", &neurons, &mut check);
        check.close(
            format!("{name} neurons"),
            &neurons.tensor().select(1, at as i64),
            &gold["neurons"],
            1e-12,
        );
        let found = tensor(&neurons.logit_attrs(&answer, &incorrect)?);
        check.close(format!("{name} attrs.neurons"), &found, &gold["attrs.neurons"], 1e-10);
    }
    check.finish();
    Ok(())
}

/// Where TransformerLens has no number to compare with: norms after attention and MLP, scaled blocks, experts, inputs
/// of their own by layer, parallel blocks.
#[test]
fn parts_sum_to_the_stream_and_to_the_logit() -> Result {
    let mut check = Check::new();
    for name in [
        "gemma2-caps",
        "gemma4-ple",
        "gemma4-moe",
        "olmo2-gqa",
        "gpt-neox-pythia",
        "opt-pre",
        "qwen2-moe-shared",
    ] {
        let lm = model(name)?;
        let arch = lm.model.architecture();
        let ids = [5, 9, 3, 17, 11, 20];
        let (answer, incorrect) = ([7], [12]);
        let points = NameFilter::points(&PARTS).and(NameFilter::points(&[HookPoint::PerLayerOut]));
        let run = lm.prompt(&ids)?.cache(points).run()?;
        let mut befores = vec![Before::Unembed, Before::Attention(1), Before::Attention(0)];
        if !arch.parallel {
            befores.push(Before::Mlp(1));
        }
        for before in befores {
            let whole = run.decompose_resid(before, At::All)?;
            let stream = match before {
                Before::Unembed => run.block(arch.n_layers - 1, ResidPost)?,
                Before::Attention(layer) => run.block(layer, ResidPre)?,
                Before::Mlp(layer) => run.block(layer, ResidMid)?,
            };
            let sum = whole.tensor().sum_dim_intlist(0, false, None::<Kind>);
            check.close(format!("{name} {before:?}"), &sum, &stream.get(0), 1e-11);
            for stack in [run.stack_head_results(before, At::All)?, run.accumulated_resid(before, At::All)?] {
                let sum = stack.with_remainder()?.tensor().sum_dim_intlist(0, false, None::<Kind>);
                check.close(format!("{name} {before:?} remainder"), &sum, &stream.get(0), 1e-11);
            }
        }
        // The same numbers as direct attribution, which has the biases and sums to the logit.
        let direct = direct_logits(&lm.model, &[ids.to_vec()], &answer, Some(&incorrect))?;
        let by_head = run.head_results()?.logit_attrs(&answer, &incorrect)?;
        for (writer, value) in &direct.parts {
            if let refrain_patching::attribution::Contribution::Head(head) = writer {
                let apart = (by_head[[head.layer, head.head]] - value[0]).abs();
                check.holds(format!("{name} {head}: {apart:.1e}"), apart < 1e-11);
            }
        }
        if arch.layers.iter().all(|layer| layer.experts.is_none()) {
            let neurons = run.stack_neuron_results(Before::Unembed, At::Last)?;
            check.holds(
                format!("{name}: {} neurons", neurons.labels().len()),
                neurons.labels().len() > arch.n_layers,
            );
        }
    }
    check.finish();
    Ok(())
}

/// Neurons behind a norm: with the biases that the norm lets through they are the MLP's output.
#[test]
fn neurons_behind_a_norm_sum_to_the_mlp() -> Result {
    let mut check = Check::new();
    for name in ["gemma2-nocaps", "olmo2-mha", "llama-gqa"] {
        let lm = model(name)?;
        let run = lm.prompt(&[5, 9, 3, 17])?.cache(PARTS).run()?;
        let neurons = run.stack_neuron_results(Before::Attention(1), At::All)?;
        let sum = neurons.tensor().sum_dim_intlist(0, false, None::<Kind>);
        check.close(name, &sum, &run.block(0, MlpOut)?.get(0), 1e-11);
    }
    check.finish();
    Ok(())
}

#[test]
fn what_cannot_be_taken_apart_is_refused() -> Result {
    let lm = model("gpt2-untied")?;
    let run = lm.prompt(&[5, 9, 3])?.cache(Z).run()?;
    let message = |result: refrain_patching::Result<ResidualStack<'_>>| result.unwrap_err().to_string();
    let error = message(run.decompose_resid(Before::Unembed, At::Last));
    assert!(error.contains("`hook_embed` is not in the cache"), "{error}");
    let error = message(run.stack_head_results(Before::Attention(2), At::Last));
    assert!(error.contains("there is no layer 2: the model has layers 0 to 1"), "{error}");
    let error = message(run.stack_head_results(Before::Unembed, At::Positions(vec![3])));
    assert!(error.contains("there is no position 3: the prompt has 3 tokens, 0 to 2"), "{error}");
    let error = message(run.stack_head_results(Before::Unembed, At::Positions(vec![])));
    assert!(error.contains("no position is named"), "{error}");
    let error = run.head_results()?.logit_attrs(&[1, 2], &[3]).unwrap_err().to_string();
    assert!(error.contains("[1, 2] is not one token"), "{error}");

    let parallel = model("gpt-neox-pythia")?;
    let run = parallel.prompt(&[5, 9, 3])?.cache(PARTS).run()?;
    let error = message(run.accumulated_resid(Before::Mlp(0), At::Last));
    assert!(error.contains("are parallel") && error.contains("Before::Attention"), "{error}");
    let stream_normed = model("opt-350m")?;
    let run = stream_normed.prompt(&[5, 9, 3])?.cache(PARTS).run()?;
    let error = message(run.decompose_resid(Before::Unembed, At::Last));
    assert!(error.contains("normalises the stream"), "{error}");
    let experts = model("mixtral-full")?;
    let run = experts.prompt(&[5, 9, 3])?.cache(PARTS).run()?;
    let error = message(run.stack_neuron_results(Before::Unembed, At::Last));
    assert!(error.contains("layer 0 has experts"), "{error}");
    let no_first_norm = model("olmo2-gqa")?;
    let run = no_first_norm.prompt(&[5, 9, 3])?.cache(PARTS).run()?;
    let error = run.decompose_resid(Before::Attention(1), At::Last)?.normalized().unwrap_err().to_string();
    assert!(error.contains("this model has no norm there"), "{error}");
    Ok(())
}
