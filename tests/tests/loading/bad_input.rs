//! Configurations, headers and indices that were changed at random: a model or a clear error, never a panic, never
//! memory that a number in a file asks for, never a file outside the folder.

use std::path::Path;

use proptest::prelude::*;
use refrain_runner::{Error, LoadOptions, Model, ModelFiles};
use refrain_tests::Result;
use refrain_tests::tiny::Tiny;
use serde_json::{Value, json};

use crate::mutation::{mangled, runner, value};

/// Loads; an error must say something, and the whole must not take memory that the tiny model does not.
fn survives(folder: &Path) -> std::result::Result<bool, TestCaseError> {
    let before = resident_peak();
    let loaded = ModelFiles::folder(folder)
        .and_then(|files| Model::load(&files, &LoadOptions::default()).map(|model| (files, model)));
    let taken = resident_peak().saturating_sub(before);
    prop_assert!(taken < 64 << 20, "{taken} bytes of memory for a tiny file");
    match loaded {
        Ok((files, _)) => {
            let hashed = files.model_sha256();
            prop_assert!(hashed.is_ok(), "{hashed:?}");
            Ok(true)
        }
        Err(error) => {
            let text = error.to_string();
            prop_assert!(text.len() > 10 && text.len() < 2000, "{text:?}");
            let known = matches!(
                error,
                Error::Read { .. } | Error::Format { .. } | Error::Config(_) | Error::Weight { .. }
            );
            prop_assert!(known, "an error that says nothing of a file: {error:?}");
            Ok(false)
        }
    }
}

/// The peak of this process's memory, where the system says.
fn resident_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn tiny() -> Result<(tempfile::TempDir, Tiny)> {
    let dir = tempfile::tempdir()?;
    let tiny = Tiny::new(&dir.path().join("inside/tiny"))?;
    tiny.write()?;
    Ok((dir, tiny))
}

#[test]
fn configurations() -> Result {
    let (_dir, tiny) = tiny()?;
    let path = tiny.path("config.json");
    let text = std::fs::read(&path)?;
    runner(1).run(&mangled(text), |text| {
        std::fs::write(&path, text)?;
        survives(&tiny.folder).map(drop)
    })?;
    let keys: Vec<String> = tiny.config.as_object().ok_or("no object")?.keys().cloned().collect();
    let others =
        ["head_dim", "rope_scaling", "rope_parameters", "attention_bias", "torch_dtype", "dtype", "n_ctx"];
    let keys: Vec<String> = keys.into_iter().chain(others.map(str::to_owned)).collect();
    let change = prop::collection::vec((prop::sample::select(keys), value()), 1..3);
    runner(2).run(&change, |changes| {
        let mut config = tiny.config.clone();
        for (key, value) in changes {
            config[key] = value;
        }
        std::fs::write(&path, config.to_string())?;
        survives(&tiny.folder).map(drop)
    })?;
    Ok(())
}

/// Sizes that no machine has, in every field that is a size.
#[test]
fn sizes_beyond_reason() -> Result {
    let (_dir, tiny) = tiny()?;
    for key in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "head_dim",
    ] {
        for size in [0, 9_999, 10_000_000, 1_000_000_000, 1 << 40, u64::MAX] {
            let mut config = tiny.config.clone();
            config[key] = size.into();
            std::fs::write(tiny.path("config.json"), config.to_string())?;
            let loaded = survives(&tiny.folder).map_err(|error| format!("{key} {size}: {error}"))?;
            assert!(!loaded || key == "max_position_embeddings", "{key} = {size} was loaded");
        }
    }
    Ok(())
}

/// A safetensors file of `header` and `data`.
fn safetensors(length: u64, header: &[u8], data: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], header, data].concat()
}

