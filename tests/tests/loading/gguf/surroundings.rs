//! What is around the weights: parts, hashes, tokenizers, templates, files that are no models.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use refrain_runner::architecture::Scaling;
use refrain_runner::{ChatTemplate, LoadOptions, Message, Model, ModelFiles, Tokenizer};
use refrain_tests::Result;
use refrain_tests::gguf::{As, Entry, GgufWriter};
use refrain_tests::golden::folder;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::convert::{Both, beside, both};
use super::{CASES, load, logits};

fn llama(form: As) -> Result<Both> {
    both(&CASES[0], form)
}

fn write(both: &Both, name: &str, file: &GgufWriter) -> Result<PathBuf> {
    let path = beside(both).join(name);
    std::fs::write(&path, file.finish())?;
    Ok(path)
}

fn refused(path: &Path, words: &[&str]) -> Result {
    let loaded = ModelFiles::gguf(path).and_then(|files| Model::load(&files, &LoadOptions::default()));
    let error = loaded.err().ok_or_else(|| format!("{}: loaded", path.display()))?.to_string();
    for word in words {
        assert!(error.contains(word), "{error}");
    }
    Ok(())
}

/// A file in parts, as llama-gguf-split writes them: the first with the metadata.
#[test]
fn parts_are_read_as_one() -> Result {
    let both = llama(As::F16)?;
    let parts = 3;
    let part = |index: usize| format!("model-{:05}-of-{parts:05}.gguf", index + 1);
    let share = both.writer.tensors.len().div_ceil(parts);
    let mut paths = Vec::new();
    for (index, tensors) in both.writer.tensors.chunks(share).enumerate() {
        let mut file = GgufWriter { version: 3, metadata: Vec::new(), tensors: tensors.to_vec() };
        if index == 0 {
            file.metadata = both.writer.metadata.clone();
        }
        file.value("split.no", 2, (index as u16).to_le_bytes().into());
        file.value("split.count", 2, (parts as u16).to_le_bytes().into());
        file.value("split.tensors.count", 5, (both.writer.tensors.len() as u32).to_le_bytes().into());
        paths.push(write(&both, &part(index), &file)?);
    }
    let files = ModelFiles::gguf(&paths[0])?;
    let whole = load(&ModelFiles::gguf(&both.file)?, Some(Kind::Float))?;
    assert_eq!(logits(&load(&files, Some(Kind::Float))?)?, logits(&whole)?);
    let mut hash = Sha256::new();
    paths.iter().try_for_each(|path| std::fs::read(path).map(|bytes| hash.update(bytes)))?;
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(files.model_sha256()?, hex);

    refused(&paths[1], &["is part 2 of 3\nhint: name model-00001-of-00003.gguf"])?;
    std::fs::copy(&paths[1], beside(&both).join("away"))?;
    std::fs::copy(&paths[2], &paths[1])?;
    refused(&paths[0], &["part 2 says that it is another", "hint: "])?;
    std::fs::remove_file(&paths[1])?;
    refused(&paths[0], &[&part(1), "all parts of a model in several files must be in one folder"])?;
    std::fs::copy(&paths[0], beside(&both).join("renamed.gguf"))?;
    refused(&beside(&both).join("renamed.gguf"), &["name does not end in -00001-of-00003.gguf"])
}

/// Adds divisors of the frequencies of heads of eight.
fn factors(file: &mut GgufWriter, name: &str) {
    let data = [1.0f32, 2.0, 4.0, 8.0].iter().flat_map(|factor| factor.to_le_bytes()).collect();
    file.tensors.push(Entry { name: name.into(), shape: vec![4], kind: 0, data });
}

/// LongRoPE has factors of short and of long rows; and what a file lacks is no matter of a config.json.
#[test]
fn half_of_a_model_is_refused_in_terms_of_the_file() -> Result {
    let long = CASES.iter().find(|case| case.name == "phi3-long").ok_or("no phi3-long")?;
    let whole = both(long, As::F32)?;
    for (lacks, words) in [
        ("rope_factors_short.weight", "has `rope_factors_long.weight` without `rope_factors_short.weight`"),
        ("rope_factors_long.weight", "has `rope_factors_short.weight` without `rope_factors_long.weight`"),
        ("blk.0.attn_norm.weight", "whose metadata describe a model that has it"),
    ] {
        let mut file = whole.writer.clone();
        file.tensors.retain(|tensor| tensor.name != lacks);
        assert_eq!(file.tensors.len() + 1, whole.writer.tensors.len(), "{lacks}");
        refused(&write(&whole, "half.gguf", &file)?, &[words])?;
    }
    let mut file = whole.writer.clone();
    file.text("phi3.rope.scaling.type", "yarn");
    refused(&write(&whole, "both.gguf", &file)?, &["beside rotary scaling `yarn`"])?;
    for change in [
        |file: &mut GgufWriter| file.tensors.retain(|tensor| tensor.name != "blk.0.attn_norm.weight"),
        |file: &mut GgufWriter| factors(file, "blk.0.surprise.weight"),
    ] {
        let mut file = whole.writer.clone();
        change(&mut file);
        let path = write(&whole, "hints.gguf", &file)?;
        let error = Model::load(&ModelFiles::gguf(&path)?, &LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("hint: ") && !error.contains("config.json"), "{error}");
    }
    Ok(())
}

