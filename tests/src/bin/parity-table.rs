//! Writes docs/parity.md: every family against `transformers`. `make parity`; an argument names a device (`cuda`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use refrain_runner::DeviceChoice;
use refrain_tests::Result;
use refrain_tests::golden::models;
use refrain_tests::parity::{QUANTITIES, errors};

fn main() -> Result {
    let device = match std::env::args().nth(1) {
        Some(name) => name.parse()?,
        None => DeviceChoice::Cpu,
    };
    let mut families: BTreeMap<String, (Vec<String>, [f64; QUANTITIES.len()])> = BTreeMap::new();
    for (name, family) in models()? {
        let found = errors(&name, device)?;
        let shown: Vec<String> = found.iter().map(|error| format!("{error:.1e}")).collect();
        eprintln!("{name}: {}", shown.join(" "));
        let (names, worst) = families.entry(family).or_insert((Vec::new(), [0.0; QUANTITIES.len()]));
        names.push(name);
        for (worst, found) in worst.iter_mut().zip(found) {
            *worst = worst.max(found);
        }
    }
    let table = page(&families)?;
    if device == DeviceChoice::Cpu {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/parity.md");
        std::fs::write(&path, &table)?;
        eprintln!("wrote {}", path.canonicalize()?.display());
    }
    print!("{table}");
    Ok(())
}

fn page(families: &BTreeMap<String, (Vec<String>, [f64; QUANTITIES.len()])>) -> Result<String> {
    let mut text = String::from(
        "# Parity with transformers\n\nThe worst error over the tiny random models of each family in \
         `tests/goldens`, which cover the choices that\n[the table there](../tests/goldens/README.md) lists. \
         `make parity` writes this page anew; the tests hold every entry\nto 1e-4 in f32, 1e-9 in f64, and a \
         bf16 ratio of at most 1.5.\n\n",
    );
    let heads: Vec<&str> = QUANTITIES.iter().map(|(name, _)| *name).collect();
    writeln!(text, "| family | models | {} |", heads.join(" | "))?;
    writeln!(text, "|---|---|{}", "---|".repeat(heads.len()))?;
    for (family, (names, worst)) in families {
        let (ratio, errors) = worst.split_last().ok_or("no quantities")?;
        let errors: Vec<String> = errors.iter().map(|error| format!("{error:.1e}")).collect();
        writeln!(text, "| {family} | {} | {} | {ratio:.2} |", names.len(), errors.join(" | "))?;
    }
    text.push_str("\nWhat the columns are:\n\n");
    for (name, what) in QUANTITIES {
        writeln!(text, "- **{name}**: {what}.")?;
    }
    text.push_str(
        "\nA model in bf16 is as far from the same model in f64 as its rounding makes it, by whatever program it \
         is run: that\ndistance, measured for transformers, is the noise floor, and the ratio compares refrain's \
         with it.\n",
    );
    Ok(text)
}
