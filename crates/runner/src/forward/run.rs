//! What a forward pass is asked for, and what it gives.

use tch::Tensor;

use crate::cache::{ActivationCache, NameFilter};
use crate::error::{Error, Result};
use crate::intervention::{BoundInterventions, StepIndex};
use crate::kv_cache::KvCache;
use crate::kv_prefix::KvPrefix;
use crate::tap::Edit;

/// Which positions the logits are computed for. The last norm and the unembedding are the largest matrix
/// product of a small model: a caller that reads one position should ask for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogitPositions {
    /// Every position.
    #[default]
    All,
    /// The last column only; `logits` is `[batch, 1, vocab]`. Where nobody watches or changes the last block, it
    /// computes no more than that column needs.
    Last,
    /// As `Last`, but no logits: the last column of the stream is left in [`Output::resid`], for
    /// [`crate::Model::logits_of`].
    LastResidual,
}

impl LogitPositions {
    pub(crate) fn is_last(self) -> bool {
        self != LogitPositions::All
    }
}

/// Activations of the block where a run starts that are known already: each spares what only leads to it.
/// Interventions do not see them. All are `[batch, pos, ...]` as at their hook.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownActivations<'a> {
    /// `attn.hook_z`: spares queries, keys, values and pattern.
    pub z: Option<&'a Tensor>,
    /// `hook_attn_out`: spares attention.
    pub attn_out: Option<&'a Tensor>,
    /// `hook_resid_mid` (none where attention and MLP are parallel): spares attention.
    pub resid_mid: Option<&'a Tensor>,
    /// `hook_mlp_out`: spares the MLP.
    pub mlp_out: Option<&'a Tensor>,
}

impl KnownActivations<'_> {
    pub(crate) fn is_none(&self) -> bool {
        self.all().iter().all(Option::is_none)
    }

    pub(crate) fn all(&self) -> [Option<&Tensor>; 4] {
        [self.z, self.attn_out, self.resid_mid, self.mlp_out]
    }

    /// Whether keys and values of the block are left out.
    pub(crate) fn spares_keys(&self) -> bool {
        self.z.is_some() || self.attn_out.is_some() || self.resid_mid.is_some()
    }
}

/// How a forward pass is to be run. `Run::default()` runs it through and keeps nothing.
#[derive(Default)]
pub struct Run<'a> {
    /// Which columns are real tokens, `[batch, pos]`, 1 or true for real; none: all.
    pub mask: Option<&'a Tensor>,
    /// Interventions, applied in order.
    pub interventions: Option<&'a BoundInterventions<'a>>,
    /// A change in Rust, after the interventions.
    pub edit: Option<Edit<'a>>,
    /// Which activations to keep.
    pub names: NameFilter,
    /// Start at this layer from this residual stream (`blocks.L.hook_resid_pre`, `[batch, pos, d_model]`) instead
    /// of the embedding.
    pub start: Option<(usize, &'a Tensor)>,
    /// What the block that it starts in need not compute.
    pub given: KnownActivations<'a>,
    /// Start at this column, after those of another run.
    pub past: Option<&'a KvPrefix<'a>>,
    /// Stop before this layer: no logits; the residual stream that would enter it is returned.
    pub stop_at_layer: Option<usize>,
    /// Keys and values of earlier columns; the new ones are added.
    pub kv: Option<&'a mut KvCache>,
    /// Which generation step each column belongs to.
    pub steps: StepIndex,
    /// Which logits to compute.
    pub logits: LogitPositions,
}

impl<'a> Run<'a> {
    /// The same for a shorter time, so that things that live less long can be added to it. The compiler does not
    /// see this by itself: a function that may be called and changed ties `'a` down.
    pub fn shorter<'b>(self) -> Run<'b>
    where
        'a: 'b,
    {
        let Run { mask, interventions, edit, names, start, given, past, stop_at_layer, kv, steps, logits } =
            self;
        let edit = edit.map(|edit| Edit { hooks: edit.hooks, function: edit.function });
        Run { mask, interventions, edit, names, start, given, past, stop_at_layer, kv, steps, logits }
    }
}

/// What a forward pass gives.
#[derive(Debug)]
pub struct Output {
    /// `[batch, pos, vocab]`, or `[batch, 1, vocab]` for the last column; none if the run stopped earlier.
    pub logits: Option<Tensor>,
    /// The residual stream where the run ended, before the final norm, `[batch, pos, d_model]`; of the last column
    /// only, `[batch, 1, d_model]`, if the logits are.
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
