//! What every method that scores sites gives: the metrics of the changed runs, beside those of the clean and the
//! corrupted run.

use ndarray::{Array2, Array3, ArrayView2, Axis, concatenate};

use crate::change::Change;
use crate::component::Site;
use crate::error::{Error, Result};
use crate::metric::Metric;

/// Numbers by metric, then by pair: `[metric, pair]`.
pub type ByMetric = Array2<f64>;

/// Scores of some sites on some pairs of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// The metrics, in the order of every axis of metrics here.
    pub metrics: Vec<Metric>,
    /// Which pairs of the task they are, in the order of every axis of pairs here.
    pub pairs: Vec<usize>,
    /// The clean runs, `[metric, pair]`.
    pub clean: ByMetric,
    /// The corrupted runs, `[metric, pair]`.
    pub corrupted: ByMetric,
    /// What is changed, one at a time.
    pub sites: Vec<Site>,
    /// The runs in which a site is changed, or what an approximation makes of them: `[site, metric, pair]`, in the
    /// metric's unit.
    pub values: Array3<f64>,
}

impl Scores {
    /// The runs that `change` changes, `[metric, pair]`.
    pub fn base(&self, change: Change) -> &ByMetric {
        if change.into_clean() { &self.clean } else { &self.corrupted }
    }

    /// By how much each metric is changed, value - base run: `[site, metric, pair]`.
    pub fn changes(&self, change: Change) -> Array3<f64> {
        &self.values - &self.base(change).view().insert_axis(Axis(0))
    }

    /// The sites, each with its values, `[metric, pair]`.
    pub fn iter(&self) -> impl Iterator<Item = (Site, ArrayView2<'_, f64>)> {
        self.sites.iter().copied().zip(self.values.outer_iter())
    }

    /// The values of `site`, `[metric, pair]`, if it is scored.
    pub fn of(&self, site: Site) -> Option<ArrayView2<'_, f64>> {
        let index = self.sites.iter().position(|known| *known == site)?;
        Some(self.values.index_axis(Axis(0), index))
    }

    /// With the same sites' scores on further pairs.
    ///
    /// # Errors
    /// [`Error::Input`] if they are of other sites or metrics.
    pub fn and(self, more: &Scores) -> Result<Self> {
        if (&self.sites, &self.metrics) != (&more.sites, &more.metrics) {
            return Err(Error::Input("scores of other sites or metrics cannot be joined".into()));
        }
        let join = |a: &ByMetric, b: &ByMetric| concatenate(Axis(1), &[a.view(), b.view()]);
        let shapes = |error| Error::Input(format!("scores cannot be joined: {error}"));
        Ok(Scores {
            clean: join(&self.clean, &more.clean).map_err(shapes)?,
            corrupted: join(&self.corrupted, &more.corrupted).map_err(shapes)?,
            values: concatenate(Axis(2), &[self.values.view(), more.values.view()]).map_err(shapes)?,
            pairs: [&self.pairs[..], &more.pairs[..]].concat(),
            metrics: self.metrics,
            sites: self.sites,
        })
    }
}
