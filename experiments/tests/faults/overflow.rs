//! A model whose activations are beyond f16: tables have nulls with a reason, and no program takes it for another
//! fault.

use std::path::Path;

use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::read_table;
use refrain_patching::table::{EdgeScores, HeadScores};
use refrain_tests::Result;
use refrain_tests::program::{Place, Ran};

/// Activations of up to ten million in layer 1; every weight fits f16.
fn place(binary: &str) -> Result<Place> {
    let mut place = Place::new(binary)?;
    for name in ["up_proj", "down_proj"] {
        let name = format!("model.layers.1.mlp.{name}.weight");
        let large = &place.tiny.weights[&name] * 3e3;
        place.tiny.weights.insert(name, large);
    }
    place.tiny.write()?;
    Ok(place)
}

/// Value and reason of every row of a table of scores.
fn measured(path: &Path) -> Result<Vec<(Option<f64>, Option<String>)>> {
    let batch = read_table(path)?;
    Ok(match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("edge_scores") => {
            EdgeScores::rows(&batch)?.into_iter().map(|row| (row.value, row.reason)).collect()
        }
        _ => HeadScores::rows(&batch)?.into_iter().map(|row| (row.value, row.reason)).collect(),
    })
}

#[test]
fn every_method_gives_a_null_with_the_reason() -> Result {
    let place = place(env!("CARGO_BIN_EXE_score-heads"))?;
    for (method, table, more) in [
        ("activation-patching", "head_scores", &[][..]),
        ("zero-ablation", "head_scores", &[]),
        ("mean-ablation", "head_scores", &[]),
        ("resample-ablation", "head_scores", &[]),
        ("attribution-patching", "head_scores", &[]),
        ("atp-star", "head_scores", &[]),
        ("dla", "head_scores", &[]),
        ("eap", "head_scores", &[]),
        ("eap", "edge_scores", &[]),
        ("eap-ig", "edge_scores", &[]),
        ("path-patching", "edge_scores", &["--sender", "L0H1"]),
    ] {
        for dtype in ["f16", "f32"] {
            let out = place.path(&format!("{method}.{dtype}"));
            let mut command =
                place.bare(&["--model", "tiny", "--no-figures", "--threads", "1", "--resamples", "20"]);
            command.args(["--length", "6", "--pairs", "5", "--dtype", dtype, "--method", method]).args(more);
            Ran::of(command.arg("--out").arg(&out))?.succeeded();
            let rows = measured(&out.join(format!("{table}.parquet")))?;
            let null = |(value, reason): &(Option<f64>, Option<String>)| {
                value.is_none() && reason.as_deref() == Some("the metric is not finite")
            };
            let nulls = rows.iter().filter(|row| null(row)).count();
            // In f32 there are numbers.
            assert_eq!(nulls, if dtype == "f16" { rows.len() } else { 0 }, "{method} in {dtype}: {rows:?}");
            assert!(!rows.is_empty(), "{method} in {dtype}");
        }
    }
    Ok(())
}

#[test]
fn the_check_says_overflow_and_not_bug() -> Result {
    let place = place(env!("CARGO_BIN_EXE_refrain-check"))?;
    let check = |dtype: &str| Ran::of(&mut place.bare(&["--model", "tiny", "--dtype", dtype]));
    let ran = check("f16")?;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    for word in
        ["overflow: activations overflow f16 and are finite in f64", "--dtype bf16", "f16 ends at 6.550e4"]
    {
        assert!(ran.stdout.contains(word), "{word:?}: {ran:#?}");
    }
    assert!(!ran.stdout.contains("bug"), "{ran:#?}");
    for dtype in ["bf16", "f32", "f64"] {
        check(dtype)?.succeeded();
    }
    Ok(())
}
