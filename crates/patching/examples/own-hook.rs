//! A change of one's own, where no action does what is needed: of every position's neurons only the largest few stay.
//!
//!     cargo run --release --example own-hook              # the built-in model
//!     cargo run --release --example own-hook smollm2

use std::error::Error;

use refrain_patching::prelude::*;

/// `neurons`, `[batch, pos, neuron]`, with all but the `count` largest in absolute value set to zero.
fn largest(neurons: &Tensor, count: i64) -> Result<Tensor, tch::TchError> {
    let (_, at) = neurons.f_abs()?.f_topk(count, -1, true, false)?;
    let kept = neurons.f_gather(-1, &at, false)?;
    neurons.f_zeros_like()?.f_scatter(-1, &at, &kept)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (lm, prompt) = match std::env::args().nth(1) {
        Some(name) => (
            LanguageModel::from_pretrained(&name)?,
            "The capital of France is Paris, and that of Italy is Rome.",
        ),
        None => (LanguageModel::built_in()?, "repeat loaf 4 times : loaf loaf loaf loaf"),
    };
    let whole = lm.prompt(prompt)?.run()?.loss()?;
    println!("all neurons: {whole:.3} nats a token");
    for count in [256, 64, 16, 4] {
        let mut calls = 0;
        let run = lm.prompt(prompt)?.edit(MlpPost, |_hook, neurons| {
            calls += 1;
            Ok(Some(largest(neurons, count)?))
        });
        let loss = run.run()?.loss()?;
        println!("{count} neurons in each of {calls} layers: {loss:.3}");
    }
    Ok(())
}
