//! Vocabularies that contradict themselves, or that nothing is known about: errors with the way out, and no panics.

use proptest::prelude::*;

use super::{byte_level, refusal, sentencepiece};
use crate::gguf::tokenizer::{Vocabulary, tokenizer_json};

/// Spoils a vocabulary, and says what the message must name.
type Spoil = (fn(&mut Vocabulary), &'static str);

fn check(whole: &Vocabulary, cases: &[Spoil]) {
    tokenizer_json(whole).unwrap();
    for (spoil, named) in cases {
        let mut vocabulary = whole.clone();
        spoil(&mut vocabulary);
        let message = refusal(&vocabulary);
        assert!(message.contains(named), "{named}: {message}");
        assert!(message.contains("hint: ") && message.contains("--tokenizer DIR"), "{message}");
        assert!(message.len() < 1000, "{message}");
    }
}

/// Adds a token to a vocabulary.
fn add(vocabulary: &mut Vocabulary, text: &str, kind: i32, score: f32) {
    vocabulary.tokens.push(text.to_owned());
    vocabulary.kinds.as_mut().unwrap().push(kind);
    if let Some(scores) = &mut vocabulary.scores {
        scores.push(score);
    }
}

#[test]
fn splits_that_are_not_known() {
    check(
        &byte_level("gpt-2"),
        &[
            (|vocabulary| vocabulary.pre = None, "no `tokenizer.ggml.pre`"),
            (|vocabulary| vocabulary.pre = Some("default".into()), "\"default\""),
            (|vocabulary| vocabulary.pre = Some(String::new()), "\"\""),
            (|vocabulary| vocabulary.pre = Some("kimi-k2".into()), "\"kimi-k2\""),
            (|vocabulary| vocabulary.pre = Some("x".repeat(100_000)), "xxx\"..."),
        ],
    );
}

#[test]
fn kinds_of_tokenizers_that_are_not_read() {
    check(
        &byte_level("gpt-2"),
        &[
            (|vocabulary| vocabulary.model = "bert".into(), "WordPiece"),
            (|vocabulary| vocabulary.model = "t5".into(), "unigram"),
            (|vocabulary| vocabulary.model = "rwkv".into(), "RWKV"),
            (|vocabulary| vocabulary.model = "plamo2".into(), "PLaMo"),
            (|vocabulary| vocabulary.model = "gemma4".into(), "Gemma 4"),
            (|vocabulary| vocabulary.model = "none".into(), "no tokenizer"),
            (|vocabulary| vocabulary.model = String::new(), "\"\""),
            (|vocabulary| vocabulary.model = "GPT2".into(), "\"GPT2\""),
        ],
    );
}

#[test]
fn vocabularies_that_contradict_themselves() {
    check(
        &byte_level("gpt-2"),
        &[
            (|vocabulary| *vocabulary = Vocabulary { tokens: vec![], ..vocabulary.clone() }, "is empty"),
            (|vocabulary| vocabulary.kinds = Some(vec![1]), "token_type` has 1 entries"),
            (|vocabulary| vocabulary.scores = Some(vec![]), "scores` has 0 entries"),
            (|vocabulary| vocabulary.kinds.as_mut().unwrap()[7] = 7, "of token 7 is 7"),
            (|vocabulary| vocabulary.kinds.as_mut().unwrap()[7] = -1, "of token 7 is -1"),
            (|vocabulary| vocabulary.bos = Some(vocabulary.tokens.len() as u32), "bos_token_id"),
            (|vocabulary| vocabulary.eos = Some(u32::MAX), "eos_token_id"),
            (|vocabulary| vocabulary.unknown = Some(u32::MAX), "unknown_token_id"),
            (|vocabulary| vocabulary.pad = Some(u32::MAX), "padding_token_id"),
            (|vocabulary| add(vocabulary, "a", 1, 0.0), "are both \"a\""),
            (
                |vocabulary| {
                    add(vocabulary, "\u{fffd}", 1, 0.0);
                    add(vocabulary, "\u{fffd}", 1, 0.0);
                },
                "not UTF-8",
            ),
            (|vocabulary| vocabulary.merges = None, "no `tokenizer.ggml.merges`"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap()[3] = "ab".into(), "merge 3 of"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap()[3] = " ".into(), "merge 3 of"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap()[3] = String::new(), "merge 3 of"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap()[3] = "日 本".into(), "lacks"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap()[3] = "a Z".into(), "lacks"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap()[3] = "a  b".into(), "lacks"),
            (|vocabulary| vocabulary.merges.as_mut().unwrap().push("x".repeat(100_000)), "xxx\"..."),
            (
                |vocabulary| {
                    let merges = vocabulary.merges.as_mut().unwrap();
                    merges.push(merges[0].clone());
                },
                "is listed before",
            ),
        ],
    );
    check(
        &sentencepiece(0),
        &[
            (|vocabulary| vocabulary.scores = None, "scores"),
            (|vocabulary| vocabulary.scores.as_mut().unwrap()[300] = f32::NAN, "of token 300 is NaN"),
            (|vocabulary| add(vocabulary, "<0x4G>", 6, 0.0), "\"<0x4G>\" is none"),
            (|vocabulary| add(vocabulary, "<0x0a>", 6, 0.0), "\"<0x0a>\" is none"),
            (|vocabulary| add(vocabulary, &"é".repeat(100_000), 1, 0.0), "has 200000 bytes"),
            (|vocabulary| vocabulary.bos = Some(u32::MAX), "bos_token_id"),
        ],
    );
}

proptest! {
    /// Whatever a file says, the result is an error or a file that the library reads and works with.
    #[test]
    fn no_vocabulary_makes_it_panic(
        llama in any::<bool>(),
        pre in prop::option::of("(gpt-2|smollm|tekken|qwen2)"),
        tokens in prop::collection::vec("[ab▁Ġ ]{0,3}|<0x[0-9A]{2}>|<s>", 0..12),
        scores in prop::option::of(prop::collection::vec(-3_f32..3.0, 12)),
        kinds in prop::option::of(prop::collection::vec(0..7, 12)),
        merges in prop::option::of(prop::collection::vec("[ab] [ab]", 0..3)),
        ids in prop::collection::vec(prop::option::of(0_u32..13), 4),
        flags in prop::collection::vec(prop::option::of(any::<bool>()), 3),
        text in "[ab▁ é<s>0x\n]{0,12}",
    ) {
        let mut tokens = tokens;
        tokens.sort_unstable();
        tokens.dedup();
        let count = tokens.len();
        let vocabulary = Vocabulary {
            model: if llama { "llama" } else { "gpt2" }.to_owned(),
            pre,
            tokens,
            scores: scores.map(|scores| scores[..count].to_vec()),
            kinds: kinds.map(|kinds| kinds[..count].to_vec()),
            merges,
            bos: ids[0],
            eos: ids[1],
            unknown: ids[2],
            pad: ids[3],
            add_bos: flags[0],
            add_eos: flags[1],
            add_space_prefix: flags[2],
        };
        if let Ok(bytes) = tokenizer_json(&vocabulary) {
            let tokenizer = tokenizers::Tokenizer::from_bytes(bytes).unwrap();
            let ids = tokenizer.encode(text.as_str(), true).unwrap().get_ids().to_vec();
            prop_assert!(ids.iter().all(|id| (*id as usize) < count), "{:?} {:?}", ids, vocabulary);
            tokenizer.decode(&ids, false).unwrap();
        }
    }
}
