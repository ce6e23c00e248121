//! Ordinary text: a topic grammar with recurring names.

use super::draw::{chance, pick, pick_zipf, zipf};
use super::vocabulary::{Language, TopicIds};
use super::words::PRONOUNS;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Sentence templates, most frequent first. Upper-case letters are slots: P, Q persons, H the pronoun of P, L the
/// place, N a noun, V a verb, A an adjective of the topic, G a general adjective, D an adverb, T a time, R a
/// preposition.
const TEMPLATES: [&str; 12] = [
    "P V the A N .",
    "the N of L was A .",
    "H V the N R the N .",
    "in the T , P V a G N .",
    "P and Q V the N in L .",
    "the A N was R the N .",
    "when the N was A , P V it D .",
    "there was a G N at L .",
    "P had a A N from L .",
    "but H never V the N because it was A .",
    "D , Q V every N and some N .",
    "after the T , the N of P was very A .",
];
const PREPOSITIONS: [&str; 6] = ["near", "with", "under", "over", "by", "on"];

/// How often a noun that the text has already used comes again instead of a fresh draw.
const NOUN_AGAIN: f64 = 0.4;

/// What one text keeps: its topic, its people and its place.
struct Scene<'a> {
    topic: &'a TopicIds,
    persons: [[u32; 2]; 2],
    pronoun: u32,
    place: [u32; 2],
    nouns: Vec<u32>,
}

/// The body of a text of 3 to 12 sentences.
pub fn text(language: &Language, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let sentences = rng.random_range(3..=12);
    let mut scene = Scene::draw(language, rng);
    let mut ids = Vec::new();
    for _ in 0..sentences {
        let template = pick_zipf_flat(rng);
        template.split(' ').for_each(|slot| scene.fill(language, slot, rng, &mut ids));
    }
    ids
}

/// Templates are drawn by a mixture of Zipf and uniform, so that the last ones are not too rare to be learned.
fn pick_zipf_flat(rng: &mut ChaCha8Rng) -> &'static str {
    if chance(rng, 0.5) { pick(rng, &TEMPLATES) } else { pick_zipf(rng, &TEMPLATES) }
}

impl<'a> Scene<'a> {
    fn draw(language: &'a Language, rng: &mut ChaCha8Rng) -> Self {
        let person = |rng: &mut ChaCha8Rng| {
            let first = zipf(rng, language.first_names.len());
            ([language.first_names[first], pick_zipf(rng, &language.last_names)], first)
        };
        let (hero, rank) = person(rng);
        let (friend, _) = person(rng);
        let pronoun = PRONOUNS[usize::from(rank >= language.first_names.len() / 2)];
        Self {
            topic: &language.topics[zipf(rng, language.topics.len())],
            persons: [hero, friend],
            pronoun: language.id(pronoun),
            place: [pick(rng, &language.place_first), pick(rng, &language.place_second)],
            nouns: Vec::new(),
        }
    }

    fn fill(&mut self, language: &Language, slot: &str, rng: &mut ChaCha8Rng, ids: &mut Vec<u32>) {
        match slot {
            "P" => ids.extend(self.persons[0]),
            "Q" => ids.extend(self.persons[1]),
            "H" => ids.push(self.pronoun),
            "L" => ids.extend(self.place),
            "N" => {
                let noun = if !self.nouns.is_empty() && chance(rng, NOUN_AGAIN) {
                    pick(rng, &self.nouns)
                } else {
                    pick_zipf(rng, &self.topic.nouns)
                };
                self.nouns.push(noun);
                ids.push(noun);
            }
            "V" => ids.push(pick_zipf(rng, &self.topic.verbs)),
            "A" => ids.push(pick_zipf(rng, &self.topic.adjectives)),
            "G" => ids.push(pick_zipf(rng, &language.adjectives)),
            "D" => ids.push(pick_zipf(rng, &language.adverbs)),
            "T" => ids.push(pick_zipf(rng, &language.times)),
            "R" => ids.push(language.id(pick_zipf(rng, &PREPOSITIONS))),
            word => ids.push(language.id(word)),
        }
    }
}
