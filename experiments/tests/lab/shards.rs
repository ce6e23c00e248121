//! A run that is cut into shards has the tables of one that is not.

use refrain_experiments::lab::{Extent, Halt, folder::manifest_of, take_up};
use refrain_tests::Result;

use crate::fake::Fake;
use crate::{run, tables};

#[test]
fn shards_have_the_same_tables_as_one_run() -> Result {
    let dir = tempfile::tempdir()?;
    let whole = dir.path().join("whole");
    run(&whole, &[])?.succeeded();
    for of in [1, 3] {
        let out = dir.path().join(format!("of{of}"));
        for stage in ["draw", "add"] {
            for shard in (0..of).rev() {
                run(&out, &["--stage", stage, "--shard", &format!("{shard}/{of}")])?.succeeded();
            }
        }
        assert!(!out.join("sums.parquet").exists(), "a shard wrote a table");
        take_up::<Fake>(&manifest_of(&out)?, &out, Extent::Tables, false)?;
        assert_eq!(tables(&out)?, tables(&whole)?, "{of} shards");
    }
    Ok(())
}

#[test]
fn what_is_missing_is_named() -> Result {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let ran = run(&out, &["--stage", "add", "--shard", "0/2"])?;
    assert!(ran.code == Some(2) && ran.stderr.contains("run it with --stage draw"), "{ran:?}");
    let ran = run(&out, &["--stage", "sort"])?;
    assert!(ran.code == Some(2) && ran.stderr.contains("its stages are draw, add"), "{ran:?}");
    run(&out, &["--stage", "draw", "--shard", "1/3"])?.succeeded();
    let missing = take_up::<Fake>(&manifest_of(&out)?, &out, Extent::Tables, false).unwrap_err();
    let Some(Halt::Missing { stage, missing, parts }) = missing.downcast_ref::<Halt>() else {
        return Err(missing.into());
    };
    let ids: Vec<&str> = missing.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!((*stage, &ids[..], *parts), ("draw", &["d000", "d002", "d003", "d005", "d006"][..], 7));
    Ok(())
}
