//! The one forward pass.

use tch::{Device, Kind, Tensor};

use crate::architecture::{Architecture, Positions};
use crate::attention::{self, Context};
use crate::cache::{ActivationCache, NameFilter};
use crate::error::{Error, Result};
use crate::hook::{Hook, Point};
use crate::intervention::Steps;
use crate::kv_cache::KvCache;
use crate::mlp;
use crate::norm::{self, NormHooks};
use crate::plan::Plan;
use crate::rotary::Rotation;
use crate::weights::Weights;

/// Which positions the logits are computed for. The last norm and the unembedding are the largest matrix
/// product of a small model: a caller that reads one position should ask for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogitPositions {
    /// Every position.
    #[default]
    All,
    /// The last column only; `logits` is `[batch, 1, vocab]`.
    Last,
}

/// How a forward pass is to be run. `Run::default()` runs it through and keeps nothing.
#[derive(Default)]
pub struct Run<'a> {
    /// Which columns are real tokens, `[batch, pos]`, 1 or true for real; none: all.
    pub mask: Option<&'a Tensor>,
    /// Interventions, applied in order.
    pub plan: Option<&'a Plan<'a>>,
    /// Which activations to keep.
    pub names: NameFilter,
    /// Start at this layer from this residual stream (`blocks.L.hook_resid_pre`, `[batch, pos, d_model]`) instead
    /// of the embedding.
    pub start: Option<(usize, &'a Tensor)>,
    /// Stop before this layer: no logits; the residual stream that would enter it is returned.
    pub stop_at_layer: Option<usize>,
    /// Keys and values of earlier columns; the new ones are added.
    pub kv: Option<&'a mut KvCache>,
    /// Which generation step each column belongs to.
    pub steps: Steps,
    /// Which logits to compute.
    pub logits: LogitPositions,
}

/// What a forward pass gives.
#[derive(Debug)]
pub struct Output {
    /// `[batch, pos, vocab]`, or `[batch, 1, vocab]` for the last column; none if the run stopped earlier.
    pub logits: Option<Tensor>,
    /// The residual stream where the run ended, before the final norm, `[batch, pos, d_model]`.
    pub resid: Tensor,
    /// The activations that were asked for.
    pub cache: ActivationCache,
}

impl Output {
    /// The logits.
    ///
    /// # Errors
    /// [`Error::Input`] if the run stopped before them.
    pub fn logits(&self) -> Result<&Tensor> {
        self.logits.as_ref().ok_or_else(|| Error::Input("the run stopped before the logits".into()))
    }
}

/// Where activations are changed and kept, the one place for both.
#[derive(Default)]
pub(crate) struct Tap<'a> {
    plan: Option<&'a Plan<'a>>,
    names: NameFilter,
    cache: ActivationCache,
    first_column: usize,
    steps: Steps,
    /// Which columns so far are real, `[batch, columns]`; none: all.
    real: Option<Tensor>,
}

impl Tap<'_> {
    /// Whether anything happens at `hook`; what is computed only for hooks can be left out otherwise.
    pub(crate) fn wants(&self, hook: Hook) -> bool {
        self.names.wants(hook) || self.plan.is_some_and(|plan| plan.touches(hook))
    }

    /// Passes an activation: changes it if an intervention says so, then keeps it if the filter does.
    pub(crate) fn see(&mut self, hook: Hook, value: Tensor) -> Result<Tensor> {
        let value = match self.plan {
            Some(plan) => plan.apply(hook, value, self.first_column, self.steps, self.real.as_ref())?,
            None => value,
        };
        if self.names.wants(hook) {
            self.cache.insert(hook, value.shallow_clone());
        }
        Ok(value)
    }
}

