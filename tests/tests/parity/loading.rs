//! Folders: other layouts of the same weights, a tokenizer, and what is refused.

use refrain_runner::{ModelFiles, NameFilter, Tokenizer};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{Golden, folder, model};
use tch::{Kind, no_grad};

fn same_model(one: &str, other: &str) -> Result {
    let mut check = Check::new();
    let golden = Golden::load(one)?;
    let other = model(other, Kind::Double)?;
    let ids = golden.get("input_ids")?;
    let (a, b) = no_grad(|| {
        let run = |model: &refrain_runner::Model| model.run_with_cache(ids, NameFilter::all());
        (run(&golden.model), run(&other))
    });
    let ((a, kept), (b, also)) = (a?, b?);
    check.same("logits", &b, &a);
    check.holds("as many hooks", kept.len() == also.len());
    for hook in kept.hooks() {
        check.same(hook, also.get(hook)?, kept.get(hook)?);
    }
    check.finish();
    Ok(())
}

#[test]
fn a_sharded_checkpoint_is_the_same_model() -> Result {
    same_model("llama-gqa", "llama-gqa-sharded")
}

/// No `transformer.` before the names, and causal masks among the weights.
#[test]
fn a_checkpoint_in_the_layout_of_the_hubs_gpt2_is_the_same_model() -> Result {
    same_model("gpt2-tied", "gpt2-hub")
}

#[test]
fn a_tokenizer_in_the_folder() -> Result {
    let tokenizer = Tokenizer::load(&ModelFiles::folder(&folder("gpt2-tied"))?, 48)?;
    assert_eq!(tokenizer.encode("w5 w9 w47 w48")?, [5, 9, 47, 2]);
    assert_eq!(tokenizer.encode_with_specials("w5 w9")?, [1, 5, 9]);
    assert_eq!(tokenizer.decode(&[1, 5, 47])?, "<bos> w5 w47");
    assert_eq!(tokenizer.specials(), [0, 1, 2]);
    assert_eq!((tokenizer.id("w13"), tokenizer.token(13).as_deref()), (Some(13), Some("w13")));
    let small = Tokenizer::load(&ModelFiles::folder(&folder("gpt2-tied"))?, 40).unwrap_err();
    assert!(small.to_string().contains("has id 47, but the model has 40 tokens"), "{small}");
    Ok(())
}
