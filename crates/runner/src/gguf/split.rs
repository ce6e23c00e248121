//! Models in several files, `NAME-00001-of-00003.gguf` and so on, of which the first has the metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::container::Header;
use super::value::Value;

/// More parts than any model has.
const MOST_PARTS: i64 = 1000;

fn integer(metadata: &BTreeMap<String, Value>, key: &str) -> Result<Option<i64>, String> {
    match metadata.get(key) {
        None => Ok(None),
        Some(Value::Integer(value)) => Ok(Some(*value)),
        Some(other) => Err(format!("key `{key}` must be a whole number, but is {}", other.shown())),
    }
}

fn ending(part: i64, parts: i64) -> String {
    format!("-{part:05}-of-{parts:05}.gguf")
}

/// The files after the first one, at `path`; none of a model in one file.
pub(super) fn others(path: &Path, metadata: &BTreeMap<String, Value>) -> Result<Vec<PathBuf>, String> {
    let parts = integer(metadata, "split.count")?.unwrap_or(1);
    if parts <= 1 {
        return Ok(Vec::new());
    }
    if parts > MOST_PARTS {
        return Err(format!("is one of {parts} parts, more than {MOST_PARTS}"));
    }
    let number = integer(metadata, "split.no")?.unwrap_or(0);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if number != 0 {
        let first = name.strip_suffix(&ending(number.saturating_add(1), parts));
        let first =
            first.map_or_else(|| "the first part".into(), |stem| format!("{stem}{}", ending(1, parts)));
        return Err(format!("is part {} of {parts}\nhint: name {first}", number.saturating_add(1)));
    }
    let Some(stem) = name.strip_suffix(&ending(1, parts)) else {
        return Err(format!(
            "is the first of {parts} parts, but its name does not end in {}\nhint: give the parts their names back",
            ending(1, parts)
        ));
    };
    Ok((2..=parts).map(|part| path.with_file_name(format!("{stem}{}", ending(part, parts)))).collect())
}

/// Makes sure that the parts belong together.
pub(super) fn check(parts: &[&Header]) -> Result<(), String> {
    let count = parts.len() as i64;
    if count <= 1 {
        return Ok(());
    }
    for (index, part) in parts.iter().enumerate() {
        let (number, of) = (integer(&part.metadata, "split.no")?, integer(&part.metadata, "split.count")?);
        if number.unwrap_or(0) != index as i64 || of != Some(count) {
            return Err(format!(
                "its part {} says that it is another\n\
                 hint: the parts belong to different models, or have changed names",
                index + 1
            ));
        }
    }
    let stated = integer(&parts[0].metadata, "split.tensors.count")?;
    let found: usize = parts.iter().map(|part| part.tensors.len()).sum();
    match stated {
        Some(stated) if stated != found as i64 => {
            Err(format!("its parts have {found} tensors, not {stated}"))
        }
        _ => Ok(()),
    }
}
