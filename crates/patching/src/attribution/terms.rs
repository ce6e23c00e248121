//! First-order changes: a gradient times a change of what it was taken at, for all places of a component in a layer at
//! once.

use std::collections::BTreeMap;

use ndarray::Array3;
use refrain_runner::{Axes, Hook, HookPoint, Model, NameFilter};
use tch::{Device, Kind, Tensor};

use crate::attribution::qk_apart::KeyTurn;
use crate::attribution::runs::{Batch, PairRuns};
use crate::component::{Component, Site};
use crate::error::{Error, Result};
use crate::scores::Scores;
use crate::sweep::Settings;
use crate::tensors::{numbers, wide};

/// Gradients by the hook that they were taken at.
pub(crate) type Gradients = BTreeMap<Hook, Tensor>;

/// How fine the places of a component are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) by_position: bool,
    pub(crate) by_key_position: bool,
}

impl Places {
    pub(crate) fn of(settings: &Settings) -> Places {
        Places { by_position: settings.by_position, by_key_position: settings.by_key_position }
    }
}

/// One component of one layer.
pub(crate) struct Term {
    pub(crate) component: Component,
    pub(crate) layer: usize,
    /// The change is the sum over these: keys can be read by several layers.
    pub(crate) parts: Vec<Part>,
}

/// What a term takes a gradient of, and what it does with it.
pub(crate) struct Part {
    pub(crate) hook: Hook,
    pub(crate) rule: Rule,
}

/// From a gradient to changes, which are linear in it.
pub(crate) enum Rule {
    /// Times the difference of the activations.
    Linear(Tensor),
    /// The same where every entry of the last axis is a place of its own.
    Neurons(Tensor),
    /// Keys one position at a time. Query heads share `heads` key heads.
    KeysApart {
        /// By how much the pattern turns to a key when it is changed.
        turn: KeyTurn,
        heads: i64,
    },
    /// Times the difference of the patterns, summed over the query heads that share a key head.
    Shared {
        /// `[pairs, head, query, key]`.
        difference: Tensor,
        heads: i64,
    },
}

impl Term {
    /// The uncorrected term: the difference of the activations at the component's own hook. A head's result is
    /// linear in z and its gradient the same for all heads, so that both have the same first-order change: z is
    /// what is kept of either.
    pub(crate) fn uncorrected(component: Component, layer: usize, ends: &PairRuns) -> Result<Term> {
        let hook = hook(component, layer);
        let difference = ends.source.difference(hook, ends.base.cache.get(hook)?)?;
        let rule = match component {
            Component::Neuron => Rule::Neurons(difference),
            _ => Rule::Linear(difference),
        };
        Ok(Term { component, layer, parts: vec![Part { hook, rule }] })
    }

    /// The uncorrected terms of all components and layers that the model has.
    pub(crate) fn all_uncorrected(model: &Model, settings: &Settings, ends: &PairRuns) -> Result<Vec<Term>> {
        places(model, &settings.components)
            .map(|(component, layer)| Term::uncorrected(component, layer, ends))
            .collect()
    }

    /// The changes of the metric, `[pairs, index * positions * sources]` on the CPU, in the order of [`Term::sites`].
    pub(crate) fn changes(&self, gradients: &Gradients, places: Places) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for part in &self.parts {
            let Some(gradient) = gradients.get(&part.hook) else { continue };
            let change = part.rule.changes(&wide(gradient)?, part.hook.point().axes(), places)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&change)?,
                None => change,
            });
        }
        match sum {
            Some(sum) => Ok(sum.f_flatten(1, -1)?.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?),
            None => Err(Error::Input(format!("layer {} has no gradient", self.layer))),
        }
    }

    /// The places, of prompts of `pos` tokens.
    fn sites(&self, model: &Model, pos: usize, places: Places) -> Vec<Site> {
        let count = self.component.count(model.architecture(), self.layer);
        let site = |index, position, key_position| Site {
            component: self.component,
            layer: self.layer,
            index,
            position,
            key_position,
        };
        let mut sites = Vec::new();
        for index in 0..count {
            match places {
                Places { by_position: false, .. } => sites.push(site(index, None, None)),
                Places { by_key_position: false, .. } => {
                    sites.extend((0..pos).map(|position| site(index, Some(position), None)));
                }
                // Queries see keys up to their own position.
                _ => sites.extend((0..pos).flat_map(|position| {
                    (0..=position).map(move |key| site(index, Some(position), Some(key)))
                })),
            }
        }
        sites
    }
}

