//! `score-heads` as its user runs it, on a tiny model.

mod methods;
mod pairs;
mod refusals;
mod tables;

use std::path::{Path, PathBuf};
use std::process::Command;

use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::read_table;
use refrain_patching::table::{HeadScoreRow, HeadScores};
use refrain_tests::Result;
use refrain_tests::program::{Place, Ran};

/// Settings that make a run a matter of a second.
const SMALL: [(&str, &str); 6] = [
    ("--model", "tiny"),
    ("--length", "8"),
    ("--pairs", "5"),
    ("--resamples", "50"),
    ("--threads", "1"),
    ("--seed", "3"),
];

fn place() -> Result<Place> {
    Place::new(env!("CARGO_BIN_EXE_score-heads"))
}

/// The program with small settings, into `out`, without figures.
fn command(place: &Place, out: &Path, arguments: &[&str]) -> Command {
    let mut command = place.bare(&["--no-figures", "--out"]);
    command.arg(out);
    // A length is for tasks of random tokens, and a file has its own number of pairs.
    let of_file = arguments.contains(&"--task") && !arguments.contains(&"repetition");
    for (flag, value) in SMALL {
        let unfit = of_file && matches!(flag, "--length" | "--pairs");
        if !unfit && !arguments.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command.args(arguments);
    command
}

fn run(place: &Place, arguments: &[&str]) -> Result<Ran> {
    Ran::of(&mut command(place, &place.out(), arguments))
}

fn table(out: &Path) -> PathBuf {
    out.join("head_scores.parquet")
}

fn rows(place: &Place) -> Result<Vec<HeadScoreRow>> {
    Ok(HeadScores::rows(&read_table(&table(&place.out()))?)?)
}
