//! The folder of a run: the manifest, the finished parts that a killed run resumes from, and in the end the tables.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{DictionaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use refrain_entropy::schema::Table;

use super::disk::{Provenance, clear_unfinished, sha256_hex, write_batches};
use super::manifest::{self, Manifest};

/// Where the figures are.
pub const FIGURES: &str = "figures";
/// The folder of the parts in it.
pub(super) const PARTS: &str = "parts";

/// An open run folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// What the run is.
    pub manifest: Manifest,
    /// Whether this process started it.
    new: bool,
    /// Settings that the tables alone depend on and that are others than when the run began, a line each.
    pub changed: Vec<String>,
    parts_of: String,
    _lock: File,
}

/// Who else may have the folder open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    Alone,
    /// Other shards of the same run, which write other parts.
    Shared,
    /// The same, and this process writes nothing.
    Look,
}

impl RunFolder {
    /// Opens `path` for the run that `wanted` describes, making it if need be. With `accept_version`, finished
    /// parts of another build of the program count. Of a run that is not complete, the settings `tables_only` may
    /// have changed: no part depends on them.
    ///
    /// # Errors
    /// If the folder cannot be written, is in use, or holds another run; the message says what differs.
    pub fn open(
        path: &Path,
        wanted: Manifest,
        tables_only: &[&str],
        accept_version: bool,
        access: Access,
    ) -> Result<Self> {
        let unusable = || format!("cannot use {} as the output folder", path.display());
        std::fs::create_dir_all(path).with_context(unusable)?;
        let lock = lock(path, access)?;
        if access == Access::Alone {
            for folder in [path.to_owned(), path.join(PARTS), path.join(FIGURES)] {
                clear_unfinished(&folder);
            }
        }
        let mut changed = Vec::new();
        let (manifest, new) = match Manifest::read(path)? {
            None => {
                wanted.write(path)?;
                (wanted, true)
            }
            Some(found) => {
                let manifest = resumed(path, &found, wanted, tables_only, accept_version)?;
                if manifest != found {
                    changed = found.differences(&manifest);
                    if access != Access::Look {
                        manifest.write(path)?;
                    }
                }
                (manifest, false)
            }
        };
        let parts_of = manifest.without(tables_only).identity()?;
        let folder = RunFolder { path: path.to_owned(), manifest, new, changed, parts_of, _lock: lock };
        if folder.manifest.complete && access == Access::Alone {
            // A run that was killed between its last two steps.
            folder.remove_parts()?;
        }
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells the parts of this run from those of another.
    pub(super) fn parts_of(&self) -> &str {
        &self.parts_of
    }

    /// Takes away what this process has made of a run that could not begin: a refusal leaves nothing behind. What
    /// holds a part stays, and so does what is somebody else's.
    pub fn forget_if_empty(self) {
        if !self.new || self.path.join(PARTS).exists() {
            return;
        }
        for file in [manifest::FILE, ".lock"] {
            let _ = std::fs::remove_file(self.path.join(file));
        }
        // Not empty if something else is in it: then it stays.
        let _ = std::fs::remove_dir(&self.path);
    }

    /// Writes the final table `T` from pieces that need not be in memory at once. Returns how many rows it has.
    ///
    /// # Errors
    /// If a piece is an error or the table cannot be written.
    pub fn write_whole<T: Table>(&self, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<usize> {
        let schema = with_run(&T::batch(&[])?, &self.manifest.run)?.schema();
        let batches = batches.map(|batch| with_run(&batch?, &self.manifest.run));
        write_batches(&table_path(&self.path, T::NAME), &schema, batches, &self.provenance())
    }

    /// What every final table says of its origin.
    fn provenance(&self) -> Provenance {
        let mut provenance = self.manifest.provenance.clone();
        provenance.insert("experiment".to_owned(), self.manifest.experiment.clone());
        provenance.insert("run".to_owned(), self.manifest.run.clone());
        provenance.insert("version".to_owned(), self.manifest.versions.join(", "));
        provenance
    }

    /// Marks the run complete, with the hashes of its `tables`, and removes the parts.
    ///
    /// # Errors
    /// If a table cannot be read or the manifest cannot be written.
    pub fn complete(&mut self, tables: &[&str], facts: toml::Table) -> Result<()> {
        for name in tables {
            self.manifest.tables.insert((*name).to_owned(), table_sha256(&self.path, name)?);
        }
        self.manifest.complete = true;
        self.manifest.facts = facts;
        self.manifest.write(&self.path)?;
        self.remove_parts()
    }
}

/// Where table `name` of the run in `folder` is in the end.
pub fn table_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.parquet"))
}

/// SHA-256 of the file of the final table `name`.
///
/// # Errors
/// If it cannot be read.
pub fn table_sha256(folder: &Path, name: &str) -> Result<String> {
    let path = table_path(folder, name);
    Ok(sha256_hex(&std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
}

/// The table as it is written: with a first column that says which run it is of, so that tables of several runs can
/// be concatenated.
///
/// # Errors
/// None in practice: the columns are equally long.
pub fn with_run(batch: &RecordBatch, run: &str) -> Result<RecordBatch> {
    let kind = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    let mut fields = vec![Arc::new(Field::new("run", kind, false))];
    fields.extend(batch.schema().fields().iter().cloned());
    let keys = UInt32Array::from(vec![0; batch.num_rows()]);
    let labels = DictionaryArray::try_new(keys, Arc::new(StringArray::from(vec![run])))?;
    let mut columns: Vec<Arc<dyn arrow::array::Array>> = vec![Arc::new(labels)];
    columns.extend(batch.columns().iter().cloned());
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn lock(path: &Path, access: Access) -> Result<File> {
    let unusable = || format!("cannot use {} as the output folder", path.display());
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(".lock"));
    let file = file.with_context(unusable)?;
    let locked = match access {
        Access::Alone => file.try_lock(),
        Access::Shared | Access::Look => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{} is in use by another run\nhint: wait for it or choose another --out", path.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(unusable),
    }
}

/// The manifest of the run `found` that is taken up again for what is `wanted` now.
fn resumed(
    path: &Path,
    found: &Manifest,
    wanted: Manifest,
    tables_only: &[&str],
    accept_version: bool,
) -> Result<Manifest> {
    let differing = match found.complete {
        true => found.differences(&wanted),
        false => found.without(tables_only).differences(&wanted.without(tables_only)),
    };
    if !differing.is_empty() {
        bail!(
            "{} holds another run:\n  {}\nhint: use the same settings to resume it, or another --out",
            path.display(),
            differing.join("\n  ")
        );
    }
    let mut manifest = found.clone();
    if found.settings != wanted.settings {
        (manifest.run, manifest.settings, manifest.flags) = (wanted.run, wanted.settings, wanted.flags);
    }
    let known = found.versions.iter().any(|version| version == crate::VERSION);
    if !known && !found.complete {
        ensure!(
            accept_version,
            "{} was started by refrain build {}; this is build {}\nhint: --accept-version keeps the finished parts, \
                and the tables name both builds; another --out starts afresh",
            path.display(),
            found.versions.join(", "),
            crate::VERSION
        );
        manifest.versions.push(crate::VERSION.to_owned());
    }
    Ok(manifest)
}

/// The folder that a run goes to by default: named after the model and a hash of everything that it depends on, so
/// that it is never another run's.
pub fn default_path(manifest: &Manifest) -> PathBuf {
    let model = manifest.provenance.get("model").map_or("run", String::as_str).replace(['/', ' '], "--");
    PathBuf::from("runs").join(&manifest.experiment).join(format!("{model}-{}", manifest.run))
}

/// The manifest in `folder`, which must hold a run.
///
/// # Errors
/// If it holds none, or one that this program does not read.
pub fn manifest_of(folder: &Path) -> Result<Manifest> {
    Manifest::read(folder)?
        .with_context(|| format!("{} holds no run: it has no {}", folder.display(), manifest::FILE))
}
