//! What is on the disk: files that appear whole or not at all, and tables in Parquet.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use refrain_runner::atomic::{self, is_unfinished};

/// Where a table comes from: `refrain.*` keys of the metadata of its Arrow schema and of its file.
pub type Provenance = BTreeMap<String, String>;

/// Removes the files in `folder` that a killed run left half-written. What cannot be read or removed stays; it
/// does no harm.
pub fn clear_unfinished(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if is_unfinished(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// With the path and the system's reason, such as a full disk.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::write_atomically(path, bytes).with_context(|| {
        format!("cannot write {}\nhint: check free space and permissions there, then run again: finished parts are \
            kept", path.display())
    })
}

/// Writes a table as Parquet, atomically. The same table and provenance give the same bytes.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_table(path: &Path, batch: &RecordBatch, provenance: &Provenance) -> Result<()> {
    write_batches(path, &batch.schema(), std::iter::once(Ok(batch.clone())), provenance).map(|_| ())
}

/// The same for a table that comes in pieces, of which one is in memory at a time. The same pieces give the same
/// bytes. Returns how many rows there are.
///
/// # Errors
/// The first piece's that is one, and as [`write_atomically`].
pub fn write_batches(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    provenance: &Provenance,
) -> Result<usize> {
    let named = || provenance.iter().map(|(key, value)| (format!("refrain.{key}"), value.clone()));
    let of_schema: HashMap<String, String> = named().collect();
    let metadata = named().map(|(key, value)| KeyValue::new(key, value)).collect();
    let schema = Arc::new(Schema::new_with_metadata(schema.fields().clone(), of_schema));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties))?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows();
        writer.write(&batch)?;
    }
    writer.close()?;
    write_atomically(path, &bytes)?;
    Ok(rows)
}

/// Reads a whole Parquet file.
///
/// # Errors
/// If it is no Parquet file or cannot be read.
pub fn read_table(path: &Path) -> Result<RecordBatch> {
    let read = || -> Result<RecordBatch> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let schema = builder.schema().clone();
        let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(&schema, &batches)?)
    };
    read().with_context(|| format!("cannot read the table {}", path.display()))
}

/// The provenance that a table was written with.
///
/// # Errors
/// If it is no Parquet file or cannot be read.
pub fn read_provenance(path: &Path) -> Result<Provenance> {
    let file = File::open(path).with_context(|| format!("cannot read the table {}", path.display()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .with_context(|| format!("cannot read the table {}", path.display()))?;
    let pairs = builder.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    Ok(pairs
        .filter_map(|pair| Some((pair.key.strip_prefix("refrain.")?.to_owned(), pair.value.clone()?)))
        .collect())
}

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
