//! The copying score and the eigenvalues of the circuit that it reads.

use std::collections::HashSet;

use rand::RngExt;
use refrain_entropy::stats::rng;
use refrain_runner::Model;
use tch::{Kind, Tensor};

use super::assignment::{IndexBags, LoadedBags, null_rng, table};
use super::circuit::{self, Rows};
use super::detector::Detector;
use super::repeated_sequence::RepeatedSequence;
use crate::error::Result;
use crate::tensors::{numbers, wider};

/// What one batch's sequences are compared on, the same in every layer.
pub(super) struct Copying {
    /// E of the tokens that can be attended to, `[row * attended, d_model]`.
    embedded: Tensor,
    /// U of the tokens that are compared, `[row * compared, d_model]`.
    directions: Tensor,
    /// Which position holds which attended token, `[row, pos, attended]`.
    holds: Tensor,
    bags: LoadedBags,
    compared: i64,
}

/// How many tokens the logits of one sequence are compared among: `wanted`, but no fewer than a block can hold and
/// no more than there are.
pub(super) fn compared(probe: &RepeatedSequence<'_>, wanted: usize) -> usize {
    let distinct: HashSet<i64> = probe.candidates.iter().copied().collect();
    wanted.max(probe.block).min(distinct.len())
}

impl Copying {
    /// For the sequences `rows`, of which the first is number `first`.
    pub(super) fn new(
        model: &Model,
        probe: &RepeatedSequence<'_>,
        rows: &[Vec<i64>],
        first: usize,
        (compared, draws, seed): (usize, usize, u64),
    ) -> Result<Self> {
        let attended = compared.min(probe.block);
        let length = probe.length();
        let (mut ids, mut embedded) = (Vec::new(), Vec::new());
        let mut holds = vec![0.0; rows.len() * length * attended];
        let mut bags = IndexBags::default();
        for (index, row) in rows.iter().enumerate() {
            let (set, distinct) = tokens(probe, row, compared, seed, first + index);
            for (place, token) in row.iter().enumerate().skip(probe.first_drawn()) {
                if let Some(which) = set.iter().position(|other| other == token) {
                    holds[(index * length + place) * attended + which] = 1.0;
                }
            }
            let from = index * attended * compared;
            bags.add((0..distinct).map(|token| from + token * compared + token));
            let mut rng = null_rng(seed, Detector::Copying, first + index);
            for _ in 0..draws {
                let drawn = |token| from + token * compared + rng.random_range(0..compared);
                bags.add((0..distinct).map(drawn));
            }
            embedded.extend_from_slice(&set[..attended]);
            ids.extend(set);
        }
        let device = model.device();
        let on_device = |ids: &[i64]| Tensor::f_from_slice(ids)?.f_to_device(device);
        let size = [rows.len() as i64, length as i64, attended as i64];
        Ok(Copying {
            embedded: circuit::embedding(model, Rows::Ids(&on_device(&embedded)?))?,
            directions: circuit::unembedding(model, Rows::Ids(&on_device(&ids)?))?,
            holds: Tensor::f_from_slice(&holds)?.f_reshape(size)?,
            bags: bags.load(device)?,
            compared: compared as i64,
        })
    }

