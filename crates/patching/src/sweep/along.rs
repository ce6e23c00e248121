//! Every head's z along one pair of texts, read after many positions of the same runs. In a decoder no position knows
//! of later ones, so what stands after a position is what the text up to there alone gives.

use ndarray::Array2;
use refrain_runner::{
    BoundInterventions, Hook, HookPoint, KnownActivations, KvCache, KvPrefix, LogitPositions, Model,
    NameFilter, Run,
};
use tch::{Kind, Tensor};

use super::background::Background;
use super::cost::Memory;
use super::plan::CPU_TOKENS;
use super::settings::Settings;
use super::streams::Streams;
use crate::error::{Error, Result};
use crate::pair::Pair;

/// The answer's logit after each of some positions.
pub(crate) struct Along {
    /// `[position]`: the clean run.
    pub(crate) clean: Vec<f64>,
    /// `[position]`: the corrupted run.
    pub(crate) corrupted: Vec<f64>,
    /// `[head, position]`: the corrupted run with the head's z, at all positions, from the clean run.
    pub(crate) patched: Array2<f64>,
}

/// What is read, and of which runs.
struct Reading<'a> {
    model: &'a Model,
    answer: i64,
    /// The columns after which the logit is read.
    positions: &'a [usize],
}

/// Patches each head of the pair in turn. `settings` are those of a sweep of z.
///
/// # Errors
/// [`Error::Length`] for texts of unequal length, [`Error::Input`] if a position is not in them or stands before what
/// is corrupted, [`Error::Memory`] naming the smallest budget that works, and what the model cannot run.
pub(crate) fn heads(
    model: &Model,
    pair: &Pair,
    positions: &[usize],
    settings: &Settings,
    background: &Background,
) -> Result<Along> {
    settings.check(model, std::slice::from_ref(pair))?;
    let length = pair.clean.len();
    if pair.corrupted.len() != length {
        return Err(Error::Length { pair: 0, clean: length, corrupted: pair.corrupted.len() });
    }
    let first = pair.first_difference().unwrap_or(length);
    if let Some(position) = positions.iter().find(|position| !(first..length).contains(*position)) {
        return Err(Error::Input(format!(
            "nothing can be read after position {position}: the texts differ from position {first} on and have \
             {length}"
        )));
    }
    let memory = Memory::new(model, settings);
    let (base, row) = (memory.base(1, length), memory.row(length - first, length));
    if settings.memory < base + row {
        return Err(Error::Memory { budget: settings.memory, needed: base + row });
    }
    let rows = (CPU_TOKENS.div_ceil(length - first)).min(((settings.memory - base) / row) as usize).max(1);
    let reading = Reading { model, answer: pair.answer, positions };
    tch::no_grad(|| {
        let ids = |tokens: &Vec<i64>| model.ids(std::slice::from_ref(tokens));
        let mut kv = KvCache::new(model.architecture(), 1, length, model.device())?;
        let clean = Streams::run(model, ids(&pair.clean)?, None, true, background)?.0;
        let corrupted = Streams::run(model, ids(&pair.corrupted)?, Some(&mut kv), true, background)?.0;
        let whole = |streams: &Streams| -> Result<Vec<f64>> {
            let last = &streams.at[model.architecture().n_layers];
            Ok(reading.read(last, 0)?.into_iter().flatten().collect())
        };
        let mut patched = Vec::new();
        for layer in 0..model.architecture().n_layers {
            let new = clean.z(model, background, layer)?;
            let heads: Vec<i64> = (0..new.size()[2]).collect();
            for some in heads.chunks(rows) {
                patched.extend(reading.patched(&corrupted, &kv, background, (layer, some), &new, first)?);
            }
        }
        let values: Vec<f64> = patched.into_iter().flatten().collect();
        let patched = Array2::from_shape_vec((model.heads().len(), positions.len()), values)
            .map_err(|error| Error::Input(format!("readings of different lengths: {error}")))?;
        Ok(Along { clean: whole(&clean)?, corrupted: whole(&corrupted)?, patched })
    })
}

impl Reading<'_> {
    /// The corrupted run from block `layer` and column `first` on, once for each of `heads` with its z of `new`:
    /// `[head] [position]`.
    fn patched(
        &self,
        base: &Streams,
        kv: &KvCache,
        background: &Background,
        (layer, heads): (usize, &[i64]),
        new: &Tensor,
        first: usize,
    ) -> Result<Vec<Vec<f64>>> {
        let copies = |t: &Tensor| -> Result<Tensor> {
            let columns = t.f_narrow(1, first as i64, t.size()[1] - first as i64)?;
            let mut times = vec![1; t.dim()];
            times[0] = heads.len() as i64;
            Ok(columns.f_repeat(&times)?)
        };
        let z = copies(&base.z(self.model, background, layer)?)?;
        for (row, head) in heads.iter().enumerate() {
            let own = new.f_select(2, *head)?.f_select(0, 0)?;
            let own = own.f_narrow(0, first as i64, own.size()[0] - first as i64)?;
            z.f_select(0, row as i64)?.f_select(1, *head)?.f_copy_(&own)?;
        }
        let (ids, stream) = (copies(&base.ids)?, copies(&base.at[layer])?);
        let last = Hook::block(self.model.architecture().n_layers - 1, HookPoint::ResidPost);
        let plan = BoundInterventions::new(self.model.architecture(), &background.what, &[])?;
        let past = KvPrefix::new(kv, first)?;
        let run = Run {
            start: Some((layer, &stream)),
            given: KnownActivations { z: Some(&z), ..KnownActivations::default() },
            interventions: Some(&plan),
            past: Some(&past),
            steps: background.steps,
            names: NameFilter::hooks(&[last]),
            logits: LogitPositions::LastResidual,
            ..Run::default()
        };
        self.read(self.model.run(&ids, run)?.cache.get(last)?, first)
    }

    /// The logits after the positions, of what leaves the last block, `[row, column, d_model]`, where column 0 is
    /// position `first`: `[row][position]`.
    fn read(&self, stream: &Tensor, first: usize) -> Result<Vec<Vec<f64>>> {
        let columns: Vec<i64> = self.positions.iter().map(|position| (position - first) as i64).collect();
        let columns = Tensor::f_from_slice(&columns)?.f_to_device(stream.device())?;
        let stream = stream.f_index_select(1, &columns)?.f_flatten(0, 1)?;
        let answers = Tensor::f_full([stream.size()[0], 1], self.answer, (Kind::Int64, stream.device()))?;
        let logits = self.model.logits_of(&stream, &answers)?.f_to_kind(Kind::Double)?.f_flatten(0, -1)?;
        let logits = Vec::<f64>::try_from(&logits)?;
        Ok(logits.chunks(self.positions.len().max(1)).map(<[f64]>::to_vec).collect())
    }
}
