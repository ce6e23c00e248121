//! The mean of a reference run at a hook.

use tch::{Kind, Tensor};

use crate::cache::ActivationCache;
use crate::error::{Error, Result};
use crate::hook::Hook;

/// A mean over rows and positions, or over rows for each position.
#[derive(Debug)]
pub(crate) struct MeanActivation {
    /// `[1 or tokens, ...]` in f64, without the axes of rows and positions.
    table: Tensor,
    per_position: bool,
}

impl MeanActivation {
    /// The mean of `cache` at `hook`, `[batch, pos, ...]`, over its real positions.
    pub(crate) fn of(cache: &ActivationCache, hook: Hook, per_position: bool) -> Result<Self> {
        let tensor = cache.get(hook)?;
        let size = tensor.size();
        if cache.n_columns().is_some_and(|columns| columns as i64 != size[1]) {
            return Err(Error::Input(
                "the reference run has only its last column there\nhint: run it with LogitPositions::All"
                    .into(),
            ));
        }
        if per_position && cache.first_column() > 0 {
            return Err(Error::Input(
                "the reference run starts in the middle of its rows: it has no mean for each position".into(),
            ));
        }
        let values = tensor.f_to_kind(Kind::Double)?.f_flatten(0, 1)?;
        let numbers = token_numbers(cache.real(), size[0], size[1])?.f_to_device(tensor.device())?;
        let (values, numbers) = match cache.real() {
            None => (values, numbers.f_flatten(0, 1)?),
            Some(real) => {
                let at = real.f_to_device(tensor.device())?.f_flatten(0, 1)?.f_nonzero()?.f_squeeze_dim(1)?;
                (values.f_index_select(0, &at)?, numbers.f_flatten(0, 1)?.f_index_select(0, &at)?)
            }
        };
        if !per_position {
            return Ok(MeanActivation { table: values.f_mean_dim(0, true, None)?, per_position });
        }
        let tokens = numbers.f_max()?.f_int64_value(&[])? + 1;
        let mut shape = values.size();
        shape[0] = tokens;
        let sums =
            Tensor::f_zeros(&shape, (Kind::Double, tensor.device()))?.f_index_add(0, &numbers, &values)?;
        let ones = Tensor::f_ones([values.size()[0]], (Kind::Double, tensor.device()))?;
        let counts =
            Tensor::f_zeros([tokens], (Kind::Double, tensor.device()))?.f_index_add(0, &numbers, &ones)?;
        shape.fill(1);
        shape[0] = tokens;
        Ok(MeanActivation { table: sums.f_div(&counts.f_reshape(&shape)?)?, per_position })
    }

    /// Whether every position has a mean of its own.
    pub(crate) fn per_position(&self) -> bool {
        self.per_position
    }

    /// The mean beside `target`, `[rows, pos, ...]`: of its shape, dtype and device. `numbers`, `[rows, pos]`, says
    /// which token of its row each position is; none if there is one mean for all.
    pub(crate) fn beside(&self, target: &Tensor, numbers: Option<&Tensor>) -> Result<Tensor> {
        let size = target.size();
        if size[2..] != self.table.size()[1..] {
            return Err(Error::Input(format!(
                "the mean has shape {:?} at each position, which does not fit {:?}",
                &self.table.size()[1..],
                &size[2..]
            )));
        }
        let table = self.table.f_to_device(target.device())?.f_to_kind(target.kind())?;
        let Some(numbers) = numbers else { return Ok(table.f_unsqueeze(0)?.f_expand_as(target)?) };
        // Positions beyond the table are refused where they are meant (`fits`), and read by nobody elsewhere.
        let numbers = numbers.f_to_device(target.device())?.f_clamp_max(self.table.size()[0] - 1)?;
        Ok(table.f_index_select(0, &numbers.f_flatten(0, 1)?)?.f_reshape(&size)?)
    }

    /// Refuses the `token`-th token of a row if no row of the reference has so many.
    pub(crate) fn fits(&self, token: i64) -> Result<()> {
        let tokens = self.table.size()[0];
        if token < tokens {
            return Ok(());
        }
        Err(Error::Input(format!(
            "there is no mean for token {token}: the longest reference row has {tokens} tokens\n\
             hint: take longer references, or the mean over all positions"
        )))
    }
}

/// Which token of its row each of the last `pos` columns is, from 0, `[rows, pos]` i64; padding gets the number of
/// the token before it, or 0. `real` is `[rows, columns]`, none: all are.
pub(crate) fn token_numbers(real: Option<&Tensor>, rows: i64, pos: i64) -> Result<Tensor> {
    match real {
        None => {
            let all = Tensor::f_arange(pos, (Kind::Int64, tch::Device::Cpu))?.f_unsqueeze(0)?;
            Ok(all.f_expand([rows, pos], false)?)
        }
        Some(real) => {
            let columns = real.size()[1];
            let numbers = real.f_cumsum(1, Kind::Int64)?.f_sub_scalar(1)?.f_clamp_min(0)?;
            Ok(numbers.f_narrow(1, columns - pos, pos)?)
        }
    }
}
