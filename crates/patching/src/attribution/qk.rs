//! AtP*'s first correction (Kramar et al. 2024, section 3.1): for a changed query or key the softmax is computed
//! anew and only what reads the pattern is linearised. A saturated softmax has no gradient, but can be moved far.

use refrain_runner::architecture::{Keys, QkNorm};
use refrain_runner::{Architecture, Hook, HookPoint};
use tch::{Kind, Tensor};

use crate::attribution::qk_apart::KeyTurn;
use crate::attribution::runs::{PairRuns, PatchSource};
use crate::attribution::terms::{Part, Places, Rule, Term};
use crate::component::Component;
use crate::error::{Error, Result};
use crate::tensors::wide;

/// Where the queries and keys stand that the scores of `layer` are products of.
fn factors(arch: &Architecture, layer: usize) -> Result<(Hook, Hook)> {
    let of = &arch.layers[layer];
    let keys = match of.keys {
        Keys::OfLayer(source) => source,
        _ => layer,
    };
    let refuse = |why: &str| {
        Err(Error::Input(format!(
            "the softmax of layer {layer} of this {} model cannot be computed anew for one head: {why}\n\
             hint: attribution patching without the QK fix can be used",
            arch.family
        )))
    };
    if arch.norms.qk == Some(QkNorm::AllHeads) {
        return refuse("its queries and keys are normalised over all heads together");
    }
    match of.rotary {
        Some(_) => Ok((Hook::block(layer, HookPoint::RotQ), Hook::block(keys, HookPoint::RotK))),
        None if arch.norms.qk.is_some() || arch.caps.qkv.is_some() => {
            refuse("what is multiplied is not kept at a hook")
        }
        None => Ok((Hook::block(layer, HookPoint::Q), Hook::block(keys, HookPoint::K))),
    }
}

/// What must be kept of both runs, and of the run that is changed alone, to fix `component` in any layer.
pub(crate) fn hooks(arch: &Architecture, components: &[Component]) -> Result<(Vec<Hook>, Vec<Hook>)> {
    let (mut both, mut base) = (Vec::new(), Vec::new());
    if !components.iter().any(|component| fixes(*component)) {
        return Ok((both, base));
    }
    for layer in 0..arch.n_layers {
        let (queries, keys) = factors(arch, layer)?;
        both.extend([queries, keys]);
        base.extend([HookPoint::AttnScores, HookPoint::Pattern].map(|point| Hook::block(layer, point)));
    }
    Ok((both, base))
}

/// Whether the component is one that the fix is for.
pub(crate) fn fixes(component: Component) -> bool {
    matches!(component, Component::Q | Component::K)
}

/// The term of queries or keys with the softmax computed anew. Keys by position are changed one position at a time.
pub(crate) fn term(
    arch: &Architecture,
    component: Component,
    layer: usize,
    ends: &PairRuns,
    places: Places,
) -> Result<Term> {
    let PatchSource::Run(source) = &ends.source else {
        return Err(Error::Input("the QK fix is for values of another run".into()));
    };
    let of_keys = component == Component::K;
    let reads = |reader: usize| match arch.layers[reader].keys {
        Keys::OfLayer(from) => from == layer,
        _ => reader == layer,
    };
    let readers: Vec<usize> = match of_keys {
        true => (0..arch.n_layers).filter(|reader| reads(*reader)).collect(),
        false => vec![layer],
    };
    let mut parts = Vec::new();
    for reader in readers {
        let (queries, keys) = factors(arch, reader)?;
        let (from_q, from_k) = match of_keys {
            true => (&ends.base.cache, source),
            false => (source, &ends.base.cache),
        };
        let hook = Hook::block(reader, HookPoint::Pattern);
        let (scores, pattern) = (
            wide(&ends.base.cache.block(reader, HookPoint::AttnScores)?.f_detach()?)?,
            wide(&ends.base.cache.get(hook)?.f_detach()?)?,
        );
        let changed = products(arch, reader, from_q.get(queries)?, from_k.get(keys)?, &scores)?;
        let of = &arch.layers[reader];
        let rule = if of_keys && places.by_position {
            Rule::KeysApart { turn: KeyTurn::new(&scores, &changed)?, heads: of.n_kv_heads as i64 }
        } else {
            let difference = changed.f_softmax(-1, None::<Kind>)?.f_sub(&pattern)?;
            let heads = if of_keys { of.n_kv_heads } else { arch.n_heads };
            Rule::Shared { difference, heads: heads as i64 }
        };
        parts.push(Part { hook, rule });
    }
    Ok(Term { component, layer, parts })
}

/// Scores of `q`, `[pairs, pos, head, d_head]`, and `k`, `[pairs, pos, kv_head, d_head]`, masked where `like`,
/// `[pairs, head, query, key]`, is.
fn products(arch: &Architecture, layer: usize, q: &Tensor, k: &Tensor, like: &Tensor) -> Result<Tensor> {
    let of = &arch.layers[layer];
    let times = (arch.n_heads / of.n_kv_heads) as i64;
    let q = wide(&q.f_detach()?)?.f_transpose(1, 2)?;
    let k = wide(&k.f_detach()?)?.f_transpose(1, 2)?.f_repeat_interleave_self_int(times, 1, None::<i64>)?;
    let mut scores = q.f_matmul(&k.f_transpose(2, 3)?)?.f_mul_scalar(of.score_factor)?;
    if let Some(cap) = arch.caps.scores {
        scores = scores.f_div_scalar(cap)?.f_tanh()?.f_mul_scalar(cap)?;
    }
    Ok(scores.f_masked_fill(&like.f_eq(f64::NEG_INFINITY)?, f64::NEG_INFINITY)?)
}
