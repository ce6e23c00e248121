//! Prompts run, changed, and read.

use refrain_patching::prelude::*;
use refrain_runner::{ChatTemplate, Message};
use refrain_tests::Result;
use refrain_tests::check::Check;
use tch::no_grad;

use crate::model;

const CLEAN: [i64; 6] = [5, 9, 3, 17, 11, 20];
const CORRUPTED: [i64; 6] = [5, 9, 30, 17, 11, 20];
const BUILT_IN: &str = "repeat loaf 4 times : loaf loaf";

/// The logits under interventions as data.
fn by_hand(
    lm: &LanguageModel,
    ids: &[i64],
    what: &[Intervention],
    source: &ActivationCache,
) -> Result<Tensor> {
    let bound = BoundInterventions::new(lm.model.architecture(), what, &[("0", source)])?;
    let ids = lm.model.ids(&[ids.to_vec()])?;
    let output = no_grad(|| lm.model.run(&ids, Run { interventions: Some(&bound), ..Run::default() }))?;
    Ok(output.logits()?.shallow_clone())
}

#[test]
fn a_sentence_is_the_run_that_it_says() -> Result {
    let lm = model("gpt2-untied")?;
    let mut check = Check::new();
    let clean = lm.prompt(&CLEAN)?.cache([Z, ResidPost]).run()?;
    let plain = no_grad(|| lm.model.logits(&lm.model.ids(&[CLEAN.to_vec()])?))?;
    check.close("nothing is changed", clean.logits()?, &plain, 1e-12);
    check.holds("what was asked for is kept", clean.block(1, Z).is_ok() && clean.block(0, ResidPost).is_ok());
    check.holds("nothing else is kept", clean.block(1, Q).is_err() && clean.block(1, ResidPre).is_err());
    check.holds("there is no graph", !clean.logits()?.requires_grad());

    let at = |heads: Option<Vec<usize>>, point, layer, action| {
        let hook = Hook::block(layer, point);
        Intervention { heads, ..Intervention::new(hook, action) }
    };
    let replace = || Action::Replace("0".into());
    let patched = lm.prompt(&CORRUPTED)?.patch(Z.layer(1).head(2), &clean).run()?;
    let wanted = by_hand(&lm, &CORRUPTED, &[at(Some(vec![2]), Z, 1, replace())], &clean.cache)?;
    check.close("one head patched", patched.logits()?, &wanted, 1e-12);
    let whole = lm.prompt(&CORRUPTED)?.patch(ResidPost, &clean).run()?;
    check.close("every stream patched", whole.logits()?, clean.logits()?, 1e-12);
    let corrupted = lm.prompt(&CORRUPTED)?.cache(Z.layer(0)).run()?;
    check.holds(
        "the patch does something",
        !patched.logits()?.allclose(corrupted.logits()?, 1e-3, 1e-3, false),
    );

    // Two sources, and changes in the order given.
    let both = lm
        .prompt(&CORRUPTED)?
        .patch(Z.layer(1).head(0), &clean)
        .patch(Z.layer(0).head(1), &corrupted)
        .scale(Z.layer(1).head(0), 0.5)
        .zero(MlpOut.layer(1))
        .add(ResidPost.layer(0).last(), &vec![0.25; lm.model.architecture().d_model])
        .run()?;
    let steer = Intervention {
        positions: Some(Positions::FromEnd(vec![1])),
        ..at(None, ResidPost, 0, Action::Add(vec![0.25; lm.model.architecture().d_model]))
    };
    let all = [
        at(Some(vec![0]), Z, 1, replace()),
        at(Some(vec![0]), Z, 1, Action::Scale(0.5)),
        at(None, MlpOut, 1, Action::Zero),
        steer,
    ];
    check.close("several changes", both.logits()?, &by_hand(&lm, &CORRUPTED, &all, &clean.cache)?, 1e-12);
    let edited = lm.prompt(&CORRUPTED)?.edit(Z.layer(1), |_, z| Ok(Some(z.f_zeros_like()?))).run()?;
    let zeroed = lm.prompt(&CORRUPTED)?.zero(Z.layer(1)).run()?;
    check.close("a function", edited.logits()?, zeroed.logits()?, 1e-12);
    check.finish();
    Ok(())
}

