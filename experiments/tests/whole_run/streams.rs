//! What the program says, and where.

use std::process::Stdio;

use refrain_experiments::lab;
use refrain_experiments::repetition_curse::RepetitionCurse;
use refrain_tests::Result;
use refrain_tests::program::{Ran, tables};

use crate::place;

#[test]
fn the_summary_goes_to_stdout_and_the_rest_to_stderr() -> Result {
    let place = place()?;
    let ran = place.run(&[])?.succeeded();
    let out = place.out().display().to_string();
    for text in [
        "repetition-curse on tiny, seed 0, run ",
        "Induction heads (H_ind): 1 of 8",
        "Tables ",
        "run.toml",
        &out,
    ] {
        assert!(ran.stdout.contains(text), "{text:?} is not in {}", ran.stdout);
    }
    assert_eq!(ran.stderr, format!("repetition-curse on tiny, into {out}\n"));
    let wide = ran.stdout.lines().find(|line| line.len() > 80 && !line.contains(&out));
    assert_eq!(wide, None, "a line of more than 80 columns");
    // Again: nothing is computed, the same summary.
    let again = place.run(&[])?.succeeded();
    assert_eq!(again.stdout, ran.stdout);
    assert_eq!(again.stderr, format!("{out} holds this run already; nothing is computed again\n"));
    Ok(())
}

#[test]
fn quiet_says_nothing() -> Result {
    let place = place()?;
    for _ in 0..2 {
        let ran = place.run(&["--quiet"])?.succeeded();
        assert_eq!((&ran.stdout[..], &ran.stderr[..]), ("", ""));
    }
    // But for errors.
    place.run(&["--quiet", "--trials", "9"])?.refused(&["trials: 4 there, 9 now"]);
    Ok(())
}

/// Whoever reads may stop reading: no panic, and the work is done.
#[test]
fn closed_pipes() -> Result {
    let place = place()?;
    let mut command = place.command(&place.out(), &[]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    assert!(Ran::from(child.wait_with_output()?).succeeded().stdout.is_empty());
    tables(&place.out())?;

    let out = place.path("both");
    let mut child = place.command(&out, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait()?.code(), Some(0), "a closed stderr is no reason to stop");
    tables(&out)?;

    let mut child = place.command(&out, &["--trials", "9"]).stderr(Stdio::piped()).spawn()?;
    drop(child.stderr.take());
    assert_eq!(child.wait()?.code(), Some(2));
    Ok(())
}

#[test]
fn help_names_every_flag() -> Result {
    let place = place()?;
    for flag in ["--help", "-h"] {
        let help = Ran::of(&mut place.bare(&[flag]))?.succeeded();
        assert_eq!(help.stderr, "");
        let command = lab::command::<RepetitionCurse>();
        for argument in command.get_arguments() {
            let long = argument.get_long().ok_or("a flag without a name")?;
            let line = help.stdout.lines().find(|line| line.trim_start().starts_with(&format!("--{long}")));
            assert!(line.is_some(), "{flag} does not name --{long}: {}", help.stdout);
            assert!(argument.get_help().is_some(), "--{long} is not explained");
        }
    }
    let version = Ran::of(&mut place.bare(&["--version"]))?.succeeded();
    assert_eq!(version.stdout, format!("repetition-curse {}\n", refrain_experiments::VERSION));
    Ok(())
}
