//! Every family, component, direction and ablation, all positions and one at a time.

use std::collections::BTreeSet;

use refrain_patching::Change;
use refrain_patching::sweep::{Settings, Sweep};
use refrain_patching::{Component, Metric, Pair, Scores, Site, Targets, measure};
use refrain_runner::Model;
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{self, models};
use tch::{Kind, Tensor};

use crate::naive;

const METRICS: &[Metric] = Metric::ALL;

/// Pairs of one length whose first differing positions differ.
fn pairs(model: &Model, length: usize) -> Vec<Pair> {
    let vocab = model.architecture().n_vocab as i64;
    let token = |i: usize, salt: i64| (7 + 13 * i as i64 + 29 * salt) % vocab;
    [3usize, 5]
        .iter()
        .enumerate()
        .map(|(pair, &differs)| {
            let clean: Vec<i64> = (0..length).map(|i| token(i, pair as i64)).collect();
            let mut corrupted = clean.clone();
            corrupted[differs] = (corrupted[differs] + 5) % vocab;
            corrupted[differs + 1] = (corrupted[differs + 1] + 11) % vocab;
            Pair { clean, corrupted, answer: token(pair, 3), foil: Some(token(pair, 8)) }
        })
        .collect()
}

fn settings(component: Component, change: Change, by_position: bool) -> Settings {
    Settings {
        components: vec![component],
        metrics: METRICS.to_vec(),
        change,
        by_position,
        by_key_position: false,
        memory: 1 << 30,
        threads: 1,
    }
}

/// All scores of a sweep, in the order of the pairs given.
fn swept(model: &Model, pairs: &[Pair], settings: &Settings) -> Result<Vec<(Site, Vec<Vec<f64>>)>> {
    let sweep = Sweep::new(model, pairs, settings.clone())?;
    let mut found: Vec<(Site, Vec<Vec<f64>>)> = Vec::new();
    let mut add = |scores: Scores| {
        for (site, values) in scores.iter() {
            let index = found.iter().position(|(known, _)| *known == site).unwrap_or_else(|| {
                found.push((site, vec![vec![f64::NAN; pairs.len()]; METRICS.len()]));
                found.len() - 1
            });
            for (metric, of_pairs) in values.outer_iter().enumerate() {
                for (value, pair) in of_pairs.iter().zip(&scores.pairs) {
                    found[index].1[metric][*pair] = *value;
                }
            }
        }
    };
    sweep.run(sweep.units(), &mut |_, scores| {
        add(scores);
        Ok::<(), refrain_patching::Error>(())
    })?;
    found.sort_by_key(|(site, _)| *site);
    Ok(found)
}

/// Compares a sweep with the naive one; neurons and positions are thinned out to keep the naive one short.
fn compare(
    name: &str,
    model: &Model,
    pairs: &[Pair],
    settings: &Settings,
    check: &mut Check,
    tolerance: f64,
) -> Result {
    let found = swept(model, pairs, settings)?;
    let arch = model.architecture();
    let component = settings.components[0];
    let length = pairs[0].clean.len();
    let sites: usize = (0..arch.n_layers).map(|layer| component.count(arch, layer)).sum();
    let places = match (settings.by_position, settings.by_key_position) {
        (true, true) => length * (length + 1) / 2,
        (true, false) => length,
        _ => 1,
    };
    check.holds(format!("{name}: every {component} once"), found.len() == sites * places);
    // Of every layer and every head, over the components.
    let step = (found.len() / 7).max(1);
    let some: Vec<_> = found.into_iter().step_by(step).collect();
    let only: Vec<Site> = some.iter().map(|(site, _)| *site).collect();
    let others: Vec<usize> = match settings.change {
        Change::Resample { seed } => others(pairs.len(), seed),
        _ => Vec::new(),
    };
    let naive = naive::sweep(model, pairs, settings, &only, &others)?;
    for pair in 0..pairs.len() {
        let clean = naive::plain(model, &pairs[pair].clean)?.unsqueeze(0);
        let targets = Targets::new(model, &pairs[pair..=pair])?.with_clean(&clean)?;
        for ((_, values), want) in some.iter().zip(&naive) {
            let want = measure(METRICS, &want[pair].unsqueeze(0), &targets)?;
            let got: Vec<f64> = values.iter().map(|of_pairs| of_pairs[pair]).collect();
            let want: Vec<f64> = want.iter().copied().collect();
            let what =
                format!("{name} {component} {:?} by position {}", settings.change, settings.by_position);
            check.close(what, &Tensor::from_slice(&got), &Tensor::from_slice(&want), tolerance);
        }
    }
    Ok(())
}