#[test]
fn what_is_read_is_what_the_logits_say() -> Result {
    let lm = model("llama-gqa")?;
    let run = lm.prompt(&CLEAN)?.run()?;
    let logits = run.logits()?.get(0);
    let number = |position: i64, token: i64| logits.double_value(&[position, token]);
    assert_eq!(run.logit(&[7])?, number(5, 7));
    assert_eq!(run.logit_diff(&[7], &[12])?, number(5, 7) - number(5, 12));
    // Written out: log p = logit - log of the sum of exponentials.
    let n_vocab = lm.model.architecture().n_vocab as i64;
    let log_sum = |position: i64| (0..n_vocab).map(|token| number(position, token).exp()).sum::<f64>().ln();
    let wanted: Vec<f64> =
        (0..5).map(|position| number(position, CLEAN[position as usize + 1]) - log_sum(position)).collect();
    let found = run.log_probs()?;
    assert_eq!(found.len(), 5);
    assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {wanted:?}");
    assert!((run.loss()? + wanted.iter().sum::<f64>() / 5.0).abs() < 1e-12);
    let top = run.top(3)?;
    let mut tokens: Vec<i64> = (0..n_vocab).collect();
    tokens.sort_by(|a, b| number(5, *b).total_cmp(&number(5, *a)));
    for (rank, (text, probability)) in top.iter().enumerate() {
        assert_eq!(*text, lm.tokenizer.decode(&[tokens[rank]])?);
        assert!((probability - (number(5, tokens[rank]) - log_sum(5)).exp()).abs() < 1e-12);
    }
    let error = lm.prompt(&[5])?.run()?.loss().unwrap_err().to_string();
    assert!(error.contains("one token has no loss"), "{error}");
    Ok(())
}

#[test]
fn gradients_come_when_they_are_asked_for() -> Result {
    let lm = model("gpt2-untied")?;
    let plain = lm.prompt(&CLEAN)?.cache([ResidPre, ResidPost]).run()?;
    let hook = Hook::block(1, ResidPre);
    let error = plain.gradient(&plain.logits()?.get(0).get(5).get(7), hook).unwrap_err().to_string();
    assert!(error.contains(".gradients()"), "{error}");
    let run = lm.prompt(&CLEAN)?.cache([ResidPre, ResidPost]).gradients().run()?;
    let logit = run.logits()?.get(0).get(5).get(7);
    let gradient = run.gradient(&logit, hook)?;
    let mut check = Check::new();
    check.close("the run is the same", &run.logits()?.detach(), plain.logits()?, 1e-12);
    // Along one direction, by central differences of steered runs.
    let d_model = lm.model.architecture().d_model;
    let direction: Vec<f64> = (0..d_model).map(|i| ((i * 37 + 11) % 17) as f64 / 17.0 - 0.5).collect();
    let step = 1e-5;
    let at = |sign: f64| -> Result<f64> {
        let moved: Vec<f64> = direction.iter().map(|entry| sign * step * entry).collect();
        Ok(lm.prompt(&CLEAN)?.add(ResidPre.layer(1).position(3), &moved).run()?.logit(&[7])?)
    };
    let slope = (at(1.0)? - at(-1.0)?) / (2.0 * step);
    let along = (gradient.get(0).get(3) * Tensor::from_slice(&direction)).sum(Kind::Double).double_value(&[]);
    check.holds(format!("{slope} {along}"), (slope - along).abs() < 1e-7 && slope.abs() > 1e-3);
    // The last position's logit does not depend on the last stream elsewhere.
    let last = run.gradient(&logit, Hook::block(1, ResidPost))?;
    check.same("elsewhere", &last.narrow(1, 0, 5), &last.narrow(1, 0, 5).zeros_like());
    check.finish();
    let error = run.gradient(run.logits()?, hook).unwrap_err().to_string();
    assert!(error.contains("a single number"), "{error}");
    Ok(())
}

