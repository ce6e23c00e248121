//! What attention needs beside its input: rotations and masks, made once for all layers that share them.

use tch::{Device, Kind, Tensor};

use crate::architecture::Layer;
use crate::architecture::Rotary;
use crate::error::Result;
use crate::forward::rotation::Rotation;

/// Which keys each query may attend to.
#[derive(Debug)]
pub(crate) struct Mask {
    /// `[batch or 1, 1, query, key]` bool, true where a query may attend; none if all may.
    pub(crate) allowed: Option<Tensor>,
    /// It is the causal mask and nothing else (or all true for a single query) and can be left to the kernel.
    pub(crate) purely_causal: bool,
    /// A single query sees exactly this many of the last columns.
    pub(crate) last: Option<i64>,
}

impl Mask {
    /// The part of it that is about the last query.
    pub(crate) fn last_query(&self) -> Result<Mask> {
        let allowed = match &self.allowed {
            Some(allowed) if !self.purely_causal => Some(allowed.f_narrow(2, allowed.size()[2] - 1, 1)?),
            // The last query of a purely causal mask sees every column.
            _ => None,
        };
        Ok(Mask { allowed, purely_causal: self.purely_causal, last: self.last })
    }
}

/// Rotations and masks of one run.
#[derive(Debug)]
pub(crate) struct Contexts {
    /// `[rows, pos]` i64, rows 1 or batch.
    positions: Tensor,
    /// `[batch, columns]` bool, true for real tokens; none if no row is padded.
    real: Option<Tensor>,
    /// Columns run before this call, and in it.
    first: i64,
    pos: i64,
    kind: Kind,
    rotations: Vec<(Rotary, Device, Rotation)>,
    masks: Vec<(Option<i64>, Device, Mask)>,
}

impl Contexts {
    pub(crate) fn new(positions: Tensor, real: Option<Tensor>, first: i64, pos: i64, kind: Kind) -> Self {
        Contexts { positions, real, first, pos, kind, rotations: Vec::new(), masks: Vec::new() }
    }

    /// The rotation and the mask of `layer` on `device`.
    pub(crate) fn of(&mut self, layer: &Layer, device: Device) -> Result<(Option<&Rotation>, &Mask)> {
        if let Some(rotary) = &layer.rotary
            && !self.rotations.iter().any(|(known, at, _)| known == rotary && *at == device)
        {
            let rotation = Rotation::new(rotary, &self.positions, self.kind, device)?;
            self.rotations.push((rotary.clone(), device, rotation));
        }
        // A window that holds every column is none.
        let window =
            layer.window.map(|window| window as i64).filter(|window| *window < self.first + self.pos);
        let index = match self.masks.iter().position(|(known, at, _)| *known == window && *at == device) {
            Some(index) => index,
            None => {
                let mask = self.mask(window, device)?;
                self.masks.push((window, device, mask));
                self.masks.len() - 1
            }
        };
        let rotation = layer.rotary.as_ref().and_then(|rotary| {
            let mut known = self.rotations.iter();
            known.find(|(known, at, _)| known == rotary && *at == device).map(|(.., rotation)| rotation)
        });
        Ok((rotation, &self.masks[index].2))
    }

    /// Query column `first + i` may look at key columns up to itself, within the window, that are real; and at
    /// itself even if it is padding, so that no row of the softmax is empty.
    fn mask(&self, window: Option<i64>, device: Device) -> Result<Mask> {
        let (first, pos) = (self.first, self.pos);
        let last = window.filter(|_| self.real.is_none() && pos == 1);
        let purely_causal = self.real.is_none() && window.is_none() && (first == 0 || pos == 1);
        if self.real.is_none() && window.is_none() && pos == 1 {
            return Ok(Mask { allowed: None, purely_causal, last });
        }
        let keys = Tensor::f_arange(first + pos, (Kind::Int64, device))?.f_unsqueeze(0)?;
        let queries = Tensor::f_arange_start(first, first + pos, (Kind::Int64, device))?.f_unsqueeze(1)?;
        let mut allowed = keys.f_le_tensor(&queries)?;
        if let Some(window) = window {
            allowed = allowed.f_logical_and(&keys.f_gt_tensor(&queries.f_sub_scalar(window)?)?)?;
        }
        let allowed = allowed.f_unsqueeze(0)?.f_unsqueeze(0)?;
        let allowed = match &self.real {
            Some(real) => {
                let own = keys.f_eq_tensor(&queries)?;
                let real = real.f_to_device(device)?.f_unsqueeze(1)?.f_unsqueeze(1)?;
                allowed.f_logical_and(&real.f_logical_or(&own)?)?
            }
            None => allowed,
        };
        Ok(Mask { allowed: Some(allowed), purely_causal, last })
    }
}
