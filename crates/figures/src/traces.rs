//! A quantity over generation steps: mean over prompts with its band.

use std::collections::{BTreeMap, BTreeSet};

use crate::stats::{Estimate, bootstrap_mean};

/// Up to this step every step stands alone; beyond it steps are averaged within bins of 1/8 octave of 1 + step, each
/// prompt first. A line over log2(1 + step) would otherwise put hundreds of steps under one pixel.
pub(crate) const SINGLE_STEPS: f64 = 15.0;
const BINS_PER_OCTAVE: f64 = 8.0;

/// A prompt, numbered by the figure.
pub(crate) type Prompt = (u64, u64, u64);

/// The steps of many prompts, as they are read.
#[derive(Default)]
pub(crate) struct Samples {
    /// Bin, then prompt: sum and count of the values, and the sum of their log2(1 + step).
    bins: BTreeMap<i64, BTreeMap<Prompt, (f64, f64, f64)>>,
    last_step: BTreeMap<Prompt, f64>,
}

/// One place of a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) step: f64,
    pub(crate) estimate: Estimate,
    /// Share of the prompts that still generate here.
    pub(crate) alive: f64,
}

/// A mean line with its band.
pub(crate) struct Trace {
    pub(crate) places: Vec<Place>,
    pub(crate) prompts: usize,
}

fn bin(step: f64) -> i64 {
    if step <= SINGLE_STEPS {
        return step as i64;
    }
    let base = (1.0 + SINGLE_STEPS).log2();
    SINGLE_STEPS as i64 + 1 + (BINS_PER_OCTAVE * ((1.0 + step).log2() - base)).floor() as i64
}

impl Samples {
    /// Adds a step of a prompt; a step without a value still says that the prompt got there.
    pub(crate) fn add(&mut self, prompt: Prompt, step: f64, value: Option<f64>) {
        let last = self.last_step.entry(prompt).or_insert(step);
        *last = last.max(step);
        if let Some(value) = value {
            let cell = self.bins.entry(bin(step)).or_default().entry(prompt).or_default();
            *cell = (cell.0 + value, cell.1 + 1.0, cell.2 + (1.0 + step).log2());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// The mean line, cut where fewer than a quarter of the prompts, or fewer than 3 of them, still generate: beyond, it
    /// would show which prompts are left rather than what happens at that step.
    pub(crate) fn trace(&self) -> Trace {
        let prompts: BTreeSet<Prompt> = self.bins.values().flat_map(|cells| cells.keys().copied()).collect();
        let total = prompts.len();
        let needed = required(total);
        let mut places = Vec::new();
        for (key, cells) in &self.bins {
            let weight: f64 = cells.values().map(|c| c.1).sum();
            let step = 2f64.powf(cells.values().map(|c| c.2).sum::<f64>() / weight) - 1.0;
            let alive =
                prompts.iter().filter(|p| self.last_step.get(p).is_some_and(|l| bin(*l) >= *key)).count();
            if alive < needed {
                break;
            }
            // Not every prompt need be measured at every step.
            if cells.len() < needed {
                continue;
            }
            let means: Vec<f64> = cells.values().map(|c| c.0 / c.1).collect();
            places.push(Place { step, estimate: bootstrap_mean(&means), alive: alive as f64 / total as f64 });
        }
        Trace { places, prompts: total }
    }
}

/// How many of `prompts` a mean needs.
fn required(prompts: usize) -> usize {
    prompts.div_ceil(4).max(3).min(prompts)
}

impl Trace {
    pub(crate) fn line(&self) -> Vec<(f64, f64)> {
        self.places.iter().map(|p| (p.step, p.estimate.at)).collect()
    }

    pub(crate) fn band(&self) -> Vec<(f64, Estimate)> {
        self.places.iter().map(|p| (p.step, p.estimate)).collect()
    }

    /// Whether the places are few enough for each to get a marker.
    pub(crate) fn sparse(&self) -> bool {
        self.places.len() <= 16
    }
}

/// The footnote that all figures of traces share.
pub(crate) fn footnote(band: &str) -> String {
    format!(
        "Line: mean over prompts. Band (from 3 prompts on): {band}. Beyond step {SINGLE_STEPS}, steps are averaged within each prompt over \
         1/8 octave. A line ends where fewer than 25 % of its prompts (or fewer than 3) still generate."
    )
}

/// What the band of a trace is.
pub(crate) const BAND: &str = "pointwise 95 % bootstrap interval over prompts (1000 resamples)";

#[cfg(test)]
mod tests {
    use super::*;

    /// Four prompts of value 0, 1, 2, 3 at steps 0 and 1, then one stops at a time: 3 left is enough, 2 is not.
    #[test]
    fn a_trace_ends_with_too_few_prompts() {
        let mut samples = Samples::default();
        for p in 0..4u64 {
            for step in 0..=(1 + p) {
                samples.add((0, 0, p), step as f64, Some(p as f64));
            }
        }
        let trace = samples.trace();
        let seen: Vec<_> = trace.places.iter().map(|p| (p.step.round(), p.estimate.at, p.alive)).collect();
        assert_eq!(seen, [(0.0, 1.5, 1.0), (1.0, 1.5, 1.0), (2.0, 2.0, 0.75)]);
    }

    /// Within a bin each prompt counts once, however many of its steps fall there.
    #[test]
    fn a_bin_averages_prompts_not_steps() {
        let mut samples = Samples::default();
        for p in 0..3u64 {
            samples.add((0, 0, p), 1000.0, Some(p as f64));
        }
        for step in 1001..1005 {
            samples.add((0, 0, 2), f64::from(step), Some(2.0));
        }
        let trace = samples.trace();
        assert_eq!(trace.places.len(), 1);
        assert_eq!(trace.places[0].estimate.at, 1.0);
    }

    /// A step without a value is no zero, and does not end the line either.
    #[test]
    fn unmeasured_steps_are_skipped() {
        let mut samples = Samples::default();
        for p in 0..3u64 {
            samples.add((0, 0, p), 0.0, Some(1.0));
            samples.add((0, 0, p), 1.0, None);
            samples.add((0, 0, p), 2.0, Some(3.0));
        }
        let line = samples.trace().line();
        assert_eq!(line.iter().map(|(s, v)| (s.round(), *v)).collect::<Vec<_>>(), [(0.0, 1.0), (2.0, 3.0)]);
    }
}
