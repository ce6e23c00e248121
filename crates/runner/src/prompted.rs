//! A prompt with what is to be done in the model's run of it.

use tch::Tensor;

use crate::cache::{ActivationCache, NameFilter};
use crate::chat::{ChatOptions, Message};
use crate::error::{Error, Result};
use crate::forward::Run;
use crate::generate::{Choice, Decoding, Generate};
use crate::hook::{Hook, HookPoint};
use crate::intervention::{Action, BoundInterventions, Intervention};
use crate::language_model::{LanguageModel, Prompt};
use crate::place::Place;
use crate::prompt_run::PromptRun;
use crate::tap::{Edit, Edited};

/// A function of the caller's: see [`Edit`].
type EditFunction<'a> = Box<dyn FnMut(Hook, &Tensor) -> Edited + 'a>;

/// What norms divided by: one number a position each, kept with whatever is kept, since direct logit attribution needs
/// them.
const SCALES: [HookPoint; 5] = [
    HookPoint::Ln1Scale,
    HookPoint::Ln1PostScale,
    HookPoint::Ln2Scale,
    HookPoint::Ln2PostScale,
    HookPoint::FinalScale,
];

/// A prompt of one row, from [`LanguageModel::prompt`] or [`LanguageModel::chat`], and what is to be kept and changed
/// when it is run. Changes are applied in the order given, edits last. [`Prompted::run`] runs it once;
/// [`Prompted::generate`] continues it.
#[must_use = "nothing is computed before `run` or `generate`"]
pub struct Prompted<'a> {
    lm: &'a LanguageModel,
    tokens: Vec<i64>,
    names: NameFilter,
    interventions: Vec<Intervention>,
    /// Activations that [`Action::Replace`] takes from; the name is the number.
    sources: Vec<&'a ActivationCache>,
    edit: Option<(NameFilter, EditFunction<'a>)>,
    gradients: bool,
    decoding: Decoding,
    seed: u64,
}

impl LanguageModel {
    /// A prompt, and what is to be done in the model's run of it: `lm.prompt("...")?.cache(Z).run()?`.
    ///
    /// # Errors
    /// As [`LanguageModel::to_tokens`]; [`Error::Tokenizer`] for a text with pieces that the vocabulary lacks, where
    /// the model would read something else.
    pub fn prompt<'p>(&self, prompt: impl Into<Prompt<'p>>) -> Result<Prompted<'_>> {
        let prompt = prompt.into();
        if let Prompt::Text(text) = prompt {
            self.tokenizer.check_known(text)?;
        }
        Ok(Prompted::new(self, self.to_tokens(prompt)?))
    }

    /// A user's message in the model's chat template, as a prompt that the model's answer follows.
    ///
    /// # Errors
    /// As [`LanguageModel::conversation`].
    pub fn chat(&self, message: &str) -> Result<Prompted<'_>> {
        self.conversation(&[Message::new("user", message)])
    }

    /// A conversation in the model's chat template, as a prompt that the model's next message follows.
    ///
    /// # Errors
    /// [`Error::Input`] if the model has no chat template, and what [`crate::ChatTemplate::apply`] refuses.
    pub fn conversation(&self, messages: &[Message]) -> Result<Prompted<'_>> {
        let chat = self.chat.as_ref().ok_or_else(|| {
            Error::Input(
                "this model has no chat template\nhint: continue a text with `prompt` instead, or set the field `chat` \
                 to a `ChatTemplate::from_text`"
                    .into(),
            )
        })?;
        let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
        // The template has written the special tokens already.
        Ok(Prompted::new(self, self.tokenizer.encode(&chat.apply(messages, &options)?)?))
    }
}

impl<'a> Prompted<'a> {
    pub(crate) fn new(lm: &'a LanguageModel, tokens: Vec<i64>) -> Self {
        Prompted {
            lm,
            tokens,
            names: NameFilter::none(),
            interventions: Vec::new(),
            sources: Vec::new(),
            edit: None,
            gradients: false,
            decoding: Decoding::GREEDY,
            seed: 0,
        }
    }

    /// The prompt's token ids.
    pub fn tokens(&self) -> &[i64] {
        &self.tokens
    }

    /// Keeps the activations at `names`, and the scales of all norms with them: `[Z, ResidPost]` in every layer,
    /// `Z.layer(9)` in one, `NameFilter::all()` everything. Called again, it adds.
    pub fn cache(mut self, names: impl Into<NameFilter>) -> Self {
        self.names = self.names.and(names.into()).and(NameFilter::points(&SCALES));
        self
    }

    /// Puts in the activation that another run had at `place`: activation patching. The other prompt needs as many
    /// tokens as this one, and its run must have kept the activation.
    pub fn patch<S: AsRef<ActivationCache> + ?Sized>(mut self, place: impl Into<Place>, from: &'a S) -> Self {
        let name = self.sources.len().to_string();
        self.sources.push(from.as_ref());
        self.change(place, Action::Replace(name.into()))
    }

    /// Multiplies the activation at `place` by `factor`.
    pub fn scale(self, place: impl Into<Place>, factor: f64) -> Self {
        self.change(place, Action::Scale(factor))
    }