    /// The mean shares of one layer's heads where they attend as in `pattern`, `[row, head, query, key]`: for each
    /// row the attended token's, then those of the draws, heads within. Not numbers for a head that attends to no
    /// drawn token, or adds alike to all logits.
    pub(super) fn shares(&self, model: &Model, layer: usize, pattern: &Tensor) -> Result<Vec<f64>> {
        let device = pattern.device();
        let kind = wider(pattern.kind());
        let size = self.holds.size();
        let (rows, length, attended) = (size[0], size[1], size[2]);
        let later = pattern.f_narrow(2, 1, length - 1)?.f_sum_dim_intlist(2, false, kind)?;
        // [row, head, attended]
        let weights = later.f_matmul(&self.holds.f_to_device(device)?.f_to_kind(kind)?)?;
        let weights = weights.f_div(&weights.f_sum_dim_intlist(-1, true, kind)?)?;

        let by_head = |tokens: &Tensor, map: &Tensor| -> Result<Tensor> {
            let flat = map.f_reshape([-1, map.size()[2]])?;
            let all = tokens.f_to_device(device)?.f_matmul(&flat.f_transpose(0, 1)?)?;
            Ok(all.f_reshape([rows, -1, map.size()[0], map.size()[1]])?.f_transpose(1, 2)?)
        };
        // [row, head, attended, d_head] and [row, head, compared, d_head]
        let values = by_head(&self.embedded, &circuit::values(model, layer)?)?;
        let read = by_head(&self.directions, &circuit::outputs(model, layer)?)?;
        let logits = values.f_matmul(&read.f_transpose(2, 3)?)?;
        let raised = logits.f_sub(&logits.f_mean_dim(-1, true, kind)?)?.f_relu()?;
        let factor = weights.f_unsqueeze(-1)?.f_div(&raised.f_sum_dim_intlist(-1, true, kind)?)?;
        debug_assert_eq!(raised.size()[2..], [attended, self.compared]);
        self.bags.sums(&table(&raised.f_mul(&factor)?)?)
    }
}

/// The tokens compared on one sequence: its own distinct drawn ones, which are counted, then random others.
fn tokens(
    probe: &RepeatedSequence<'_>,
    row: &[i64],
    compared: usize,
    seed: u64,
    sequence: usize,
) -> (Vec<i64>, usize) {
    let mut known = HashSet::new();
    let block = &row[probe.first_drawn()..probe.first_query()];
    let mut set: Vec<i64> = block.iter().copied().filter(|token| known.insert(*token)).collect();
    let distinct = set.len();
    let mut rng = rng(seed, &format!("detect/compared/{sequence}"));
    while set.len() < compared {
        let token = probe.candidates[rng.random_range(0..probe.candidates.len())];
        if known.insert(token) {
            set.push(token);
        }
    }
    (set, distinct)
}

/// Rows of the vocabulary that are widened at once.
const ROWS: i64 = 8192;

/// Of every head: the sum of the eigenvalues of its circuit W_U W_O W_V W_E over the sum of their moduli, or the
/// reason why there is none. Eigenvalues other than 0 are those of the `d_head x d_head` matrix W_V (W_E W_U) W_O,
/// whose middle is `d_model x d_model` and the same for all heads.
pub(super) fn eigenvalues(model: &Model) -> Result<Vec<std::result::Result<f64, String>>> {
    let arch = model.architecture();
    if let Some(reason) = circuit::obstacle(model) {
        return Ok(vec![Err(reason); model.heads().len()]);
    }
    let vocabulary = arch.n_vocab as i64;
    let mut between: Option<Tensor> = None;
    for start in (0..vocabulary).step_by(ROWS as usize) {
        let rows = Rows::Range(start, ROWS.min(vocabulary - start));
        let read = circuit::unembedding(model, rows)?;
        let part = circuit::embedding(model, rows)?
            .f_to_device(read.device())?
            .f_transpose(0, 1)?
            .f_matmul(&read)?;
        between = Some(match between {
            Some(sum) => sum.f_add(&part)?,
            None => part,
        });
    }
    let Some(between) = between else { return Ok(Vec::new()) };
    let mut scores = Vec::new();
    for layer in 0..arch.n_layers {
        let out = circuit::outputs(model, layer)?.f_to_device(between.device())?;
        let values = circuit::values(model, layer)?.f_to_device(between.device())?;
        let small = values.f_matmul(&between)?.f_matmul(&out.f_transpose(1, 2)?)?;
        let found = small.f_to_kind(Kind::Double)?.f_linalg_eigvals()?;
        let sums = numbers(&found.f_real()?.f_sum_dim_intlist(-1, false, Kind::Double)?)?;
        let moduli = numbers(&found.f_abs()?.f_sum_dim_intlist(-1, false, Kind::Double)?)?;
        scores.extend(sums.iter().zip(moduli).map(|(sum, moduli)| match moduli > 0.0 {
            true => Ok(sum / moduli),
            false => Err("all eigenvalues of the head's circuit are 0".to_owned()),
        }));
    }
    Ok(scores)
}
