mod refusals;

use serde_json::Value;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer};

use super::{Vocabulary, tokenizer_json};

const BYTE_LEVEL: &str = include_str!("../../../../../../tests/goldens/gguf-tokenizers/byte-level.json");
const SENTENCEPIECE: &str =
    include_str!("../../../../../../tests/goldens/gguf-tokenizers/sentencepiece.json");

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    Some(value.as_array()?.iter().map(|entry| read(entry).unwrap()).collect())
}

fn strings(value: &Value) -> Option<Vec<String>> {
    list(value, |entry| entry.as_str().map(str::to_owned))
}

fn ids(value: &Value) -> Vec<u32> {
    list(value, |id| id.as_u64().map(|id| id as u32)).unwrap()
}

/// The ids of a long text, which a golden has as [id, how often].
fn long(value: &Value) -> Vec<u32> {
    let runs = value.as_array().unwrap().iter().map(ids);
    runs.flat_map(|run| std::iter::repeat_n(run[0], run[1] as usize)).collect()
}

fn vocabulary(value: &Value) -> Vocabulary {
    let id = |key: &str| value[key].as_u64().map(|id| id as u32);
    Vocabulary {
        model: value["model"].as_str().unwrap().to_owned(),
        pre: value["pre"].as_str().map(str::to_owned),
        tokens: strings(&value["tokens"]).unwrap(),
        scores: list(&value["scores"], |score| score.as_f64().map(|score| score as f32)),
        kinds: list(&value["kinds"], |kind| kind.as_i64().map(|kind| kind as i32)),
        merges: strings(&value["merges"]),
        bos: id("bos"),
        eos: id("eos"),
        unknown: id("unknown"),
        add_space_prefix: value["add_space_prefix"].as_bool(),
        ..Vocabulary::default()
    }
}

fn byte_level(pre: &str) -> Vocabulary {
    Vocabulary { pre: Some(pre.to_owned()), ..vocabulary(&golden(BYTE_LEVEL)["vocabulary"]) }
}

/// The vocabulary of a case of the golden, by its place.
fn sentencepiece(case: usize) -> Vocabulary {
    vocabulary(&golden(SENTENCEPIECE)["cases"][case]["vocabulary"])
}

fn tokenizer(vocabulary: &Vocabulary) -> Tokenizer {
    Tokenizer::from_bytes(tokenizer_json(vocabulary).unwrap()).unwrap()
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, false).unwrap().get_ids().to_vec()
}

fn with_ends(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

/// The characters of each piece that `text` is split into.
fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut split = PreTokenizedString::from(text);
    tokenizer.get_pre_tokenizer().unwrap().pre_tokenize(&mut split).unwrap();
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Char);
    splits.into_iter().map(|(_, (from, to), _)| (to - from) as u32).collect()
}

/// How the file of `vocabulary` is refused.
fn refusal(vocabulary: &Vocabulary) -> String {
    tokenizer_json(vocabulary).unwrap_err().to_string()
}

#[test]
fn every_split_gives_the_ids_of_the_tokenizers_library() {
    let golden = golden(BYTE_LEVEL);
    let texts = strings(&golden["texts"]).unwrap();
    let mut names = 0;
    for case in golden["cases"].as_array().unwrap() {
        for name in strings(&case["names"]).unwrap() {
            let tokenizer = tokenizer(&byte_level(&name));
            for (index, text) in texts.iter().enumerate() {
                assert_eq!(pieces(&tokenizer, text), ids(&case["pieces"][index]), "{name}: {text:?}");
                let found = encode(&tokenizer, text);
                assert_eq!(found, ids(&case["ids"][index]), "{name}: {text:?}");
                let decoded = tokenizer.decode(&found, false).unwrap();
                assert!(decoded == *text || case["nfc"] == true, "{name}: {text:?} became {decoded:?}");
            }
            assert_eq!(encode(&tokenizer, &"a".repeat(10_000)), long(&case["long"]), "{name}");
            let bos = byte_level(&name).bos.filter(|_| case["bos"] == true);
            let expected: Vec<u32> = bos.into_iter().chain(encode(&tokenizer, "a")).collect();
            assert_eq!(with_ends(&tokenizer, "a"), expected, "{name}");
            names += 1;
        }
    }
    assert_eq!(names, super::byte_level::names().count(), "a split without a golden");
}

