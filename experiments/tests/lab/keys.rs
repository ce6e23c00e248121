//! A part is done again if, and only if, what it depends on has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::{read_provenance, read_table, write_table};
use refrain_experiments::lab::folder::manifest_of;
use refrain_experiments::lab::{Common, Count, Extent, Flags, Halt, perform, take_up};
use refrain_tests::Result;
use refrain_tests::program::{Ran, parts};

use crate::fake::{Draws, Fake, Settings, Sums};
use crate::{command_saying, run, tables};

/// When each part was written, by its file.
fn written(out: &Path) -> Result<BTreeMap<PathBuf, SystemTime>> {
    parts(out).into_iter().map(|path| Ok((path.clone(), std::fs::metadata(&path)?.modified()?))).collect()
}

/// Makes draw 3 another number, as another build of the program might have drawn it.
fn draw_another(out: &Path) -> Result {
    let path = out.join("parts/draw.d003.draws.parquet");
    let mut rows = Draws::rows(&read_table(&path)?)?;
    rows[0].value += 0.001;
    write_table(&path, &Draws::batch(&rows)?, &read_provenance(&path)?)?;
    Ok(())
}

#[test]
fn what_an_earlier_stage_found_is_in_the_key() -> Result {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    for stage in ["draw", "add"] {
        run(&out, &["--stage", stage])?.succeeded();
    }
    let before = written(&out)?;
    draw_another(&out)?;
    // What is stale is missing.
    let error = take_up::<Fake>(&manifest_of(&out)?, &out, Extent::Tables, false).unwrap_err();
    let Some(Halt::Missing { stage: "add", missing, .. }) = error.downcast_ref::<Halt>() else {
        return Err(error.into());
    };
    let stale: Vec<&str> = missing.iter().map(|(_, id)| id.as_str()).collect();
    let ran = Ran::of(&mut command_saying(&out, &["--stage", "add"])?)?.succeeded();
    let words = format!(
        "{} of {} parts of the stage add are done again: what they depend on has changed",
        stale.len(),
        before.len() - 7
    );
    assert!(ran.stderr.contains(&words), "{words}: {ran:?}");
    for (path, time) in written(&out)? {
        let name = path.file_name().ok_or("no name")?.to_string_lossy().into_owned();
        let Some(from) = name.strip_prefix("add.s").and_then(|rest| rest.get(..3)) else { continue };
        // Sums of the numbers from this one on.
        let depends = from.parse::<u32>()? <= 3;
        assert_eq!(
            (before[&path] != time, stale.contains(&&*format!("s{from}"))),
            (depends, depends),
            "{name}"
        );
    }
    run(&out, &[])?.succeeded();
    let draws = Draws::rows(&read_table(&out.join("draws.parquet"))?)?;
    for sum in Sums::rows(&read_table(&out.join("sums.parquet"))?)? {
        let wanted: f64 = draws[sum.from as usize..].iter().map(|draw| draw.value).sum();
        assert_eq!(sum.value, wanted, "the sum from {} on", sum.from);
    }
    assert!(!out.join("parts").exists());
    Ok(())
}

#[test]
fn what_only_the_tables_depend_on_is_not_in_the_key() -> Result {
    let dir = tempfile::tempdir()?;
    let (out, whole) = (dir.path().join("out"), dir.path().join("whole"));
    run(&whole, &["--resamples", "70"])?.succeeded();
    run(&out, &["--stage", "draw", "--resamples", "50", "--threads", "1"])?.succeeded();
    let before = written(&out)?;
    run(&out, &["--stage", "add", "--resamples", "60", "--threads", "2", "--memory", "1GiB", "--verbose"])?
        .succeeded();
    let after = written(&out)?;
    assert!(before.iter().all(|(path, time)| after[path] == *time), "a part was done again");
    let ran = Ran::of(&mut command_saying(&out, &["--resamples", "70", "--no-figures"])?)?.succeeded();
    let words = "--resamples: 60 there, 70 now; only the tables depend on it, and finished parts are kept";
    assert!(ran.stderr.contains(words) && !ran.stderr.contains("done again"), "{ran:?}");
    let manifest = manifest_of(&out)?;
    assert_eq!(manifest.settings["resamples"].as_integer(), Some(70));
    assert_eq!(manifest.facts["resumed_parts"], manifest.facts["parts"]);
    assert_eq!(tables(&out)?, tables(&whole)?);
    // Of a complete run the parts are gone.
    let ran = run(&out, &["--resamples", "80"])?;
    assert!(ran.code == Some(2) && ran.stderr.contains("--resamples: 70 there, 80 now"), "{ran:?}");
    Ok(())
}

#[test]
fn the_number_of_threads_is_put_back() -> Result {
    let dir = tempfile::tempdir()?;
    tch::set_num_threads(3);
    for (name, model) in [("sound", None), ("no model", Some("nowhere".to_owned()))] {
        let mut common = Common { out: Some(dir.path().join(name)), quiet: true, ..Common::default() };
        common.threads = Some(Count::of::<1>());
        let fails = model.is_some();
        common.model.model = model;
        let own = Settings { draws: Count::of::<3>(), slow: 0 };
        assert_eq!(perform::<Fake>(Flags { own, common }, Extent::Whole).is_err(), fails);
        assert_eq!(tch::get_num_threads(), 3, "{name}");
    }
    Ok(())
}

#[test]
fn another_builds_run_is_merged_if_it_is_accepted() -> Result {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    for stage in ["draw", "add"] {
        run(&out, &["--stage", stage])?.succeeded();
    }
    let path = out.join("run.toml");
    let older = std::fs::read_to_string(&path)?.replace(refrain_experiments::VERSION, "0.0.1+older");
    std::fs::write(&path, &older)?;
    let take = |extent, accept| take_up::<Fake>(&manifest_of(&out).unwrap(), &out, extent, accept);
    for extent in [Extent::Look, Extent::Tables] {
        let error = take(extent, false).unwrap_err().to_string();
        assert!(error.contains("0.0.1+older") && error.contains("--accept-version"), "{error}");
    }
    let looked = take(Extent::Look, true).unwrap_err();
    assert_eq!(looked.downcast_ref::<Halt>(), Some(&Halt::NothingMissing));
    assert_eq!(std::fs::read_to_string(&path)?, older, "looking wrote something");
    take(Extent::Tables, true)?;
    assert_eq!(manifest_of(&out)?.versions, ["0.0.1+older", refrain_experiments::VERSION]);
    Ok(())
}
