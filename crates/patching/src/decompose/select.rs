//! Which stream, and at which positions.

use refrain_runner::{Architecture, Hook, HookPoint, Model, PromptRun};
use tch::{Kind, Tensor, no_grad};

use crate::attribution::linear::scale_between;
use crate::error::{Error, Result};
use crate::tensors::{wide, wider};

/// The stream that is taken apart: what enters a part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Before {
    /// The final norm and the unembedding: the whole stream. (TransformerLens: `layer=-1`.)
    #[default]
    Unembed,
    /// Attention of this layer. (`layer=l`.)
    Attention(usize),
    /// The MLP of this layer, where it comes after attention. (`layer=l, mlp_input=True`.)
    Mlp(usize),
}

/// At which positions of the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum At {
    /// The last, whose logits are the next token's.
    #[default]
    Last,
    /// All.
    All,
    /// These, from 0, in this order.
    Positions(Vec<usize>),
}

impl Before {
    /// The hook of the stream.
    pub(super) fn hook(self, arch: &Architecture) -> Hook {
        match self {
            Before::Unembed => Hook::block(arch.n_layers - 1, HookPoint::ResidPost),
            Before::Attention(layer) => Hook::block(layer, HookPoint::ResidPre),
            Before::Mlp(layer) => Hook::block(layer, HookPoint::ResidMid),
        }
    }

    /// The layer whose entry the stream has passed last; the number of layers before the unembedding.
    pub(super) fn entered(self, arch: &Architecture) -> usize {
        match self {
            Before::Unembed => arch.n_layers,
            Before::Attention(layer) | Before::Mlp(layer) => layer,
        }
    }

    /// The last layer that exists and whose entry the stream has passed.
    pub(super) fn last_layer(self, arch: &Architecture) -> usize {
        self.entered(arch).min(arch.n_layers - 1)
    }

    /// How many layers' attention has written into it.
    pub(super) fn attention_layers(self, arch: &Architecture) -> usize {
        self.entered(arch) + usize::from(matches!(self, Before::Mlp(_)))
    }

    /// How many layers' MLPs have.
    pub(super) fn mlp_layers(self, arch: &Architecture) -> usize {
        self.entered(arch)
    }

    /// Whether the stream has passed the middle of `layer`, or stands there.
    pub(super) fn includes_mid(self, layer: usize) -> bool {
        match self {
            Before::Unembed => true,
            Before::Attention(own) => layer < own,
            Before::Mlp(own) => layer <= own,
        }
    }
}

/// A run, one of its streams, and positions that exist.
#[derive(Debug)]
pub(super) struct Selected<'r> {
    pub(super) run: &'r PromptRun<'r>,
    pub(super) model: &'r Model,
    pub(super) before: Before,
    positions: Tensor,
    n_positions: usize,
}

impl<'r> Selected<'r> {
    /// Checks both.
    pub(super) fn new(run: &'r PromptRun<'_>, before: Before, at: At) -> Result<Self> {
        let model = &run.language_model().model;
        let arch = model.architecture();
        if before != Before::Unembed && before.entered(arch) >= arch.n_layers {
            return Err(Error::Input(format!(
                "there is no layer {}: the model has layers 0 to {}",
                before.entered(arch),
                arch.n_layers - 1
            )));
        }
        let hook = before.hook(arch);
        if !arch.has(hook) {
            return Err(Error::Input(format!(
                "{before:?}: attention and MLP of this {} model are parallel, so that both read the same stream\nhint: \
                 take `Before::Attention`",
                arch.family
            )));
        }
        let n_tokens = run.tokens().len();
        let positions = match at {
            At::Last => vec![n_tokens - 1],
            At::All => (0..n_tokens).collect(),
            At::Positions(positions) => positions,
        };
        if let Some(wrong) = positions.iter().find(|position| **position >= n_tokens) {
            return Err(Error::Input(format!(
                "there is no position {wrong}: the prompt has {n_tokens} tokens, 0 to {}",
                n_tokens - 1
            )));
        }
        if positions.is_empty() {
            return Err(Error::Input("no position is named\nhint: `At::All` means all".into()));
        }
        let ids: Vec<i64> = positions.iter().map(|position| *position as i64).collect();
        let n_positions = positions.len();
        Ok(Selected { run, model, before, positions: Tensor::f_from_slice(&ids)?, n_positions })
    }

    /// How many positions.
    pub(super) fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// The activation at `hook`, at the positions: `[pos, ...]`, in at least single precision.
    pub(super) fn kept(&self, hook: Hook) -> Result<Tensor> {
        no_grad(|| {
            let whole = self.run.cache.get(hook)?.f_detach()?.f_get(0)?;
            wide(&whole.f_index_select(0, &self.positions.f_to_device(whole.device())?)?)
        })
    }

    /// What was written at `hook` in `layer`, as it stands in the stream.
    pub(super) fn written(&self, hook: Hook, layer: usize) -> Result<Tensor> {
        let times = scale_between(self.model, layer, self.before.entered(self.model.architecture()))?;
        Ok(self.kept(hook)?.f_mul_scalar(times)?)
    }

    /// The stream itself, `[pos, d_model]`.
    pub(super) fn stream(&self) -> Result<Tensor> {
        self.kept(self.before.hook(self.model.architecture()))
    }

    /// A stack of no components.
    pub(super) fn empty(&self) -> Result<Tensor> {
        let size = [0, self.n_positions as i64, self.model.architecture().d_model as i64];
        let kind: Kind = wider(self.model.kind());
        Ok(Tensor::f_zeros(size, (kind, self.model.device()))?)
    }
}