/// Runs `ids`, `[batch, pos]` i64.
pub(crate) fn forward(arch: &Architecture, weights: &Weights, ids: &Tensor, run: Run<'_>) -> Result<Output> {
    let device = weights.embed.device();
    let Run { mask, plan, names, start, stop_at_layer, mut kv, steps, logits } = run;
    let size = ids.size();
    let [batch, pos] = size[..] else {
        return Err(Error::Input(format!("token ids must be [batch, pos], not {size:?}")));
    };
    if batch == 0 || pos == 0 {
        return Err(Error::Input("there is no token to run".into()));
    }
    if kv.is_some() && (start.is_some() || stop_at_layer.is_some()) {
        return Err(Error::Input(
            "a key/value cache is filled by whole runs: it cannot be used with start or stop".into(),
        ));
    }
    if let Some(kv) = &kv
        && kv.layers() != arch.n_layers
    {
        return Err(Error::Input(format!(
            "the key/value cache is for {} layers, the model has {}",
            kv.layers(),
            arch.n_layers
        )));
    }
    names.check(arch)?;
    let first_column = kv.as_ref().map_or(0, |kv| kv.columns());
    let mask = match mask {
        Some(mask) if mask.size() != size => {
            return Err(Error::Input(format!("the mask is {:?}, the token ids are {size:?}", mask.size())));
        }
        Some(mask) => Some(mask.f_to_kind(Kind::Bool)?.f_to_device(device)?),
        None => None,
    };
    let positions = positions(kv.as_deref(), mask.as_ref(), batch, pos, device)?;
    // Padding takes columns but no positions: a padded batch may be wider than the window.
    let last_position = positions.f_max()?.f_int64_value(&[])? as usize;
    if last_position >= arch.n_ctx {
        return Err(Error::Window { tokens: last_position + 1, window: arch.n_ctx });
    }
    if let Some(kv) = kv.as_deref_mut() {
        kv.extend(pos as usize, mask.as_ref())?;
    }
    let real = match &kv {
        Some(kv) => kv.real()?,
        None => mask,
    };
    let seen = real.as_ref().map(Tensor::shallow_clone);
    let mut tap = Tap { plan, names, cache: ActivationCache::default(), first_column, steps, real: seen };

    let (first_layer, mut resid) = match start {
        Some((layer, resid)) => {
            if layer >= arch.n_layers || resid.size()[..] != [batch, pos, arch.d_model as i64] {
                return Err(Error::Input(format!(
                    "cannot start at layer {layer} of {} from a stream of shape {:?}",
                    arch.n_layers,
                    resid.size()
                )));
            }
            (layer, resid.shallow_clone())
        }
        None => (0, embed(arch, weights, ids, &positions, &mut tap)?),
    };
    if let Some(stop) = stop_at_layer.filter(|stop| *stop > arch.n_layers || *stop < first_layer) {
        return Err(Error::Input(format!(
            "cannot stop before layer {stop}: the run starts at {first_layer} and the model has {}",
            arch.n_layers
        )));
    }
    let rotation = match arch.positions {
        Positions::Rotary { base } => {
            Some(Rotation::new(base, arch.d_head, &positions, weights.embed.kind(), device)?)
        }
        Positions::Learned => None,
    };
    let context = context(rotation, real.as_ref(), first_column as i64, pos, device)?;

    for (layer, block) in weights.blocks.iter().enumerate().skip(first_layer) {
        if stop_at_layer == Some(layer) {
            return Ok(Output { logits: None, resid, cache: tap.cache });
        }
        let at = |point| Hook::block(layer, point);
        resid = tap.see(at(Point::ResidPre), resid)?;
        let x = tap.see(at(Point::AttnIn), resid.shallow_clone())?;
        let hooks = NormHooks::block(layer, Point::Ln1Scale, Point::Ln1Normalized);
        let x = norm::forward(arch.norm, &block.ln1, &x, hooks, &mut tap)?;
        let out =
            attention::forward(arch, &block.attention, &x, layer, &context, kv.as_deref_mut(), &mut tap)?;
        let out = tap.see(at(Point::AttnOut), out)?;
        resid = tap.see(at(Point::ResidMid), resid.f_add(&out)?)?;
        let x = tap.see(at(Point::MlpIn), resid.shallow_clone())?;
        let hooks = NormHooks::block(layer, Point::Ln2Scale, Point::Ln2Normalized);
        let x = norm::forward(arch.norm, &block.ln2, &x, hooks, &mut tap)?;
        let out = mlp::forward(arch.mlp, &block.mlp, &x, layer, &mut tap)?;
        let out = tap.see(at(Point::MlpOut), out)?;
        resid = tap.see(at(Point::ResidPost), resid.f_add(&out)?)?;
    }
    if stop_at_layer.is_some() {
        return Ok(Output { logits: None, resid, cache: tap.cache });
    }
    let read = match logits {
        LogitPositions::All => resid.shallow_clone(),
        LogitPositions::Last => resid.f_narrow(1, pos - 1, 1)?,
    };
    if logits == LogitPositions::Last {
        tap.first_column = first_column + pos as usize - 1;
    }
    let logits = finish(arch, weights, &read, &mut tap)?;
    Ok(Output { logits: Some(logits), resid, cache: tap.cache })
}

