//! The next column of every row: by the decoding step where it can, by the general path else.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::forward::Run;
use crate::forward::step::Step;
use crate::generate::Generate;
use crate::intervention::StepIndex;
use crate::kernels::gemv::SingleThread;
use crate::kv_cache::KvCache;
use crate::model::Model;
use crate::tap::{Edit, Tap};

/// How tokens after the prompt are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecodePath {
    /// By a step of its own where it does all that is asked for (on the CPU, in f32 or bf16), else as the prompt is.
    #[default]
    Fast,
    /// As the prompt is.
    General,
    /// Both ways, for a check: an error if they differ by more than rounding. The general path's logits are used.
    Compare,
}

/// Largest difference of two paths' logits that is rounding, as a share of the largest logit: in f32, and in bf16,
/// whose numbers have eight bits.
const ROUNDING: [f64; 2] = [1e-4, 6e-2];

pub(super) struct Columns<'m> {
    model: &'m Model,
    step: Option<Step<'m>>,
    path: DecodePath,
}

impl<'m> Columns<'m> {
    pub(super) fn new(model: &'m Model, options: &mut Generate<'_>) -> Result<Self> {
        let path = options.path;
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        let step = match path {
            DecodePath::General => None,
            _ => Step::new(
                model.architecture(),
                model.weights(),
                &tap(options, StepIndex::default()),
                threads,
            )?,
        };
        Ok(Columns { model, step, path })
    }

    /// The logits after `last`, one token of every row, `[rows, vocab]`.
    pub(super) fn next(
        &mut self,
        last: &[i64],
        kv: &mut KvCache,
        steps: StepIndex,
        options: &mut Generate<'_>,
    ) -> Result<Tensor> {
        let Some(step) = &mut self.step else { return general(self.model, last, kv, steps, options) };
        let mut before = (self.path == DecodePath::Compare).then(|| kv.shallow_clone());
        let one = SingleThread::always();
        let fast = step.run(last, kv, &mut tap(options, steps))?.f_squeeze_dim(1)?;
        drop(one);
        let Some(before) = &mut before else { return Ok(fast) };
        let logits = general(self.model, last, before, steps, options)?;
        let largest = |t: &Tensor| -> Result<f64> {
            Ok(t.f_to_kind(Kind::Double)?.f_abs()?.f_max()?.f_double_value(&[])?)
        };
        let share = largest(&fast.f_sub(&logits)?)? / largest(&logits)?.max(f64::MIN_POSITIVE);
        let most = ROUNDING[usize::from(logits.kind() == Kind::BFloat16)];
        if share > most {
            return Err(Error::Input(format!(
                "the decoding step differs from the general path by {share:.1e} of the largest logit, more than \
                 rounding ({most:.0e})\nhint: this is a fault of refrain; decode by the general path, and report it"
            )));
        }
        Ok(logits)
    }
}

fn tap<'a>(options: &'a mut Generate<'_>, steps: StepIndex) -> Tap<'a> {
    let edit = options.edit.as_mut().map(Edit::again);
    Tap { interventions: options.interventions, edit, steps, ..Tap::default() }
}

fn general(
    model: &Model,
    last: &[i64],
    kv: &mut KvCache,
    steps: StepIndex,
    options: &mut Generate<'_>,
) -> Result<Tensor> {
    let ids = Tensor::f_from_slice(last)?.f_unsqueeze(1)?.f_to_device(model.device())?;
    let one = SingleThread::begin(last.len(), model.kind(), model.device());
    let logits = model.last_logits(&ids, Run { kv: Some(kv), steps, ..options.run() });
    drop(one);
    logits
}

impl Model {
    /// How [`Model::generate`] computes the tokens after the prompt: [`DecodePath::General`] where `options` asks for
    /// it, or where the step cannot do what is asked for.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn decode_path(&self, options: &mut Generate<'_>) -> Result<DecodePath> {
        let path = options.path;
        Ok(if Columns::new(self, options)?.step.is_some() { path } else { DecodePath::General })
    }
}