#[test]
fn ids_are_those_of_sentencepiece() {
    let golden = golden(SENTENCEPIECE);
    let texts = strings(&golden["texts"]).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let vocabulary = vocabulary(&case["vocabulary"]);
        let tokenizer = tokenizer(&vocabulary);
        for (text, expected) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            let found = encode(&tokenizer, text);
            assert_eq!(found, ids(expected), "{}: {text:?}", case["name"]);
            // A space that the tokenizer put after a special token stays, and what it has no token for is lost.
            let is_prefixed = vocabulary.add_space_prefix == Some(true) && text.contains("<s>");
            if !is_prefixed && !found.contains(&vocabulary.unknown.unwrap()) {
                let decoded = tokenizer.decode(&found, false).unwrap();
                assert_eq!(decoded, text.replace('▁', " "), "{}", case["name"]);
            }
        }
        assert_eq!(encode(&tokenizer, &"a".repeat(10_000)), long(&case["long"]), "{}", case["name"]);
    }
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such() {
    let tokenizer = tokenizer(&sentencepiece(0));
    let byte = |byte: u8| tokenizer.token_to_id(&format!("<0x{byte:02X}>")).unwrap();
    let decode =
        |bytes: &[u8]| tokenizer.decode(&bytes.iter().copied().map(byte).collect::<Vec<_>>(), false).unwrap();
    assert_eq!(decode("😀".as_bytes()), "😀");
    assert_eq!(decode(&[0xE5, 0x8F]), "\u{FFFD}\u{FFFD}");
    let tokenizer = self::tokenizer(&byte_level("gpt-2"));
    let half: Vec<u32> = encode(&tokenizer, "\u{10FFFF}")[..2].to_vec();
    assert_eq!(tokenizer.decode(&half, false).unwrap(), "\u{FFFD}");
}

#[test]
fn bos_and_eos_are_added_as_the_flags_say() {
    let plain = byte_level("gpt-2");
    let (bos, eos) = (plain.bos.unwrap(), plain.eos.unwrap());
    let ends = |add_bos, add_eos, vocabulary: &Vocabulary| {
        let tokenizer = tokenizer(&Vocabulary { add_bos, add_eos, ..vocabulary.clone() });
        let inner = encode(&tokenizer, "Hi");
        let all = with_ends(&tokenizer, "Hi");
        let at = all.windows(inner.len()).position(|window| window == inner).unwrap();
        (all[..at].to_vec(), all[at + inner.len()..].to_vec())
    };
    assert_eq!(ends(None, None, &plain), (vec![], vec![]));
    assert_eq!(ends(Some(true), Some(false), &plain), (vec![bos], vec![]));
    assert_eq!(ends(Some(true), Some(true), &plain), (vec![bos], vec![eos]));
    assert_eq!(ends(Some(false), Some(true), &byte_level("llama-bpe")), (vec![], vec![eos]));
    let same = Vocabulary { eos: Some(bos), ..plain.clone() };
    assert_eq!(ends(Some(true), Some(true), &same), (vec![bos], vec![bos]));
    // SentencePiece's BOS is token 1 and added unless the file says otherwise.
    let llama = Vocabulary { bos: None, eos: None, unknown: None, ..sentencepiece(0) };
    assert_eq!(ends(None, None, &llama), (vec![1], vec![]));
    assert_eq!(ends(Some(false), None, &llama), (vec![], vec![]));
    let none = Vocabulary { bos: None, add_bos: Some(true), ..plain };
    assert!(refusal(&none).contains("bos_token_id"), "{}", refusal(&none));
}

#[test]
fn a_prefix_is_the_default_of_sentencepiece() {
    let unsaid = Vocabulary { add_space_prefix: None, ..sentencepiece(0) };
    assert_eq!(tokenizer_json(&unsaid).unwrap(), tokenizer_json(&sentencepiece(0)).unwrap());
    let tokenizer = tokenizer(&unsaid);
    assert_eq!(tokenizer.decode(&encode(&tokenizer, " a"), false).unwrap(), " a");
}

