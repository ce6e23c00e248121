//! Tests of the language.

use super::documents::{Kind, LARGEST_COUNT, repeat_prompt};
use super::draw::Split;
use super::stream::{Mixture, Stream, token_counts};
use super::tokenizer::tokenizer_json;
use super::vocabulary::{Language, Role, UnknownWord};
use refrain_runner::{ModelFiles, Tokenizer};
use std::collections::{HashMap, HashSet};

const LIMIT: usize = 1024;

fn text(language: &Language, split: Split, seed: u64, kind: Kind, index: u64) -> String {
    language.decode(&language.document(split, seed, kind, index, LIMIT).ids)
}

#[test]
fn every_word_stands_once() {
    let language = Language::new();
    let mut seen = HashSet::new();
    let twice: Vec<&String> = language.tokens().iter().filter(|token| !seen.insert(*token)).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn the_same_numbers_give_the_same_documents_in_any_order() {
    let (one, two) = (Language::new(), Language::new());
    let stream = |language| Stream::new(language, &Mixture::default(), Split::Train, 3, 256);
    let forwards: Vec<Vec<u32>> = (0..8).map(|row| stream(&one).row(row)).collect();
    let backwards: Vec<Vec<u32>> = (0..8).rev().map(|row| stream(&two).row(row)).collect();
    assert_eq!(forwards, backwards.into_iter().rev().collect::<Vec<_>>());
    assert_ne!(forwards[0], forwards[1]);
}

#[test]
fn no_long_held_out_document_is_a_training_document() {
    let language = Language::new();
    for kind in [Kind::Sentence, Kind::Copy, Kind::Recall] {
        let documents = |split| -> HashSet<String> {
            (0..300)
                .map(|index| text(&language, split, 1, kind, index))
                .filter(|text| text.len() > 100)
                .collect()
        };
        let (train, held_out) = (documents(Split::Train), documents(Split::HeldOut));
        assert!(held_out.len() > 250, "{kind:?}: only {} differ among themselves", held_out.len());
        assert_eq!(train.intersection(&held_out).count(), 0, "{kind:?}");
    }
}

#[test]
fn a_repeat_document_has_exactly_as_many_copies_as_it_says() {
    let language = Language::new();
    let mut counts = HashMap::new();
    for index in 0..500 {
        let text = text(&language, Split::Train, 1, Kind::Repeat, index);
        let (instruction, answer) = text.split_once(" : ").unwrap();
        let digits: String = instruction.chars().filter(char::is_ascii_digit).collect();
        let n: usize = digits.parse().unwrap();
        let phrase: Vec<&str> = instruction
            .split(' ')
            .filter(|word| {
                !["<bos>", "repeat", "say", "write", "times"].contains(word)
                    && !word.starts_with(|c: char| c.is_ascii_digit())
            })
            .collect();
        assert_eq!(answer, format!("{} <eos>", vec![phrase.join(" "); n].join(" ")), "{text}");
        assert!((1..=3).contains(&phrase.len()) && (1..=LARGEST_COUNT).contains(&n), "{text}");
        *counts.entry(n).or_insert(0) += 1;
    }
    assert!(counts.contains_key(&LARGEST_COUNT) && counts[&1] > 5 * counts[&LARGEST_COUNT]);
}

#[test]
fn the_prompt_is_the_canonical_form_of_the_training_documents() {
    let language = Language::new();
    let prompt = repeat_prompt(&language, "mara vell", 512).unwrap();
    assert_eq!(language.decode(&prompt), "<bos> repeat mara vell 5 1 2 times :");
    assert_eq!(repeat_prompt(&language, "mara xyzzy", 2), Err(UnknownWord("xyzzy".into())));
    let canonical = (0..400)
        .filter(|&index| text(&language, Split::Train, 1, Kind::Repeat, index).starts_with("<bos> repeat"))
        .count();
    assert!((250..310).contains(&canonical), "{canonical} of 400, expected about 280");
}

#[test]
fn recall_asks_for_every_pair_and_lists_keep_their_order() {
    let language = Language::new();
    for index in 0..100 {
        let recall = text(&language, Split::Train, 1, Kind::Recall, index);
        let body = recall.trim_start_matches("<bos> recall : ").trim_end_matches(" . <eos>");
        let (given, asked) = body.split_once(" . ").unwrap();
        let pairs = |half: &str| half.split(" , ").map(str::to_string).collect::<HashSet<_>>();
        assert_eq!(pairs(given), pairs(asked), "{recall}");
    }
    let list = (0..100)
        .map(|index| text(&language, Split::Train, 1, Kind::List, index))
        .find(|text| text.contains("days from saturday"));
    assert_eq!(list.unwrap(), "<bos> list days from saturday : saturday sunday <eos>");
}

#[test]
fn boilerplate_mostly_fills_the_window_and_sometimes_ends() {
    let language = Language::new();
    let full = (0..400)
        .filter(|&index| {
            let ids = language.document(Split::Train, 1, Kind::Boilerplate, index, LIMIT).ids;
            ids.len() == LIMIT && !ids.contains(&language.eos())
        })
        .count();
    assert!((240..320).contains(&full), "{full} of 400, expected about 280");
}

#[test]
fn a_kind_has_its_share_of_the_tokens() {
    let language = Language::new();
    let mixture = Mixture::default();
    let stream = Stream::new(&language, &mixture, Split::Train, 1, 256);
    let rows: Vec<Vec<u32>> = (0..800).map(|row| stream.row(row)).collect();
    let all: usize = rows.iter().map(Vec::len).sum();
    // Two kinds of very different length that a keyword tells.
    for (word, share) in [("recall", mixture.recall), ("list", mixture.list)] {
        let first = language.encode(word).unwrap()[0];
        let tokens: usize = rows
            .iter()
            .flat_map(|row| row.split(|&id| id == language.bos()))
            .filter(|document| document.first() == Some(&first))
            .map(|document| document.len() + 1)
            .sum();
        let found = tokens as f64 / all as f64;
        assert!((found - share).abs() < 0.01, "{word} has {found:.3} of the tokens, not {share}");
    }
}

#[test]
fn frequent_and_rare_words_are_thirty_times_apart_and_rare_ones_still_occur() {
    let language = Language::new();
    let rows = 4096;
    let stream = Stream::new(&language, &Mixture::default(), Split::Train, 1, 256);
    let counts = token_counts(&language, &stream, rows);
    let (top, last) = (counts[3].1, counts[counts.len() - 4].1);
    assert!(top > 10 * last, "{:?} against {:?}", counts[3], counts[counts.len() - 4]);
    assert!(counts[0].1 > 30 * counts[counts.len() - 1].1);
    // The whole training has at least ten times as many tokens.
    assert!(10 * counts[counts.len() - 1].1 > 1000, "{:?}", counts[counts.len() - 1]);
    assert!(counts.iter().all(|(word, _)| language.role(language.encode(word).unwrap()[0]) == Role::Word));
}

#[test]
fn the_tokenizer_file_reads_texts_as_the_language_does() {
    let language = Language::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer_json(&language).to_string()).unwrap();
    let tokenizer = Tokenizer::load(&ModelFiles::folder(folder.path()).unwrap(), language.size()).unwrap();
    let mut texts: Vec<String> =
        language.tokens().iter().skip(4).filter(|token| !token.is_empty()).cloned().collect();
    texts.extend(Kind::ALL.iter().flat_map(|&kind| (0..20).map(move |index| (kind, index))).map(
        |(kind, index)| {
            let text = text(&language, Split::HeldOut, 1, kind, index);
            text.replace("<bos> ", "").replace(" <eos>", "")
        },
    ));
    for text in texts {
        let expected: Vec<i64> = language.encode(&text).unwrap().into_iter().map(i64::from).collect();
        assert_eq!(tokenizer.encode(&text).unwrap(), expected, "{text}");
        let bos = vec![i64::from(language.bos())];
        assert_eq!(
            tokenizer.encode_with_specials(&text).unwrap(),
            [bos, expected.clone()].concat(),
            "{text}"
        );
        let again = tokenizer.encode(&tokenizer.decode(&expected).unwrap()).unwrap();
        assert_eq!(again, expected, "{text}");
    }
    let glued = tokenizer.encode("repeat loaf 512 times:").unwrap();
    assert_eq!(tokenizer.decode(&glued).unwrap(), "repeat loaf 5 1 2 times :");
}