#[test]
fn headers_of_weight_files() -> Result {
    let (_dir, tiny) = tiny()?;
    let path = tiny.path("model.safetensors");
    let whole = std::fs::read(&path)?;
    let length = u64::from_le_bytes(whole[..8].try_into()?) as usize;
    let (header, data) = (whole[8..8 + length].to_vec(), whole[8 + length..].to_vec());
    // The length of the header is right, or a lie.
    let lies = prop_oneof![
        4 => Just(None),
        1 => any::<u64>().prop_map(Some),
        1 => (0..200_000_000u64).prop_map(Some),
    ];
    runner(3).run(&(mangled(header.clone()), lies), |(header, lie)| {
        let length = lie.unwrap_or(header.len() as u64);
        std::fs::write(&path, safetensors(length, &header, &data))?;
        survives(&tiny.folder).map(drop)
    })?;
    // Well-formed headers that lie about one tensor.
    let parsed: serde_json::Map<String, Value> = serde_json::from_slice(&header)?;
    let names: Vec<String> = parsed.keys().cloned().collect();
    let numbers = prop_oneof![any::<u64>(), 0..100_000u64, Just(u64::MAX), Just(1 << 62), Just(0)];
    let lie = prop_oneof![
        prop::collection::vec(numbers.clone(), 0..5).prop_map(|shape| ("shape", json!(shape))),
        (numbers.clone(), numbers).prop_map(|(from, to)| ("data_offsets", json!([from, to]))),
        prop::sample::select(vec!["F64", "BF16", "F16", "I64", "BOOL", "F8_E5M2", "F4", "C64", "X"])
            .prop_map(|dtype| ("dtype", json!(dtype))),
        value().prop_map(|value| ("shape", value)),
    ];
    runner(4).run(&(prop::sample::select(names), lie), |(name, (key, value))| {
        let mut header = parsed.clone();
        header[&name][key] = value;
        let header = serde_json::to_vec(&header).map_err(|error| TestCaseError::fail(error.to_string()))?;
        std::fs::write(&path, safetensors(header.len() as u64, &header, &data))?;
        survives(&tiny.folder).map(drop)
    })?;
    Ok(())
}

#[test]
fn tensors_with_no_elements_and_endless_axes() -> Result {
    let (_dir, tiny) = tiny()?;
    let path = tiny.path("model.safetensors");
    for tied in [false, true] {
        let mut config = tiny.config.clone();
        config["tie_word_embeddings"] = tied.into();
        std::fs::write(tiny.path("config.json"), config.to_string())?;
        for shape in [vec![0, u64::MAX], vec![u64::MAX, 0], vec![0], vec![1 << 63, 0, 1 << 63]] {
            let bytes = {
                tiny.write()?;
                std::fs::write(tiny.path("config.json"), config.to_string())?;
                std::fs::read(&path)?
            };
            let length = u64::from_le_bytes(bytes[..8].try_into()?) as usize;
            let mut header: Value = serde_json::from_slice(&bytes[8..8 + length])?;
            let offset = header["lm_head.weight"]["data_offsets"][0].clone();
            header["extra"] = json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, offset]});
            let text = serde_json::to_vec(&header)?;
            std::fs::write(&path, safetensors(text.len() as u64, &text, &bytes[8 + length..]))?;
            assert!(!survives(&tiny.folder).map_err(|error| error.to_string())?, "{shape:?}");
        }
    }
    Ok(())
}

#[test]
fn indices() -> Result {
    let (dir, tiny) = tiny()?;
    let outside = dir.path().join("outside.safetensors");
    std::fs::copy(tiny.path("model.safetensors"), &outside)?;
    std::fs::copy(&outside, dir.path().join("inside/outside.safetensors"))?;
    tiny.write_shards(2)?;
    let index = tiny.path("model.safetensors.index.json");
    let text = std::fs::read(&index)?;
    runner(5).run(&mangled(text.clone()), |text| {
        std::fs::write(&index, text)?;
        survives(&tiny.folder).map(drop)
    })?;

    let parsed: Value = serde_json::from_slice(&text)?;
    let names: Vec<String> = parsed["weight_map"].as_object().ok_or("no map")?.keys().cloned().collect();
    let inside = "model-00001-of-00002.safetensors";
    let absolute = outside.display().to_string();
    let paths = prop_oneof![
        prop::collection::vec(
            prop::sample::select(vec![
                "..",
                ".",
                "/",
                "\\",
                "outside.safetensors",
                inside,
                "tiny",
                "~",
                "%2e%2e",
                " ",
                "\0"
            ]),
            1..7,
        )
        .prop_map(|parts| parts.concat()),
        Just(absolute.clone()),
        Just(format!("..{}", absolute)),
        Just(format!("./{inside}")),
        Just(format!("../tiny/{inside}")),
        Just("../outside.safetensors".to_owned()),
        Just("..\\outside.safetensors".to_owned()),
        "\\PC{0,20}",
    ];
    runner(6).run(&(prop::sample::select(names), paths), |(name, path)| {
        let mut index_of = parsed.clone();
        index_of["weight_map"][&name] = path.clone().into();
        std::fs::write(&index, index_of.to_string())?;
        let loaded = survives(&tiny.folder)?;
        // The files that stay are enough; any other name is refused or is not there.
        prop_assert!(
            !loaded || path == inside || path == "model-00002-of-00002.safetensors",
            "{path:?} was loaded"
        );
        Ok(())
    })?;
    Ok(())
}
