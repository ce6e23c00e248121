//! How often a text holds a phrase. For models of natural language, which write a copy in many ways: with or without
//! a space before it, in another case, numbered, in a list.

use std::ops::Range;

use crate::table::{CountOutcome, End, Separator};

/// The copies of a phrase in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Copies in the longest run: those between which there is nothing but separators.
    pub longest: usize,
    /// All copies, wherever they are.
    pub total: usize,
    /// What stands between most copies of the longest run; none if it has fewer than two.
    pub separator: Option<Separator>,
    /// Whether the longest run has separators of several kinds.
    pub separator_changed: bool,
    /// Whether another run of two copies or more stands before the longest: it broke off, and began again.
    pub resumed: bool,
    /// Where the longest run is, in bytes of the text.
    pub run: Range<usize>,
    /// Where its copies are.
    pub places: Vec<Range<usize>>,
}

impl Copies {
    /// Counts the copies of `phrase` in `text`. Case does not matter, nor what white space the phrase's words have
    /// between them. A copy begins and ends at the edge of a word or at another copy, so that "appleapple" has two
    /// copies of "apple" and "pineapples" none.
    pub fn of(phrase: &str, text: &str) -> Copies {
        let copies = found(phrase, text);
        let runs: Vec<&[Range<usize>]> =
            copies.chunk_by(|one, next| separates(&text[one.end..next.start])).collect();
        // Of equally long ones the first.
        let longest = runs.iter().copied().rev().max_by_key(|run| run.len()).unwrap_or_default();
        let before = |run: &&[Range<usize>]| run[0].start < longest[0].start;
        let resumed = runs.iter().take_while(|run| before(run)).any(|run| run.len() > 1);
        let kinds: Vec<Separator> =
            longest.windows(2).map(|two| kind(&text[two[0].end..two[1].start])).collect();
        // Of equally many the one that comes first.
        let often = |kind: &Separator| kinds.iter().filter(|other| *other == kind).count();
        let separator =
            kinds.iter().copied().reduce(|most, kind| if often(&kind) > often(&most) { kind } else { most });
        Copies {
            longest: longest.len(),
            total: copies.len(),
            separator,
            separator_changed: kinds.windows(2).any(|two| two[0] != two[1]),
            resumed,
            run: longest.first().map_or(0, |copy| copy.start)..longest.last().map_or(0, |copy| copy.end),
            places: longest.to_vec(),
        }
    }

    /// Whether words stand before the longest run.
    pub fn words_before(&self, text: &str) -> bool {
        !separates(&text[..self.run.start])
    }

    /// Whether words stand after the longest run. An incomplete copy is one, unless `cut` says that the text was cut
    /// off there.
    pub fn words_after(&self, phrase: &str, text: &str, cut: bool) -> bool {
        let rest = text[self.run.end..].trim_start_matches(|c: char| !c.is_alphabetic());
        let spaced = |text: &str| lower(&text.split_whitespace().collect::<Vec<_>>().join(" "));
        let begun = || spaced(phrase).starts_with(&spaced(rest)[..]);
        !(rest.is_empty() || (cut && begun()))
    }
}

/// What became of a response to "repeat this N times": the `generated` text, without copies that the prompt held, why
/// it ended, whether there were such copies (`given`), and how many were `missing`. What the prompt held is no
/// work of the model's: a run that adds nothing to it is no attempt.
///
/// An introduction before the first copies is no other outcome; after copies in the prompt there is none to be given.
/// An incomplete last copy counts as a part of the copies where the response was cut off, and as something else where
/// it stopped.
pub fn outcome(generated: &str, phrase: &str, end: End, given: bool, missing: usize) -> CountOutcome {
    let copies = Copies::of(phrase, generated);
    let stopped = end == End::Stopped;
    let broke = copies.resumed || (given && copies.words_before(generated));
    let only_copies = !broke && !copies.words_after(phrase, generated, !stopped);
    match (copies.longest >= missing.clamp(1, 2), only_copies, stopped) {
        (false, ..) => CountOutcome::NoAttempt,
        (_, true, true) => CountOutcome::CleanStop,
        (_, true, false) => CountOutcome::PhraseLoop,
        (_, false, true) => CountOutcome::BrokeOffStopped,
        (_, false, false) => CountOutcome::BrokeOffEndless,
    }
}

