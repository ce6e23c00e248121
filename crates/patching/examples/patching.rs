//! Activation patching by hand: which heads bring the answer back when their output comes from the clean run.
//!
//!     cargo run --release --example patching              # the built-in model
//!     cargo run --release --example patching smollm2

use std::error::Error;

use refrain_patching::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let (lm, clean, corrupted, answer, incorrect) = match std::env::args().nth(1) {
        Some(name) => (
            LanguageModel::from_pretrained(&name)?,
            "When Mary and John went to the store, John gave a drink to",
            "When Mary and John went to the store, Mary gave a drink to",
            " Mary",
            " John",
        ),
        None => (
            LanguageModel::built_in()?,
            "bell rose loaf wolf onyx bell rose loaf",
            "bell rose loaf fox onyx bell rose loaf",
            " wolf",
            " fox",
        ),
    };
    let clean = lm.prompt(clean)?.cache(Z).run()?;
    let from = clean.logit_diff(answer, incorrect)?;
    let to = lm.prompt(corrupted)?.run()?.logit_diff(answer, incorrect)?;
    println!("clean {from:.3}, corrupted {to:.3}");

    // The share of the difference that a place brings back.
    let effect = |place: Place| -> Result<f64, Box<dyn Error>> {
        let patched = lm.prompt(corrupted)?.patch(place, &clean).run()?;
        Ok((patched.logit_diff(answer, incorrect)? - to) / (from - to))
    };
    // All heads of a layer at once, then one by one in the layers that matter. `Sweep` tries every head of many
    // prompts, and much faster.
    let arch = lm.model.architecture();
    let by_layer = (0..arch.n_layers).map(|layer| Ok((layer, effect(Z.layer(layer))?)));
    let mut by_layer = by_layer.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    by_layer.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let mut heads = Vec::new();
    for (layer, share) in by_layer.into_iter().take(3) {
        println!("layer {layer}: {share:+.3}");
        for head in 0..arch.n_heads {
            heads.push((Head { layer, head }, effect(Z.layer(layer).head(head))?));
        }
    }
    heads.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    for (head, share) in heads.iter().take(5) {
        println!("{head}: {share:+.3}");
    }
    // The best five together.
    let best: Vec<Head> = heads.iter().take(5).map(|(head, _)| *head).collect();
    println!("together: {:+.3}", effect(Z.heads(&best))?);
    Ok(())
}
