//! Cosines and sines of all positions so far, and the rotation by them.

use tch::{Device, Kind, Tensor};

use super::numbers::rounded;
use crate::architecture::{Pairing, Rotary};
use crate::error::Result;
use crate::forward::rotation::Rotation;

/// One table for each kind of rotation in the model.
pub(super) struct Rotations {
    kind: Kind,
    tables: Vec<Table>,
}

pub(super) struct Table {
    rotary: Rotary,
    /// `[positions, dims]`, both.
    cos: Vec<f32>,
    sin: Vec<f32>,
    dims: usize,
}

impl Rotations {
    pub(super) fn new(kind: Kind) -> Self {
        Rotations { kind, tables: Vec::new() }
    }

    /// The table of `rotary`, with `positions` at least.
    pub(super) fn of(&mut self, rotary: &Rotary, positions: usize) -> Result<&Table> {
        let index = match self.tables.iter().position(|table| table.rotary == *rotary) {
            Some(index) => index,
            None => {
                let (cos, sin) = (Vec::new(), Vec::new());
                self.tables.push(Table { rotary: rotary.clone(), cos, sin, dims: rotary.dims.max(1) });
                self.tables.len() - 1
            }
        };
        let table = &mut self.tables[index];
        if table.cos.len() < positions * table.dims {
            let room = positions.max(2 * table.cos.len() / table.dims).max(256) as i64;
            let at = Tensor::f_arange(room, (Kind::Int64, Device::Cpu))?.f_unsqueeze(0)?;
            let rotation = Rotation::new(rotary, &at, self.kind, Device::Cpu)?;
            let numbers = |t: &Tensor| -> Result<Vec<f32>> {
                Ok(Vec::<f32>::try_from(&t.f_to_kind(Kind::Float)?.f_contiguous()?.f_reshape([-1])?)?)
            };
            (table.cos, table.sin) = (numbers(rotation.cos())?, numbers(rotation.sin())?);
        }
        Ok(table)
    }
}

impl Table {
    /// Rotates the heads of one token, each of `d_head` numbers, at `position`.
    pub(super) fn apply(&self, heads: &mut [f32], d_head: usize, position: usize, narrow: bool) {
        let dims = self.dims;
        let (cos, sin) = (&self.cos[position * dims..][..dims], &self.sin[position * dims..][..dims]);
        let round = |x: f32| if narrow { rounded(x) } else { x };
        let turn = |x: f32, across: f32, i: usize| round(round(x * cos[i]) + round(across * sin[i]));
        for head in heads.chunks_mut(d_head) {
            for i in 0..dims / 2 {
                let (a, b) = match self.rotary.pairing {
                    Pairing::Halves => (i, i + dims / 2),
                    Pairing::Neighbours => (2 * i, 2 * i + 1),
                };
                let (low, high) = (head[a], head[b]);
                head[a] = turn(low, -high, a);
                head[b] = turn(high, low, b);
            }
        }
    }
}
