//! The work of a method, cut into parts.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use refrain_entropy::schema::Table;
use refrain_patching::attribution::{self, IgSteps};
use refrain_patching::sweep::{Sweep, Unit};
use refrain_patching::table::{CircuitScores, EdgeScores, HeadScoreRow, HeadScores};
use refrain_patching::{Component, Method, Pair, Site, batches};
use refrain_runner::StepIndex;

use super::rows::{Labels, of_scores};
use super::settings::Scoring;
use super::{circuits, detectors, direct, edges};
use crate::lab::{Finish, Found, Part};

/// Pairs of a batch of the methods that are done by batches.
const BATCH: usize = 16;

pub(super) const HEADS: &[&str] = &[HeadScores::NAME];
const EDGES: &[&str] = &[HeadScores::NAME, EdgeScores::NAME];
const CIRCUITS: &[&str] = &[CircuitScores::NAME];

/// One method's work.
pub struct Job<'a> {
    /// The method.
    pub method: Method,
    labels: Labels,
    cut: Cut<'a>,
}

/// How the work is cut.
enum Cut<'a> {
    /// Into the units of the exact engine.
    Sweep(Box<Sweep<'a>>, Vec<Unit>),
    /// Into batches of pairs.
    Batches(Vec<Vec<usize>>),
    /// Not at all.
    Whole,
}

impl<'a> Job<'a> {
    /// The work of `method`.
    ///
    /// # Errors
    /// If it cannot be used on this model or these pairs: that is said before any work is done.
    pub fn new(scoring: &Scoring<'a>, method: Method) -> Result<Self> {
        let change = scoring.change(method);
        let labels = Labels::new(method, change);
        let cut = match method {
            Method::ActivationPatching
            | Method::ActivationPatchingBf16
            | Method::ZeroAblation
            | Method::MeanAblation
            | Method::ResampleAblation => {
                let narrow = scoring.narrow.filter(|_| method == Method::ActivationPatchingBf16);
                let change = change.context("a sweep changes something")?;
                let sweep = Sweep::new(narrow.unwrap_or(scoring.model), scoring.pairs, scoring.sweep(change))
                    .with_context(|| method.name())?
                    .under(scoring.background.to_vec(), StepIndex::default())?;
                let units = sweep.units().to_vec();
                Cut::Sweep(Box::new(sweep), units)
            }
            Method::AttributionPatching
            | Method::AtpStar
            | Method::IntegratedGradients
            | Method::Dla
            | Method::LogitLens => Cut::Batches(batches(scoring.pairs, BATCH)?),
            _ => Cut::Whole,
        };
        let job = Job { method, labels, cut };
        if !matches!(job.cut, Cut::Sweep(..)) {
            // Patterns are read with nothing changed, whatever holds in the runs.
            if method != Method::Detectors {
                scoring.without_background(method)?;
            }
            job.try_out(scoring).with_context(|| method.name())?;
        }
        Ok(job)
    }

