//! What is done to logits before a token is chosen: to the last bit what `transformers` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use refrain_runner::{Choice, Decoding, Generate, Model};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{Golden, folder};
use serde_json::{Map, Value};
use tch::{Kind, Tensor, no_grad};

/// A case of `tests/goldens/processors`.
struct Case {
    label: String,
    decoding: Decoding,
    logits: Tensor,
    want: Tensor,
}

/// The rows' texts, and the cases.
fn cases() -> Result<(Vec<Vec<i64>>, Vec<Case>)> {
    let golden: Value = serde_json::from_slice(&fs::read(folder("processors").join("cases.json"))?)?;
    let tensors: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder("processors").join("golden.safetensors"))?.into_iter().collect();
    let mut cases = Vec::new();
    for case in golden["cases"].as_array().ok_or("no cases")? {
        let (name, kind) = (case["name"].as_str().ok_or("no name")?, case["kind"].as_str().ok_or("no kind")?);
        let parameters: Map<String, Value> = case["parameters"].as_object().ok_or("no parameters")?.clone();
        let decoding: Decoding = serde_json::from_value(parameters.clone().into())?;
        let logits = tensors[&format!("logits.{kind}")].shallow_clone();
        let label = format!("{kind} {}", Value::from(parameters));
        cases.push(Case { label, decoding, logits, want: tensors[name].shallow_clone() });
    }
    Ok((serde_json::from_value(golden["texts"].clone())?, cases))
}

#[test]
fn each_processor_and_their_chain_are_those_of_transformers() -> Result {
    let mut check = Check::new();
    let (texts, cases) = cases()?;
    let texts: Vec<&[i64]> = texts.iter().map(Vec::as_slice).collect();
    let mut left = BTreeSet::new();
    for Case { label, decoding, logits, want } in &cases {
        let got = decoding.process(logits, &texts)?;
        assert_eq!(got.kind(), want.kind(), "{label}");
        check.same(label, &got, want);
        // Each row alone, and with the others in another order.
        for row in 0..texts.len() as i64 {
            let alone = decoding.process(&logits.narrow(0, row, 1), &texts[row as usize..=row as usize])?;
            check.same(format!("{label}, alone"), &alone, &want.narrow(0, row, 1));
        }
        left.insert(want.isfinite().sum(Kind::Int64).int64_value(&[]));
    }
    assert!(cases.len() == 60 && left.len() > 15, "{} cases, {left:?} tokens left", cases.len());
    check.finish();
    Ok(())
}

/// Tokens of these texts cannot be in the vocabulary or the batch as they are.
#[test]
fn what_does_not_fit_is_refused() -> Result {
    let logits = Tensor::zeros([1, 3], (Kind::Float, tch::Device::Cpu));
    let error = Decoding::GREEDY.process(&logits, &[]).unwrap_err().to_string();
    assert!(error.contains("[1, 3]") && error.contains("0 texts"), "{error}");
    // Ids outside the vocabulary are not penalised, and harm nothing.
    let penalty = Decoding { repetition_penalty: 2.0, ..Decoding::GREEDY };
    assert_eq!(penalty.process(&logits, &[&[7, -1]])?, logits);
    Ok(())
}

fn decode(model: &Model, prompts: &[Vec<i64>], seeds: &[u64], decoding: Decoding) -> Result<Vec<Vec<i64>>> {
    let options = Generate { decoding, seeds, stop: &[], max_new: Some(20), ..Generate::default() };
    let results = model.generate(prompts, options)?;
    Ok(results.into_iter().map(|one| one.tokens).collect())
}

/// Left padding is token 0, and nothing of the text: a batch gives what each prompt gives alone, whatever is done to
/// the logits. Recomputed without a cache, from the text alone.
#[test]
fn padding_is_no_part_of_the_text() -> Result {
    let prompts = [vec![3, 4, 3, 4, 3], vec![0, 7], vec![5], vec![9, 9, 9, 9, 9, 9, 9, 9]];
    let seeds = [3, 4, 5, 6];
    let plain = Decoding { repetition_penalty: 1.4, no_repeat_ngram: 2, ..Decoding::GREEDY };
    for golden in Golden::one_of_each_family()? {
        let drawn = Decoding {
            temperature: 1.3,
            top_k: 30,
            top_p: 0.95,
            min_p: 0.01,
            choice: Choice::Sample,
            ..plain
        };
        for decoding in [plain, drawn] {
            let together = decode(&golden.model, &prompts, &seeds, decoding)?;
            for (row, prompt) in prompts.iter().enumerate() {
                let alone = decode(&golden.model, std::slice::from_ref(prompt), &seeds[row..=row], decoding)?;
                assert_eq!(alone[0], together[row], "{}, row {row}, {decoding:?}", golden.name);
            }
            if decoding.choice == Choice::Sample {
                let others = decode(&golden.model, &prompts, &[30, 4, 50, 60], decoding)?;
                assert_eq!(others[1], together[1], "{}: the same seed in another company", golden.name);
                assert_ne!(others[0], together[0], "{}: another seed", golden.name);
                continue;
            }
            // Anew, token by token.
            for (prompt, got) in prompts.iter().zip(&together) {
                let mut text = prompt.clone();
                for token in got {
                    let logits = no_grad(|| golden.model.logits(&Tensor::from_slice(&text).unsqueeze(0)))?;
                    let last = logits.narrow(1, text.len() as i64 - 1, 1).squeeze_dim(1);
                    let best = decoding.process(&last, &[&text])?.argmax(-1, false).int64_value(&[0]);
                    assert_eq!(best, *token, "{}: {text:?}", golden.name);
                    text.push(best);
                }
                let mut pairs: Vec<&[i64]> = text.windows(2).skip(prompt.len() - 1).collect();
                let all = pairs.len();
                pairs.sort_unstable();
                pairs.dedup();
                assert_eq!(pairs.len(), all, "{}: a pair twice in {text:?}", golden.name);
            }
        }
    }
    Ok(())
}

#[test]
fn a_text_that_may_not_go_on_is_an_error() -> Result {
    let golden = Golden::load("gpt2-tied")?;
    let every: Vec<i64> = (0..48).collect();
    let once = Decoding { no_repeat_ngram: 1, ..Decoding::GREEDY };
    let error = decode(&golden.model, &[every], &[0], once).unwrap_err().to_string();
    assert!(error.contains("no_repeat_ngram"), "{error}");
    Ok(())
}
