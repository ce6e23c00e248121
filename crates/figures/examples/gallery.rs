//! Draws every figure from made-up tables of several shapes into a folder: `cargo run --example gallery -- FOLDER`.
//! The numbers mean nothing; the pictures are for looking at layout.

use refrain_figures::{About, Drawing, Error};

#[path = "../tests/made_up/mod.rs"]
mod made_up;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: gallery FOLDER")?;
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let about = About {
        model: "made-up-model".into(),
        seed: Some(0),
        prompts: None,
        note: "synthetic numbers".into(),
    };
    let patching = About { prompts: Some(64), ..about.clone() };
    let write = |name: &str, drawing: Result<Drawing, Error>| -> Result<(), Box<dyn std::error::Error>> {
        let drawing = drawing?;
        std::fs::write(folder.join(format!("{name}.svg")), drawing.svg()?)?;
        std::fs::write(folder.join(format!("{name}.png")), drawing.png()?)?;
        println!("{name}");
        Ok(())
    };
    for (layers, heads) in [(12, 12), (32, 32), (1, 4), (4, 8), (16, 16)] {
        let table = made_up::head_scores(layers, heads);
        write(&format!("heat_map_{layers}x{heads}"), refrain_figures::head_heat_map(&table, &patching))?;
    }
    for (layers, heads, positions, by_key_position) in
        [(12, 12, 0, false), (12, 0, 0, false), (12, 12, 45, false), (2, 3, 12, true), (6, 2, 1024, false)]
    {
        let table = made_up::scores(
            (layers, heads, positions),
            by_key_position,
            "activation-patching",
            Some("noise"),
        );
        let title = "made-up-model on copy: activation-patching of z, noise, logit";
        let draw =
            if positions > 0 { refrain_figures::score_positions } else { refrain_figures::score_heat_map };
        write(&format!("scores_{layers}x{heads}x{positions}"), draw(&table, title, &about))?;
    }
    let full = made_up::count_sweep(&made_up::Sweep::default());
    let one_pool =
        made_up::count_sweep(&made_up::Sweep { pools: &["random"], last_n: 64, ..Default::default() });
    let all_out = made_up::count_sweep(&made_up::Sweep { window: 1, ..Default::default() });
    for (name, table) in [("full", &full), ("one_pool", &one_pool), ("all_out", &all_out)] {
        write(&format!("response_{name}"), refrain_figures::response_length(table, &about))?;
        write(&format!("control_{name}"), refrain_figures::control(table, &about))?;
    }
    for (name, prompts) in [("many", 40), ("few", 2)] {
        let traces = made_up::entropy_trace(prompts);
        write(&format!("entropy_{name}"), refrain_figures::entropy_trace(&traces, &about))?;
        write(&format!("toxicity_{name}"), refrain_figures::toxicity_trace(&traces, &about))?;
        write(&format!("descaled_{name}"), refrain_figures::entropy_under_intervention(&traces, &about))?;
    }
    write("perplexity", refrain_figures::perplexity(&made_up::perplexity(true), &about))?;
    write("perplexity_pooled", refrain_figures::perplexity(&made_up::perplexity(false), &about))?;
    write("training", refrain_figures::training(&made_up::training_loss(4, 8), &about))?;
    write("training_large", refrain_figures::training(&made_up::training_loss(12, 12), &about))?;
    Ok(())
}
