//! The work, cut into parts that are on the disk before the next begins.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use refrain_entropy::schema::Table;
use refrain_patching::compare::MeanChanges;
use refrain_patching::detect::Detector;
use refrain_patching::sweep::{self, Sweep, Unit};
use refrain_patching::table::{EdgeScores, HeadScoreRow, HeadScores};
use refrain_patching::{Component, batches};

use super::method::{self, Cut, Inputs, Method, sweep_settings};
use super::rows::{Labels, of_scores, site, with_means};
use crate::folder::RunFolder;
use crate::progress::Effort;

/// Pairs of a batch of the methods that are done by batches.
const BATCH: usize = 16;

/// One method's work.
pub struct Work<'a> {
    method: Method,
    labels: Labels,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Sweep(Box<Sweep<'a>>, Vec<Unit>),
    Batches(Vec<Vec<usize>>),
    Whole,
}

/// A part of some work.
enum Part {
    Unit(Unit),
    Batch(usize),
    Whole,
}

impl<'a> Work<'a> {
    /// What is asked for, in order.
    ///
    /// # Errors
    /// If a method cannot be used on this model or these pairs.
    pub fn all(inputs: &Inputs<'a>) -> Result<Vec<Work<'a>>> {
        inputs.asked.methods.iter().map(|method| Work::new(inputs, *method)).collect()
    }

    fn new(inputs: &Inputs<'a>, method: Method) -> Result<Work<'a>> {
        let Inputs { asked, settings, subject, .. } = inputs;
        let labels = Labels {
            method: method.name(),
            direction: method.direction(asked),
            into_clean: method.into_clean(asked),
        };
        let kind = match method.cut(settings, asked) {
            Cut::Sweep(change) => {
                let model = match (method, &subject.narrow) {
                    (Method::Screening, Some(narrow)) => narrow,
                    _ => &subject.model,
                };
                let sweep = Sweep::new(model, &subject.pairs, sweep_settings(inputs, change));
                let sweep = sweep.with_context(|| method.name())?;
                let units = sweep.units().to_vec();
                Kind::Sweep(Box::new(sweep), units)
            }
            Cut::Batches => Kind::Batches(batches(&subject.pairs, BATCH)?),
            Cut::Whole => Kind::Whole,
        };
        // What a method cannot do on this model is said before any work is done.
        method.try_out(inputs, labels).with_context(|| method.name())?;
        Ok(Work { method, labels, kind })
    }

    /// The exact runs that confirm what the approximations in `done` say: of the share of each component's places whose mean
    /// change they estimate to be largest, by any of them and any metric. None if nothing is to be confirmed.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub fn confirming(
        done: &[Work<'_>],
        inputs: &Inputs<'a>,
        folder: &RunFolder,
    ) -> Result<Option<Work<'a>>> {
        let Some(share) = inputs.settings.verify else { return Ok(None) };
        if inputs.asked.methods.contains(&Method::ActivationPatching) {
            return Ok(None);
        }
        let mut sites = BTreeSet::new();
        for work in done.iter().filter(|work| work.method.is_approximate()) {
            let rule = work.method.name().parse::<refrain_patching::Method>()?.info().mean;
            let mut changes = MeanChanges::new(rule);
            for part in work.parts() {
                let id = work.id(&part);
                for row in HeadScores::rows(&folder.part::<HeadScores>(&id, || Err(absent(&id, folder)))?)? {
                    if let (Some(site), Some(change)) = (site(&row), row.change) {
                        changes.add(row.metric.parse()?, site, change);
                    }
                }
            }
            sites.extend(changes.strongest(share));
        }
        if sites.is_empty() {
            bail!("--verify {share}: there is nothing to confirm, for the approximations scored no place");
        }
        // Those of the nodes of EAP too, whatever components were asked for.
        let mut components: Vec<Component> = sites.iter().map(|site| site.component).collect();
        components.dedup();
        let settings =
            sweep::Settings { components, ..sweep_settings(inputs, method::patching(inputs.asked)) };
        let subject = inputs.subject;
        let sweep = Sweep::new(&subject.model, &subject.pairs, settings)?.only(sites);
        let units = sweep.units().to_vec();
        let method = Method::ActivationPatching;
        let labels = Labels {
            method: method.name(),
            direction: method.direction(inputs.asked),
            into_clean: method.into_clean(inputs.asked),
        };
        Ok(Some(Work { method, labels, kind: Kind::Sweep(Box::new(sweep), units) }))
    }

    fn parts(&self) -> Vec<Part> {
        match &self.kind {
            Kind::Sweep(_, units) => units.iter().map(|unit| Part::Unit(*unit)).collect(),
            Kind::Batches(batches) => (0..batches.len()).map(Part::Batch).collect(),
            Kind::Whole => vec![Part::Whole],
        }
    }

    fn id(&self, part: &Part) -> String {
        let method = self.method.name();
        match part {
            Part::Unit(unit) => format!("{method}.{}", unit.id()),
            Part::Batch(batch) => format!("{method}.b{batch:04}"),
            Part::Whole => format!("{method}.all"),
        }
    }

    fn is_done(&self, part: &Part, folder: &RunFolder) -> bool {
        let id = self.id(part);
        folder.has_part::<HeadScores>(&id) && (!self.method.has_edges() || folder.has_part::<EdgeScores>(&id))
    }

    /// Floating-point operations, roughly where the method does not say.
    fn cost(&self, part: &Part, inputs: &Inputs<'_>) -> f64 {
        let params = inputs.subject.model.weights().n_params() as f64;
        match (&self.kind, part) {
            (Kind::Sweep(sweep, _), Part::Unit(unit)) => sweep.cost(unit),
            (Kind::Batches(batches), Part::Batch(batch)) => {
                let tokens: usize =
                    batches[*batch].iter().map(|pair| inputs.subject.pairs[*pair].clean.len()).sum();
                // Two passes forward and one back.
                8.0 * params * tokens as f64
            }
            _ => {
                let tokens: usize = inputs.subject.pairs.iter().map(|pair| pair.clean.len()).sum();
                let passes = if self.method == Method::EapIg { 3 * inputs.settings.steps } else { 4 };
                2.0 * params * (passes * tokens) as f64
            }
        }
    }

    /// Does `todo`.
    fn run(
        &self,
        todo: &[&Part],
        inputs: &Inputs<'_>,
        folder: &RunFolder,
        progress: &mut Effort,
    ) -> Result<()> {
        let units: Vec<Unit> = todo
            .iter()
            .filter_map(|part| if let Part::Unit(unit) = part { Some(*unit) } else { None })
            .collect();
        if let (Kind::Sweep(sweep, _), false) = (&self.kind, units.is_empty()) {
            sweep.run(&units, &mut |unit, scores| -> Result<()> {
                let part = Part::Unit(*unit);
                let make = || Ok(of_scores(&scores, self.labels, &|pair| pair));
                folder.part::<HeadScores>(&self.id(&part), make)?;
                progress.advance(self.cost(&part, inputs));
                Ok(())
            })?;
        }
        for part in todo {
            let id = self.id(part);
            match part {
                Part::Unit(_) => continue,
                Part::Batch(batch) => {
                    let Kind::Batches(batches) = &self.kind else { continue };
                    let make = || self.method.on_batch(inputs, &batches[*batch], self.labels);
                    folder.part::<HeadScores>(&id, make)?;
                }
                Part::Whole => {
                    let (heads, edges) = self.method.on_all(inputs, self.labels)?;
                    folder.part::<EdgeScores>(&id, || Ok(edges))?;
                    folder.part::<HeadScores>(&id, || Ok(heads))?;
                }
            }
            progress.advance(self.cost(part, inputs));
        }
        Ok(())
    }

    /// The parts whose rows are sorted and averaged together.
    fn groups(&self) -> Vec<Vec<Part>> {
        let Kind::Sweep(_, units) = &self.kind else { return vec![self.parts()] };
        let mut groups: Vec<((Component, usize), Vec<Part>)> = Vec::new();
        for unit in units {
            let key = (unit.component, unit.layer);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, parts)) => parts.push(Part::Unit(*unit)),
                None => groups.push((key, vec![Part::Unit(*unit)])),
            }
        }
        groups.into_iter().map(|(_, parts)| parts).collect()
    }
}