    /// Sets the activation at `place` to zero.
    pub fn zero(self, place: impl Into<Place>) -> Self {
        self.change(place, Action::Zero)
    }

    /// Adds `vector`, as long as the last axis, to the activation at `place`: steering.
    pub fn add(self, place: impl Into<Place>, vector: &[f64]) -> Self {
        self.change(place, Action::Add(vector.to_vec()))
    }

    /// Does `action` at `place`.
    pub fn change(self, place: impl Into<Place>, action: Action) -> Self {
        let made = place.into().interventions(self.lm.model.architecture(), &action);
        self.intervene(made)
    }

    /// Applies interventions as data, such as those of a file.
    pub fn intervene(mut self, interventions: impl IntoIterator<Item = Intervention>) -> Self {
        self.interventions.extend(interventions);
        self
    }

    /// Calls `function` with every activation at `hooks`, after the changes above: see [`Edit`]. There is one: a
    /// second takes the place of the first.
    pub fn edit(
        mut self,
        hooks: impl Into<NameFilter>,
        function: impl FnMut(Hook, &Tensor) -> Edited + 'a,
    ) -> Self {
        self.edit = Some((hooks.into(), Box::new(function)));
        self
    }

    /// Records the graph of the run from the embedding on, for [`PromptRun::gradient`]. Otherwise there is none.
    pub fn gradients(self) -> Self {
        Prompted { gradients: true, ..self }
    }

    /// How [`Prompted::generate`] chooses tokens; greedily, if this is not called.
    pub fn decoding(self, decoding: Decoding) -> Self {
        Prompted { decoding, ..self }
    }

    /// The seed that [`Prompted::generate`] samples with.
    pub fn seed(self, seed: u64) -> Self {
        Prompted { seed, ..self }
    }

    /// Runs the prompt.
    ///
    /// # Errors
    /// As [`crate::Model::run`]; [`crate::Error::Intervention`] for a change that does not fit the model, and for a
    /// patch from a run of another length or one that did not keep the activation.
    pub fn run(self) -> Result<PromptRun<'a>> {
        let Prompted { lm, tokens, names, interventions, sources, mut edit, gradients, .. } = self;
        let ids = lm.model.ids(std::slice::from_ref(&tokens))?;
        let named = by_name(&sources);
        let bound = bind(lm, &interventions, &named)?;
        let mut run = Run { names, interventions: Some(&bound), ..Run::default() };
        let output = if gradients {
            // The graph begins at the embedding: weights ask for no gradient.
            let embed = Hook::top(HookPoint::Embed);
            let own = edit.as_ref().map_or_else(NameFilter::none, |(hooks, _)| hooks.clone());
            let mut record = |hook: Hook, value: &Tensor| -> Edited {
                let changed = match &mut edit {
                    Some((hooks, function)) if hooks.wants(hook) => function(hook, value)?,
                    _ => None,
                };
                match hook == embed {
                    true => {
                        let leaf = changed.as_ref().unwrap_or(value).f_detach()?;
                        Ok(Some(leaf.f_set_requires_grad(true)?))
                    }
                    false => Ok(changed),
                }
            };
            run.edit = Some(Edit::new(own.and(NameFilter::hooks(&[embed])), &mut record));
            tch::with_grad(|| lm.model.run(&ids, run))?
        } else {
            run.edit = edit.as_mut().map(|(hooks, function)| Edit::new(hooks.clone(), function));
            tch::no_grad(|| lm.model.run(&ids, run))?
        };
        Ok(PromptRun::new(lm, tokens, output.logits, output.cache))
    }

    /// Continues the prompt by at most `max_new` tokens: the new text alone, special tokens shown. It ends where the
    /// model ends it. Every change holds in every step, unless its place says otherwise. What was to be kept is not.
    ///
    /// # Errors
    /// As [`crate::Model::generate`], and as [`Prompted::run`].
    pub fn generate(self, max_new: usize) -> Result<String> {
        let Prompted { lm, tokens, interventions, sources, mut edit, decoding, seed, .. } = self;
        let named = by_name(&sources);
        let bound = bind(lm, &interventions, &named)?;
        let seeds = [seed];
        let options = Generate {
            seeds: if decoding.choice == Choice::Sample { &seeds } else { &[] },
            decoding,
            stop: &lm.model.architecture().eos,
            max_new: Some(max_new),
            interventions: Some(&bound),
            edit: edit.as_mut().map(|(hooks, function)| Edit::new(hooks.clone(), function)),
            ..Generate::default()
        };
        lm.generate(Prompt::Ids(&tokens), options)
    }
}

/// The sources under the names that [`Prompted::patch`] gave them.
fn by_name<'a>(sources: &[&'a ActivationCache]) -> Vec<(String, &'a ActivationCache)> {
    sources.iter().enumerate().map(|(number, cache)| (number.to_string(), *cache)).collect()
}

fn bind<'b>(
    lm: &LanguageModel,
    interventions: &'b [Intervention],
    named: &'b [(String, &'b ActivationCache)],
) -> Result<BoundInterventions<'b>> {
    let sources: Vec<(&str, &ActivationCache)> =
        named.iter().map(|(name, cache)| (name.as_str(), *cache)).collect();
    BoundInterventions::new(lm.model.architecture(), interventions, &sources)
}
