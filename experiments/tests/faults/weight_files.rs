//! Weight files that are cut, changed or lie.

use std::path::Path;

use refrain_runner::{LoadOptions, Model, ModelFiles};
use refrain_tests::Result;
use serde_json::json;

use crate::place;

const FILE: &str = "model.safetensors";

/// Length of the header and the whole file.
fn measured(path: &Path) -> Result<(usize, Vec<u8>)> {
    let bytes = std::fs::read(path)?;
    let length: [u8; 8] = bytes[..8].try_into()?;
    Ok((u64::from_le_bytes(length) as usize, bytes))
}

#[test]
fn a_truncated_file() -> Result {
    let place = place()?;
    let path = place.tiny.path(FILE);
    let (header, whole) = measured(&path)?;
    for length in [1, 7, 8, 9, 8 + header / 2, 8 + header - 1, 8 + header, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length])?;
        let words =
            ["tiny/model.safetensors", "not a complete safetensors file", "hint: fetch or copy it again"];
        place.run(&[])?.refused(&words);
        place.no_table();
    }
    Ok(())
}

/// Under a limit of memory that loading a tiny model never nears: nothing is reserved because a header says so.
#[test]
fn a_header_that_claims_more_than_there_is() -> Result {
    let place = place()?;
    let path = place.tiny.path(FILE);
    let (header, whole) = measured(&path)?;
    let claims = [header as u64 + 1, 99_999_999, 1 << 33, 1 << 62, u64::MAX];
    for claim in claims {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&claim.to_le_bytes());
        std::fs::write(&path, bytes)?;
        let ran = place.run(&[])?;
        ran.refused(&["tiny/model.safetensors", "not a complete safetensors file"]);
    }
    // A tensor that claims more than the file holds, by its shape and offsets.
    let text = std::str::from_utf8(&whole[8..8 + header])?;
    for (from, to) in [
        ("\"data_offsets\":[0,", "\"data_offsets\":[99999999999999,"),
        ("\"shape\":[16", "\"shape\":[1600000000000"),
    ] {
        assert!(text.contains(from), "{text}");
        let lying = text.replacen(from, to, 1);
        let mut bytes = (lying.len() as u64).to_le_bytes().to_vec();
        bytes.extend(lying.as_bytes());
        bytes.extend(&whole[8 + header..]);
        std::fs::write(&path, bytes)?;
        place.run(&[])?.refused(&["tiny/model.safetensors", "not a complete safetensors file"]);
    }
    place.no_table();
    Ok(())
}

/// Bits all over the header (every fifth, so each bit of a byte in turn), loaded in this process, where a panic
/// fails the test; some of them through the program.
#[test]
fn a_flipped_bit_in_the_header() -> Result {
    let place = place()?;
    let path = place.tiny.path(FILE);
    let (header, whole) = measured(&path)?;
    let load = || Model::load(&ModelFiles::folder(&place.tiny.folder)?, &LoadOptions::default());
    let mut refused = 0;
    let bits: Vec<usize> = (0..8 * (8 + header)).step_by(5).collect();
    for &bit in &bits {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes)?;
        match load() {
            Ok(_) => println!("bit {bit}: the same model (a space became another blank, or the like)"),
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains(FILE) || text.contains("tensor `"), "bit {bit}: {text}");
                if bit % 997 == 0 {
                    place.run(&[])?.refused(&["error: "]);
                }
            }
        }
    }
    assert!(refused * 100 >= 99 * bits.len(), "only {refused} of {} are refused", bits.len());
    place.no_table();
    Ok(())
}

#[test]
fn an_index_that_reaches_outside() -> Result {
    let place = place()?;
    let index = place.tiny.path("model.safetensors.index.json");
    std::fs::rename(place.tiny.path(FILE), place.path("outside.safetensors"))?;
    let absolute = place.path("outside.safetensors").display().to_string();
    for file in ["../outside.safetensors", "..", "", "a/b.safetensors", "a\\b.safetensors", &absolute] {
        std::fs::write(&index, json!({"weight_map": {"model.norm.weight": file}}).to_string())?;
        place.run(&[])?.refused(&["index.json", "places `model.norm.weight`", "not a file name"]);
    }
    std::fs::write(&index, json!({"weight_map": {"model.norm.weight": "gone.safetensors"}}).to_string())?;
    place.run(&[])?.refused(&["tiny/gone.safetensors", "does not exist"]);
    std::fs::write(&index, json!({"weights": {}}).to_string())?;
    place.run(&[])?.refused(&["index.json", "has no object `weight_map`"]);
    std::fs::write(&index, "{")?;
    place.run(&[])?.refused(&["index.json"]);
    place.no_table();
    Ok(())
}

#[test]
fn a_pickle_is_not_opened() -> Result {
    let place = place()?;
    std::fs::rename(place.tiny.path(FILE), place.tiny.path("pytorch_model.bin"))?;
    place.run(&[])?.refused(&["pytorch_model.bin", "is a pickle", "hint: convert it with transformers"]);
    place.no_table();
    Ok(())
}
