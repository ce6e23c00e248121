//! Words that a vocabulary has no token for, in every model of tokenizer.

use refrain_runner::{ModelFiles, Tokenizer};
use refrain_tests::Result;
use refrain_tests::golden::folder;
use refrain_tests::tiny::Tiny;
use serde_json::{Value, json};

/// The tokenizer of the tiny model with other parts.
fn tokenizer(parts: Value) -> Result<Tokenizer> {
    let dir = tempfile::tempdir()?;
    let mut tiny = Tiny::new(dir.path())?;
    for (key, value) in parts.as_object().into_iter().flatten() {
        tiny.tokenizer[key] = value.clone();
    }
    tiny.write()?;
    Ok(Tokenizer::load(&ModelFiles::folder(dir.path())?, 80)?)
}

/// `model` over blank-separated words, each with the letters of "cat" and its own unknown token, if it has one.
fn kinds() -> Vec<(&'static str, Value)> {
    let whitespace = json!({"type": "Whitespace"});
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let pieces = |pieces: &[&str]| -> Value {
        let ids = pieces.iter().enumerate().map(|(id, piece)| ((*piece).to_owned(), json!(id)));
        Value::Object(ids.collect())
    };
    let bpe = |unknown: Value, fused: bool| {
        json!({"type": "BPE", "vocab": pieces(&["<unk>", "<bos>", "<eos>", "c", "a", "t", "ca", "cat"]),
            "merges": ["c a", "ca t"], "unk_token": unknown, "fuse_unk": fused, "byte_fallback": false,
            "dropout": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "ignore_merges": false})
    };
    let scored: Vec<Value> = ["<unk>", "<bos>", "<eos>", "▁", "▁cat", "c", "a", "t"]
        .iter()
        .map(|piece| json!([piece, if piece.len() > 3 { -1.0 } else { -5.0 }]))
        .collect();
    vec![
        (
            "WordLevel",
            json!({"pre_tokenizer": whitespace, "model": {"type": "WordLevel", "unk_token": "<unk>",
                "vocab": pieces(&["<unk>", "<bos>", "<eos>", "cat", "a"])}}),
        ),
        (
            "WordPiece",
            json!({"pre_tokenizer": whitespace, "model": {"type": "WordPiece", "unk_token": "<unk>",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                "vocab": pieces(&["<unk>", "<bos>", "<eos>", "cat", "c", "##a", "##t", "a"])}}),
        ),
        ("BPE", json!({"pre_tokenizer": whitespace, "model": bpe(json!("<unk>"), true)})),
        ("BPE, one by one", json!({"pre_tokenizer": whitespace, "model": bpe(json!("<unk>"), false)})),
        ("BPE that leaves out", json!({"pre_tokenizer": whitespace, "model": bpe(Value::Null, false)})),
        (
            "Unigram",
            json!({"pre_tokenizer": metaspace, "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                "vocab": scored}}),
        ),
    ]
}

#[test]
fn unknown_words_are_found_and_known_ones_are_not() -> Result {
    for (kind, parts) in kinds() {
        let tokenizer = tokenizer(parts)?;
        for known in ["cat a cat", "cat\n  cat", "", " ", "<bos> cat", "<unk> cat", "cat <unk>"] {
            assert_eq!(tokenizer.unknown(known)?, Vec::<String>::new(), "{kind}: {known:?}");
            tokenizer.check_known(known)?;
        }
        for (text, words) in [
            ("cat dog", &["dog"][..]),
            ("żółw cat", &["żółw"]),
            ("cat 犬 a мышь", &["犬", "мышь"]),
            ("cat <bos> dog cat", &["dog"]),
        ] {
            assert_eq!(tokenizer.unknown(text)?, words, "{kind}: {text:?}");
            let error = tokenizer.check_known(text).unwrap_err().to_string();
            let first = format!("no token for {:?}", words[0]);
            assert!(error.contains(&first) && error.contains("\nhint: "), "{kind}: {error}");
        }
    }
    Ok(())
}

/// Tokenizers that write every text, down to its bytes, know every word.
#[test]
fn bytes_know_everything() -> Result {
    let bytes: serde_json::Map<String, Value> =
        (0..=255u32).map(|byte| (format!("<0x{byte:02X}>"), (byte + 3).into())).collect();
    let mut vocab = bytes;
    vocab.extend(["<unk>", "<bos>", "<eos>"].iter().enumerate().map(|(id, t)| ((*t).to_owned(), json!(id))));
    let dir = tempfile::tempdir()?;
    let mut tiny = Tiny::new(dir.path())?;
    tiny.tokenizer["pre_tokenizer"] = json!({"type": "Whitespace"});
    tiny.tokenizer["model"] = json!({"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "<unk>",
        "fuse_unk": true, "byte_fallback": true, "dropout": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null});
    tiny.write()?;
    let fallback = Tokenizer::load(&ModelFiles::folder(dir.path())?, 300)?;

    // GPT-2's letters for bytes: the printable ones themselves, the others from U+0100 on.
    let printable =
        |byte: &u32| (33..=126).contains(byte) || (161..=172).contains(byte) || (174..=255).contains(byte);
    let others = (0..256u32).filter(|byte| !printable(byte)).zip(256..).map(|(_, letter)| letter);
    let letters = (0..256u32).filter(printable).chain(others).filter_map(char::from_u32);
    let vocab: serde_json::Map<String, Value> =
        letters.enumerate().map(|(id, letter)| (letter.to_string(), (id + 3).into())).collect();
    tiny.tokenizer["pre_tokenizer"] =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    tiny.tokenizer["model"] = json!({"type": "BPE", "vocab": vocab, "merges": [], "unk_token": null, "fuse_unk": false,
        "byte_fallback": false, "dropout": null, "continuing_subword_prefix": null, "end_of_word_suffix": null});
    tiny.write()?;
    let byte_level = Tokenizer::load(&ModelFiles::folder(dir.path())?, 300)?;
    for (name, tokenizer) in [("byte fallback", fallback), ("byte level", byte_level)] {
        for text in ["the cat\tsat", "żółw 犬 мышь 🐢", "e\u{301}t\u{e9} 100 %", "  a  b\n\nc "] {
            assert_eq!(tokenizer.unknown(text)?, Vec::<String>::new(), "{name}: {text:?}");
        }
    }
    let files = ModelFiles::folder(&folder("gpt2-tied"))?;
    assert_eq!(Tokenizer::load(&files, 48)?.unknown("w3 nothing w4")?, ["nothing"]);
    Ok(())
}
