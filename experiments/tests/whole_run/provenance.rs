//! Where a table comes from, in its metadata and in the manifest.

use std::collections::BTreeMap;
use std::fs::File;

use parquet::basic::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};
use refrain_experiments::lab::disk::sha256_hex;
use refrain_tests::Result;
use refrain_tests::program::TABLES;

use crate::place;

#[test]
fn every_table_says_where_it_comes_from() -> Result {
    let place = place()?;
    place.run(&["--seed", "7"])?.succeeded();
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(place.path("out/run.toml"))?)?;
    let recorded: BTreeMap<String, String> = manifest["provenance"].clone().try_into()?;

    let mut hashed = Vec::new();
    for file in ["config.json", "model.safetensors"] {
        let bytes = std::fs::read(place.tiny.path(file))?;
        hashed.extend(format!("{file}\0{}\0", bytes.len()).bytes().chain(bytes));
    }
    let tokenizer = std::fs::read(place.tiny.path("tokenizer.json"))?;
    let mut named = format!("tokenizer.json\0{}\0", tokenizer.len()).into_bytes();
    named.extend(tokenizer);
    for (key, value) in [
        ("model", "tiny"),
        ("model_sha256", &sha256_hex(&hashed)),
        ("tokenizer_sha256", &sha256_hex(&named)),
        ("dtype", "f32"),
        ("device", "cpu"),
        ("seed", "7"),
        ("direction", "denoise"),
    ] {
        assert_eq!(recorded.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(recorded.get("prompts_sha256").map(String::len), Some(64));

    for table in TABLES {
        let reader = SerializedFileReader::new(File::open(place.path(&format!("out/{table}.parquet")))?)?;
        let metadata = reader.metadata();
        let pairs = metadata.file_metadata().key_value_metadata().ok_or("no metadata")?;
        let own: BTreeMap<String, String> = pairs
            .iter()
            .filter_map(|pair| {
                Some((pair.key.strip_prefix("refrain.")?.to_owned(), pair.value.clone().unwrap_or_default()))
            })
            .collect();
        let mut wanted = recorded.clone();
        wanted.insert("experiment".into(), "repetition-curse".into());
        wanted.insert("version".into(), refrain_experiments::VERSION.into());
        wanted.insert("run".into(), manifest["run"].as_str().ok_or("no run")?.to_owned());
        assert_eq!(own, wanted, "{table}");
        for group in metadata.row_groups() {
            for column in group.columns() {
                assert!(
                    matches!(column.compression(), Compression::ZSTD(_)),
                    "{table} {}",
                    column.column_path()
                );
            }
        }
        let rows = manifest["facts"]["rows"][table].as_integer();
        assert_eq!(rows, Some(metadata.file_metadata().num_rows()), "{table}");
    }
    Ok(())
}

/// A hash of the settings and the prompts that did not depend on them would be worth nothing.
#[test]
fn hashes_change_with_what_they_are_of() -> Result {
    let place = place()?;
    let provenance = |name: &str, arguments: &[&str]| -> Result<toml::Value> {
        place.tables(name, arguments)?;
        let text = std::fs::read_to_string(place.path(name).join("run.toml"))?;
        Ok(toml::from_str::<toml::Table>(&text)?["provenance"].clone())
    };
    let plain = provenance("plain", &[])?;
    let trials = provenance("trials", &["--trials", "3"])?;
    assert_ne!(trials["prompts_sha256"], plain["prompts_sha256"], "other pairs are other prompts");
    let template = provenance("template", &["--template", "repeat {phrase} {n}"])?;
    assert_ne!(template["prompts_sha256"], plain["prompts_sha256"]);
    assert_eq!(template["model_sha256"], plain["model_sha256"]);
    Ok(())
}
