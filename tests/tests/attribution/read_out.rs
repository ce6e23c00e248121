//! What is read from a run as it is: norm shares beside direct attribution to every token, likelihoods beside a sum.

use refrain_patching::attribution::{Contribution, direct_logits};
use refrain_patching::read_out::{likelihoods, logit_lens_entropy_nats, norm_share};
use refrain_runner::{BoundInterventions, Head, NameFilter, Run};
use refrain_tests::Result;
use refrain_tests::check::Check;
use tch::{Kind, no_grad};

use crate::common::{model, pairs};

/// The Euclidean norm of what is left of `logits` when their mean is taken off.
fn centred_norm(logits: &[f64]) -> f64 {
    let mean = logits.iter().sum::<f64>() / logits.len() as f64;
    logits.iter().map(|logit| (logit - mean).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn norm_shares_are_those_of_the_logits_of_every_token() -> Result {
    let mut check = Check::new();
    for name in ["gpt2-untied", "gemma2-caps", "olmo2-gqa", "opt-pre", "gptj-hub", "gemma4-ple"] {
        let model = model(name)?;
        let prompt = pairs(&model)[0].clean.clone();
        let induction = [Head { layer: 0, head: 1 }, Head { layer: 1, head: 0 }];
        let run = Run { names: NameFilter::all(), ..Run::default() };
        let output = no_grad(|| model.run(&model.ids(std::slice::from_ref(&prompt))?, run))?;
        let share = no_grad(|| norm_share(&model, &output.cache, &induction))?.ok_or("no share")?;

        let vocab = model.architecture().n_vocab;
        let answers: Vec<i64> = (0..vocab as i64).collect();
        let direct = direct_logits(&model, &vec![prompt; vocab], &answers, None)?;
        let norm_of = |counts: &dyn Fn(&Contribution) -> bool| {
            let mut sum = vec![0.0; vocab];
            for (_, values) in direct.parts.iter().filter(|(part, _)| counts(part)) {
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            centred_norm(&sum)
        };
        let chosen =
            |part: &Contribution| matches!(part, Contribution::Head(head) if induction.contains(head));
        let inside = norm_of(&chosen);
        let heads = norm_of(&|part| matches!(part, Contribution::Head(_)) && !chosen(part));
        let everything = norm_of(&|part| !chosen(part));
        for (what, found, wanted) in [
            ("of heads", share.of_heads, inside / (inside + heads)),
            ("of everything", share.of_everything, inside / (inside + everything)),
        ] {
            check.holds(format!("{name}: {what}: {found} is not {wanted}"), (found - wanted).abs() < 1e-9);
        }
    }
    let post = model("opt-350m")?;
    let run = Run { names: NameFilter::all(), ..Run::default() };
    let output = no_grad(|| post.run(&post.ids(&[vec![1, 2, 3]])?, run))?;
    check.holds("opt-350m: none", no_grad(|| norm_share(&post, &output.cache, &[]))?.is_none());
    check.finish();
    Ok(())
}

#[test]
fn likelihoods_and_lens_entropies_are_sums_over_logits() -> Result {
    let model = model("llama-gqa")?;
    let text = pairs(&model)[0].clean.clone();
    let ids = model.ids(std::slice::from_ref(&text))?;
    let run = Run { names: NameFilter::all(), ..Run::default() };
    let output = no_grad(|| model.run(&ids, run))?;
    let logits: Vec<Vec<f64>> = Vec::try_from(output.logits()?.squeeze_dim(0).to_kind(Kind::Double))?;
    let log_sum = |row: &[f64]| row.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    let nll: f64 =
        (1..text.len()).map(|at| log_sum(&logits[at - 1]) - logits[at - 1][text[at] as usize]).sum();
    let plan = BoundInterventions::new(model.architecture(), &[], &[])?;
    let found = likelihoods(&model, std::slice::from_ref(&text), &plan)?;
    assert_eq!(found[0].tokens, text.len() - 1);
    assert!((found[0].nll_nats - nll).abs() < 1e-9, "{} is not {nll}", found[0].nll_nats);
    assert!(likelihoods(&model, &[vec![1]], &plan).unwrap_err().to_string().contains("text 0 has 1 token"));

    // After the last layer the lens is the model.
    let last = logits.last().ok_or("no logits")?;
    let entropy: f64 = last.iter().map(|logit| (log_sum(last) - logit) * (logit - log_sum(last)).exp()).sum();
    let lens = no_grad(|| logit_lens_entropy_nats(&model, &output.cache))?;
    assert_eq!(lens.len(), model.architecture().n_layers);
    assert!((lens[lens.len() - 1] - entropy).abs() < 1e-9, "{lens:?} does not end with {entropy}");
    Ok(())
}
