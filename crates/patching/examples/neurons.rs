//! Which neurons write the answer, and what becomes of it without each of them.
//!
//!     cargo run --release --example neurons              # the built-in model
//!     cargo run --release --example neurons smollm2

use std::error::Error;

use refrain_patching::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let (lm, prompt, answer, incorrect) = match std::env::args().nth(1) {
        Some(name) => (LanguageModel::from_pretrained(&name)?, "The capital of France is", " Paris", " Rome"),
        None => (LanguageModel::built_in()?, "list colours from yellow : yellow green", " blue", " red"),
    };
    let run = lm.prompt(prompt)?.cache([MlpPost, ResidPost]).run()?;
    let whole = run.logit_diff(answer, incorrect)?;
    println!("{answer:?} over {incorrect:?}: {whole:.3} logits");

    // What each neuron writes into the difference directly, at the last position: [neuron, 1].
    let neurons = run.stack_neuron_results(Before::Unembed, At::Last)?.with_remainder()?;
    let written = neurons.logit_attrs(answer, incorrect)?;
    let mut ranked: Vec<(&String, f64)> = neurons.labels().iter().zip(written.column(0).to_vec()).collect();
    ranked.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));

    // And what the difference loses without it, whatever way it takes.
    for (label, direct) in ranked.iter().filter(|(label, _)| *label != "remainder").take(5) {
        let (layer, neuron) = label[1..].split_once('N').ok_or("a label is L0N0")?;
        let place = MlpPost.layer(layer.parse()?).neurons(&[neuron.parse()?]).last();
        let without = lm.prompt(prompt)?.zero(place).run()?.logit_diff(answer, incorrect)?;
        println!("{label} writes {direct:+.3}; without it the difference is {:+.3}", without - whole);
    }
    Ok(())
}
