//! Draws every figure from made-up tables of several shapes into a folder: `cargo run --example gallery -- FOLDER`.
//! The numbers mean nothing; the pictures are for looking at layout.

use refrain_figures::{About, FIGURES};

#[path = "../tests/made_up/mod.rs"]
mod made_up;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: gallery FOLDER")?;
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for (run, tables) in made_up::sets::runs() {
        let first = tables.names().next().and_then(|name| tables.get(name)).ok_or("a run without tables")?;
        let about = About { note: "synthetic numbers".into(), ..About::of(first) };
        for figure in FIGURES.iter().filter(|figure| figure.has_tables(&tables)) {
            let drawings = match (figure.draw)(&tables, &about) {
                Err(error) if error.is_nothing_to_draw() => continue,
                drawings => drawings?,
            };
            for drawing in drawings {
                let path = folder.join(format!("{run}.{}.svg", drawing.name()));
                std::fs::write(&path, drawing.svg()?)?;
                std::fs::write(path.with_extension("png"), drawing.png()?)?;
                println!("{}", path.display());
            }
        }
    }
    Ok(())
}