/// The final norm and the unembedding on their own.
pub(crate) fn unembed(arch: &Architecture, weights: &Weights, resid: &Tensor) -> Result<Tensor> {
    finish(arch, weights, resid, &mut Tap::default())
}

fn finish(arch: &Architecture, weights: &Weights, resid: &Tensor, tap: &mut Tap<'_>) -> Result<Tensor> {
    let hooks =
        NormHooks { scale: Hook::top(Point::FinalScale), normalized: Hook::top(Point::FinalNormalized) };
    let x = norm::forward(arch.norm, &weights.final_norm, resid, hooks, tap)?;
    let logits = x.f_to_kind(weights.unembed.kind())?.f_linear(&weights.unembed, None::<&Tensor>)?;
    tap.see(Hook::top(Point::Logits), logits)
}

/// The position of each new token in its row, `[1 or batch, pos]`: padding does not count.
fn positions(
    kv: Option<&KvCache>,
    mask: Option<&Tensor>,
    batch: i64,
    pos: i64,
    device: Device,
) -> Result<Tensor> {
    let within = match mask {
        // A pad gets the position of the token before it, at least 0; what it computes is never read.
        Some(mask) => mask.f_cumsum(1, Kind::Int64)?.f_sub_scalar(1)?.f_clamp_min(0)?,
        None => Tensor::f_arange(pos, (Kind::Int64, device))?.f_unsqueeze(0)?,
    };
    match kv {
        Some(kv) if kv.next_position().size()[0] != batch => Err(Error::Input(format!(
            "the key/value cache holds {} rows, the tokens {batch}",
            kv.next_position().size()[0]
        ))),
        Some(kv) => Ok(within.f_add(&kv.next_position().f_unsqueeze(1)?)?),
        None => Ok(within),
    }
}

fn embed(
    arch: &Architecture,
    weights: &Weights,
    ids: &Tensor,
    positions: &Tensor,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let device = weights.embed.device();
    let ids = ids.f_to_device(device)?;
    let (low, high) = (ids.f_min()?.f_int64_value(&[])?, ids.f_max()?.f_int64_value(&[])?);
    if low < 0 || high >= arch.n_vocab as i64 {
        let id = if low < 0 { low } else { high };
        return Err(Error::Input(format!("token id {id} is outside the vocabulary of {}", arch.n_vocab)));
    }
    let embedded = Tensor::f_embedding(&weights.embed, &ids, -1, false, false)?;
    let embedded = tap.see(Hook::top(Point::Embed), embedded)?;
    match &weights.positions {
        Some(table) => {
            let at = Tensor::f_embedding(table, positions, -1, false, false)?;
            let at = tap.see(Hook::top(Point::PosEmbed), at.f_expand_as(&embedded)?)?;
            Ok(embedded.f_add(&at)?)
        }
        None => Ok(embedded),
    }
}

/// Who may look at whom: query column `first + i` at key columns up to itself that are real, and at itself even
/// if it is padding, so that no row of the softmax is empty.
fn context(
    rotation: Option<Rotation>,
    real: Option<&Tensor>,
    first: i64,
    pos: i64,
    device: Device,
) -> Result<Context> {
    let plain = real.is_none() && (first == 0 || pos == 1);
    let all_seen = real.is_none() && pos == 1;
    let mask = if all_seen {
        None
    } else {
        let keys = Tensor::f_arange(first + pos, (Kind::Int64, device))?.f_unsqueeze(0)?;
        let queries = Tensor::f_arange_start(first, first + pos, (Kind::Int64, device))?.f_unsqueeze(1)?;
        let causal = keys.f_le_tensor(&queries)?.f_unsqueeze(0)?.f_unsqueeze(0)?;
        Some(match real {
            Some(real) => {
                let own = keys.f_eq_tensor(&queries)?;
                let real = real.f_unsqueeze(1)?.f_unsqueeze(1)?;
                causal.f_logical_and(&real.f_logical_or(&own)?)?
            }
            None => causal,
        })
    };
    Ok(Context { rotation, mask, plain })
}
