//! `repetition-curse`: see `refrain_experiments::repetition_curse`.

use std::process::ExitCode;

use refrain_experiments::cli;
use refrain_experiments::repetition_curse::{Settings, run};

fn main() -> ExitCode {
    cli::finish(cli::settings::<Settings>().and_then(|settings| run(&settings)))
}
