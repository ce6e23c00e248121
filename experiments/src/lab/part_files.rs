//! The parts of a run on the disk. A part's file says which run it is of and, by a key, all that its rows depend
//! on: a part whose key is another today is done again.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use refrain_entropy::schema::Table;

use super::disk::{Provenance, read_provenance, read_table, sha256_hex, write_table};
use super::folder::{PARTS, RunFolder};
use super::part::{Found, PartKey};

/// What is on the disk of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Not every table.
    No,
    /// Every table, of today's key. One that cannot be read counts: whoever reads it says what is wrong.
    Yes,
    /// Every table, but what the part depends on has changed since.
    Stale,
}

impl RunFolder {
    /// What is on the disk of a part with these `tables`.
    pub fn kept(&self, part: &PartKey<'_>, tables: &[&str]) -> Kept {
        let mut kept = Kept::Yes;
        for table in tables {
            let path = self.part_path(part, table);
            if !path.exists() {
                return Kept::No;
            }
            if read_provenance(&path).is_ok_and(|found| found.get("key") != Some(&self.hash(part))) {
                kept = Kept::Stale;
            }
        }
        kept
    }

    /// Writes what a part found: every one of `tables`, and nothing else.
    ///
    /// # Errors
    /// If the part has other tables, or cannot be written.
    pub fn write_part(&self, part: &PartKey<'_>, tables: &[&str], found: Found) -> Result<()> {
        let found = found.into_tables();
        let names: Vec<&str> = found.keys().copied().collect();
        let mut expected = tables.to_vec();
        expected.sort_unstable();
        ensure!(names == expected, "the part has the tables {names:?} instead of {expected:?}");
        let provenance = Provenance::from(
            [
                ("parts_of", self.parts_of().to_owned()),
                ("key", self.hash(part)),
                ("version", crate::VERSION.to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        for (table, batch) in found {
            write_table(&self.part_path(part, table), &batch, &provenance)?;
        }
        Ok(())
    }

    /// The rows of table `T` in a part.
    ///
    /// # Errors
    /// If the part is absent, broken, of another run, or depends on what has changed since.
    pub fn read_part<T: Table>(&self, part: &PartKey<'_>) -> Result<Vec<T::Row>> {
        let path = self.part_path(part, T::NAME);
        let read = || -> Result<Vec<T::Row>> {
            let found = read_provenance(&path)?;
            let of_run = found.get("parts_of").is_some_and(|run| run == self.parts_of());
            ensure!(of_run, "it is of a run with other settings");
            ensure!(found.get("key") == Some(&self.hash(part)), "what it depends on has changed since");
            let version = found.get("version").map_or("unknown", String::as_str);
            ensure!(
                self.manifest.versions.iter().any(|known| known == version),
                "build {version} of refrain made it"
            );
            Ok(T::rows(&read_table(&path)?)?)
        };
        read().with_context(|| {
            format!("{} cannot be used\nhint: delete it to have it computed again", path.display())
        })
    }

    /// Removes the parts that this run wrote, whatever they depended on, and their folder if nothing else is in it.
    pub(super) fn remove_parts(&self) -> Result<()> {
        let parts = self.path().join(PARTS);
        let Ok(entries) = std::fs::read_dir(&parts) else { return Ok(()) };
        for path in entries.flatten().map(|entry| entry.path()) {
            // The folder may have held something before.
            let own = path.extension().is_some_and(|end| end == "parquet")
                && read_provenance(&path)
                    .is_ok_and(|found| found.get("parts_of").is_some_and(|run| run == self.parts_of()));
            if own {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        // Not empty if somebody else's files are in it: then it stays.
        let _ = std::fs::remove_dir(&parts);
        Ok(())
    }

    fn part_path(&self, part: &PartKey<'_>, table: &str) -> PathBuf {
        self.path().join(PARTS).join(format!("{}.{}.{table}.parquet", part.stage, part.id))
    }

    fn hash(&self, part: &PartKey<'_>) -> String {
        let PartKey { stage, id, depends } = part;
        sha256_hex(format!("{}/{stage}/{id}/{depends}", self.parts_of()).as_bytes())
    }
}
