//! `refrain-check`: see `refrain_experiments::check`.

use std::process::ExitCode;

use clap::Parser;
use refrain_experiments::check::{Args, run};
use refrain_experiments::lab::cli;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok((text, sound)) => match cli::finish(Ok(text)) {
            ExitCode::SUCCESS if !sound => ExitCode::from(1),
            code => code,
        },
        Err(error) => cli::finish(Err(error)),
    }
}