#[test]
fn texts_and_tokens() -> Result {
    let lm = LanguageModel::built_in()?;
    let ids = lm.to_tokens(BUILT_IN)?;
    assert_eq!(ids, lm.tokenizer.encode_with_specials(BUILT_IN)?);
    let run = lm.prompt(BUILT_IN)?.run()?;
    assert_eq!(run.tokens(), ids);
    assert_eq!(run.str_tokens()?.concat(), lm.tokenizer.decode(&ids)?);
    assert_eq!(run.str_tokens()?.len(), ids.len());
    assert_eq!(run.str_tokens()?[..2], ["<bos>", " repeat"]);
    assert_eq!(Some(lm.to_single_token(" loaf")?), ids.last().copied());
    assert_eq!(run.logit(" loaf")?, run.logit(&[ids[ids.len() - 1]])?);
    let error = lm.to_single_token(" loaf times").unwrap_err().to_string();
    assert!(error.contains("is 2 tokens") && error.contains("times"), "{error}");
    let error = lm.prompt("xylophone").err().ok_or("accepted")?.to_string();
    assert!(error.contains("xylophone"), "{error}");
    let error = lm.to_single_token(&[100_000]).unwrap_err().to_string();
    assert!(error.contains("is not one token"), "{error}");
    Ok(())
}

#[test]
fn a_prompt_is_continued_as_it_is_run() -> Result {
    let mut lm = LanguageModel::built_in()?;
    fn options<'a>() -> Generate<'a> {
        Generate { max_new: Some(12), ..Generate::default() }
    }
    let plain = lm.prompt(BUILT_IN)?.generate(12)?;
    assert_eq!(plain, lm.generate(BUILT_IN, options())?);
    assert!(!plain.is_empty());
    let last = lm.model.architecture().n_layers - 1;
    let heads: Vec<Head> = (0..4).map(|head| Head { layer: last, head }).collect();
    let weakened = Intervention::on_heads(&heads, &Action::Scale(0.0));
    let bound = BoundInterventions::new(lm.model.architecture(), &weakened, &[])?;
    let without = lm.generate(BUILT_IN, Generate { interventions: Some(&bound), ..options() })?;
    assert_eq!(lm.prompt(BUILT_IN)?.scale(Z.heads(&heads), 0.0).generate(12)?, without);
    assert_ne!(plain, without);
    let hot = Decoding { temperature: 3.0, ..Decoding::SAMPLE };
    let sample = |seed| -> Result<String> { Ok(lm.prompt(BUILT_IN)?.decoding(hot).seed(seed).generate(12)?) };
    assert_eq!(sample(1)?, sample(1)?);
    assert_ne!(sample(1)?, sample(2)?);

    lm.chat = Some(ChatTemplate::from_text("{{ messages[0].content }}", &[]));
    let ids = lm.tokenizer.encode(BUILT_IN)?;
    assert_eq!(lm.chat(BUILT_IN)?.tokens(), ids);
    assert_eq!(lm.chat(BUILT_IN)?.generate(12)?, lm.answer(&[Message::new("user", BUILT_IN)], options())?);
    lm.chat = None;
    let error = lm.chat(BUILT_IN).err().ok_or("accepted")?.to_string();
    assert!(error.contains("no chat template"), "{error}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result {
    let lm = model("gpt2-untied")?;
    let clean = lm.prompt(&CLEAN)?.cache(Z).run()?;
    let message = |run: refrain_runner::Result<PromptRun<'_>>| run.unwrap_err().to_string();
    let error = message(lm.prompt(&CLEAN[..4])?.patch(Z.layer(1), &clean).run());
    assert!(error.contains("blocks.1.attn.hook_z"), "{error}");
    let error = message(lm.prompt(&CLEAN)?.patch(MlpOut.layer(1), &clean).run());
    assert!(error.contains("is not in the cache"), "{error}");
    let error = message(lm.prompt(&CLEAN)?.zero(Z.layer(7)).run());
    assert!(error.contains("the model has layers 0 to 1"), "{error}");
    let error = message(lm.prompt(&CLEAN)?.zero(Z.layer(1).head(1).head(1)).run());
    assert!(error.contains("named twice"), "{error}");
    Ok(())
}
