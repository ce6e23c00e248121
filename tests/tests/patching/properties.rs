//! What must hold of any sweep, whatever the model.

use ndarray::Array2;
use refrain_patching::Change;
use refrain_patching::sweep::{Settings, Sweep};
use refrain_patching::{Component, Error, Metric, Pair, Scores, Site};
use refrain_runner::Model;
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden;
use tch::{Kind, Tensor, no_grad};

fn settings(components: &[Component], change: Change) -> Settings {
    Settings {
        components: components.to_vec(),
        metrics: vec![Metric::LogitDiff, Metric::Entropy],
        change,
        by_position: false,
        by_key_position: false,
        memory: 1 << 30,
        threads: 1,
    }
}

fn pair(model: &Model, salt: i64) -> Pair {
    let vocab = model.architecture().n_vocab as i64;
    let of = |salt: i64| (0..9).map(|i| (3 + 11 * i + 17 * salt) % vocab).collect::<Vec<i64>>();
    Pair { clean: of(salt), corrupted: of(salt + 1), answer: 5, foil: Some(9) }
}

fn sweep(model: &Model, pairs: &[Pair], settings: Settings) -> Result<Vec<Scores>> {
    tch::set_num_threads(1);
    let sweep = Sweep::new(model, pairs, settings)?;
    let mut all = Vec::new();
    sweep.run(sweep.units(), &mut |_, scores| {
        all.push(scores);
        Ok::<(), Error>(())
    })?;
    Ok(all)
}

/// The largest distance of any site's values from `want`.
fn furthest(scores: &[Scores], want: &dyn Fn(&Scores) -> Array2<f64>) -> f64 {
    let mut worst = 0.0f64;
    for scores in scores {
        for (_, values) in scores.iter() {
            for (got, want) in values.iter().zip(&want(scores)) {
                worst = worst.max((got - want).abs());
            }
        }
    }
    worst
}

const MODELS: [&str; 4] = ["gpt2-untied", "llama-gqa", "gemma2-caps", "gpt-neox-pythia"];

#[test]
fn patching_a_run_with_itself_changes_nothing() -> Result {
    let mut check = Check::new();
    for name in MODELS {
        let model = golden::model(name, Kind::Double)?;
        let components: Vec<Component> = Component::ALL
            .iter()
            .copied()
            .filter(|component| component.count(model.architecture(), 0) > 0)
            .collect();
        let own = Pair { corrupted: pair(&model, 0).clean, ..pair(&model, 0) };
        let known = sweep(&model, std::slice::from_ref(&own), settings(&components, Change::Denoise))?;
        check
            .holds(format!("{name}: equal prompts"), furthest(&known, &|scores| scores.clean.clone()) == 0.0);
        // Here the engine cannot know from the tokens that nothing changes: every pair is given another one's run, and
        // all are equal.
        let twice = [pair(&model, 0), pair(&model, 0)];
        let found = sweep(&model, &twice, settings(&components, Change::Resample { seed: 0 }))?;
        check.holds(
            format!("{name}: a run's own values"),
            furthest(&found, &|scores| scores.clean.clone()) < 1e-12,
        );
    }
    check.finish();
    Ok(())
}

