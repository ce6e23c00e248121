//! `repetition-curse`: see `refrain_experiments::repetition_curse`.

use std::process::ExitCode;

fn main() -> ExitCode {
    refrain_experiments::lab::main::<refrain_experiments::repetition_curse::RepetitionCurse>()
}
