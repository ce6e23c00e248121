//! A conversation while some heads are weakened: here those that attend to what followed an earlier copy.
//!
//!     cargo run --release --example chat-with-intervention              # the built-in model
//!     cargo run --release --example chat-with-intervention smollm2

use std::error::Error;

use refrain_patching::prelude::*;

/// How much of each head's attention, on a block of tokens given twice, goes to what followed the first copy.
fn prefix_matching(lm: &LanguageModel, block: &[i64]) -> Result<Vec<Option<f64>>, Box<dyn Error>> {
    let run = lm.prompt(&block.repeat(2))?.cache(Pattern).run()?;
    let length = block.len() as i64;
    let mut scores = Vec::new();
    for head in lm.model.heads() {
        let pattern = run.block(head.layer, Pattern)?.get(0).get(head.head as i64);
        // The query at position length + i should look at i + 1.
        let hits = pattern.narrow(0, length, length).diagonal(1, 0, 1).narrow(0, 0, length);
        scores.push(Some(hits.mean(Kind::Double).double_value(&[])));
    }
    Ok(scores)
}

fn main() -> Result<(), Box<dyn Error>> {
    let lm = match std::env::args().nth(1) {
        Some(name) => LanguageModel::from_pretrained(&name)?,
        None => LanguageModel::built_in()?,
    };
    // Some ordinary tokens, none of them twice.
    let block: Vec<i64> = (0..24).map(|i| 60 + (i * 7) % 240).collect();
    let induction = strongest(&lm.model.heads(), &prefix_matching(&lm, &block)?, 0.02, 4);
    println!("induction heads: {}", induction.iter().map(Head::to_string).collect::<Vec<_>>().join(" "));

    let asked = || match lm.chat {
        Some(_) => lm.chat("Please repeat this word three times: apple"),
        None => lm.prompt("repeat loaf 4 times :"),
    };
    println!("as it is: {}", asked()?.generate(32)?);
    for factor in [0.5, 0.0] {
        println!("times {factor}: {}", asked()?.scale(Z.heads(&induction), factor).generate(32)?);
    }
    Ok(())
}
