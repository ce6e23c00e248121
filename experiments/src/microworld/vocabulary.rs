//! The closed vocabulary: every token is a whole word, a digit or a punctuation mark.

use super::words;
use std::collections::HashMap;

/// Begins every document.
pub const BOS: u32 = 0;
/// Ends every document.
pub const EOS: u32 = 1;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `<bos>`, `<eos>`, `<pad>`, `<unk>`.
    Special,
    /// `0` to `9`; numbers are written digit by digit.
    Digit,
    /// `. , : ; =`
    Punctuation,
    /// A word that only instructions use, such as `repeat`, and the names of the lists.
    Keyword,
    /// Any other word; only these are repeated as phrases.
    Word,
}

/// A text contains a word that the language does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the microworld has no word {0:?}; `microworld words` lists them")]
pub struct UnknownWord(pub String);

/// A person's, place's or topic's words as ids.
#[derive(Debug, Clone)]
pub(super) struct TopicIds {
    pub nouns: Vec<u32>,
    pub verbs: Vec<u32>,
    pub adjectives: Vec<u32>,
}

/// The vocabulary and everything that the generators look up in it.
#[derive(Debug, Clone)]
pub struct Language {
    tokens: Vec<String>,
    roles: Vec<Role>,
    ids: HashMap<String, u32>,
    pub(super) words: Vec<u32>,
    pub(super) topics: Vec<TopicIds>,
    pub(super) lists: Vec<(u32, Vec<u32>)>,
    pub(super) first_names: Vec<u32>,
    pub(super) last_names: Vec<u32>,
    pub(super) place_first: Vec<u32>,
    pub(super) place_second: Vec<u32>,
    pub(super) adjectives: Vec<u32>,
    pub(super) adverbs: Vec<u32>,
    pub(super) times: Vec<u32>,
}

const SPECIALS: [&str; 4] = ["<bos>", "<eos>", "<pad>", "<unk>"];
const DIGITS: &str = "0 1 2 3 4 5 6 7 8 9";
const PUNCTUATION: &str = ". , : ; =";
const KEYWORDS: &str = "repeat write say times copy recall list";

impl Language {
    /// Builds the vocabulary from the word lists.
    #[must_use]
    pub fn new() -> Self {
        let mut tokens: Vec<(String, Role)> =
            SPECIALS.iter().map(|s| (s.to_string(), Role::Special)).collect();
        let mut add = |text: &str, role: Role| {
            tokens.extend(text.split_whitespace().map(|token| (token.to_string(), role)));
        };
        add(DIGITS, Role::Digit);
        add(PUNCTUATION, Role::Punctuation);
        add(KEYWORDS, Role::Keyword);
        words::LISTS.iter().for_each(|list| add(list.name, Role::Keyword));
        for text in
            [words::FUNCTION, &words::PRONOUNS.join(" "), words::ADJECTIVES, words::ADVERBS, words::TIMES]
        {
            add(text, Role::Word);
        }
        for topic in &words::TOPICS {
            [topic.nouns, topic.verbs, topic.adjectives].iter().for_each(|text| add(text, Role::Word));
        }
        for text in [words::FIRST_NAMES, words::LAST_NAMES, words::PLACE_FIRST, words::PLACE_SECOND] {
            add(text, Role::Word);
        }
        words::LISTS.iter().for_each(|list| add(list.items, Role::Word));
        Self::index(tokens)
    }

    fn index(tokens: Vec<(String, Role)>) -> Self {
        let ids: HashMap<String, u32> =
            tokens.iter().enumerate().map(|(id, (token, _))| (token.clone(), id as u32)).collect();
        let look_up = |text: &str| -> Vec<u32> { text.split_whitespace().map(|word| ids[word]).collect() };
        let topics = words::TOPICS
            .iter()
            .map(|topic| TopicIds {
                nouns: look_up(topic.nouns),
                verbs: look_up(topic.verbs),
                adjectives: look_up(topic.adjectives),
            })
            .collect();
        let lists = words::LISTS.iter().map(|list| (ids[list.name], look_up(list.items))).collect();
        let words = (0..tokens.len() as u32).filter(|&id| tokens[id as usize].1 == Role::Word).collect();
        Self {
            words,
            topics,
            lists,
            first_names: look_up(words::FIRST_NAMES),
            last_names: look_up(words::LAST_NAMES),
            place_first: look_up(words::PLACE_FIRST),
            place_second: look_up(words::PLACE_SECOND),
            adjectives: look_up(words::ADJECTIVES),
            adverbs: look_up(words::ADVERBS),
            times: look_up(words::TIMES),
            roles: tokens.iter().map(|(_, role)| *role).collect(),
            tokens: tokens.into_iter().map(|(token, _)| token).collect(),
            ids,
        }
    }

    /// How many tokens there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tokens.len()
    }

    /// The text of every token, by id.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The token that begins every document.
    #[must_use]
    pub fn bos(&self) -> u32 {
        BOS
    }

    /// The token that ends every document.
    #[must_use]
    pub fn eos(&self) -> u32 {
        EOS
    }

    /// What a token is for. Panics when `id` is not below [`Language::size`].
    #[must_use]
    pub fn role(&self, id: u32) -> Role {
        self.roles[id as usize]
    }

    /// The ids of the tokens that may be repeated as a phrase: words, most frequent kinds first.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Every token but the specials: what the standard induction sequences are drawn from.
    #[must_use]
    pub fn non_special(&self) -> std::ops::Range<u32> {
        SPECIALS.len() as u32..self.size() as u32
    }

    /// Ids of a text whose tokens are separated by spaces; digits need not be.
    ///
    /// # Errors
    /// [`UnknownWord`] for the first word that the language does not have.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownWord> {
        let mut ids = Vec::new();
        for word in text.split_whitespace() {
            if word.bytes().all(|byte| byte.is_ascii_digit()) {
                ids.extend(word.bytes().map(|digit| self.digit(u32::from(digit - b'0'))));
            } else {
                ids.push(*self.ids.get(word).ok_or_else(|| UnknownWord(word.to_string()))?);
            }
        }
        Ok(ids)
    }

    /// The text of `ids`, tokens separated by spaces. Panics when an id is not below [`Language::size`].
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        ids.iter().map(|&id| self.tokens[id as usize].as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The id of a word that the generators know to exist.
    pub(super) fn id(&self, word: &str) -> u32 {
        self.ids[word]
    }

    fn digit(&self, digit: u32) -> u32 {
        self.ids["0"] + digit
    }

    /// A number as the ids of its decimal digits.
    pub(super) fn number(&self, n: usize) -> Vec<u32> {
        n.to_string().bytes().map(|digit| self.digit(u32::from(digit - b'0'))).collect()
    }
}

impl Default for Language {
    fn default() -> Self {
        Self::new()
    }
}