    /// The exact runs of some sites only, under the same interventions.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub fn confirming(scoring: &Scoring<'a>, sites: BTreeSet<Site>) -> Result<Self> {
        let method = Method::ActivationPatching;
        let change = scoring.change(method).context("patching changes something")?;
        // Those of the nodes of EAP too, whatever components were asked for.
        let mut components: Vec<Component> = sites.iter().map(|site| site.component).collect();
        components.dedup();
        let settings = refrain_patching::sweep::Settings { components, ..scoring.sweep(change) };
        let sweep = Sweep::new(scoring.model, scoring.pairs, settings)?
            .under(scoring.background.to_vec(), StepIndex::default())?
            .only(sites);
        let units = sweep.units().to_vec();
        Ok(Job { method, labels: Labels::new(method, Some(change)), cut: Cut::Sweep(Box::new(sweep), units) })
    }

    /// Scores the first pair and forgets it.
    fn try_out(&self, scoring: &Scoring<'_>) -> Result<()> {
        match (&self.cut, self.method) {
            (Cut::Batches(_), _) => self.on_batch(scoring, &[0]).map(drop),
            (_, Method::Detectors | Method::Circuit) => Ok(()),
            _ => edges::score(scoring, self.method, self.labels, &scoring.pairs[..1]).map(drop),
        }
    }

    pub(super) fn parts(&self, scoring: &Scoring<'_>) -> Vec<Part> {
        let params = scoring.model.weights().n_params() as f64;
        let tokens =
            |pairs: &mut dyn Iterator<Item = &Pair>| pairs.map(|pair| pair.clean.len()).sum::<usize>() as f64;
        let name = self.method.name();
        match &self.cut {
            Cut::Sweep(sweep, units) => {
                let part = |unit: &Unit| {
                    Part::new(format!("{name}.{}", unit.id()), sweep.cost(unit)).with_tables(HEADS)
                };
                units.iter().map(part).collect()
            }
            Cut::Batches(batches) => {
                // Two passes forward and one back; of integrated gradients as many as there are steps.
                let passes =
                    if self.method == Method::IntegratedGradients { scoring.steps as f64 } else { 1.0 };
                let cost = |own: &Vec<usize>| {
                    8.0 * passes * params * tokens(&mut own.iter().map(|pair| &scoring.pairs[*pair]))
                };
                let part = |(index, own): (usize, &Vec<usize>)| {
                    Part::new(format!("{name}.b{index:04}"), cost(own)).with_tables(HEADS)
                };
                batches.iter().enumerate().map(part).collect()
            }
            Cut::Whole => {
                let passes = match self.method {
                    Method::EapIg => 3.0 * scoring.steps as f64,
                    Method::Circuit => 2.0 * scoring.circuit_heads as f64,
                    _ => 4.0,
                };
                let tables = if self.method == Method::Circuit { CIRCUITS } else { EDGES };
                let cost = 2.0 * params * passes * tokens(&mut scoring.pairs.iter());
                vec![Part::new(format!("{name}.all"), cost).with_tables(tables)]
            }
        }
    }

    /// Does the parts of these numbers.
    pub(super) fn run(&self, scoring: &Scoring<'_>, todo: &[usize], finish: &mut Finish<'_>) -> Result<()> {
        match &self.cut {
            Cut::Sweep(sweep, units) => {
                let wanted: Vec<Unit> = todo.iter().map(|part| units[*part]).collect();
                let number = |unit: &Unit| units.iter().position(|known| known == unit);
                sweep.run(&wanted, &mut |unit, scores| -> Result<()> {
                    let rows = of_scores(scoring, &scores, self.labels, &|pair| pair);
                    finish(number(unit).unwrap_or(0), Found::rows::<HeadScores>(&rows)?)
                })
            }
            Cut::Batches(batches) => {
                for part in todo {
                    finish(*part, Found::rows::<HeadScores>(&self.on_batch(scoring, &batches[*part])?)?)?;
                }
                Ok(())
            }
            Cut::Whole if todo.is_empty() => Ok(()),
            Cut::Whole => finish(0, self.whole(scoring)?),
        }
    }

    fn on_batch(&self, scoring: &Scoring<'_>, numbers: &[usize]) -> Result<Vec<HeadScoreRow>> {
        let pairs: Vec<Pair> = numbers.iter().map(|pair| scoring.pairs[*pair].clone()).collect();
        let of_change = || {
            let change = scoring.change(self.method).context("an attribution is of a change")?;
            Ok::<_, anyhow::Error>(scoring.sweep(change))
        };
        let scores = match self.method {
            Method::AttributionPatching => attribution::atp(scoring.model, &pairs, &of_change()?)?,
            Method::AtpStar => {
                let found = attribution::atp_star(scoring.model, &pairs, &of_change()?)?;
                found.into_iter().map(|found| found.dropped).collect()
            }
            Method::IntegratedGradients => {
                let steps = IgSteps { count: scoring.steps, ..IgSteps::default() };
                attribution::integrated_gradients(scoring.model, &pairs, &of_change()?, steps)?
            }
            Method::Dla => return direct::attribution(scoring, numbers, &pairs),
            Method::LogitLens => return direct::lens(scoring, numbers, &pairs),
            other => bail!("{other} is not done by batches"),
        };
        Ok(scores
            .iter()
            .flat_map(|scores| of_scores(scoring, scores, self.labels, &|pair| numbers[pair]))
            .collect())
    }

    fn whole(&self, scoring: &Scoring<'_>) -> Result<Found> {
        match self.method {
            Method::Detectors => Found::rows::<HeadScores>(&detectors::heads(scoring)?)?
                .and::<EdgeScores>(&detectors::composition(scoring)?),
            Method::Circuit => Found::rows::<CircuitScores>(&circuits::curves(scoring)?),
            _ => {
                let (heads, edges) = edges::score(scoring, self.method, self.labels, scoring.pairs)?;
                Found::rows::<HeadScores>(&heads)?.and::<EdgeScores>(&edges)
            }
        }
    }

    /// The parts whose rows are sorted and averaged together, by their numbers: a layer of a component at a time,
    /// so that a table need not be in memory whole.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let Cut::Sweep(_, units) = &self.cut else {
            return match &self.cut {
                Cut::Batches(batches) => vec![(0..batches.len()).collect()],
                _ => vec![vec![0]],
            };
        };
        let mut groups: Vec<((Component, usize), Vec<usize>)> = Vec::new();
        for (number, unit) in units.iter().enumerate() {
            let key = (unit.component, unit.layer);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, parts)) => parts.push(number),
                None => groups.push((key, vec![number])),
            }
        }
        groups.into_iter().map(|(_, parts)| parts).collect()
    }
}
