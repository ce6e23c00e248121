//! Indirect object identification.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use refrain_runner::Tokenizer;

use super::kind::{Task, TaskInfo};
use super::text::Text;
use crate::error::{Error, Result};
use crate::pair::Pair;

/// What there is to know about the task.
pub(super) const INFO: TaskInfo = TaskInfo {
    doc: "\"When Mary and John went to the store, John gave a drink to\": to whom? (Wang et al. 2022)",
    length: None,
    with: |_, _| Task::Ioi,
};

/// Indirect object identification (Wang et al. 2022, arXiv 2211.00593): "When Mary and John went to the store, John
/// gave a drink to" -> Mary. The paper's templates, in both orders of the first two names (ABBA, BABA), and its
/// names, places and objects, as far as they are one token each.
///
/// **Choice**: the corrupted prompt has the other name in the second subject's place ("..., Mary gave a drink to"),
/// which flips the answer, as in TransformerLens's demonstration; the paper's ABC variant takes the answer away
/// instead. The incorrect answer is the subject.
#[derive(Debug, Clone)]
pub struct Ioi<'a> {
    text: Text<'a>,
    names: Vec<&'static str>,
    places: Vec<&'static str>,
    objects: Vec<&'static str>,
}

/// [A] is the indirect object, [B] the subject; the order of the first two is drawn.
const TEMPLATES: [&str; 15] = [
    "Then, [1] and [2] went to the [PLACE]. [B] gave a [OBJECT] to",
    "Then, [1] and [2] had a lot of fun at the [PLACE]. [B] gave a [OBJECT] to",
    "Then, [1] and [2] were working at the [PLACE]. [B] decided to give a [OBJECT] to",
    "Then, [1] and [2] were thinking about going to the [PLACE]. [B] wanted to give a [OBJECT] to",
    "Then, [1] and [2] had a long argument, and afterwards [B] said to",
    "After [1] and [2] went to the [PLACE], [B] gave a [OBJECT] to",
    "When [1] and [2] got a [OBJECT] at the [PLACE], [B] decided to give it to",
    "When [1] and [2] got a [OBJECT] at the [PLACE], [B] decided to give the [OBJECT] to",
    "While [1] and [2] were working at the [PLACE], [B] gave a [OBJECT] to",
    "While [1] and [2] were commuting to the [PLACE], [B] gave a [OBJECT] to",
    "After the lunch, [1] and [2] went to the [PLACE]. [B] gave a [OBJECT] to",
    "Afterwards, [1] and [2] went to the [PLACE]. [B] gave a [OBJECT] to",
    "Then, [1] and [2] had a long argument. Afterwards [B] said to",
    "The [PLACE] [1] and [2] went to had a [OBJECT]. [B] gave it to",
    "Friends [1] and [2] found a [OBJECT] at the [PLACE]. [B] gave it to",
];
const NAMES: &str = "Michael Christopher Jessica Matthew Ashley Jennifer Joshua Amanda Daniel David James Robert \
    John Joseph Andrew Ryan Brandon Jason Justin Sarah William Jonathan Stephanie Brian Nicole Nicholas Anthony \
    Heather Eric Elizabeth Adam Megan Melissa Kevin Steven Thomas Timothy Christina Kyle Rachel Laura Lauren \
    Amber Brittany Danielle Richard Kimberly Jeffrey Amy Crystal Michelle Tiffany Jeremy Benjamin Mark Emily \
    Aaron Charles Rebecca Jacob Stephen Patrick Sean Erin Zachary Jamie Kelly Samantha Nathan Sara Dustin Paul \
    Angela Tyler Scott Katherine Andrea Gregory Erica Mary Travis Lisa Kenneth Bryan Lindsey Kristen Jose \
    Alexander Jesse Katie Lindsay Shannon Vanessa Courtney Christine Alicia Cody Allison Bradley Samuel";
const PLACES: &str = "store garden restaurant school hospital office house station";
const OBJECTS: &str = "ring kiss bone basketball computer necklace drink snack";

impl<'a> Ioi<'a> {
    /// The task in a tokenizer's words.
    ///
    /// # Errors
    /// [`Error::Input`] if fewer than two names, one place and one object are single tokens.
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self> {
        let text = Text::new(tokenizer)?;
        let single = |words: &'static str, what: &str, least: usize| {
            let all: Vec<&str> = words.split_whitespace().collect();
            let found = text.single(&all)?;
            if found.len() >= least {
                return Ok(found);
            }
            Err(Error::Input(format!(
                "the task `ioi` needs at least {least} of its {} {what} as single tokens; in this model's \
                 tokenizer {} of them are\nhint: give pairs in this model's language: --task FILE.jsonl",
                all.len(),
                found.len()
            )))
        };
        let (names, places) = (single(NAMES, "names", 2)?, single(PLACES, "places", 1)?);
        let objects = single(OBJECTS, "objects", 1)?;
        Ok(Ioi { text, names, places, objects })
    }

    /// Draws a pair.
    ///
    /// # Errors
    /// [`Error::Input`] if the tokenizer joins a name with what stands before it.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Result<Pair> {
        let template = pick(rng, &TEMPLATES);
        let object = pick(rng, &self.names);
        let subject = loop {
            let name = pick(rng, &self.names);
            if name != object {
                break name;
            }
        };
        let (place, thing) = (pick(rng, &self.places), pick(rng, &self.objects));
        let (first, second) = if rng.random_bool(0.5) { (object, subject) } else { (subject, object) };
        let filled = template.replace("[1]", first).replace("[2]", second);
        let filled = filled.replace("[PLACE]", place).replace("[OBJECT]", thing);
        let (clean, corrupted) = (filled.replace("[B]", subject), filled.replace("[B]", object));
        let pair = Pair {
            answer: self.text.answer(&clean, &format!(" {object}"))?,
            foil: Some(self.text.answer(&clean, &format!(" {subject}"))?),
            clean: self.text.prompt(&clean)?,
            corrupted: self.text.prompt(&corrupted)?,
        };
        if pair.clean.len() != pair.corrupted.len() {
            return Err(Error::Input(format!(
                "the task `ioi`: {subject} and {object} are not one token each in {clean:?}"
            )));
        }
        Ok(pair)
    }
}

fn pick<T: Copy>(rng: &mut ChaCha8Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}
