//! What makes two runs equal and what does not.

use refrain_entropy::table::{CountRow, CountSweep};
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
    for table in TABLES.iter().filter(|table| **table != "perplexity") {
        assert_ne!(other[table], first[table], "{table} does not depend on the seed");
    }
    // Not only the seed in the metadata: the draws differ.
    let values = |name: &str| -> Result<Vec<(String, u32)>> {
        let rows = rows::<CountSweep>(&place.path(name))?;
        Ok(rows.into_iter().filter(|row| row.pool == "random").map(|row| (row.phrase, row.tokens)).collect())
    };
    assert_eq!(values("first")?, values("second")?);
    assert_ne!(values("first")?, values("other")?);
    Ok(())
}

/// Padding and batching do not matter. Prompts of different lengths, so that there is padding.
#[test]
fn another_batch_gives_the_same_counts() -> Result {
    let place = place()?;
    let counts = |batch: &str| -> Result<Vec<CountRow>> {
        place.tables(batch, &["--phrase-words", "1,3", "--phrases", "4", "--batch", batch])?;
        let mut rows = rows::<CountSweep>(&place.path(batch))?;
        let key = |row: &CountRow| {
            (
                row.intervention.clone(),
                row.head_set.clone(),
                row.n,
                row.pool.clone(),
                row.prompt,
                row.decoding.clone(),
            )
        };
        rows.sort_by_key(key);
        Ok(rows)
    };
    let all_at_once = counts("64")?;
    let lengths: std::collections::BTreeSet<u32> = all_at_once.iter().map(|row| row.prompt_tokens).collect();
    assert!(lengths.len() > 2, "no padding: {lengths:?}");
    for batch in ["1", "5"] {
        let found = counts(batch)?;
        assert_eq!(found.len(), all_at_once.len());
        for (found, wanted) in found.iter().zip(&all_at_once) {
            assert_eq!(found, wanted, "batch {batch}");
        }
    }
    Ok(())
}
