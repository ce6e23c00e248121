//! Words by frequency, and the phrases that are made of them.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, bail};
use clap::Args;
use rand::seq::SliceRandom;
use refrain_entropy::stats::rng;
use refrain_entropy::table::Pool;
use refrain_runner::Tokenizer;
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;

use crate::lab::{Count, Share, Subject, by_count};
use crate::microworld::Language;

/// Words in a pool, at least.
const SMALLEST_POOL: usize = 5;

/// Which phrases.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhraseArgs {
    /// Phrases per pool of words
    #[arg(long, value_name = "N", default_value_t = Count::of::<6>(), help_heading = "Counting")]
    pub phrases: Count,
    /// Words of the phrases, taken in turn [default: 1,2,3 for the built-in model's language, else 1]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', help_heading = "Counting")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrase_words: Vec<Count>,
    /// Share of the words, by frequency in a corpus, in the pools `top` and `rare`; at least 5 words, and as many
    /// as the phrases take
    #[arg(long, value_name = "SHARE", default_value_t = Share::percent(1), help_heading = "Counting")]
    pub pool_share: Share,
    /// Only words that are a single token within a text
    #[arg(long, help_heading = "Counting")]
    #[serde(default)]
    pub single_tokens: bool,
}

/// English words by how often a text uses them: a count, then the words that have it. `data/README.md` says which
/// text.
const ENGLISH: &str = include_str!("../../data/english_words.txt");

/// A phrase to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// The pool it is from.
    pub pool: Pool,
    /// Its number in the pool.
    pub item: u32,
    /// As text.
    pub text: String,
    /// As tokens, one copy.
    pub tokens: Vec<i64>,
}

/// Where the order of the words comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "title_case")]
pub enum FrequencySource {
    /// `token_counts.json` in the model's folder.
    #[strum(serialize = "corpus counts")]
    CorpusCounts,
    /// The program's list of English words.
    #[strum(serialize = "counts of English words in WordNet's text")]
    English,
    /// Byte-pair vocabularies list their merges by frequency.
    #[strum(serialize = "vocabulary order")]
    VocabularyOrder,
}

/// The words of a model's vocabulary.
#[derive(Debug)]
pub struct Words {
    /// The most frequent first.
    words: Vec<String>,
    /// How they were ordered.
    pub source: FrequencySource,
    /// Whether the language is the built-in model's.
    pub microworld: bool,
}

impl Words {
    /// The words of a model's language: those that its folder has counts of, else the English words that its
    /// tokenizer can write. Of a vocabulary that cannot write most of them, its own.
    ///
    /// # Errors
    /// If there is no tokenizer, or the counts of its words cannot be read.
    pub fn of(subject: &Subject) -> Result<Self> {
        let tokenizer = subject.tokenizer()?;
        let language = Language::new();
        let microworld =
            language.tokens().iter().enumerate().all(|(id, token)| tokenizer.id(token) == Some(id as i64));
        if let Some(counts) = subject.counts()? {
            return Ok(Words { words: by_count(&counts), source: FrequencySource::CorpusCounts, microworld });
        }
        let english = english();
        let known: Vec<String> = english
            .iter()
            .filter(|word| tokenizer.check_known(word).is_ok())
            .map(|word| (*word).into())
            .collect();
        if 2 * known.len() >= english.len() {
            return Ok(Words { words: known, source: FrequencySource::English, microworld });
        }
        let words = whole_words(&subject.pieces()?);
        Ok(Words { words, source: FrequencySource::VocabularyOrder, microworld })
    }

    /// The phrases of every pool. No word is in two phrases, of one pool or of different ones: items that share
    /// words are not independent, and the statistics take them to be.
    ///
    /// # Errors
    /// If the vocabulary has too few words, or the tokenizer does not know one.
    pub fn phrases(&self, subject: &Subject, args: &PhraseArgs, seed: u64) -> Result<Vec<Phrase>> {
        let lengths: Vec<usize> = match (&args.phrase_words[..], self.microworld) {
            ([], true) => vec![1, 2, 3],
            ([], false) => vec![1],
            (given, _) => given.iter().map(|count| count.get()).collect(),
        };
        let lengths: Vec<usize> = lengths.into_iter().cycle().take(args.phrases.get()).collect();
        let taken: usize = lengths.iter().sum();
        let tokenizer = subject.tokenizer()?;
        let words = self.words.iter().filter_map(|word| match args.single_tokens {
            false => Some(Ok(word)),
            true => in_context(tokenizer, word).map(|tokens| (tokens.len() == 1).then_some(word)).transpose(),
        });
        let all: Vec<&String> = words.collect::<Result<_>>()?;
        let share = (all.len() as f64 * args.pool_share.get()).ceil() as usize;
        let (size, pools) = (share.max(SMALLEST_POOL).max(taken), Pool::iter().count());
        if all.len() < pools * taken.max(SMALLEST_POOL) {
            bail!(
                "the vocabulary has {} words where the phrases of {pools} pools take {}: this experiment needs a \
                 tokenizer with whole words\nhint: choose fewer --phrases{}",
                all.len(),
                pools * taken.max(SMALLEST_POOL),
                if args.single_tokens { ", or leave out --single-tokens" } else { "" }
            );
        }
        // Of a small vocabulary a large share would leave nothing for the other pools.
        let size = size.min(all.len() / pools);
        let (top, rest) = all.split_at(size);
        let (_, rare) = rest.split_at(rest.len() - size);
        let specials = tokenizer.specials();
        let mut phrases = Vec::new();
        // The two small pools first: the words that they leave are free for the random one.
        let mut used: HashSet<&String> = HashSet::new();
        let mut drawn = BTreeMap::new();
        for (pool, words) in [(Pool::Top, top), (Pool::Rare, rare), (Pool::Random, &all)] {
            let mut words: Vec<&String> =
                words.iter().copied().filter(|word| !used.contains(*word)).collect();
            let (words, _) = words.partial_shuffle(&mut rng(seed, &format!("phrases/{pool}")), taken);
            used.extend(words.iter().copied());
            drawn.insert(pool, words.to_vec());
        }
        for (pool, words) in drawn {
            let mut words = words.into_iter();
            for (length, item) in lengths.iter().zip(0..) {
                let words: Vec<&str> = words.by_ref().take(*length).map(String::as_str).collect();
                let text = words.join(" ");
                let tokens = in_context(tokenizer, &text)?;
                if tokens.is_empty() || tokens.iter().any(|id| specials.contains(id)) {
                    bail!(
                        "the tokenizer does not know the phrase {text:?} (pool `{pool}`, from {})",
                        self.source
                    );
                }
                phrases.push(Phrase { pool, item, text, tokens });
            }
        }
        Ok(phrases)
    }

