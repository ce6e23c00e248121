//! A first look at a prompt: what comes next, what the stream says layer by layer, and which heads write the answer.
//!
//!     cargo run --release --example first-look              # the built-in model
//!     cargo run --release --example first-look smollm2      # a real one, after `refrain fetch smollm2`

use std::error::Error;

use refrain_patching::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let (lm, prompt, answer, incorrect) = match std::env::args().nth(1) {
        Some(name) => (
            LanguageModel::from_pretrained(&name)?,
            "When Mary and John went to the store, John gave a drink to",
            " Mary",
            " John",
        ),
        None => (LanguageModel::built_in()?, "bell rose loaf wolf onyx bell rose loaf", " wolf", " fox"),
    };
    let run = lm.prompt(prompt)?.cache([Z, ResidPre, ResidMid, ResidPost]).run()?;
    println!("tokens: {:?}", run.str_tokens()?);
    println!("loss: {:.3} nats a token", run.loss()?);
    for (token, probability) in run.top(3)? {
        println!("next: {token:?} {probability:.3}");
    }
    println!("{answer:?} over {incorrect:?}: {:.3} logits", run.logit_diff(answer, incorrect)?);

    // The logit lens: the most probable token if the model ended there.
    let streams = run.accumulated_resid(Before::Unembed, At::Last)?;
    let best = streams.logit_lens()?.argmax(-1, false);
    for (index, label) in streams.labels().iter().enumerate().filter(|(_, label)| !label.ends_with("mid")) {
        println!("{label}: {:?}", lm.tokenizer.decode(&[best.int64_value(&[index as i64, 0])])?);
    }

    // Direct logit attribution: [layer, head].
    let by_head = run.head_results()?.logit_attrs(answer, incorrect)?;
    let mut heads: Vec<(Head, f64)> =
        by_head.indexed_iter().map(|((layer, head), value)| (Head { layer, head }, *value)).collect();
    heads.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    for (head, value) in heads.iter().take(5) {
        println!("{head} writes {value:+.3}");
    }
    Ok(())
}
