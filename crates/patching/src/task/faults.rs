//! Tests of the file format: every fault on its own, and several at once.

use std::path::Path;

use super::jsonl::Reader;
use super::made_up::tokenizer;
use crate::pair::Pair;

const WORDS: &str = "the cat sat on a mat dog ran";

fn read(text: &[u8], with_tokenizer: bool) -> Result<Vec<Pair>, String> {
    let (dir, tokenizer) = tokenizer(WORDS);
    let path = dir.path().join("pairs.jsonl");
    std::fs::write(&path, text).unwrap();
    let tokenizer = with_tokenizer.then_some(&tokenizer);
    let reader = Reader { tokenizer, n_vocab: 110, window: 8 };
    let name = path.display().to_string();
    reader.read(&path).map_err(|error| error.to_string().replace(&name, "pairs.jsonl"))
}

#[track_caller]
fn fault(line: &str, words: &[&str]) {
    let good = r#"{"clean_ids": [1, 5], "corrupted_ids": [1, 6], "answer_id": 7}"#;
    let error = read(format!("{good}\n\n{line}\n{good}").as_bytes(), true).unwrap_err();
    assert!(error.starts_with("pairs.jsonl: a line cannot be used:\n  line 3: "), "{error}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error}");
    }
}

#[test]
fn text_and_ids_are_read() {
    let text = "\u{feff}{\"clean\": \"the cat sat\", \"corrupted\": \"the dog sat\", \"answer\": \" on\", \
        \"foil\": \"ran\"}\r\n\r\n{\"clean_ids\": [5, 6], \"corrupted_ids\": [5, 7], \"answer_id\": 8, \
        \"foil_id\": null}\n{\"clean\": \"<bos> cat\", \"corrupted\": \"dog\", \"answer\": \"sat\"}";
    let pairs = read(text.as_bytes(), true).unwrap();
    let id = |word: &str| 102 + WORDS.split(' ').position(|known| known == word).unwrap() as i64;
    // What the tokenizer puts first, once, and not what it puts last; ids as they are.
    let cat = |word: &str| vec![1, id("the"), id(word), id("sat")];
    let first = Pair { clean: cat("cat"), corrupted: cat("dog"), answer: id("on"), foil: Some(id("ran")) };
    assert_eq!(pairs[0], first);
    assert_eq!(pairs[1], Pair { clean: vec![5, 6], corrupted: vec![5, 7], answer: 8, foil: None });
    assert_eq!(pairs[2].clean, [1, id("cat")]);
    assert_eq!(pairs.len(), 3);
}