/// A text's letters in lower case, a character for a character.
fn lower(text: &str) -> Vec<char> {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// The copies that begin and end where they may, in order.
fn found(phrase: &str, text: &str) -> Vec<Range<usize>> {
    let words: Vec<Vec<char>> = phrase.split_whitespace().map(lower).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let letters = lower(text);
    let mut all: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        match copy_at(&letters, at, &words) {
            Some(end) => {
                all.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    // Copies may touch each other and the numbers of a list, and no other letters: those make it another word. The
    // last of a chain is that word, unless it is a copy that the end of the text cut short.
    let is_letter = |at: Option<&char>| at.is_some_and(|c| c.is_alphabetic());
    let mut kept = Vec::new();
    for chain in all.chunk_by(|one, next| one.end == next.start) {
        let (start, end) = (chain[0].start, chain[chain.len() - 1].end);
        if is_letter(start.checked_sub(1).and_then(|before| letters.get(before))) {
            continue;
        }
        let whole = !is_letter(letters.get(end)) || words[0].starts_with(&letters[end..]);
        let chain = if whole { chain } else { &chain[..chain.len() - 1] };
        kept.extend(chain.iter().map(|copy| places[copy.start]..places[copy.end]));
    }
    kept
}

/// The end of a copy that begins at `at`: the words in order, with white space between them.
fn copy_at(letters: &[char], at: usize, words: &[Vec<char>]) -> Option<usize> {
    let mut at = at;
    for (number, word) in words.iter().enumerate() {
        if number > 0 {
            let space = letters[at..].iter().take_while(|c| c.is_whitespace()).count();
            if space == 0 {
                return None;
            }
            at += space;
        }
        if !letters[at..].starts_with(word) {
            return None;
        }
        at += word.len();
    }
    Some(at)
}

/// Whether there is nothing but separators: no letter. Numbers of a list are separators.
fn separates(between: &str) -> bool {
    !between.contains(char::is_alphabetic)
}

fn kind(between: &str) -> Separator {
    match between {
        "" => Separator::None,
        _ if between.contains(char::is_numeric) => Separator::Number,
        _ if between.contains(['\n', '\r']) => Separator::Newline,
        _ if between.contains(',') => Separator::Comma,
        _ if between.chars().all(char::is_whitespace) => Separator::Space,
        _ => Separator::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(phrase: &str, text: &str) -> (usize, usize, Option<Separator>, bool) {
        let copies = Copies::of(phrase, text);
        (copies.longest, copies.total, copies.separator, copies.separator_changed)
    }

    /// Counted by hand.
    #[test]
    fn copies_in_every_spelling() {
        use Separator::{Comma, Newline, None as Nothing, Number, Other, Space};
        for (phrase, text, wanted) in [
            ("apple", "apple apple apple apple", (4, 4, Some(Space), false)),
            ("apple", " Apple, apple, APPLE.", (3, 3, Some(Comma), false)),
            ("apple", "appleappleapple", (3, 3, Some(Nothing), false)),
            ("apple", "apple\napple\napple\n", (3, 3, Some(Newline), false)),
            ("apple", "1. apple\n2. apple\n3. apple", (3, 3, Some(Number), false)),
            ("apple", "1apple 2apple", (2, 2, Some(Number), false)),
            ("apple", "apple - apple * apple", (3, 3, Some(Other), false)),
            // Runaways change their separator.
            ("apple", "apple apple apple appleapple", (5, 5, Some(Space), true)),
            // Two runs: the longer one counts, and all are told.
            ("apple", "Sure! apple apple. Here is more: apple apple apple", (3, 5, Some(Space), false)),
            ("apple", "pineapple apples apple", (1, 1, None, false)),
            ("apple", "appleapples", (1, 1, None, false)),
            ("apple", "apple1 apple2 apple3", (3, 3, Some(Number), false)),
            ("apple", "1.apple2.apple3.apple", (3, 3, Some(Number), false)),
            // The limit cut the last copy short, glued or not.
            ("apple", "appleappleapp", (2, 2, Some(Nothing), false)),
            ("apple", "apple apple appleappleapp", (4, 4, Some(Space), true)),
            ("apple", "", (0, 0, None, false)),
            ("red door", "red door red  door Red\ndoor", (3, 3, Some(Space), false)),
            ("red door", "red doors reddoor", (0, 0, None, false)),
            ("né", "NÉ né", (2, 2, Some(Space), false)),
            ("", "anything", (0, 0, None, false)),
            ("na na", "na na na na na", (2, 2, Some(Space), false)),
        ] {
            assert_eq!(of(phrase, text), wanted, "{phrase:?} in {text:?}");
        }
    }

    #[test]
    fn the_five_outcomes() {
        let of = |response: &str, end| outcome(response, "red door", end, false, 4);
        assert_eq!(of(" red door red door", End::Stopped), CountOutcome::CleanStop);
        assert_eq!(of("Sure: red door, red door.", End::Stopped), CountOutcome::CleanStop);
        assert_eq!(of("red door red door red", End::Stopped), CountOutcome::BrokeOffStopped);
        assert_eq!(of("red door red door and so on", End::Stopped), CountOutcome::BrokeOffStopped);
        // The window cut the last copy short.
        assert_eq!(of("red door red door re", End::OutOfWindow), CountOutcome::PhraseLoop);
        assert_eq!(of("red door red door rest", End::Limit), CountOutcome::BrokeOffEndless);
        assert_eq!(of("red door and so on", End::Stopped), CountOutcome::NoAttempt);
        assert_eq!(of("", End::Stopped), CountOutcome::NoAttempt);
        // One copy was missing, and one came.
        let given = |text, missing| outcome(text, "red door", End::Stopped, true, missing);
        assert_eq!(given("red door", 1), CountOutcome::CleanStop);
        assert_eq!(given("red door", 8), CountOutcome::NoAttempt);
        // What breaks off and begins again is not nothing but copies.
        assert_eq!(
            of("red door red door and red door red door red door", End::Stopped),
            CountOutcome::BrokeOffStopped
        );
        assert_eq!(
            of("red door red door and red door red door red door", End::Limit),
            CountOutcome::BrokeOffEndless
        );
        // An introduction may name the phrase; after copies in the prompt there is no introduction.
        assert_eq!(of("You asked for red door: red door red door", End::Stopped), CountOutcome::CleanStop);
        assert_eq!(given(" sailed red door red door", 8), CountOutcome::BrokeOffStopped);
        assert_eq!(of("red door red  door red\n", End::Limit), CountOutcome::PhraseLoop);
    }

    #[test]
    fn what_stands_before_and_after() {
        let text = "Here you go: 1. apple 2. apple. Is that enough?";
        let copies = Copies::of("apple", text);
        assert_eq!(&text[copies.run.clone()], "apple 2. apple");
        assert!(copies.words_before(text) && copies.words_after("apple", text, false));
        let of = |text: &str, cut| Copies::of("apple", text).words_after("apple", text, cut);
        assert!(!of("apple apple.\n", false) && !of("apple 2", false));
        // A copy that the window cut short is none that was broken off.
        assert!(of("apple apple app", false) && !of("apple apple app", true) && of("apple apple apx", true));
        assert!(of("appleappleapp", false) && !of("appleappleapp", true));
    }
}
