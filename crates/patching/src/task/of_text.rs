//! Tests of the tasks that are text.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::made_up::tokenizer;
use super::{GreaterThan, Ioi, Language, Task};

const WORDS: &str = "Then , and went to the store . gave a drink had lot of fun at were working decided give \
    thinking about going wanted long argument afterwards said After When got it While commuting lunch Afterwards \
    The Friends found ring Mary John Tom war lasted from year siege";

#[test]
fn ioi_flips_its_answer() {
    let (_dir, tokenizer) = tokenizer(&WORDS.replace("Tom", "James"));
    let task = Ioi::new(&tokenizer).unwrap();
    let names: BTreeSet<i64> = ["Mary", "John", "James"].map(|name| tokenizer.id(name).unwrap()).into();
    let (mut orders, mut answers) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..200 {
        let pair = task.draw(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        let of = |ids: &[i64]| ids.iter().copied().filter(|id| names.contains(id)).collect::<Vec<_>>();
        let (clean, corrupted) = (of(&pair.clean), of(&pair.corrupted));
        let foil = pair.foil.unwrap();
        assert!(pair.clean[0] == 1 && !pair.clean.contains(&0) && !pair.clean.contains(&2), "{pair:?}");
        assert_eq!((clean.len(), clean[2]), (3, foil));
        assert_eq!(BTreeSet::from([clean[0], clean[1]]), BTreeSet::from([pair.answer, foil]));
        assert_eq!(corrupted, [clean[0], clean[1], pair.answer]);
        let differing = pair.clean.iter().zip(&pair.corrupted).filter(|(a, b)| a != b).count();
        assert_eq!((pair.clean.len(), differing), (pair.corrupted.len(), 1));
        orders.insert(clean[0] == pair.answer);
        answers.insert(pair.answer);
    }
    assert_eq!((orders.len(), answers), (2, names));
}

#[test]
fn greater_than_has_its_answer_above_and_its_foil_below() {
    let (_dir, tokenizer) = tokenizer(WORDS);
    let task = GreaterThan::new(&tokenizer).unwrap();
    let year = |id: i64| tokenizer.token(id).unwrap().parse::<u32>().unwrap();
    for seed in 0..200 {
        let pair = task.draw(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        // <bos> The war lasted from the year 17 32 to the year 17
        assert_eq!(pair.clean.len(), 13);
        let differing: Vec<usize> = (0..13).filter(|i| pair.clean[*i] != pair.corrupted[*i]).collect();
        assert_eq!(differing, [8]);
        assert_eq!(year(pair.corrupted[8]), 1);
        assert_eq!(pair.clean[7], pair.clean[12]);
        let first = year(pair.clean[8]);
        assert_eq!((year(pair.answer), year(pair.foil.unwrap())), (first + 1, first - 1));
        assert!((3..=98).contains(&first) && (11..=17).contains(&year(pair.clean[7])));
    }
}

#[test]
fn a_language_that_lacks_the_words_is_told_how_many_it_has() {
    let (_dir, words) = tokenizer(&WORDS.replace("John", ""));
    let error = Ioi::new(&words).unwrap_err().to_string();
    assert!(
        error.contains("at least 2 of its 100 names") && error.contains("1 of them are\nhint: "),
        "{error}"
    );
    let (_dir, words) = tokenizer(&WORDS.replace("war", "").replace("siege", ""));
    let error = GreaterThan::new(&words).unwrap_err().to_string();
    assert!(error.contains("nouns that are single tokens") && error.contains("0 of its"), "{error}");
}

/// Words of a template that became `<unk>` would leave the task another one than it is called.
#[test]
fn a_template_with_unknown_words_is_refused() {
    let (_dir, words) = tokenizer(&WORDS.replace("lasted", ""));
    let task = GreaterThan::new(&words).unwrap();
    let error = task.draw(&mut ChaCha8Rng::seed_from_u64(1)).unwrap_err().to_string();
    assert!(error.contains("no token for \"lasted\"") && error.contains("hint: "), "{error}");
}

#[test]
fn drawn_by_name() {
    let (_dir, tokenizer) = tokenizer(WORDS);
    let language = Language { candidates: &[], bos: None, tokenizer: Some(&tokenizer), window: 64 };
    for name in ["ioi", "greater-than"] {
        let task = Task::named(name, None, 1).unwrap();
        let pairs = task.pairs(&language, 5, 0).unwrap();
        assert_eq!(pairs[..2], task.pairs(&language, 2, 0).unwrap());
        let short = Language { window: 6, ..language };
        assert!(task.pairs(&short, 5, 0).unwrap_err().to_string().contains("the model's window 6"));
    }
}
