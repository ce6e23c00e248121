//! Command lines, TOML files and texts that cannot be used.

use refrain_tests::Result;
use refrain_tests::program::{Ran, same_tables};

use crate::place;

#[test]
fn values_outside_their_range() -> Result {
    let place = place()?;
    for (arguments, words) in [
        (&["--counts", "2,0"][..], &["invalid value '0' for '--counts", "not between 1 and"][..]),
        (&["--trials", "0"], &["invalid value '0' for '--trials", "not between 1 and"]),
        (&["--counts", "2,70"], &["--counts 70: the model's window has 64 positions", "hint: "]),
        (&["--probe-copies", "1"], &["--probe-copies must be at least 2"]),
        (&["--pool-share", "1.5"], &["invalid value '1.5' for '--pool-share", "not between 0 and 1"]),
        (&["--pool-share", "NaN"], &["for '--pool-share", "not between 0 and 1"]),
        (&["--log-c=-1"], &["for '--log-c", "not between 0 and 1000"]),
        (&["--temperature", "0"], &["--temperature", "a temperature must be above 0 and finite"]),
        (&["--top-p", "0"], &["--top-p", "0 is not above 0 and at most 1"]),
        (
            &["--interventions", "log,cubic"],
            &["invalid value 'cubic' for '--interventions", "log, linear, constant"],
        ),
        (&["--interventions", "log,log"], &["names one of them twice"]),
        (&["--template", "say {phrase}"], &["--template must hold {phrase} and {n}"]),
        (&["--seed", "18446744073709551615"], &["--seed", "not in 0..=9223372036854775807"]),
        (&["--counts", "4,2,4"], &["--counts names a number twice"]),
        (&["--resamples", "9000000000000000000"], &["for '--resamples", "not between 1 and"]),
        (&["--counts", "two"], &["invalid value 'two' for '--counts"]),
        (&["--phrazes", "2"], &["unexpected argument '--phrazes'", "--phrases"]),
        (&["--copy-length", "90"], &["copy task needs 94 distinct tokens", "choose a smaller M"]),
    ] {
        place.run(arguments)?.refused(words);
        place.no_table();
    }
    Ok(())
}

#[test]
fn a_prompt_longer_than_the_window() -> Result {
    let window = "the model's context window of 64\nhint: shorten the prompt";
    let template = |words| format!("{} {{phrase}} {{n}}", "word ".repeat(words));
    let (long, half) = (template(70), template(40));
    for (arguments, words) in [
        (&["--template", &long][..], &["the prompt for 2 repetitions of", "window"][..]),
        (&["--copy-length", "60"], &["`copy` has 65 tokens"]),
        (
            &["--template", &half, "--prefill", "31", "--counts", "32"],
            &["the prompt for 32 repetitions of", "choose a smaller --prefill"],
        ),
        (
            &["--template", &half, "--prefill", "31", "--trace-count", "32"],
            &["conditions none.repetition", window],
        ),
    ] {
        let place = place()?;
        place.run(arguments)?.refused(words);
        place.no_table();
    }
    Ok(())
}

#[test]
fn toml_files() -> Result {
    let place = place()?;
    let file = place.path("run.toml");
    for (text, words) in [
        (
            "phrazes = 2",
            &["run.toml", "unknown key `phrazes`", "hint: the keys are", "phrases, phrase-words"][..],
        ),
        ("config = \"other.toml\"", &["run.toml", "unknown key `config`"]),
        ("phrases = \"two\"", &["run.toml", "invalid type: string \"two\"", "phrases"]),
        ("counts = 2", &["run.toml", "invalid type: integer `2`", "counts"]),
        ("quiet = 1", &["run.toml", "invalid type: integer `1`", "quiet"]),
        ("trials = -1", &["run.toml", "`-1`", "trials"]),
        ("trials = 0", &["run.toml", "`trials`", "not between 1 and"]),
        ("trials = ", &["run.toml", "line 1"]),
        ("[phrases]\nn = 1", &["run.toml", "invalid type: map", "phrases"]),
    ] {
        std::fs::write(&file, text)?;
        let ran = Ran::of(&mut place.bare(&["--model", "tiny", "--out", "out", "--config", "run.toml"]))?;
        ran.refused(words);
        place.no_table();
    }
    place.run(&["--config", "gone.toml"])?.refused(&["gone.toml: cannot read: ", "hint: "]);
    Ok(())
}

#[test]
fn texts() -> Result {
    let place = place()?;
    place.run(&["--texts", "gone.txt"])?.refused(&["gone.txt: cannot read: ", "hint: "]);
    std::fs::write(place.path("blank.txt"), "\n \n")?;
    let words =
        ["no ordinary text of at least two tokens", "hint: --texts takes a file with one text a line"];
    place.run(&["--texts", "blank.txt"])?.refused(&words);
    std::fs::write(place.path("bytes.txt"), b"\xff\xfe\x00")?;
    place.run(&["--texts", "bytes.txt"])?.refused(&["bytes.txt: is UTF-16", "hint: save it as UTF-8"]);
    std::fs::write(place.path("bytes.txt"), b"bab\xff")?;
    place.run(&["--texts", "bytes.txt"])?.refused(&["bytes.txt: is not UTF-8", "hint: save it as UTF-8"]);
    place.no_table();
    Ok(())
}

/// A byte order mark, as editors on Windows put it first, is no part of a text.
#[test]
fn byte_order_marks() -> Result {
    let place = place()?;
    let marked =
        |name: &str, text: &[u8]| std::fs::write(place.path(name), [&b"\xef\xbb\xbf"[..], text].concat());
    std::fs::write(place.path("bare.toml"), "trials = 3\n")?;
    marked("marked.toml", b"trials = 3\n")?;
    marked("marked.txt", &std::fs::read(place.path("texts.txt"))?)?;
    let wanted = place.tables("bare", &["--config", "bare.toml"])?;
    let found = place.tables("marked", &["--config", "marked.toml", "--texts", "marked.txt"])?;
    same_tables(&found, &wanted);
    Ok(())
}
