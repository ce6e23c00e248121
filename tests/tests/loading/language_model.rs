//! Model and tokenizer together.

use refrain_runner::prelude::*;
use refrain_runner::{ChatTemplate, Message};
use refrain_tests::Result;
use refrain_tests::check::Check;
use tch::no_grad;

const TEXT: &str = "repeat loaf 4 times :";

#[test]
fn it_does_what_its_parts_do() -> Result {
    let lm = LanguageModel::built_in()?;
    let ids = lm.tokenizer.encode_with_specials(TEXT)?;
    let z = Hook::block(0, Z);
    let names = NameFilter::hooks(&[z]);
    let by_hand =
        no_grad(|| lm.model.run_with_cache(&lm.model.ids(std::slice::from_ref(&ids))?, names.clone()))?;
    let mut check = Check::new();
    for prompt in [Prompt::Text(TEXT), Prompt::Ids(&ids)] {
        let run = lm.prompt(prompt)?.cache(names.clone()).run()?;
        check.same(format!("logits of {prompt:?}"), run.logits()?, &by_hand.0);
        check.same(format!("z of {prompt:?}"), run.cache.get(z)?, by_hand.1.get(z)?);
    }
    check.finish();

    let stop = lm.model.architecture().eos.clone();
    let options = Generate { max_new: Some(24), stop: &stop, ..Generate::default() };
    let tokens = lm.model.generate(&[ids], options)?.remove(0).tokens;
    assert!(!tokens.is_empty());
    let options = || Generate { max_new: Some(24), ..Generate::default() };
    assert_eq!(lm.generate(Prompt::Text(TEXT), options())?, lm.tokenizer.decode(&tokens)?);
    Ok(())
}

#[test]
fn conversations_need_a_template() -> Result {
    let mut lm = LanguageModel::built_in()?;
    let messages = [Message::new("user", TEXT)];
    lm.chat = None;
    let error = lm.answer(&messages, Generate::default()).unwrap_err().to_string();
    assert!(error.contains("no chat template"), "{error}");
    lm.chat = Some(ChatTemplate::from_text("{{ messages[0].content }}", &[]));
    let options = || Generate { max_new: Some(4), ..Generate::default() };
    let ids = lm.tokenizer.encode(TEXT)?;
    assert_eq!(lm.answer(&messages, options())?, lm.generate(Prompt::Ids(&ids), options())?);
    Ok(())
}
