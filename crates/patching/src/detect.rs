//! Detectors: what a head's attention pattern looks like on repeated random tokens (Olsson et al. 2022, in the
//! form of Crosbie & Shutova 2024).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use refrain_runner::{Model, NameFilter, Point};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// A probe: `block` random tokens, `copies` times, after BOS where the model has one.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Tokens of the block, P.
    pub block: usize,
    /// How often it is repeated.
    pub copies: usize,
    /// Tokens to draw from, uniformly and with replacement.
    pub candidates: &'a [i64],
    /// Put first.
    pub bos: Option<i64>,
}

/// Names of the detectors, in the order of [`Scores`].
pub const DETECTORS: [&str; 5] =
    ["prefix_matching", "prefix_matching_recent", "previous_token", "duplicate_token", "first_token"];

/// Scores of one sequence: by detector, then by head in the order of [`Model::heads`].
pub type Scores = [Vec<f64>; 5];

impl Probe<'_> {
    /// Draws the probe's tokens.
    ///
    /// # Errors
    /// [`Error::Input`] if there is nothing to draw from or to repeat.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Result<Vec<i64>> {
        if self.candidates.is_empty() || self.block == 0 || self.copies < 2 {
            return Err(Error::Input("a probe takes tokens to draw from, a block, and 2 copies".into()));
        }
        let block: Vec<i64> =
            (0..self.block).map(|_| self.candidates[rng.random_range(0..self.candidates.len())]).collect();
        Ok(self.bos.into_iter().chain(block.repeat(self.copies)).collect())
    }

    /// The first query that counts: the first of the second copy.
    fn first_query(&self) -> usize {
        usize::from(self.bos.is_some()) + self.block
    }
}

/// Scores every head on one probe sequence. Each score is the attention weight on the detector's target positions,
/// summed over targets, averaged over queries:
/// - `prefix_matching`: every position right after an earlier copy of the query's token; queries of copies 2 and on;
/// - `prefix_matching_recent`: the same, only the position P - 1 back;
/// - `previous_token`: the position before; queries from 1;
/// - `duplicate_token`: earlier copies of the query's token; queries of copies 2 and on;
/// - `first_token`: position 0; all queries from 1 (at 0 there is nothing else).
///
/// # Errors
/// [`Error::Runner`], for instance if the probe is longer than the window.
pub fn score(model: &Model, probe: &Probe<'_>, tokens: &[i64]) -> Result<Scores> {
    tch::no_grad(|| {
        let ids = model.ids(&[tokens.to_vec()])?;
        let (_, cache) = model.run_with_cache(&ids, NameFilter::points(&[Point::Pattern]))?;
        let masks = masks(tokens, probe);
        let mut scores: Scores = Default::default();
        for layer in 0..model.architecture().n_layers {
            let pattern = cache.block(layer, Point::Pattern)?.f_squeeze_dim(0)?.f_to_kind(Kind::Double)?;
            let flat = pattern.f_reshape([pattern.size()[0], -1])?;
            for (scores, mask) in scores.iter_mut().zip(&masks) {
                let mask = Tensor::f_from_slice(mask)?.f_to_device(flat.device())?.f_unsqueeze(1)?;
                let sums = flat.f_matmul(&mask)?.f_squeeze_dim(1)?.f_to_device(tch::Device::Cpu)?;
                scores.extend(Vec::<f64>::try_from(&sums)?);
            }
        }
        Ok(scores)
    })
}

/// For each detector, the weight of every (query, key), row by row: 1 / queries on targets, 0 elsewhere.
fn masks(tokens: &[i64], probe: &Probe<'_>) -> [Vec<f64>; 5] {
    let n = tokens.len();
    let repeated = probe.first_query();
    type Target<'a> = &'a dyn Fn(usize, usize) -> bool;
    let targets: [(usize, Target<'_>); 5] = [
        (repeated, &|q, k| k > 0 && tokens[k - 1] == tokens[q]),
        (repeated, &|q, k| k + probe.block == q + 1),
        (1, &|q, k| k + 1 == q),
        (repeated, &|q, k| k < q && tokens[k] == tokens[q]),
        (1, &|_, k| k == 0),
    ];
    targets.map(|(first, target)| {
        let weight = 1.0 / (n - first) as f64;
        let mut mask = vec![0.0; n * n];
        for q in first..n {
            for k in (0..=q).filter(|k| target(q, *k)) {
                mask[q * n + k] = weight;
            }
        }
        mask
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies a mask to a pattern that puts all of query q's attention on `to(q)`.
    fn all_on(mask: &[f64], n: usize, to: impl Fn(usize) -> usize) -> f64 {
        (0..n).map(|q| mask[q * n + to(q)]).sum()
    }

    #[test]
    fn ideal_heads_score_one() {
        // BOS 3 4 5 3 4 5 3 4 5
        let tokens = [0, 3, 4, 5, 3, 4, 5, 3, 4, 5];
        let probe = Probe { block: 3, copies: 3, candidates: &[3, 4, 5], bos: Some(0) };
        let masks = masks(&tokens, &probe);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        let induction = |q: usize| if q >= 4 { q - 2 } else { 0 };
        close(all_on(&masks[0], 10, induction), 1.0);
        close(all_on(&masks[1], 10, induction), 1.0);
        // Looking at the oldest copy's successor counts for the first variant only: in copy 3 it is 5 back.
        let oldest = |q: usize| if q >= 7 { q - 5 } else { induction(q) };
        close(all_on(&masks[0], 10, oldest), 1.0);
        close(all_on(&masks[1], 10, oldest), 0.5);
        close(all_on(&masks[2], 10, |q| q.saturating_sub(1)), 1.0);
        close(all_on(&masks[3], 10, |q| if q >= 4 { q - 3 } else { 0 }), 1.0);
        close(all_on(&masks[4], 10, |_| 0), 1.0);
        close(all_on(&masks[0], 10, |q| q), 0.0);
    }
}
