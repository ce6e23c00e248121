//! The table against the slow way, its columns, and what is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use refrain_entropy::schema::Table;
use refrain_entropy::table::{GateName, Gates};
use refrain_experiments::lab::disk::{read_provenance, read_table};
use refrain_patching::table::HeadScoreRow;
use refrain_patching::task::Language;
use refrain_patching::{Direction, Method};
use refrain_patching::{FLOOR, Pair, Task};
use refrain_runner::{
    Action, BoundInterventions, Head, Hook, HookPoint, Intervention, Model, NameFilter, Run,
};
use refrain_tests::Result;
use refrain_tests::program::{Ran, files};
use refrain_tests::tiny::vocabulary;
use tch::no_grad;

use crate::{place, rows, run, table};

/// The logit of the answer after `tokens`, where `head`, if there is one, has the output that it has on the clean
/// prompt.
fn answer(model: &Model, pair: &Pair, tokens: &[i64], head: Option<Head>) -> Result<f64> {
    let ids = model.ids(std::slice::from_ref(&pair.clean))?;
    let (_, cache) = no_grad(|| model.run_with_cache(&ids, NameFilter::points(&[HookPoint::Z])))?;
    let replace: Vec<Intervention> = head
        .into_iter()
        .map(|head| Intervention {
            heads: Some(vec![head.head]),
            ..Intervention::new(Hook::block(head.layer, HookPoint::Z), Action::Replace("clean".into()))
        })
        .collect();
    let sources = [("clean", &cache)];
    let plan = BoundInterventions::new(model.architecture(), &replace, &sources)?;
    let ids = model.ids(&[tokens.to_vec()])?;
    let output = no_grad(|| model.run(&ids, Run { interventions: Some(&plan), ..Run::default() }))?;
    Ok(output.logits()?.double_value(&[0, tokens.len() as i64 - 1, pair.answer]))
}

#[test]
fn patched_values_are_those_of_the_other_way() -> Result {
    tch::set_num_threads(1);
    let place = place()?;
    run(&place, &["--metric", "logit"])?.succeeded();
    let rows = rows(&place)?;
    let (model, _) = place.tiny.load()?;
    let plain: Vec<i64> = (3..vocabulary().len() as i64).collect();
    let language = Language { candidates: &plain, bos: Some(1), tokenizer: None, window: 64 };
    let pairs = Task::Copy { length: 8 }.pairs(&language, 5, 3)?;
    let heads = model.heads();
    assert_eq!(rows.len(), heads.len() * (5 + 1));
    let close = |found: Option<f64>, wanted: f64| {
        assert!(found.is_some_and(|found| (found - wanted).abs() < 1e-4), "{found:?} is not {wanted}");
    };
    for head in heads {
        let at = |prompt: Option<u32>| {
            let same = |row: &&HeadScoreRow| {
                (row.layer, row.head, row.prompt) == (head.layer as u32, Some(head.head as u32), prompt)
            };
            rows.iter().find(same).ok_or(format!("no row of {head} {prompt:?}"))
        };
        let (mut changes, mut whole) = (0.0, 0.0);
        for (pair, prompt) in pairs.iter().zip(0..) {
            let (clean, corrupted) =
                (answer(&model, pair, &pair.clean, None)?, answer(&model, pair, &pair.corrupted, None)?);
            let value = answer(&model, pair, &pair.corrupted, Some(head))?;
            let row = at(Some(prompt))?;
            close(row.value, value);
            close(row.clean_value, clean);
            close(row.corrupted_value, corrupted);
            close(row.change, value - corrupted);
            assert_eq!(row.effect.is_none(), row.reason.is_some());
            changes += value - corrupted;
            whole += clean - corrupted;
        }
        let mean = at(None)?;
        close(mean.change, changes / 5.0);
        if whole.abs() / 5.0 > FLOOR {
            let off = (mean.effect.ok_or("no effect")? - changes / whole).abs();
            assert!(off < 1e-4 / (whole / 5.0).abs().min(1.0), "{mean:?}");
            let within = mean.ci_low <= mean.effect && mean.effect <= mean.ci_high;
            assert!(within || mean.ci_low.is_none() && mean.reason.is_some(), "{mean:?}");
        }
    }
    Ok(())
}