/// The draw of resampling, as documented: from the seed and the pair's number.
fn others(pairs: usize, seed: u64) -> Vec<usize> {
    use rand::RngExt;
    let other = |index: usize| {
        let rest: Vec<usize> = (0..pairs).filter(|other| *other != index).collect();
        rest[refrain_entropy::stats::rng(seed, &format!("resample/{index}")).random_range(0..rest.len())]
    };
    (0..pairs).map(other).collect()
}

/// The components that a model has.
fn components(model: &Model) -> Vec<Component> {
    let arch = model.architecture();
    let has = |component: &Component| (0..arch.n_layers).any(|layer| component.count(arch, layer) > 0);
    Component::ALL.iter().copied().filter(has).collect()
}

#[test]
fn every_component_of_every_family_equals_whole_runs() -> Result {
    let mut check = Check::new();
    let mut families = BTreeSet::new();
    for (turn, (name, family)) in models()?.into_iter().enumerate() {
        let model = golden::model(&name, Kind::Double)?;
        let pairs = pairs(&model, 8);
        // A family's first model is swept both ways, its variants one way, which alternates.
        let first = families.insert(family);
        for (at, component) in components(&model).into_iter().enumerate() {
            for by_position in [false, true] {
                if first || by_position == ((turn + at) % 2 == 1) {
                    let settings = settings(component, Change::Denoise, by_position);
                    compare(&name, &model, &pairs, &settings, &mut check, 1e-10)?;
                }
            }
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn noising_and_ablations_equal_whole_runs() -> Result {
    let mut check = Check::new();
    let changes = [
        Change::Noise,
        Change::Zero,
        Change::Mean { pooled: false },
        Change::Mean { pooled: true },
        Change::Resample { seed: 4 },
    ];
    let names =
        ["gpt2-untied", "llama-gqa", "gemma2-caps", "gpt-neox-pythia", "olmo2-gqa", "gemma4-ple", "opt-350m"];
    for (turn, name) in names.into_iter().enumerate() {
        let model = golden::model(name, Kind::Double)?;
        let pairs = pairs(&model, 8);
        for (at, component) in components(&model).into_iter().enumerate() {
            for (change, number) in changes.into_iter().zip(0..) {
                if matches!((component, change), (Component::Pattern, Change::Mean { pooled: true })) {
                    let error = Sweep::new(&model, &pairs, settings(component, change, false)).unwrap_err();
                    check.holds(
                        "a pooled pattern is refused",
                        error.to_string().contains("no mean over positions"),
                    );
                    continue;
                }
                // Seven models: each combination comes both ways.
                let by_position = (turn + at + number) % 2 == 1;
                compare(name, &model, &pairs, &settings(component, change, by_position), &mut check, 1e-10)?;
            }
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn single_entries_of_patterns_equal_whole_runs() -> Result {
    let mut check = Check::new();
    for name in ["gpt2-untied", "llama-gqa", "gemma2-caps"] {
        let model = golden::model(name, Kind::Double)?;
        let settings =
            Settings { by_key_position: true, ..settings(Component::Pattern, Change::Denoise, true) };
        compare(name, &model, &pairs(&model, 7), &settings, &mut check, 1e-10)?;
    }
    check.finish();
    Ok(())
}

/// Rounding only: the sums of 32-bit kernels group differently with the processor and the batch, and the worst of these
/// models' metrics is off by 1.2e-5 on one of the machines seen. The 64-bit cases hold the mathematics to 1e-10.
#[test]
fn single_precision_is_close() -> Result {
    let mut check = Check::new();
    for name in ["gpt2-untied", "llama-gqa", "gemma2-caps", "gpt-neox-pythia", "qwen3-tied"] {
        let model = golden::model(name, Kind::Float)?;
        let pairs = pairs(&model, 8);
        for component in [Component::Z, Component::K, Component::Pattern, Component::MlpOut] {
            compare(name, &model, &pairs, &settings(component, Change::Denoise, false), &mut check, 3e-5)?;
        }
    }
    check.finish();
    Ok(())
}
