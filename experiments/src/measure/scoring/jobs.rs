//! The work of several methods, as one stage.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use refrain_entropy::schema::Table;
use refrain_patching::table::{HeadScoreRow, HeadScores};
use refrain_patching::{Method, Site};

use super::job::{HEADS, Job};
use super::rows::with_means;
use super::settings::Scoring;
use crate::lab::{Part, Run, Stage};

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
        let mut by_component: Vec<(refrain_patching::Part, Vec<HeadScoreRow>)> = Vec::new();
        for part in group {
            for row in run.part::<HeadScores>(stage, *part)? {
                match by_component.iter_mut().find(|(component, _)| *component == row.component) {
                    Some((_, rows)) => rows.push(row),
                    None => by_component.push((row.component, vec![row])),
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
        for row in rows.iter_mut().filter(|row| row.method != Method::Detectors) {
            row.task = Some(self.scoring.task.to_owned());
        }
        Ok(rows)
    }
}