#[test]
fn what_is_no_model_is_said_so() -> Result {
    let both = llama(As::F32)?;
    let with = |name: &str, change: &dyn Fn(&mut GgufWriter)| -> Result<PathBuf> {
        let mut file = both.writer.clone();
        change(&mut file);
        write(&both, name, &file)
    };
    for (change, words) in [
        (
            &(|file: &mut GgufWriter| file.text("general.type", "adapter")) as &dyn Fn(&mut GgufWriter),
            "LoRA adapter",
        ),
        (&|file: &mut GgufWriter| file.text("general.type", "mmproj"), "vision or audio part"),
        (&|file: &mut GgufWriter| file.tensors.clear(), "holds a vocabulary and no weights\nhint: "),
        (
            &|file: &mut GgufWriter| file.metadata[0].2 = b"\x05\0\0\0\0\0\0\0bloom".to_vec(),
            "architecture `bloom`",
        ),
        (
            &|file: &mut GgufWriter| file.metadata[0].2 = b"\x04\0\0\0\0\0\0\0clip".to_vec(),
            "vision or audio part",
        ),
        (
            &|file: &mut GgufWriter| {
                file.metadata.remove(0);
            },
            "no key `general.architecture`",
        ),
        (
            &|file: &mut GgufWriter| file.number("llama.logit_scale", 2.0),
            "`llama.logit_scale` = 2 is not understood",
        ),
        (&|file: &mut GgufWriter| file.size("llama.expert_count", 1 << 31), "expert_used_count"),
        (
            &|file: &mut GgufWriter| file.number("llama.rope.scaling.factor", f64::INFINITY),
            "`llama.rope.scaling.factor` must be a finite number",
        ),
        (
            &|file: &mut GgufWriter| {
                file.text("llama.rope.scaling.type", "yarn");
                file.number("llama.rope.scaling.factor", 4.0);
                file.number("llama.rope.scaling.attn_factor", 1.5);
            },
            "an `attn_factor` of 1.5 is not supported",
        ),
        // Rotations that the architecture has no place for, or two at once.
        (
            &|file: &mut GgufWriter| factors(file, "rope_factors_long.weight"),
            "`rope_factors_long.weight`, which changes",
        ),
        (
            &|file: &mut GgufWriter| {
                factors(file, "rope_freqs.weight");
                file.number("llama.rope.scaling.factor", 2.0);
            },
            "has `rope_freqs.weight` beside rotary scaling of its own",
        ),
        (&|file: &mut GgufWriter| file.metadata[3].2 = 5000u32.to_le_bytes().into(), "has 5000 layers"),
        (&|file: &mut GgufWriter| file.metadata[3].2 = 3u32.to_le_bytes().into(), "is missing in "),
        (&|file: &mut GgufWriter| file.metadata[3].2 = 1u32.to_le_bytes().into(), "has no such weight"),
        (&|file: &mut GgufWriter| file.metadata[5].2 = 3u32.to_le_bytes().into(), "not those of 3 heads"),
        (&|file: &mut GgufWriter| file.version = 1, "version 1 of GGUF"),
        (&|file: &mut GgufWriter| file.tensors[0].data[3] = 0x7f, "NaN or infinity"),
    ] {
        refused(&with("changed.gguf", change)?, &[words])?;
    }
    assert_eq!(both.writer.metadata[3].0, "llama.block_count");
    // What is not the architecture's is no matter.
    let path = with("more.gguf", &|file| file.text("imatrix.something", "x"))?;
    load(&ModelFiles::gguf(&path)?, None)?;
    Ok(())
}

/// The default dtype, what tables say of the file, and how it is found.
#[test]
fn what_is_said_of_the_file() -> Result {
    for (form, kind, weights) in [
        (As::F32, Kind::Float, "as stored: F32 "),
        (As::F16, Kind::Half, "as stored: F16 "),
        (As::Q8, Kind::Float, "dequantised: Q8_0 "),
    ] {
        let both = llama(form)?;
        let files = ModelFiles::find(both.file.to_str().ok_or("path")?, None, || unreachable!())?;
        assert_eq!(load(&files, None)?.kind(), kind);
        let storage = files.storage();
        assert!(storage[0].0 == "weights" && storage[0].1.starts_with(weights), "{storage:?}");
        assert_eq!(storage[1], ("gguf_file_type".to_owned(), "0 (F32)".to_owned()));
        let hash: String =
            Sha256::digest(std::fs::read(&both.file)?).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(files.model_sha256()?, hash);
        assert_eq!(files.name(), "llama-gqa");
        let error = ModelFiles::find(both.file.to_str().ok_or("path")?, Some("main"), || unreachable!());
        assert!(error.unwrap_err().to_string().contains("is a file here"));
        // The folder around it says what to name.
        let error = ModelFiles::folder(beside(&both)).unwrap_err().to_string();
        assert!(error.contains("name that file itself"), "{error}");
    }
    assert!(ModelFiles::embedded().storage().is_empty());
    let error = ModelFiles::find("no/model.gguf", None, || unreachable!()).unwrap_err().to_string();
    assert!(error.contains("a GGUF file"), "{error}");
    Ok(())
}