/// A part that was there is no more.
fn absent(id: &str, folder: &RunFolder) -> anyhow::Error {
    anyhow!("the part {id} has gone from {}", folder.path().display())
}

/// Does what is not on the disk yet. Returns how many parts there are, and how many were there.
///
/// # Errors
/// Of the first part that fails; those before it are kept.
pub fn run_all(work: &[Work<'_>], inputs: &Inputs<'_>, folder: &RunFolder) -> Result<(usize, usize)> {
    let parts: Vec<Vec<Part>> = work.iter().map(Work::parts).collect();
    let cost =
        |work: &Work<'_>, parts: &[&Part]| parts.iter().map(|part| work.cost(part, inputs)).sum::<f64>();
    let (mut total, mut left, mut todo) = (0.0, 0.0, Vec::new());
    for (work, parts) in work.iter().zip(&parts) {
        let missing: Vec<&Part> = parts.iter().filter(|part| !work.is_done(part, folder)).collect();
        total += cost(work, &parts.iter().collect::<Vec<_>>());
        left += cost(work, &missing);
        todo.push(missing);
    }
    let count: usize = parts.iter().map(Vec::len).sum();
    let there = count - todo.iter().map(Vec::len).sum::<usize>();
    let mut progress = Effort::new((count, there), (total, total - left), inputs.settings.quiet);
    if there > 0 {
        progress.note(&format!("resuming: {there} of {count} parts are there"));
    }
    for (work, todo) in work.iter().zip(&todo) {
        progress.doing(work.method.name());
        work.run(todo, inputs, folder, &mut progress).with_context(|| work.method.name())?;
    }
    progress.finish();
    Ok((count, there))
}

/// How many rows each table has.
pub type Rows = BTreeMap<&'static str, usize>;

/// Writes the final tables from the parts, a group of parts in memory at a time. Returns the rows that are means, and how many
/// rows each table has.
///
/// # Errors
/// If a part cannot be read or a table cannot be written.
pub fn write_tables(
    work: &[Work<'_>],
    inputs: &Inputs<'_>,
    folder: &RunFolder,
) -> Result<(Vec<HeadScoreRow>, Rows)> {
    let mut metrics: Vec<&str> = inputs.metrics.iter().map(|metric| metric.name()).collect();
    metrics.extend(Detector::NAMES);
    let groups = work.iter().flat_map(|work| work.groups().into_iter().map(move |parts| (work, parts)));
    let mut means = Vec::new();
    let batches = groups.map(|(work, parts)| {
        let mut by_component: Vec<(String, Vec<HeadScoreRow>)> = Vec::new();
        for part in &parts {
            let id = work.id(part);
            for row in HeadScores::rows(&folder.part::<HeadScores>(&id, || Err(absent(&id, folder)))?)? {
                match by_component.iter_mut().find(|(component, _)| *component == row.component) {
                    Some((_, rows)) => rows.push(row),
                    None => by_component.push((row.component.clone(), vec![row])),
                }
            }
        }
        let mut rows = Vec::new();
        for (_, own) in by_component {
            // The detectors' own means come with p-values.
            if own.iter().any(|row| row.prompt.is_none()) {
                rows.extend(own);
                continue;
            }
            rows.extend(with_means(own, &metrics, inputs.settings.resamples, inputs.settings.seed));
        }
        means.extend(rows.iter().filter(|row| row.prompt.is_none()).cloned());
        Ok(HeadScores::batch(&rows)?)
    });
    let mut counts = Rows::from([(HeadScores::NAME, folder.write_batches::<HeadScores>(batches)?)]);
    let edges: Vec<&Work<'_>> = work.iter().filter(|work| work.method.has_edges()).collect();
    if !edges.is_empty() {
        let ids = edges.iter().flat_map(|work| work.parts().into_iter().map(|part| work.id(&part)));
        let batches = ids.map(|id| folder.part::<EdgeScores>(&id, || Err(absent(&id, folder))));
        counts.insert(EdgeScores::NAME, folder.write_batches::<EdgeScores>(batches)?);
    }
    Ok((means, counts))
}