#[test]
fn phi3_takes_blanks_with_its_special_tokens() {
    let mut vocabulary = sentencepiece(0);
    let blank = |vocabulary: &Vocabulary| encode(&tokenizer(vocabulary), "<|end|>\n<s>").len();
    assert_eq!(blank(&vocabulary), 4, "▁ and the line's end between them");
    for name in ["<|assistant|>", "<|placeholder1|>"] {
        vocabulary.tokens.push(name.to_owned());
        vocabulary.kinds.as_mut().unwrap().push(3);
        vocabulary.scores.as_mut().unwrap().push(0.0);
    }
    assert_eq!(blank(&vocabulary), 2);
}

#[test]
fn of_several_ways_to_a_token_the_longest_left_part_is_first() {
    let json: Value = serde_json::from_slice(&tokenizer_json(&sentencepiece(0)).unwrap()).unwrap();
    let merges: Vec<Vec<String>> = list(&json["model"]["merges"], strings).unwrap();
    let ways = || merges.windows(2).filter(|pair| pair[0].concat() == pair[1].concat());
    assert!(ways().count() > 10);
    for pair in ways() {
        assert!(pair[0][0].len() > pair[1][0].len(), "{pair:?}");
    }
}

#[test]
fn unused_tokens_are_not_merged_to() {
    let mut vocabulary = sentencepiece(0);
    let text = "Hello world";
    let ids = encode(&tokenizer(&vocabulary), text);
    let longest = *ids.iter().max_by_key(|id| vocabulary.tokens[**id as usize].len()).unwrap();
    vocabulary.kinds.as_mut().unwrap()[longest as usize] = 5;
    let tokenizer = tokenizer(&vocabulary);
    let found = encode(&tokenizer, text);
    assert!(!found.contains(&longest));
    assert_eq!(tokenizer.decode(&found, false).unwrap(), text);
}

#[test]
fn scores_that_give_no_order_need_merges() {
    let mut vocabulary = sentencepiece(0);
    let expected = encode(&tokenizer(&vocabulary), "Hello world again");
    let json: Value = serde_json::from_slice(&tokenizer_json(&vocabulary).unwrap()).unwrap();
    let pairs = json["model"]["merges"].as_array().unwrap().iter();
    let merges =
        pairs.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
    vocabulary.scores.as_mut().unwrap().fill(-1000.0);
    assert!(refusal(&vocabulary).contains("scores"), "{}", refusal(&vocabulary));
    vocabulary.merges = Some(merges);
    assert_eq!(encode(&tokenizer(&vocabulary), "Hello world again"), expected);
    vocabulary.scores = None;
    assert_eq!(encode(&tokenizer(&vocabulary), "Hello world again"), expected);
}

#[test]
fn kinds_are_guessed_where_the_file_has_none() {
    let said = Vocabulary { add_bos: Some(true), ..sentencepiece(0) };
    let guessed = tokenizer(&Vocabulary { kinds: None, ..said.clone() });
    for text in ["<s>Hello</s> <unk>", "½ 😀"] {
        assert_eq!(with_ends(&guessed, text), with_ends(&tokenizer(&said), text), "{text}");
    }
}

#[test]
fn the_tokenizer_of_a_model_folder_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let vocabulary = sentencepiece(0);
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer_json(&vocabulary).unwrap()).unwrap();
    let files = crate::ModelFiles::folder(folder.path()).unwrap();
    let tokenizer = crate::Tokenizer::load(&files, vocabulary.tokens.len()).unwrap();
    let text = "Hello world 😀 ½\n";
    let ids = tokenizer.encode_with_specials(text).unwrap();
    assert_eq!(ids[0], i64::from(vocabulary.bos.unwrap()));
    assert_eq!(tokenizer.decode(&ids[1..]).unwrap(), text);
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> = ids[1..].iter().filter_map(|id| stream.push(*id).unwrap()).collect();
    assert_eq!(pieces.concat(), text);
    assert!(tokenizer.unknown(text).unwrap().is_empty());
    assert!(tokenizer.specials().contains(&ids[0]));
}

#[test]
fn empty_tokens_are_named() {
    let mut vocabulary = byte_level("gpt-2");
    let count = vocabulary.tokens.len();
    vocabulary.tokens.extend([String::new(), String::new()]);
    vocabulary.kinds.as_mut().unwrap().extend([1, 1]);
    assert_eq!(tokenizer(&vocabulary).id_to_token(count as u32 + 1), Some(format!("[EMPTY_{}]", count + 1)));
}