#[test]
fn tokens_and_templates() -> Result {
    let both = llama(As::F32)?;
    let mut file = both.writer.clone();
    let mut tokens: Vec<String> = (0..48).map(|id| format!("t{id}")).collect();
    // What ends a turn, named by the template alone; and what the template does not write.
    (tokens[9], tokens[11]) = ("<end_of_turn>".into(), "<|im_end|>".into());
    file.texts("tokenizer.ggml.tokens", &tokens.iter().map(String::as_str).collect::<Vec<_>>());
    file.size("tokenizer.ggml.eot_token_id", 7);
    file.size("tokenizer.ggml.eom_token_id", 2);
    file.size("tokenizer.ggml.padding_token_id", u64::from(u32::MAX));
    file.text(
        "tokenizer.chat_template",
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}<end_of_turn>",
    );
    let whole = std::fs::read_to_string(folder("gpt2-tied").join("tokenizer.json"))?;
    file.text("tokenizer.huggingface.json", &whole);
    let files = ModelFiles::gguf(&write(&both, "chat.gguf", &file)?)?;
    let arch = load(&files, None)?.architecture().clone();
    assert_eq!((arch.bos, arch.eos), (Some(1), vec![2, 7, 9]));
    let chat = ChatTemplate::load(&files)?.ok_or("no template")?;
    assert_eq!(chat.apply(&[Message::new("user", "x")], &Default::default())?, "t1xt2<end_of_turn>");
    let own = Tokenizer::load(&files, 48)?;
    assert_eq!(own.encode("w3 w5")?, [3, 5]);

    // Another tokenizer, by file and by folder.
    let path = beside(&both).join("other.json");
    std::fs::write(&path, whole.replace("\"w3\"", "\"other\""))?;
    let other = files.clone().with_tokenizer(&path)?;
    assert_eq!(Tokenizer::load(&other, 48)?.encode("other w5")?, [3, 5]);
    assert_eq!(ChatTemplate::load(&other)?, Some(chat));
    assert_eq!(other.model_sha256()?, files.model_sha256()?);
    let dir = tempfile::tempdir()?;
    assert!(files.clone().with_tokenizer(dir.path()).unwrap_err().to_string().contains("--tokenizer takes"));
    std::fs::copy(&path, dir.path().join("tokenizer.json"))?;
    let other = files.with_tokenizer(dir.path())?;
    assert_eq!(Tokenizer::load(&other, 48)?.encode("other w5")?, [3, 5]);
    assert_eq!(ChatTemplate::load(&other)?, None);
    Ok(())
}

/// The divisors of a published Llama 3 are known again.
#[test]
fn llama_3_s_scaling_is_known_by_its_divisors() -> Result {
    let both = llama(As::F32)?;
    let mut file = both.writer.clone();
    let base = file.metadata.iter_mut().find(|(key, ..)| key == "llama.rope.freq_base").ok_or("no base")?;
    base.2 = 500_000f32.to_le_bytes().into();
    // Of heads of 8: two short wavelengths, one between, and a long one.
    let divisors = [1.0f32, 1.0, 2.694_529_7, 8.0];
    file.tensor("rope_freqs.weight", &Tensor::from_slice(&divisors), As::F32)?;
    let model = load(&ModelFiles::gguf(&write(&both, "llama3.gguf", &file)?)?, None)?;
    let rotary = model.architecture().layers[0].rotary.clone().ok_or("no rotation")?;
    let wanted = Scaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192 };
    assert_eq!((rotary.base, rotary.scaling), (500_000.0, wanted));
    Ok(())
}

/// A file with some bytes changed is loaded or refused, without a panic.
#[test]
fn damaged_files_are_errors() -> Result {
    let both = llama(As::Q8)?;
    let whole = both.writer.finish();
    let path = beside(&both).join("damaged.gguf");
    let header = whole.len() - both.writer.tensors.iter().map(|entry| entry.data.len()).sum::<usize>();
    let changes = proptest::collection::vec((0..header, any::<u8>()), 0..3);
    let (loaded_some, refused_some) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    runner.run(&(changes, 0..whole.len() * 4), |(changes, length)| {
        let mut bytes = whole.clone();
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        bytes.truncate(length.max(1));
        std::fs::write(&path, bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let loaded = ModelFiles::gguf(&path).and_then(|files| Model::load(&files, &LoadOptions::default()));
        let seen = if loaded.is_ok() { &loaded_some } else { &refused_some };
        seen.set(seen.get() + 1);
        Ok(())
    })?;
    let seen = (loaded_some.get(), refused_some.get());
    assert!(seen.0 > 20 && seen.1 > 100, "{seen:?}");
    Ok(())
}
