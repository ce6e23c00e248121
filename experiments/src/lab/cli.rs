//! How a program ends.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;

use super::progress::say;

/// Exit code for input that cannot be used.
const BAD_INPUT: u8 = 2;

/// Runs a program: its result to stdout, its error to stderr with exit code 2.
pub fn finish(result: Result<String>) -> ExitCode {
    match result {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            // The reader of a pipe may have seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("error: cannot write to stdout: {error}"));
                ExitCode::from(BAD_INPUT)
            }
            _ => ExitCode::SUCCESS,
        },
        Err(error) => {
            say(&message(&error));
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// The whole chain of causes in one sentence, then every hint on a line of its own.
fn message(error: &anyhow::Error) -> String {
    let mut causes = Vec::new();
    let mut hints = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        // A wrapper that shows its cause repeats it.
        if !causes.iter().any(|earlier: &String| earlier.contains(what)) {
            causes.push(what.to_owned());
            if !hint.is_empty() {
                hints += &format!("\nhint: {hint}");
            }
        }
    }
    format!("error: {}{hints}", causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn hints_come_last_and_causes_once() {
        let error = anyhow!("no space left").context("cannot write x\nhint: free some").context("counting");
        assert_eq!(message(&error), "error: counting: cannot write x: no space left\nhint: free some");
        let error = anyhow!("inner").context("outer: inner");
        assert_eq!(message(&error), "error: outer: inner");
    }
}
