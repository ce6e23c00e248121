//! `train`: see `refrain_experiments::training`.

use std::process::ExitCode;

use clap::Parser;
use refrain_experiments::lab::cli;
use refrain_experiments::training::{TrainArgs, run};

fn main() -> ExitCode {
    cli::finish(run(&TrainArgs::parse()))
}