    /// At most `number` phrases of one word each that none of `phrases` has, in the pool `random`.
    ///
    /// # Errors
    /// If the tokenizer refuses one.
    pub fn others(
        &self,
        subject: &Subject,
        phrases: &[Phrase],
        number: usize,
        seed: u64,
    ) -> Result<Vec<Phrase>> {
        let used: HashSet<&str> = phrases.iter().flat_map(|phrase| phrase.text.split(' ')).collect();
        let mut words: Vec<&String> = self.words.iter().filter(|word| !used.contains(&word[..])).collect();
        let (words, _) = words.partial_shuffle(&mut rng(seed, "other words"), number);
        let tokenizer = subject.tokenizer()?;
        let phrase = |(word, item): (&&String, u32)| {
            let tokens = in_context(tokenizer, word)?;
            Ok(Phrase { pool: Pool::Random, item, text: (*word).clone(), tokens })
        };
        words.iter().zip(0..).map(phrase).collect()
    }
}

/// The program's English words, the most frequent first; words of one count in an order that has nothing to do with
/// their letters, always the same.
fn english() -> Vec<&'static str> {
    let mut ties = rng(0, "words/ties");
    let lines = ENGLISH.lines().filter(|line| !line.starts_with('#'));
    let shuffled = lines.map(|line| {
        let mut words: Vec<&str> = line.split(' ').skip(1).collect();
        words.shuffle(&mut ties);
        words
    });
    shuffled.flatten().collect()
}

/// The tokens of a phrase inside a text: what a second copy adds to a first one. In many vocabularies that is another
/// token than the phrase alone has.
fn in_context(tokenizer: &Tokenizer, text: &str) -> Result<Vec<i64>> {
    let alone = tokenizer.encode(text)?;
    let twice = tokenizer.encode(&format!("{text} {text}"))?;
    Ok(match twice.strip_prefix(&alone[..]) {
        Some(second) => second.to_vec(),
        None => alone,
    })
}

/// What a pool's random streams are named after. That of the rare words has the name that the pool had first, so
/// that a seed draws what it drew.
pub fn stream(pool: Pool) -> &'static str {
    match pool {
        Pool::Top => "top",
        Pool::Random => "random",
        Pool::Rare => "last",
    }
}

/// Whole words of a vocabulary: pieces that begin a word and have at least three letters, all of them ASCII.
fn whole_words(pieces: &[(i64, String)]) -> Vec<String> {
    // How the two common kinds of subword vocabularies mark that a word begins.
    let marker = ["\u{120}", "\u{2581}"].into_iter().find(|marker| {
        pieces.iter().any(|(_, piece)| piece.starts_with(marker) && piece.len() > marker.len())
    });
    let word = |piece: &String| {
        let word = match marker {
            Some(marker) => piece.strip_prefix(marker)?,
            None => piece,
        };
        (word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| word.to_owned())
    };
    pieces.iter().filter_map(|(_, piece)| word(piece)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_english_words_are_whole_and_in_order() {
        let words = english();
        assert!(words.len() > 10_000, "{}", words.len());
        assert_eq!(words[..3], ["the", "and", "that"]);
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len(), "a word is there twice");
        for word in ["apple", "tree", "window", "abbot"] {
            assert!(words.contains(&word), "{word}");
        }
        for piece in ["includ", "superflu", "con", "exfol", "etc", ""] {
            assert!(!words.contains(&piece), "{piece}");
        }
        let letters = |word: &&str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(words.iter().all(letters));
        // 1,666 words have the least count: the last of them are not those at the end of the alphabet.
        let first_letters: HashSet<u8> =
            words[words.len() - 160..].iter().map(|word| word.as_bytes()[0]).collect();
        assert!(first_letters.len() > 15, "{first_letters:?}");
        let counts = ENGLISH.lines().filter(|line| !line.starts_with('#'));
        let counts: Vec<u64> = counts.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(counts.windows(2).all(|two| two[0] > two[1]) && counts.last() == Some(&5), "{counts:?}");
    }
}
