//! Years that must be greater.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use refrain_runner::Tokenizer;

use super::kind::{Task, TaskInfo};
use super::text::Text;
use crate::error::{Error, Result};
use crate::pair::Pair;

/// What there is to know about the task.
pub(super) const INFO: TaskInfo = TaskInfo {
    doc: "\"The war lasted from the year 1732 to the year 17\": a later year (Hanna et al. 2023)",
    length: None,
    with: |_, _| Task::GreaterThan,
};

/// Greater-than (Hanna et al. 2023, arXiv 2305.00586): "The war lasted from the year 1732 to the year 17" -> 33 or
/// later; corrupted: the first year ends in 01. The paper's nouns and centuries (11 to 17), as far as the tokenizer
/// writes a noun and the end of a year as one token each.
///
/// **Choice**: the paper sums probabilities over all years; a pair has one answer and one incorrect answer. The
/// answer is the first year that is greater (33), the incorrect answer its mirror image, the last that is not (31).
/// First years are 03 to 98, so that both are greater than 01 and the corrupted prompt prefers neither.
#[derive(Debug, Clone)]
pub struct GreaterThan<'a> {
    text: Text<'a>,
    nouns: Vec<&'static str>,
    /// Century and first year, with its neighbours known to be tokens.
    years: Vec<(u32, u32)>,
}

const NOUNS: &str = "abduction accord affair agreement appraisal assaults assessment attack attempts campaign \
    captivity case challenge chaos clash collaboration coma competition confrontation consequence conspiracy \
    construction consultation contact contract convention cooperation custody deal decline decrease \
    demonstrations development disagreement disorder dispute domination dynasty effect effort employment \
    endeavor engagement epidemic evaluation exchange existence expansion expedition experiments fall fame \
    flights friendship growth hardship hostility illness impact imprisonment improvement incarceration increase \
    insurgency invasion investigation journey kingdom marriage modernization negotiation notoriety obstruction \
    operation order outbreak outcome overhaul patrols pilgrimage plague plan practice process program progress \
    project pursuit quest raids reforms reign relationship retaliation riot rise rivalry romance rule sanctions \
    shift siege slump stature stint strikes study test testing tests therapy tour tradition treaty trial trip \
    unemployment voyage war warfare work";

impl<'a> GreaterThan<'a> {
    /// The task in a tokenizer's words.
    ///
    /// # Errors
    /// [`Error::Input`] if no noun is a token, or no years are a century and two digits.
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self> {
        let text = Text::new(tokenizer)?;
        let mut years = Vec::new();
        let mut pieces = 0;
        for century in 11..=17 {
            let start = format!("the year {century}");
            let mut known = BTreeMap::new();
            for year in 1..=99u32 {
                known.extend(text.next(&start, &format!("{year:02}"))?.map(|id| (year, id)));
            }
            pieces += known.len();
            let distinct = |a: u32, b: u32| known.get(&a).zip(known.get(&b)).is_some_and(|(a, b)| a != b);
            let usable =
                |year: &u32| known.contains_key(&1) && distinct(*year, 1) && distinct(*year - 1, *year + 1);
            years.extend((3..=98).filter(usable).map(|year| (century, year)));
        }
        if years.is_empty() {
            return Err(Error::Input(format!(
                "the task `greater-than` needs years that are a century and two digits in one token each, as \
                 17|32; this model's tokenizer writes {pieces} of {} years so\nhint: most tokenizers since GPT-2 \
                 write digit by digit; give pairs in this model's language: --task FILE.jsonl",
                7 * 99
            )));
        }
        let all: Vec<&str> = NOUNS.split_whitespace().collect();
        let nouns = text.single(&all)?;
        if nouns.is_empty() {
            return Err(Error::Input(format!(
                "the task `greater-than` needs nouns that are single tokens; in this model's tokenizer 0 of its {} are",
                all.len()
            )));
        }
        Ok(GreaterThan { text, nouns, years })
    }

    /// Draws a pair.
    ///
    /// # Errors
    /// [`Error::Input`] if the tokenizer writes a year otherwise inside the prompt.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Result<Pair> {
        let noun = self.nouns[rng.random_range(0..self.nouns.len())];
        let (century, year) = self.years[rng.random_range(0..self.years.len())];
        let prompt =
            |year: u32| format!("The {noun} lasted from the year {century}{year:02} to the year {century}");
        let (clean, corrupted) = (prompt(year), prompt(1));
        let pair = Pair {
            answer: self.text.answer(&clean, &format!("{:02}", year + 1))?,
            foil: Some(self.text.answer(&clean, &format!("{:02}", year - 1))?),
            clean: self.text.prompt(&clean)?,
            corrupted: self.text.prompt(&corrupted)?,
        };
        if pair.clean.len() != pair.corrupted.len() {
            return Err(Error::Input(format!(
                "the task `greater-than`: {clean:?} and {corrupted:?} differ in length"
            )));
        }
        Ok(pair)
    }
}
