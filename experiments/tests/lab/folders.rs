//! Run folders: what is refused, and in which words.

use refrain_experiments::lab::folder::manifest_of;
use refrain_tests::Result;

use crate::{run, tables};

#[test]
fn another_run_is_refused_with_each_difference_once() -> Result {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    run(&out, &["--seed", "1"])?.succeeded();
    let ran = run(&out, &["--seed", "2", "--draws", "9"])?;
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("--seed: 1 there, 2 now") && ran.stderr.contains("--draws: 7 there, 9 now"),
        "{ran:?}"
    );
    assert_eq!(ran.stderr.matches("seed").count(), 1, "{ran:?}");
    let longest = ran.stderr.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest < Some(20), "a hash is shown: {ran:?}");
    Ok(())
}

#[test]
fn a_folder_of_the_old_layout_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let text = "experiment = \"fake\"\ncomplete = true\n[settings]\n[provenance]\n";
    std::fs::write(dir.path().join("run.toml"), text)?;
    let ran = run(dir.path(), &[])?;
    assert!(ran.code == Some(2) && ran.stderr.contains("written by an older version of refrain"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("run.toml"))?, text);
    Ok(())
}

/// The manifest says that another build began the run.
#[test]
fn parts_of_another_build_count_if_they_are_accepted() -> Result {
    let dir = tempfile::tempdir()?;
    let (out, whole) = (dir.path().join("out"), dir.path().join("whole"));
    run(&whole, &[])?.succeeded();
    run(&out, &["--stage", "draw"])?.succeeded();
    let version = manifest_of(&out)?.versions[0].clone();
    let older = "0.0.1+older";
    let path = out.join("run.toml");
    std::fs::write(&path, std::fs::read_to_string(&path)?.replace(&version, older))?;
    let ran = run(&out, &[])?;
    assert!(
        ran.code == Some(2) && ran.stderr.contains("--accept-version") && ran.stderr.contains(older),
        "{ran:?}"
    );
    run(&out, &["--accept-version"])?.succeeded();
    assert_eq!(manifest_of(&out)?.versions, [older, &version]);
    let table = refrain_experiments::lab::disk::read_provenance(&out.join("sums.parquet"))?;
    assert_eq!(table["version"], format!("{older}, {version}"));
    assert_ne!(tables(&out)?, tables(&whole)?, "the tables do not say which builds made them");
    Ok(())
}

/// What a reader of a table sees without this program: the run's column first, the provenance in the Arrow schema.
#[test]
fn tables_say_which_run_they_are_of() -> Result {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    run(&out, &[])?.succeeded();
    let table = refrain_experiments::lab::disk::read_table(&out.join("draws.parquet"))?;
    let schema = table.schema();
    assert_eq!(schema.field(0).name(), "run");
    let run = manifest_of(&out)?.run;
    assert_eq!(
        (schema.metadata()["refrain.run"].as_str(), schema.metadata()["refrain.task"].as_str()),
        (run.as_str(), "arithmetic")
    );
    Ok(())
}