#[test]
fn a_fault_names_its_line_and_why() {
    fault("{\"clean\": \"the\",, ", &["is not JSON: ", "at column 17"]);
    fault("[1, 2]", &["is not a JSON object"]);
    fault(r#"{"clean": "the", "wrong": 1}"#, &["unknown key `wrong`; the keys are clean, corrupted"]);
    fault(r#"{"clean": "the", "corrupted": "a"}"#, &["lacks the key `answer`"]);
    fault(r#"{"clean_ids": [1], "answer_id": 3}"#, &["lacks the key `corrupted_ids`"]);
    fault("{}", &["lacks the key `clean`"]);
    fault(
        r#"{"clean": "the", "corrupted_ids": [1], "answer": "a"}"#,
        &["mixes text and token ids", "`clean` and `corrupted_ids`"],
    );
    fault(
        r#"{"clean": "the cat", "corrupted": "the", "answer": "a"}"#,
        &["has 3 tokens, the corrupted one 2:\n    <bos> | the | cat\n    <bos> | the"],
    );
    fault(
        r#"{"clean_ids": [1, 2], "corrupted_ids": [1], "answer_id": 3}"#,
        &["has 2 tokens, the corrupted one 1"],
    );
    fault(
        r#"{"clean_ids": [110], "corrupted_ids": [1], "answer_id": 3}"#,
        &["`clean_ids` holds 110", "of 110 tokens"],
    );
    fault(r#"{"clean_ids": [1], "corrupted_ids": [-1], "answer_id": 3}"#, &["`corrupted_ids` holds -1"]);
    fault(r#"{"clean_ids": [1], "corrupted_ids": [2], "answer_id": 999}"#, &["`answer_id` holds 999"]);
    fault(
        r#"{"clean_ids": [1], "corrupted_ids": [2], "answer_id": 1, "foil_id": 110}"#,
        &["`foil_id` holds 110"],
    );
    fault(r#"{"clean_ids": [1.5], "corrupted_ids": [2], "answer_id": 1}"#, &["1.5, which is not a token id"]);
    fault(
        r#"{"clean_ids": 1, "corrupted_ids": [2], "answer_id": 1}"#,
        &["`clean_ids` is not a list of token ids"],
    );
    fault(r#"{"clean": 1, "corrupted": "a", "answer": "a"}"#, &["`clean` is not text"]);
    let long = [5; 9].map(|id: i64| id.to_string()).join(", ");
    fault(
        &format!(r#"{{"clean_ids": [{long}], "corrupted_ids": [{long}], "answer_id": 1}}"#),
        &["the prompts have 9 tokens, the model's window 8"],
    );
    fault(r#"{"clean": "", "corrupted": "", "answer": "a"}"#, &["the clean prompt is empty"]);
    fault(r#"{"clean_ids": [1], "corrupted_ids": [], "answer_id": 1}"#, &["the corrupted prompt is empty"]);
    fault(r#"{"clean": "the", "corrupted": "the", "answer": "a"}"#, &["are equal"]);
    fault(
        r#"{"clean": "the", "corrupted": "a", "answer": "cat sat"}"#,
        &["\"cat sat\" is 2 tokens, not one: cat | sat"],
    );
    fault(
        r#"{"clean": "the", "corrupted": "a", "answer": "a", "foil": " "}"#,
        &["the incorrect answer \" \" encodes to no token"],
    );
    fault(
        r#"{"clean": "the", "corrupted": "a", "answer": "a", "foil": "a"}"#,
        &["answer and the incorrect answer are the same"],
    );
}

/// What the tokenizer does not know is named, and what is written as a token of its own is none of it.
#[test]
fn unknown_words_are_named() {
    fault(
        r#"{"clean": "the bird sat", "corrupted": "the dog sat", "answer": "on"}"#,
        &["`clean`: tokenizer: the vocabulary has no token for \"bird\""],
    );
    fault(
        r#"{"clean": "the dog sat", "corrupted": "the elk and owl sat", "answer": "on"}"#,
        &["`corrupted`: ", "no token for \"elk\", \"and\", \"owl\""],
    );
    fault(
        r#"{"clean": "the cat", "corrupted": "the dog", "answer": " ran", "foil": " flew"}"#,
        &["the incorrect answer \" flew\" is not in the vocabulary"],
    );
    let written = br#"{"clean": "the <unk>", "corrupted": "the dog", "answer": "<unk>"}"#;
    let pair = &read(written, true).unwrap()[0];
    assert_eq!((pair.clean[2], pair.answer), (0, 0));
}

#[test]
fn text_needs_a_tokenizer() {
    let error = read(br#"{"clean": "the", "corrupted": "a", "answer": "cat"}"#, false).unwrap_err();
    assert!(error.contains("line 1: is text, and the model has no tokenizer"), "{error}");
}

#[test]
fn several_faults_are_told_at_once() {
    let error = read("{}\n".repeat(8).as_bytes(), true).unwrap_err();
    assert!(
        error.contains("several lines") && error.contains("line 5: ") && !error.contains("line 6"),
        "{error}"
    );
    assert!(error.ends_with("\n  and 3 more"), "{error}");
    let error = read(b"{}\n\xff{}", true).unwrap_err();
    assert!(
        error.contains("two lines") && error.contains("line 2: is not UTF-8 from its byte 1 on"),
        "{error}"
    );
}

#[test]
fn nothing_to_read() {
    assert!(read(b"\n \n", true).unwrap_err().contains("has no pair\nhint: "));
    let reader = Reader { tokenizer: None, n_vocab: 8, window: 8 };
    let error = reader.read(Path::new("/nowhere/pairs.jsonl")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/pairs.jsonl: cannot be read: "), "{error}");
}