/// Of `[.., query, key]` the entries that a query sees, query by query: `[.., entry]`.
fn causal(entries: &Tensor) -> Result<Tensor> {
    let pos = *entries.size().last().unwrap_or(&0);
    let index: Vec<i64> = (0..pos).flat_map(|query| (0..=query).map(move |key| query * pos + key)).collect();
    let index = Tensor::f_from_slice(&index)?.f_to_device(entries.device())?;
    Ok(entries.f_flatten(-2, -1)?.f_index_select(-1, &index)?)
}

impl Rule {
    /// `[pairs, index]`, `[pairs, index, pos]` or `[pairs, index, query, key]`.
    fn changes(&self, gradient: &Tensor, axes: Axes, places: Places) -> Result<Tensor> {
        let total = |t: Tensor| -> Result<Tensor> {
            Ok(if places.by_position { t } else { t.f_sum_dim_intlist(-1, false, None::<Kind>)? })
        };
        match self {
            Rule::Linear(difference) => {
                let product = difference.f_mul(gradient)?;
                let by_position = match axes {
                    Axes::Stream => product.f_sum_dim_intlist(-1, false, None::<Kind>)?.f_unsqueeze(1)?,
                    Axes::Heads | Axes::KvHeads => {
                        product.f_sum_dim_intlist(-1, false, None::<Kind>)?.f_transpose(1, 2)?
                    }
                    Axes::Pairs if places.by_key_position => return causal(&product),
                    Axes::Pairs => product.f_sum_dim_intlist(-1, false, None::<Kind>)?,
                };
                total(by_position)
            }
            // [pairs, neuron, pos]
            Rule::Neurons(difference) => total(difference.f_mul(gradient)?.f_transpose(1, 2)?),
            Rule::KeysApart { turn, heads } => shared(&turn.changes(gradient)?, *heads),
            Rule::Shared { difference, heads } => {
                let by_query = difference.f_mul(gradient)?.f_sum_dim_intlist(-1, false, None::<Kind>)?;
                total(shared(&by_query, *heads)?)
            }
        }
    }
}

/// `[pairs, query head, pos]` summed over the query heads that share a key head: `[pairs, heads, pos]`.
fn shared(t: &Tensor, heads: i64) -> Result<Tensor> {
    Ok(t.f_unflatten(1, [heads, -1])?.f_sum_dim_intlist(2, false, None::<Kind>)?)
}

/// Where the activation that stands for `component` is.
pub(crate) fn hook(component: Component, layer: usize) -> Hook {
    match component {
        Component::Result => Hook::block(layer, HookPoint::Z),
        other => other.hook(layer),
    }
}

/// Components and layers, those that the model has.
pub(crate) fn places(model: &Model, components: &[Component]) -> impl Iterator<Item = (Component, usize)> {
    let arch = model.architecture();
    let layers = arch.n_layers;
    let all = components.iter().flat_map(move |component| (0..layers).map(move |layer| (*component, layer)));
    all.filter(move |(component, layer)| component.count(arch, *layer) > 0)
}

/// What to keep for the components.
pub(crate) fn hooks(model: &Model, components: &[Component]) -> Vec<Hook> {
    places(model, components).map(|(component, layer)| hook(component, layer)).collect()
}

/// The same as a filter.
pub(crate) fn names(model: &Model, components: &[Component]) -> NameFilter {
    NameFilter::hooks(&hooks(model, components))
}

/// Estimates of the changed runs' metrics: those of the base run and `changes`, by metric, then by term, `[pairs,
/// sites]` each.
pub(crate) fn estimates(
    model: &Model,
    settings: &Settings,
    batch: &Batch,
    ends: &PairRuns,
    terms: &[Term],
    changes: &[Vec<Tensor>],
) -> Result<Scores> {
    let pos = batch.clean.size()[1] as usize;
    let pairs = &batch.pairs;
    let places = Places::of(settings);
    let base = ends.base_values(settings.change);
    let sites: Vec<Site> = terms.iter().flat_map(|term| term.sites(model, pos, places)).collect();
    let mut values = Array3::zeros((sites.len(), settings.metrics.len(), pairs.len()));
    for (metric, changes) in changes.iter().enumerate() {
        // [pairs, sites of all terms]
        let changes = numbers(&Tensor::f_cat(changes, 1)?)?;
        for (pair, changes) in changes.chunks_exact(sites.len().max(1)).enumerate() {
            for (site, change) in changes.iter().enumerate() {
                values[[site, metric, pair]] = base[[metric, pair]] + change;
            }
        }
    }
    Ok(Scores {
        metrics: settings.metrics.clone(),
        pairs: pairs.clone(),
        clean: ends.clean.clone(),
        corrupted: ends.corrupted.clone(),
        sites,
        values,
    })
}
