//! A complete run, as its folder has it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use refrain_entropy::schema::Table;

use super::disk::read_table;
use super::folder::{manifest_of, table_path, table_sha256};
use super::manifest::Manifest;

/// A complete run.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
}

impl Finished {
    /// Opens the run in `folder`.
    ///
    /// # Errors
    /// If there is none, or one that is not complete.
    pub fn open(folder: &Path) -> Result<Self> {
        let manifest = manifest_of(folder)?;
        ensure!(
            manifest.complete,
            "the run in {} is not complete\nhint: start {} again with the same settings to finish it",
            folder.display(),
            manifest.experiment
        );
        Ok(Finished { path: folder.to_owned(), manifest })
    }

    /// Checks that every table is the one that the run wrote.
    ///
    /// # Errors
    /// Naming the first that is not.
    pub fn check(&self) -> Result<()> {
        for (table, hash) in &self.manifest.tables {
            ensure!(
                table_sha256(&self.path, table).is_ok_and(|found| found == *hash),
                "{} holds a complete run without a whole {table}: {} is gone or not what the run wrote\nhint: delete \
                    the folder to run it again, or choose another --out",
                self.path.display(),
                table_path(&self.path, table).display()
            );
        }
        Ok(())
    }

    /// Whether it has a table of this name.
    pub fn has(&self, table: &str) -> bool {
        self.manifest.tables.contains_key(table)
    }

    /// The table of this name.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn batch(&self, table: &str) -> Result<RecordBatch> {
        read_table(&table_path(&self.path, table)).with_context(|| {
            format!(
                "{} holds a complete run without a whole {table}\nhint: delete the folder to run it again, or choose \
                    another --out",
                self.path.display()
            )
        })
    }

    /// The rows of table `T`.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn rows<T: Table>(&self) -> Result<Vec<T::Row>> {
        Ok(T::rows(&self.batch(T::NAME)?)?)
    }

    /// The same, or no rows if the run has no such table.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn rows_if_any<T: Table>(&self) -> Result<Vec<T::Row>> {
        if self.has(T::NAME) { self.rows::<T>() } else { Ok(Vec::new()) }
    }

    /// The files of its tables.
    pub fn table_paths(&self) -> Vec<PathBuf> {
        self.manifest.tables.keys().map(|name| table_path(&self.path, name)).collect()
    }
}
