//! The slow, obvious sweep: for every site and pair one whole run from the tokens, with one intervention. It shares
//! nothing with the engine but the forward pass and what an intervention is.

use refrain_patching::Change;
use refrain_patching::sweep::Settings;
use refrain_patching::{Component, Pair, Site};
use refrain_runner::{
    Action, ActivationCache, BoundInterventions, Intervention, Model, NameFilter, Positions, Run,
};
use refrain_tests::Result;
use tch::{Kind, Tensor, no_grad};

/// For each site of `settings` and each pair the logits of the changed run's last position, `[vocab]`. `others`:
/// for resampling, the pair whose clean prompt each pair is given.
pub fn sweep(
    model: &Model,
    pairs: &[Pair],
    settings: &Settings,
    sites: &[Site],
    others: &[usize],
) -> Result<Vec<Vec<Tensor>>> {
    let sources: Vec<ActivationCache> =
        (0..pairs.len()).map(|pair| source(model, pairs, settings, pair, others)).collect::<Result<_>>()?;
    sites
        .iter()
        .map(|site| {
            (0..pairs.len())
                .map(|pair| {
                    let ids = if settings.change.into_clean() {
                        &pairs[pair].clean
                    } else {
                        &pairs[pair].corrupted
                    };
                    changed(model, ids, site, &sources[pair])
                })
                .collect()
        })
        .collect()
}

/// The last position's logits of `ids`, run whole.
pub fn plain(model: &Model, ids: &[i64]) -> Result<Tensor> {
    let output = no_grad(|| model.run(&model.ids(&[ids.to_vec()])?, Run::default()))?;
    Ok(output.logits()?.get(0).get(-1))
}

fn changed(model: &Model, ids: &[i64], site: &Site, source: &ActivationCache) -> Result<Tensor> {
    let hook = site.component.hook(site.layer);
    let indexed = site.component.is_of_heads();
    let mut own = ActivationCache::default();
    own.insert(hook, source.get(hook)?.shallow_clone());
    if let (Some(query), Some(key)) = (site.position, site.key_position) {
        // One entry of the pattern: all others stay as they are in this run.
        let (_, here) =
            no_grad(|| model.run_with_cache(&model.ids(&[ids.to_vec()])?, NameFilter::hooks(&[hook])))?;
        let mixed = here.get(hook)?.copy();
        let at = |t: &Tensor| t.get(0).get(site.index as i64).get(query as i64).narrow(0, key as i64, 1);
        at(&mixed).copy_(&at(source.get(hook)?));
        own.insert(hook, mixed);
    }
    let what = [Intervention {
        heads: indexed.then(|| vec![site.index]),
        neurons: (site.component == Component::Neuron).then(|| vec![site.index]),
        positions: site.position.map(|position| Positions::Columns(vec![position])),
        ..Intervention::new(hook, Action::Replace("source".into()))
    }];
    let sources = [("source", &own)];
    let plan = BoundInterventions::new(model.architecture(), &what, &sources)?;
    let ids = model.ids(&[ids.to_vec()])?;
    let output = no_grad(|| model.run(&ids, Run { interventions: Some(&plan), ..Run::default() }))?;
    Ok(output.logits()?.get(0).get(-1))
}

/// Every activation that `pair` may be given.
fn source(
    model: &Model,
    pairs: &[Pair],
    settings: &Settings,
    pair: usize,
    others: &[usize],
) -> Result<ActivationCache> {
    let run = |ids: &[i64]| -> Result<ActivationCache> {
        Ok(no_grad(|| model.run_with_cache(&model.ids(&[ids.to_vec()])?, NameFilter::all()))?.1)
    };
    let own = run(&pairs[pair].clean)?;
    let made = |of: &dyn Fn(&Tensor, usize) -> Result<Tensor>| -> Result<ActivationCache> {
        let mut cache = ActivationCache::default();
        for component in &settings.components {
            for layer in 0..model.architecture().n_layers {
                let hook = component.hook(layer);
                if model.architecture().has(hook) {
                    cache.insert(hook, of(own.get(hook)?, layer)?);
                }
            }
        }
        Ok(cache)
    };
    match settings.change {
        Change::Denoise => Ok(own),
        Change::Noise => run(&pairs[pair].corrupted),
        Change::Resample { .. } => run(&pairs[others[pair]].clean),
        Change::Zero => made(&|own, _| Ok(own.zeros_like())),
        Change::Mean { pooled } => {
            let all: Vec<ActivationCache> =
                pairs.iter().map(|pair| run(&pair.clean)).collect::<Result<_>>()?;
            let component = settings.components[0];
            made(&|own, layer| {
                let hook = component.hook(layer);
                let each: Vec<Tensor> =
                    all.iter().map(|cache| Ok(cache.get(hook)?.shallow_clone())).collect::<Result<_>>()?;
                Ok(match pooled {
                    true => Tensor::cat(&each, 1).mean_dim(&[1i64][..], true, Kind::Double).expand_as(own),
                    false => Tensor::cat(&each, 0).mean_dim(&[0i64][..], true, Kind::Double),
                })
            })
        }
    }
}
