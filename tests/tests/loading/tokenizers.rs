//! `tokenizer.json`, changed at random.

use proptest::prelude::*;
use refrain_runner::{Error, ModelFiles, Tokenizer};
use refrain_tests::Result;
use refrain_tests::tiny::{Tiny, vocabulary};
use serde_json::{Value, json};

use crate::mutation::{mangled, runner};

fn survives(files: &ModelFiles) -> std::result::Result<(), TestCaseError> {
    match Tokenizer::load(files, vocabulary().len()) {
        Ok(tokenizer) => {
            // What it makes of a text is its own affair; a panic would be ours.
            let ids = tokenizer.encode_with_specials("Please repeat this word: bab in 16 times\n");
            let _ = tokenizer.decode(&ids.unwrap_or_default());
            Ok(())
        }
        Err(error) => {
            let text = error.to_string();
            prop_assert!(matches!(error, Error::Tokenizer(_) | Error::Format { .. }), "{error:?}");
            prop_assert!(text.contains("tokenizer.json"), "{text}");
            Ok(())
        }
    }
}

#[test]
fn tokenizers() -> Result {
    let dir = tempfile::tempdir()?;
    let tiny = Tiny::new(dir.path())?;
    tiny.write()?;
    let (files, path) = (ModelFiles::folder(&tiny.folder)?, tiny.path("tokenizer.json"));
    runner(7).run(&mangled(std::fs::read(&path)?), |text| {
        std::fs::write(&path, text)?;
        survives(&files)
    })?;

    // Parts that fit together badly.
    let part = prop::sample::select(vec![
        ("model", json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]})),
        (
            "model",
            json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], "dropout": 2.0}),
        ),
        ("model", json!({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0, "byte_fallback": true})),
        ("model", json!({"type": "Unigram", "vocab": [], "unk_id": null})),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "u", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 0}),
        ),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "ALQCAACEAAAAAACAAQ=="})),
        ("normalizer", json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})),
        ("normalizer", json!({"type": "Prepend", "prepend": ""})),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(?<"}, "behavior": "Isolated", "invert": false}),
        ),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": true}),
        ),
        ("pre_tokenizer", json!({"type": "Metaspace", "replacement": "", "prepend_scheme": "always"})),
        ("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": []})),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}),
        ),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}],
            "pair": [], "special_tokens": {}}),
        ),
        (
            "post_processor",
            json!({"type": "BertProcessing", "sep": ["s", 4_000_000_000u64], "cls": ["c", 1]}),
        ),
        ("decoder", json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true})),
        (
            "truncation",
            json!({"max_length": 0, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}),
        ),
        (
            "added_tokens",
            json!([{"id": 4_294_967_295u64, "content": "", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false}]),
        ),
        ("version", json!("2.0")),
    ]);
    runner(8).run(&prop::collection::vec(part, 1..4), |parts| {
        let mut tokenizer: Value = tiny.tokenizer.clone();
        for (key, value) in parts {
            tokenizer[key] = value;
        }
        std::fs::write(&path, tokenizer.to_string())?;
        survives(&files)
    })?;
    Ok(())
}
