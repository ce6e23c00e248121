//! The work of methods, cut into parts.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use refrain_entropy::schema::Table;
use refrain_patching::attribution::{self, IgSteps};
use refrain_patching::sweep::{Sweep, Unit};
use refrain_patching::table::{CircuitScores, EdgeScores, HeadScoreRow, HeadScores};
use refrain_patching::{Component, Method, Pair, Site, batches};
use refrain_runner::StepIndex;

use super::rows::{Labels, of_scores, with_means};
use super::settings::Scoring;
use super::{circuits, detectors, direct, edges};
use crate::lab::{Finish, Found, Part, Run, Stage};

/// Pairs of a batch of the methods that are done by batches.
const BATCH: usize = 16;

const HEADS: &[&str] = &[HeadScores::NAME];
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

    fn parts(&self, scoring: &Scoring<'_>) -> Vec<Part> {
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
    fn run(&self, scoring: &Scoring<'_>, todo: &[usize], finish: &mut Finish<'_>) -> Result<()> {
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

    /// The parts whose rows are sorted and averaged together, by their numbers: a layer of a component at a time, so that a table need not
    /// be in memory whole.
    fn groups(&self) -> Vec<Vec<usize>> {
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

/// The work of several methods, as one stage.
pub struct Jobs<'a> {
    scoring: &'a Scoring<'a>,
    /// One a method.
    pub jobs: Vec<Job<'a>>,
}

impl<'a> Jobs<'a> {
    /// The work of `methods`, in their order.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub fn new(scoring: &'a Scoring<'a>, methods: &[Method]) -> Result<Self> {
        let jobs = methods.iter().map(|method| Job::new(scoring, *method)).collect::<Result<_>>()?;
        Ok(Jobs { scoring, jobs })
    }

    /// The exact runs of some sites only.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub fn confirming(scoring: &'a Scoring<'a>, sites: BTreeSet<Site>) -> Result<Self> {
        Ok(Jobs { scoring, jobs: vec![Job::confirming(scoring, sites)?] })
    }

    /// The stage.
    pub fn stage(&self, name: &'static str) -> Stage<'_> {
        let by_job: Vec<Vec<Part>> = self.jobs.iter().map(|job| job.parts(self.scoring)).collect();
        let firsts = self.firsts();
        let parts = by_job.into_iter().flatten().collect();
        Stage::together(name, HEADS, parts, move |todo, finish| {
            for ((job, first), next) in self.jobs.iter().zip(&firsts).zip(firsts.iter().skip(1)) {
                let own: Vec<usize> = todo
                    .iter()
                    .filter(|part| (first..next).contains(part))
                    .map(|part| part - first)
                    .collect();
                job.run(self.scoring, &own, &mut |part, found| finish(first + part, found))
                    .with_context(|| job.method.name())?;
            }
            Ok(())
        })
    }

    /// The number of each job's first part, and of all parts.
    fn firsts(&self) -> Vec<usize> {
        let mut firsts = vec![0];
        for job in &self.jobs {
            firsts.push(firsts[firsts.len() - 1] + job.parts(self.scoring).len());
        }
        firsts
    }

    /// The numbers of the parts with rows of `head_scores` whose rows are sorted and averaged together.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups = Vec::new();
        for (job, first) in self.jobs.iter().zip(self.firsts()) {
            if job.method != Method::Circuit {
                groups.extend(
                    job.groups()
                        .into_iter()
                        .map(|group| group.into_iter().map(|part| first + part).collect()),
                );
            }
        }
        groups
    }

    /// The numbers of the parts with rows of table `T`.
    pub fn parts_with<T: Table>(&self) -> Vec<usize> {
        let parts: Vec<Part> = self.jobs.iter().flat_map(|job| job.parts(self.scoring)).collect();
        (0..parts.len()).filter(|part| parts[*part].tables.contains(&T::NAME)).collect()
    }

    /// Gives `each` the rows of `head_scores` of all parts as they are, one part in memory at a time.
    ///
    /// # Errors
    /// If a part cannot be read, and whatever `each` returns.
    pub fn each_row(
        &self,
        run: &Run<'_>,
        stage: &Stage<'_>,
        each: &mut dyn FnMut(HeadScoreRow) -> Result<()>,
    ) -> Result<()> {
        for part in self.groups().concat() {
            run.part::<HeadScores>(stage, part)?.into_iter().try_for_each(&mut *each)?;
        }
        Ok(())
    }

    /// The rows of `head_scores` of a group, with their means over prompts.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub fn head_scores(
        &self,
        run: &Run<'_>,
        stage: &Stage<'_>,
        group: &[usize],
    ) -> Result<Vec<HeadScoreRow>> {
        let mut by_component: Vec<(String, Vec<HeadScoreRow>)> = Vec::new();
        for part in group {
            for row in run.part::<HeadScores>(stage, *part)? {
                match by_component.iter_mut().find(|(component, _)| *component == row.component) {
                    Some((_, rows)) => rows.push(row),
                    None => by_component.push((row.component.clone(), vec![row])),
                }
            }
        }
        let mut rows = Vec::new();
        for (_, own) in by_component {
            // The detectors' own means come with p-values.
            match own.iter().any(|row| row.prompt.is_none()) {
                true => rows.extend(own),
                false => rows.extend(with_means(self.scoring, own)),
            }
        }
        Ok(rows)
    }
}