#[test]
fn every_kind_of_place_has_its_columns() -> Result {
    let place = place()?;
    let components = "z,k,v,resid_mid,mlp_out,neuron";
    let methods = "activation-patching,zero-ablation,detectors";
    let settings =
        ["--method", methods, "--component", components, "--metric", "logit_diff,rank", "--pairs", "2"];
    run(&place, &settings)?.succeeded();
    let rows = rows(&place)?;
    let mut heads = BTreeMap::<&str, BTreeSet<Option<u32>>>::new();
    let mut neurons = BTreeMap::<&str, BTreeSet<Option<u32>>>::new();
    for row in &rows {
        heads.entry(row.component.name()).or_default().insert(row.head);
        neurons.entry(row.component.name()).or_default().insert(row.neuron);
        let patched = row.method == Method::ActivationPatching;
        assert_eq!(row.direction, patched.then_some(Direction::Denoise));
        assert_eq!(
            (
                row.position,
                row.key_position,
                row.p_value.is_some() && row.method != Method::Detectors,
                row.selected
            ),
            (None, None, false, false)
        );
        // Denoising changes the corrupted run, ablation the clean one.
        let base = if patched { row.corrupted_value } else { row.clean_value };
        let change = row.value.zip(base).map(|(value, base)| value - base);
        let off = change.unwrap_or(0.0) - row.change.unwrap_or(0.0);
        assert!(off.abs() < 1e-9 && change.is_some() == row.change.is_some(), "{row:?}");
        assert!(row.prompt.is_some() || row.ci_low.is_some() || row.reason.is_some(), "{row:?}");
    }
    let some = |count: u32| (0..count).map(Some).collect::<BTreeSet<_>>();
    // Grouped queries: four heads, two key/value heads.
    let (of_heads, of_keys, none) = (some(4), some(2), BTreeSet::from([None]));
    for (component, wanted) in [
        ("z", &of_heads),
        ("pattern", &of_heads),
        ("k", &of_keys),
        ("v", &of_keys),
        ("resid_mid", &none),
        ("neuron", &none),
    ] {
        assert_eq!(&heads[component], wanted, "{component}");
    }
    assert_eq!((&neurons["neuron"], &neurons["z"]), (&some(24), &none));

    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tables.md"))?;
    let section = documented.split("## ").find(|part| part.starts_with("head_scores")).ok_or("no section")?;
    for row in &rows {
        for label in [row.method.name(), row.component.name(), row.metric.name()] {
            assert!(section.contains(&format!("`{label}`")), "docs/tables.md does not explain `{label}`");
        }
    }
    Ok(())
}

#[test]
fn by_position() -> Result {
    let place = place()?;
    run(&place, &["--by-position", "--pairs", "2", "--direction", "noise"])?.succeeded();
    let rows = rows(&place)?;
    let positions: BTreeSet<Option<u32>> = rows.iter().map(|row| row.position).collect();
    // BOS, nine fillers, prefix, copy and prefix.
    assert_eq!(positions, (0..13).map(Some).collect());
    assert_eq!(rows.len(), 8 * 13 * 3);
    // Nothing is different before the token that is.
    let first = rows.iter().filter(|row| row.position == Some(0) && row.prompt.is_some());
    assert!(first.clone().count() == 16 && first.into_iter().all(|row| row.change == Some(0.0)));
    Ok(())
}

