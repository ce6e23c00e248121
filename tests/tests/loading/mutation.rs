//! Random changes to texts and values.
//!
//! The cases are the same in every run; REFRAIN_TEST_CASES asks for more of them.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

/// A runner of a few hundred cases with a seed of its own.
pub fn runner(seed: u8) -> TestRunner {
    let cases = std::env::var("REFRAIN_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

/// Values that a field may be given, sensible in another place or in none.
pub fn value() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..70i64).prop_map(Value::from),
        Just(json!(1_000_000_000u64)),
        Just(json!(9_999)),
    ];
    let texts = prop_oneof!["\\PC{0,12}".prop_map(Value::from), Just(json!("gelu")), Just(json!("gpt2"))];
    let leaf = prop_oneof![numbers, texts, any::<bool>().prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,9}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Changes to the bytes of a text.
#[derive(Debug, Clone)]
enum Edit {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<prop::sample::Index>;
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..5),
        prop::sample::select(vec![
            "{",
            "[",
            "\"",
            "-",
            "9999999999999999999",
            "e308",
            "\\u0000",
            "[[[[[[[[",
            ",,"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let edit = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (at(), 1..40usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        (at(), 1..30usize, 1..300usize).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
    ];
    prop::collection::vec(edit, 1..4)
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        match edit {
            Edit::Set(at, byte) => bytes[at.index(length)] = *byte,
            Edit::Insert(at, piece) => {
                let at = at.index(length);
                bytes.splice(at..at, piece.iter().copied());
            }
            Edit::Cut(at, size) => {
                let at = at.index(length);
                bytes.drain(at..(at + size).min(length));
            }
            Edit::Repeat(at, size, times) => {
                let at = at.index(length);
                let piece = bytes[at..(at + size).min(length)].repeat(*times);
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Some edits of `bytes`.
pub fn mangled(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    edits().prop_map(move |edits| edited(&bytes, &edits))
}
