//! What makes two runs equal and what does not.

use refrain_entropy::table::{CountSweep, Pool};
use refrain_tests::Result;
use refrain_tests::program::{TABLES, same_tables};

use crate::place;
use crate::slow::rows;

#[test]
fn one_seed_gives_the_same_bytes_and_another_does_not() -> Result {
    let place = place()?;
    let first = place.tables("first", &["--seed", "5"])?;
    same_tables(&place.tables("second", &["--seed", "5"])?, &first);
    let other = place.tables("other", &["--seed", "6"])?;
    for table in TABLES.iter().filter(|table| !["perplexity", "gates"].contains(table)) {
        assert_ne!(other[table], first[table], "{table} does not depend on the seed");
    }
    // Not only the seed in the metadata: the draws differ.
    let values = |name: &str| -> Result<Vec<(String, u32)>> {
        let rows = rows::<CountSweep>(&place.path(name))?;
        Ok(rows
            .into_iter()
            .filter(|row| row.pool == Pool::Random)
            .map(|row| (row.phrase, row.tokens))
            .collect())
    };
    assert_eq!(values("first")?, values("second")?);
    assert_ne!(values("first")?, values("other")?);
    Ok(())
}
