//! What is done to logits before a token is chosen: the logits processors of `transformers`, which each of these
//! equals to the last bit. All take and give `[rows, vocab]` in f32 or f64.

use tch::{Kind, Tensor};

use crate::error::Result;

/// A mask over `scores` of the tokens that `of` names for each row.
fn named(scores: &Tensor, texts: &[&[i64]], of: impl Fn(&[i64]) -> Vec<i64>) -> Result<Tensor> {
    let vocab = scores.size()[1];
    let mask = Tensor::f_zeros([texts.len() as i64 * vocab], (Kind::Bool, scores.device()))?;
    let within = |token: &i64| (0..vocab).contains(token);
    let at: Vec<i64> = (0..)
        .zip(texts)
        .flat_map(|(row, text)| of(text).into_iter().filter(within).map(move |token| row * vocab + token))
        .collect();
    let at = Tensor::f_from_slice(&at)?.f_to_device(scores.device())?;
    Ok(mask.f_index_fill(0, &at, 1)?.f_reshape(scores.size())?)
}

/// Keskar et al. 2019 (arXiv 1909.05858): tokens that occur become less probable, however often they do.
pub(crate) fn repetition_penalty(scores: &Tensor, texts: &[&[i64]], penalty: f64) -> Result<Tensor> {
    let seen = named(scores, texts, <[i64]>::to_vec)?;
    let lower =
        scores.f_mul_scalar(penalty)?.f_where_self(&scores.f_lt(0.0)?, &scores.f_div_scalar(penalty)?)?;
    Ok(lower.f_where_self(&seen, scores)?)
}

/// Excludes tokens that would complete an n-gram that occurs.
pub(crate) fn no_repeat_ngram(scores: &Tensor, texts: &[&[i64]], n: usize) -> Result<Tensor> {
    let completing = |text: &[i64]| -> Vec<i64> {
        let Some(start) = (text.len() + 1).checked_sub(n) else { return Vec::new() };
        let beginning = &text[start..];
        text.windows(n).filter(|gram| &gram[..n - 1] == beginning).map(|gram| gram[n - 1]).collect()
    };
    Ok(scores.f_masked_fill(&named(scores, texts, completing)?, f64::NEG_INFINITY)?)
}

/// Keeps what is at least as probable as the k-th.
pub(crate) fn top_k(scores: &Tensor, k: usize) -> Result<Tensor> {
    let k = scores.size()[1].min(i64::try_from(k).unwrap_or(i64::MAX));
    let (largest, _) = scores.f_topk(k, -1, true, true)?;
    let least = largest.f_narrow(1, k - 1, 1)?;
    Ok(scores.f_masked_fill(&scores.f_lt_tensor(&least)?, f64::NEG_INFINITY)?)
}

/// Holtzman et al. 2020 (arXiv 1904.09751), from the least probable upwards.
pub(crate) fn top_p(scores: &Tensor, p: f64) -> Result<Tensor> {
    // Stable, so that ties do not depend on how the library happens to sort.
    let (sorted, tokens) = scores.f_sort_stable(true, -1, false)?;
    let sums = sorted.f_softmax(-1, None::<Kind>)?.f_cumsum(-1, None::<Kind>)?;
    let out = sums.f_le(1.0 - p)?;
    // The most probable stays.
    let last = out.size()[1] - 1;
    let _ = out.f_narrow(1, last, 1)?.f_fill_(0)?;
    let out = out.f_zeros_like()?.f_scatter(1, &tokens, &out)?;
    Ok(scores.f_masked_fill(&out, f64::NEG_INFINITY)?)
}

/// Nguyen et al. 2024 (arXiv 2407.01082).
pub(crate) fn min_p(scores: &Tensor, p: f64) -> Result<Tensor> {
    let probabilities = scores.f_softmax(-1, None::<Kind>)?;
    let least = probabilities.f_amax([-1], true)?.f_mul_scalar(p)?;
    Ok(scores.f_masked_fill(&probabilities.f_lt_tensor(&least)?, f64::NEG_INFINITY)?)
}
