//! The dtype that a run computes in.

use refrain_tests::Result;
use refrain_tests::program::{TABLES, parts, same_tables, tables};
use tch::Kind;

use crate::place;

fn recorded(place: &refrain_tests::program::Place, out: &str, section: &str) -> Result<Option<String>> {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(place.path(out).join("run.toml"))?)?;
    Ok(manifest[section].get("dtype").and_then(toml::Value::as_str).map(str::to_owned))
}

#[test]
fn a_checkpoint_in_bf16_runs_in_bf16_unless_told_otherwise() -> Result {
    let mut place = place()?;
    place.tiny.cast(Kind::BFloat16, Some("bfloat16"));
    place.tiny.write()?;
    // Narrow dtypes are slow on a processor that only emulates them.
    let few = ["--counts", "2,4", "--trace-count", "4", "--trace-steps", "8"];
    let narrow = place.tables("narrow", &few)?;
    assert_eq!(recorded(&place, "narrow", "provenance")?.as_deref(), Some("bf16"));
    assert_eq!(recorded(&place, "narrow", "settings")?, None);
    for (dtype, out) in [("f32", "wide"), ("f64", "wider"), ("f16", "half")] {
        let other = place.tables(out, &[&few[..], &["--dtype", dtype]].concat())?;
        assert_eq!(recorded(&place, out, "provenance")?.as_deref(), Some(dtype));
        assert_eq!(recorded(&place, out, "settings")?.as_deref(), Some(dtype));
        assert!(TABLES.iter().any(|table| other[table] != narrow[table]), "{dtype} changed nothing");
    }
    assert!(parts(&place.path("narrow")).is_empty());
    same_tables(&tables(&place.path("narrow"))?, &place.tables("again", &few)?);
    // Another dtype is another run.
    let mut resumed = place.command(&place.path("narrow"), &[&few[..], &["--dtype", "f32"]].concat());
    refrain_tests::program::Ran::of(&mut resumed)?
        .refused(&["holds another run", "dtype: bf16 there, f32 now"]);
    Ok(())
}
