//! How an answer writes the copies of a phrase: what stands between them, numbers of a list, case.

use super::text::Copies;

/// Stands for a copy's number.
const NUMBER: &str = "{i}";
/// Stands for the number of the copy before.
const LAST: &str = "{last}";

/// How copies are written. Copy i is `first` (where it is the first) or `next`, and the phrase; in both, `{i}` is its
/// number and `{last}` that of the copy before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// What stands before the first copy.
    pub first: String,
    /// What stands before every other copy.
    pub next: String,
    /// How the phrase is spelled.
    pub case: Case,
}

/// How a copy is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// As the phrase is given.
    Given,
    /// With a capital letter first.
    Capital,
    /// In capital letters.
    Upper,
}

impl Format {
    /// Copies with a space between them, as the phrase is given.
    pub fn spaces() -> Self {
        Format { first: String::new(), next: " ".to_owned(), case: Case::Given }
    }

    /// How `text` writes most copies of its longest run; none if that has fewer than two, or numbers them in a way of
    /// its own.
    pub fn of(phrase: &str, text: &str) -> Option<Self> {
        let copies = Copies::of(phrase, text).places;
        let between = |two: &[std::ops::Range<usize>], i| numbered(&text[two[0].end..two[1].start], i);
        let next = most(copies.windows(2).zip(2..).map(|(two, i)| between(two, i)))?;
        if next.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let before = numbered(&text[..copies[0].start], 1);
        // The first is often spelled as a sentence begins.
        let case = most(copies[1..].iter().map(|copy| Case::of(phrase, &text[copy.clone()])))?;
        Some(Format { first: first(&before, &next), next, case })
    }

    /// What most of `formats` are; of equally many the one that comes first.
    pub fn most(formats: impl IntoIterator<Item = Format>) -> Option<Self> {
        most(formats)
    }

    /// `number` copies of `phrase`.
    pub fn write(&self, phrase: &str, number: usize) -> String {
        let phrase = self.case.spelled(phrase);
        let copy = |i: usize| {
            let before = if i == 1 { &self.first } else { &self.next };
            before.replace(NUMBER, &i.to_string()).replace(LAST, &(i - 1).to_string()) + &phrase
        };
        (1..=number).map(copy).collect()
    }
}

impl Case {
    fn of(phrase: &str, copy: &str) -> Self {
        match () {
            () if copy == phrase => Case::Given,
            () if copy == Case::Capital.spelled(phrase) => Case::Capital,
            () if copy == Case::Upper.spelled(phrase) => Case::Upper,
            () => Case::Given,
        }
    }

    fn spelled(self, phrase: &str) -> String {
        let mut letters = phrase.chars();
        match (self, letters.next()) {
            (Case::Upper, _) => phrase.to_uppercase(),
            (Case::Capital, Some(letter)) => letter.to_uppercase().chain(letters).collect(),
            (Case::Given, _) | (Case::Capital, None) => phrase.to_owned(),
        }
    }
}

/// `text` with the number of copy `i`, and of the one before it, replaced by what stands for them. Other numbers
/// stay.
fn numbered(text: &str, i: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[at..];
        let digits = &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())];
        out += &rest[..at];
        out += match digits.parse::<usize>() {
            Ok(number) if number == i => NUMBER,
            Ok(number) if i > 1 && number + 1 == i => LAST,
            _ => digits,
        };
        rest = &rest[at + digits.len()..];
    }
    out + rest
}

/// What the first copy has before it: as much of the end of `before` as the other copies have before theirs, in
/// `next`, without the white space that separates copies.
fn first(before: &str, next: &str) -> String {
    let same = before.chars().rev().zip(next.chars().rev()).take_while(|(one, other)| one == other);
    let length: usize = same.map(|(c, _)| c.len_utf8()).sum();
    let shared = &next[next.len() - length..];
    // Of a list that does not begin at 1 the end of the numbers is no beginning.
    let whole = !next.contains(NUMBER) || shared.contains(NUMBER);
    if whole { shared.trim_start().to_owned() } else { String::new() }
}

/// What most of `all` are; of equally many the one that comes first.
fn most<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Option<T> {
    let mut counted: Vec<(T, usize)> = Vec::new();
    for one in all {
        match counted.iter_mut().find(|(other, _)| *other == one) {
            Some((_, count)) => *count += 1,
            None => counted.push((one, 1)),
        }
    }
    let most = counted.into_iter().reduce(|most, other| if other.1 > most.1 { other } else { most });
    most.map(|(one, _)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand: an answer, and its first four copies as the format writes them.
    #[test]
    fn an_answer_is_written_on_as_it_began() {
        for (answer, wanted) in [
            ("apple apple apple", "apple apple apple apple"),
            ("Sure! Here you go: apple, apple, apple.", "apple, apple, apple, apple"),
            ("Apple, apple, apple", "apple, apple, apple, apple"),
            ("Apple, Apple, Apple", "Apple, Apple, Apple, Apple"),
            ("APPLE APPLE", "APPLE APPLE APPLE APPLE"),
            ("apple\napple\n", "apple\napple\napple\napple"),
            ("1. apple\n2. apple", "1. apple\n2. apple\n3. apple\n4. apple"),
            ("Here are 3:\n\n1. apple\n2. apple\n3. apple", "1. apple\n2. apple\n3. apple\n4. apple"),
            ("- apple\n- apple", "- apple\n- apple\n- apple\n- apple"),
            ("Of course:\n- apple\n- apple", "- apple\n- apple\n- apple\n- apple"),
            ("\"apple\", \"apple\"", "\"apple\", \"apple\", \"apple\", \"apple"),
            ("apple 1, apple 2, apple 3", "apple 1, apple 2, apple 3, apple"),
            ("apple1apple2apple", "apple1apple2apple3apple"),
            ("appleappleapple", "appleappleappleapple"),
            // Most copies have a space between them.
            ("apple apple apple appleapple", "apple apple apple apple"),
        ] {
            let format = Format::of("apple", answer).unwrap();
            assert_eq!(format.write("apple", 4), wanted, "{answer:?}: {format:?}");
        }
        // A list that begins at 4 cannot be begun.
        for nothing in ["", "apple", "pineapple juice", "apple and apple", "4. apple, 5. apple, 6. apple"] {
            assert_eq!(Format::of("apple", nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn phrases_of_several_words() {
        let format = Format::of("red door", "1) Red door 2) Red door").unwrap();
        assert_eq!(format.write("blue cat", 2), "1) Blue cat 2) Blue cat");
        assert_eq!(Format::spaces().write("red door", 3), "red door red door red door");
        assert_eq!(Format::spaces().write("red door", 0), "");
    }

    #[test]
    fn the_most_common_one() {
        let of = |text| Format::of("a", text);
        let all = ["a, a", "a\na", "a, a, a", "a\na\na", "a"].map(of);
        assert_eq!(Format::most(all.into_iter().flatten()), of("a, a"));
        assert_eq!(Format::most([]), None);
    }
}
