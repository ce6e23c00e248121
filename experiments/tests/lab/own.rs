//! The experiment of docs/guide.md: it is compiled here, run, and the same text as in the guide.

use refrain_experiments::lab::{Common, Extent, Flags, perform};
use refrain_tests::Result;

#[path = "../../examples/next-token.rs"]
mod next_token;

const SOURCE: &str = include_str!("../../examples/next-token.rs");

#[test]
fn the_guides_experiment_runs() -> Result {
    let dir = tempfile::tempdir()?;
    let common = Common { out: Some(dir.path().join("out")), no_figures: true, ..Common::default() };
    let own: next_token::Settings = toml::from_str("max-texts = 5\ntext-tokens = 12")?;
    let text = perform::<next_token::NextToken>(Flags { own, common }, Extent::Whole)?;
    assert!(
        text.contains("Entropy of the next token, in nats") && text.contains("uncertainty.parquet"),
        "{text}"
    );
    let table = refrain_experiments::lab::disk::read_table(&dir.path().join("out/uncertainty.parquet"))?;
    assert!(table.num_rows() > 20 && table.num_rows() <= 60, "{} rows", table.num_rows());
    Ok(())
}

#[test]
fn the_guide_shows_it_whole() -> Result {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide.md"))?;
    assert!(guide.contains(SOURCE), "docs/guide.md and experiments/examples/next-token.rs differ");
    assert!(SOURCE.lines().count() <= 120, "{} lines", SOURCE.lines().count());
    Ok(())
}
