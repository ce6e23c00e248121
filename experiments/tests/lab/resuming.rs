//! A run that is killed with no warning goes on where it stopped and ends with the same tables.

use std::path::Path;
use std::time::{Duration, Instant};

use refrain_tests::Result;
use refrain_tests::program::{parts, unfinished};

use crate::{command, run, tables};

/// Starts a slow run and kills it when it has `wanted` parts. Returns whether it was still running.
fn kill_at(out: &Path, wanted: usize) -> Result<bool> {
    let mut child = command(out, &["--slow", "60"])?.spawn()?;
    let begun = Instant::now();
    while parts(out).len() < wanted && begun.elapsed() < Duration::from_secs(60) {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill()?;
    Ok(child.wait()?.code().is_none())
}

#[test]
fn a_killed_run_goes_on_where_it_stopped() -> Result {
    let dir = tempfile::tempdir()?;
    let (undisturbed, out) = (dir.path().join("undisturbed"), dir.path().join("out"));
    run(&undisturbed, &["--slow", "60"])?.succeeded();
    let mut there = Vec::new();
    // In the first stage, between the stages, in the second.
    for wanted in [0, 3, 7, 9] {
        assert!(kill_at(&out, wanted)?, "the run was over before it had {wanted} parts");
        let now = parts(&out);
        assert!(
            now.len() >= wanted && there.iter().all(|(path, _)| now.contains(path)),
            "{there:?} and then {now:?}"
        );
        for (path, written) in &there {
            assert_eq!(std::fs::metadata(path)?.modified()?, *written, "{path:?} was computed again");
        }
        there = now
            .into_iter()
            .map(|path| Ok((path.clone(), std::fs::metadata(path)?.modified()?)))
            .collect::<Result<_>>()?;
    }
    run(&out, &["--slow", "60"])?.succeeded();
    assert_eq!(tables(&out)?, tables(&undisturbed)?);
    assert_eq!((unfinished(&out).len(), out.join("parts").exists()), (0, false));
    Ok(())
}

#[test]
fn the_number_of_cores_changes_nothing() -> Result {
    let dir = tempfile::tempdir()?;
    let of = |cores: &str| -> Result<_> {
        let out = dir.path().join(cores);
        run(&out, &["--threads", cores])?.succeeded();
        tables(&out)
    };
    assert_eq!(of("1")?, of("3")?);
    Ok(())
}
