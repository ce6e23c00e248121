//! `score-heads`: see `refrain_experiments::score_heads`.

use std::process::ExitCode;

fn main() -> ExitCode {
    refrain_experiments::lab::main::<refrain_experiments::score_heads::ScoreHeads>()
}