#[test]
fn patching_everything_gives_the_other_run() -> Result {
    let mut check = Check::new();
    for name in MODELS {
        let model = golden::model(name, Kind::Double)?;
        let pairs = [pair(&model, 0), pair(&model, 3)];
        for component in [Component::ResidPre, Component::ResidPost] {
            for (change, clean) in [(Change::Denoise, true), (Change::Noise, false)] {
                let found = sweep(&model, &pairs, settings(&[component], change))?;
                let other =
                    |scores: &Scores| if clean { scores.clean.clone() } else { scores.corrupted.clone() };
                let base =
                    |scores: &Scores| if clean { scores.corrupted.clone() } else { scores.clean.clone() };
                check
                    .holds(format!("{name} {component}: is the other run"), furthest(&found, &other) < 1e-12);
                check.holds(format!("{name} {component}: which differs"), furthest(&found, &base) > 1e-3);
            }
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn a_head_without_output_weights_has_no_effect() -> Result {
    let mut check = Check::new();
    for name in MODELS {
        let model = golden::model(name, Kind::Double)?;
        let (layer, head) = (1usize, 1usize);
        let d_head = model.architecture().layers[layer].d_head as i64;
        no_grad(|| {
            let weight = &model.weights().blocks[layer].attention.out.weight;
            let _ = weight.narrow(1, head as i64 * d_head, d_head).zero_();
        });
        let pairs = [pair(&model, 0)];
        for change in [Change::Denoise, Change::Noise, Change::Zero, Change::Mean { pooled: true }] {
            let found = sweep(&model, &pairs, settings(&[Component::Z, Component::Result], change))?;
            for scores in &found {
                let unchanged = if change == Change::Denoise { &scores.corrupted } else { &scores.clean };
                for (site, values) in scores.iter() {
                    let far = values.iter().zip(unchanged).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    let silent = (site.layer, site.index) == (layer, head);
                    // Pooled over the positions of one prompt the mean differs from the values; other heads do
                    // something.
                    check.holds(
                        format!("{name} {change:?} {site:?}"),
                        if silent { far < 1e-12 } else { far > 1e-9 },
                    );
                }
            }
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn unequal_prompts_are_refused_by_name() -> Result {
    let model = golden::model("gpt2-untied", Kind::Double)?;
    let good = pair(&model, 0);
    let bad = Pair { corrupted: good.corrupted[1..].to_vec(), ..good.clone() };
    let error = Sweep::new(&model, &[good, bad], settings(&[Component::Z], Change::Denoise)).unwrap_err();
    assert!(matches!(error, Error::Length { pair: 1, clean: 9, corrupted: 8 }), "{error}");
    Ok(())
}

#[test]
fn lengths_may_differ_between_pairs() -> Result {
    let model = golden::model("llama-gqa", Kind::Double)?;
    let long = pair(&model, 0);
    let cut = |ids: &[i64]| ids[..6].to_vec();
    let short = Pair { clean: cut(&long.clean), corrupted: cut(&long.corrupted), ..pair(&model, 2) };
    let both = sweep(&model, &[long.clone(), short.clone()], settings(&[Component::Z], Change::Denoise))?;
    for (index, alone) in [long, short].iter().enumerate() {
        let alone = sweep(&model, std::slice::from_ref(alone), settings(&[Component::Z], Change::Denoise))?;
        let own: Vec<&Scores> = both.iter().filter(|scores| scores.pairs == [index]).collect();
        assert_eq!(own.len(), alone.len());
        for (a, b) in own.iter().zip(&alone) {
            assert_eq!((&a.sites, &a.values, &a.clean), (&b.sites, &b.values, &b.clean));
        }
    }
    Ok(())
}

/// The sites with all their values.
fn by_site(scores: &Scores) -> Vec<(Site, Vec<f64>)> {
    scores.iter().map(|(site, values)| (site, values.iter().copied().collect())).collect()
}

#[test]
fn some_sites_are_scored_as_among_all() -> Result {
    let model = golden::model("llama-gqa", Kind::Double)?;
    let pairs = [pair(&model, 0), pair(&model, 1)];
    let all = sweep(&model, &pairs, settings(&[Component::Z, Component::K], Change::Noise))?;
    let all: Vec<_> = all.iter().flat_map(by_site).collect();
    let some: Vec<_> = all.iter().step_by(3).cloned().collect();
    let only = Sweep::new(&model, &pairs, settings(&[Component::Z, Component::K], Change::Noise))?
        .only(some.iter().map(|(site, _)| *site));
    let mut found = Vec::new();
    only.run(only.units(), &mut |_, scores| {
        found.extend(by_site(&scores));
        Ok::<(), Error>(())
    })?;
    found.sort_by_key(|(site, _)| *site);
    let mut some = some;
    some.sort_by_key(|(site, _)| *site);
    let flat = |sites: &[(Site, Vec<f64>)]| {
        Tensor::from_slice(&sites.iter().flat_map(|(_, values)| values.clone()).collect::<Vec<f64>>())
    };
    assert_eq!(
        found.iter().map(|(site, _)| site).collect::<Vec<_>>(),
        some.iter().map(|(site, _)| site).collect::<Vec<_>>()
    );
    let mut check = Check::new();
    check.close("values", &flat(&found), &flat(&some), 1e-12);
    check.finish();
    Ok(())
}

/// The same numbers from one worker and one row at a time as from many.
#[test]
fn the_budget_and_the_workers_change_no_number() -> Result {
    let model = golden::model("llama-gqa", Kind::Double)?;
    let pairs = [pair(&model, 0), pair(&model, 1), pair(&model, 5)];
    let with = |memory: u64, threads: usize| {
        let settings = settings(&[Component::Z, Component::V, Component::Neuron], Change::Denoise);
        sweep(&model, &pairs, Settings { memory, threads, ..settings })
    };
    let Err(error) = with(1000, 1) else { return Err("a thousand bytes are enough".into()) };
    let text = error.to_string();
    let smallest: u64 = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .max()
        .ok_or("the error names no budget")?;
    let by_site = |found: Vec<Scores>| {
        let mut all: Vec<(Site, usize, f64)> = Vec::new();
        for scores in found {
            for (site, values) in scores.iter() {
                let pairs = scores.pairs.iter().zip(values.row(0));
                all.extend(pairs.map(|(pair, value)| (site, *pair, *value)));
            }
        }
        all.sort_by_key(|(site, pair, _)| (*site, *pair));
        all
    };
    let (least, most) = (by_site(with(smallest, 1)?), by_site(with(1 << 30, 3)?));
    assert_eq!(least.len(), most.len());
    let values = |all: &[(Site, usize, f64)]| {
        Tensor::from_slice(&all.iter().map(|(.., value)| *value).collect::<Vec<f64>>())
    };
    let mut check = Check::new();
    check.close("smallest budget, one worker", &values(&least), &values(&most), 1e-12);
    check.finish();
    Ok(())
}

/// z and result of a head are changed at one hook: asked for together, its mean is still the mean.
#[test]
fn a_component_is_scored_alike_alone_and_beside_others() -> Result {
    let model = golden::model("llama-gqa", Kind::Double)?;
    let pairs = [pair(&model, 0), pair(&model, 1)];
    for change in [Change::Mean { pooled: false }, Change::Mean { pooled: true }, Change::Zero] {
        let of = |components: &[Component]| -> Result<Vec<(Site, Vec<f64>)>> {
            let found = sweep(&model, &pairs, settings(components, change))?;
            let mut z: Vec<_> = found.iter().flat_map(by_site).collect();
            z.retain(|(site, _)| site.component == Component::Z);
            z.sort_by_key(|(site, _)| *site);
            Ok(z)
        };
        let (alone, beside) = (of(&[Component::Z])?, of(&[Component::Z, Component::Result])?);
        assert_eq!(alone.len(), model.heads().len());
        for ((site, alone), (same, beside)) in alone.iter().zip(&beside) {
            assert_eq!(site, same);
            let far = alone.iter().zip(beside).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-12, "{change:?} {site:?}: {alone:?} is not {beside:?}");
        }
    }
    Ok(())
}

/// What goes wrong in the caller's hands comes back as it is, and nothing is handed over after it.
#[test]
fn the_callers_error_comes_back_as_it_is() -> Result {
    #[derive(Debug, PartialEq)]
    enum Own {
        Full(usize),
        Engine(String),
    }
    impl From<Error> for Own {
        fn from(error: Error) -> Own {
            Own::Engine(error.to_string())
        }
    }
    let model = golden::model("llama-gqa", Kind::Double)?;
    let pairs = [pair(&model, 0), pair(&model, 1)];
    for threads in [1, 2] {
        let settings = Settings { threads, ..settings(&[Component::Z, Component::K], Change::Noise) };
        let sweep = Sweep::new(&model, &pairs, settings)?;
        assert!(sweep.units().len() > 2);
        let mut handed = 0;
        let outcome = sweep.run(sweep.units(), &mut |_, _| {
            handed += 1;
            if handed == 2 { Err(Own::Full(handed)) } else { Ok(()) }
        });
        assert_eq!((outcome, handed), (Err(Own::Full(2)), 2));
    }
    Ok(())
}