#[test]
fn the_provenance_is_whole() -> Result {
    let place = place()?;
    run(&place, &["--method", "zero-ablation", "--metric", "logit,prob"])?.succeeded();
    let said = read_provenance(&table(&place.out()))?;
    for (key, value) in [
        ("experiment", "score-heads"),
        ("version", refrain_experiments::VERSION),
        ("model", "tiny"),
        ("dtype", "f32"),
        ("device", "cpu"),
        ("seed", "3"),
        ("task", "copy"),
        ("metric", "logit,prob"),
        ("direction", "denoise"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{key}");
    }
    for key in ["model_sha256", "tokenizer_sha256", "prompts_sha256"] {
        assert_eq!(said.get(key).map(String::len), Some(64), "{key}");
    }
    Ok(())
}

#[test]
fn what_is_printed_fits_80_columns_and_names_the_figures() -> Result {
    let place = place()?;
    let mut command =
        place.bare(&["--model", "tiny", "--length", "8", "--pairs", "3", "--out", "out", "--threads", "1"]);
    command.args(["--component", "z,attn_out", "--method", "activation-patching,detectors"]);
    let ran = Ran::of(&mut command)?.succeeded();
    for line in ran.stdout.lines().filter(|line| !line.contains("out/")) {
        assert!(line.chars().count() <= 80 && line == line.trim_end(), "{line:?}");
    }
    for words in [
        "activation-patching of z (denoise): logit_diff",
        "Detectors, on repeated random tokens",
        "L1H",
        "3 pairs of 13 tokens",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is not in {}", ran.stdout);
    }
    assert!(!files(&place.path("out/figures")).is_empty(), "no figures");
    // Again: nothing is computed, and the same is printed and drawn.
    let again = Ran::of(&mut command)?.succeeded();
    assert!(again.stderr.contains("holds this run already"), "{again:?}");
    assert_eq!(again.stdout, ran.stdout);
    Ok(())
}

#[test]
fn a_figure_can_be_drawn_alone() -> Result {
    let place = place()?;
    run(&place, &["--pairs", "2"])?.succeeded();
    let front = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refrain"));
        Ran::of(command.arg("figures").arg(place.out()).args(arguments))
    };
    let drawn = || -> Result<Vec<String>> {
        let files = std::fs::read_dir(place.out().join("figures"))?;
        let names = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        names.filter(|name: &Result<String>| name.as_ref().is_ok_and(|name| name.ends_with("png"))).collect()
    };
    front(&["--only", "head_effects"])?.succeeded();
    let alone = drawn()?;
    assert!(!alone.is_empty() && alone.iter().all(|name| name.starts_with("head_effects")), "{alone:?}");
    let without = front(&["--only", "circuit"])?;
    assert!(without.code == Some(2) && without.stderr.contains("no table `circuit_scores`"), "{without:?}");
    let wrong = front(&["--only", "head_effect"])?;
    assert!(wrong.code == Some(2) && wrong.stderr.contains("head_effects"), "{wrong:?}");
    front(&[])?.succeeded();
    assert!(drawn()?.len() > alone.len());
    Ok(())
}

/// The built-in model solves induction and not copy, and both are measured even by a method that compares nothing.
#[test]
fn gates_are_measured_whatever_the_method() -> Result {
    let place = place()?;
    for (task, passed) in [("induction", true), ("copy", false)] {
        let out = place.path(task);
        let mut command =
            place.bare(&["--no-figures", "--quiet", "--method", "dla", "--pairs", "5", "--task", task]);
        Ran::of(command.arg("--out").arg(&out))?.succeeded();
        let gates = Gates::rows(&read_table(&out.join("gates.parquet"))?)?;
        let found: Vec<(GateName, bool)> = gates.iter().map(|gate| (gate.gate, gate.passed)).collect();
        assert_eq!(found, [(GateName::Solved, passed), (GateName::Gap, passed)], "{task}");
        assert!(gates.iter().all(|gate| gate.value.is_some() && gate.n == 5), "{gates:?}");
    }
    Ok(())
}
