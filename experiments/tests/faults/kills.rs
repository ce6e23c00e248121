//! A run that is killed with no warning continues where it stopped and ends with the same tables.

use std::time::{Duration, Instant};

use rand::RngExt;
use refrain_entropy::stats::rng;
use refrain_tests::Result;
use refrain_tests::program::{Place, files, parts, same_tables, tables, unfinished};

use crate::place;

/// Starts a run and kills it some parts (of `wanted` at least) and some microseconds later. Returns whether it was still running.
fn kill_later(place: &Place, wanted: usize, pause: Duration) -> Result<bool> {
    let mut child = place.command(&place.out(), &["--quiet"]).spawn()?;
    let begun = Instant::now();
    while parts(&place.out()).len() < wanted && begun.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait()? {
            assert!(status.success(), "a resumed run failed: {status}");
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(pause);
    child.kill()?; // SIGKILL
    let status = child.wait()?;
    assert!(status.success() || status.code().is_none(), "{status}");
    Ok(status.code().is_none())
}

#[test]
fn killed_runs_end_with_the_same_tables() -> Result {
    let place = place()?;
    let undisturbed = place.tables("undisturbed", &[])?;
    let mut random = rng(11, "kills");
    let mut kills = 0;
    // Before the first part, too: while the model loads, while the folder is made.
    for _ in 0..3 {
        kills += usize::from(kill_later(&place, 0, Duration::from_millis(random.random_range(20..250)))?);
    }
    let mut most = 0;
    for _ in 0..10 {
        let there = parts(&place.out());
        assert!(there.len() >= most, "{} parts, and there were {most}", there.len());
        most = there.len();
        let written: Vec<_> =
            there.iter().map(|path| std::fs::metadata(path).and_then(|m| m.modified())).collect();
        let wanted = most + random.random_range(1..5usize);
        let pause = Duration::from_micros(random.random_range(0..8000));
        let killed = kill_later(&place, wanted, pause)?;
        if !killed {
            break;
        }
        kills += 1;
        for (path, before) in there.iter().zip(written) {
            let now = std::fs::metadata(path).and_then(|m| m.modified());
            assert!(now.is_ok() && now.ok() == before.ok(), "{} was computed again", path.display());
        }
    }
    println!("{kills} kills, {most} parts kept, {:?} left unfinished", unfinished(&place.out()));
    assert!(kills >= 6 && most >= 5, "{kills} kills, {most} parts");
    let ran = place.run(&[])?.succeeded();
    assert!(ran.stderr.contains("resuming: "), "{ran:?}");
    same_tables(&tables(&place.out())?, &undisturbed);
    assert_eq!(unfinished(&place.out()).len(), 0);
    assert!(!place.path("out/parts").exists(), "parts are left");
    let manifest = std::fs::read_to_string(place.path("out/run.toml"))?;
    assert!(manifest.contains("complete = true"), "{manifest}");
    Ok(())
}

/// Kills at moments spread over the last steps: final tables, manifest, removal of the parts, figures.
#[test]
fn killed_at_the_very_end() -> Result {
    let place = place()?;
    let undisturbed = place.tables("undisturbed", &[])?;
    // Up to the last part, which is kept for every round.
    let mut random = rng(12, "late kills");
    let figures = ["--quiet"];
    for round in 0..6 {
        let out = place.path(&format!("late{round}"));
        let mut command = place.command(&out, &figures);
        // With figures: a run that dies while it draws.
        let arguments: Vec<_> =
            command.get_args().filter(|flag| *flag != "--no-figures").map(Into::into).collect();
        let arguments: Vec<std::ffi::OsString> = arguments;
        command = place.bare(&arguments);
        let mut child = command.spawn()?;
        let begun = Instant::now();
        while !out.join("head_scores.parquet").exists() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..40_000)));
        child.kill()?;
        child.wait()?;
        let at = (files(&out).len(), unfinished(&out).len(), out.join("parts").exists());
        println!("killed with {} files, {} of them unfinished, parts there: {}", at.0, at.1, at.2);
        assert!(place.bare(&arguments).status()?.success());
        same_tables(&tables(&out)?, &undisturbed);
        assert_eq!((unfinished(&out).len(), out.join("parts").exists()), (0, false));
        assert_eq!(files(&out.join("figures")).len(), 14);
    }
    Ok(())
}
