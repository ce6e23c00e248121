//! Words by frequency, and the phrases that are made of them.

use anyhow::{Result, bail};
use clap::Args;
use rand::seq::SliceRandom;
use refrain_entropy::stats::rng;
use refrain_entropy::table::Pool;
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;

use crate::lab::{Count, Share, Subject, by_count};
use crate::microworld::Language;

/// Words in a pool, at least: phrases of three different words take some choice.
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
    /// Share of the words, by frequency in a corpus, in the pools `top` and `rare`; at least 5 words
    #[arg(long, value_name = "SHARE", default_value_t = Share::percent(1), help_heading = "Counting")]
    pub pool_share: Share,
}

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
    /// Put before a word inside a text.
    lead: &'static str,
    /// Whether the language is the built-in model's.
    pub microworld: bool,
}

impl Words {
    /// The whole words among a model's tokens.
    ///
    /// # Errors
    /// If there is no tokenizer, or the counts of its words cannot be read.
    pub fn of(subject: &Subject) -> Result<Self> {
        let tokenizer = subject.tokenizer()?;
        let language = Language::new();
        let microworld =
            language.tokens().iter().enumerate().all(|(id, token)| tokenizer.id(token) == Some(id as i64));
        let pieces = subject.pieces()?;
        // How the two common kinds of vocabularies mark that a word begins.
        let marker = ["\u{120}", "\u{2581}"].into_iter().find(|marker| {
            pieces.iter().any(|(_, piece)| piece.starts_with(marker) && piece.len() > marker.len())
        });
        let (words, source) = match &subject.counts()? {
            Some(counts) => (by_count(counts), FrequencySource::CorpusCounts),
            None => (whole_words(&pieces, marker), FrequencySource::VocabularyOrder),
        };
        Ok(Words { words, source, lead: if marker == Some("\u{120}") { " " } else { "" }, microworld })
    }

    /// The phrases of every pool. A phrase depends on the seed, its pool and its number only.
    ///
    /// # Errors
    /// If the vocabulary has too few words, or the tokenizer does not know one.
    pub fn phrases(&self, subject: &Subject, args: &PhraseArgs, seed: u64) -> Result<Vec<Phrase>> {
        let lengths: Vec<usize> = match (&args.phrase_words[..], self.microworld) {
            ([], true) => vec![1, 2, 3],
            ([], false) => vec![1],
            (given, _) => given.iter().map(|count| count.get()).collect(),
        };
        let longest = lengths.iter().copied().max().unwrap_or(1);
        let share = (self.words.len() as f64 * args.pool_share.get()).ceil() as usize;
        let size = share.max(SMALLEST_POOL).max(longest);
        if self.words.len() < size {
            bail!(
                "the vocabulary has {} words where a pool takes {size}: this experiment needs a tokenizer with whole words",
                self.words.len()
            );
        }
        let tokenizer = subject.tokenizer()?;
        let specials = tokenizer.specials();
        let mut phrases = Vec::new();
        for pool in Pool::iter() {
            let words = match pool {
                Pool::Top => &self.words[..size],
                Pool::Rare => &self.words[self.words.len() - size..],
                Pool::Random => &self.words[..],
            };
            for item in 0..args.phrases.u32() {
                let length = lengths[item as usize % lengths.len()];
                let stream = stream(pool);
                let mut drawn = words.to_vec();
                let (drawn, _) =
                    drawn.partial_shuffle(&mut rng(seed, &format!("phrase/{stream}/{item}")), length);
                let text = drawn.join(" ");
                let tokens = tokenizer.encode(&format!("{}{text}", self.lead))?;
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
}

/// What a pool's random streams are named after. That of the rare words has the name that the pool had first, so that a seed draws what
/// it drew.
pub fn stream(pool: Pool) -> &'static str {
    match pool {
        Pool::Top => "top",
        Pool::Random => "random",
        Pool::Rare => "last",
    }
}

/// Whole words of a subword vocabulary: pieces that begin a word and have at least three letters, all of them ASCII.
fn whole_words(pieces: &[(i64, String)], marker: Option<&str>) -> Vec<String> {
    let word = |piece: &String| {
        let word = match marker {
            Some(marker) => piece.strip_prefix(marker)?,
            None => piece,
        };
        (word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| word.to_owned())
    };
    pieces.iter().filter_map(|(_, piece)| word(piece)).collect()
}
