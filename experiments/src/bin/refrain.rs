//! `refrain`: see `refrain_experiments::front`.

use std::process::ExitCode;

fn main() -> ExitCode {
    refrain_experiments::front::main()
}
