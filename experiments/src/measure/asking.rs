//! How a model is asked to repeat a phrase: the instruction, the chat template around it, copies put into its answer.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use refrain_runner::{ChatOptions, ChatTemplate, Message, Tokenizer};
use serde::{Deserialize, Serialize};

use super::prompts::known;
use super::words::{Phrase, Words};
use crate::lab::Subject;
use crate::microworld;

/// The instruction for models of natural language (Wang et al. 2025).
const NATURAL_TEMPLATE: &str = "Please repeat this word: {phrase} in {n} times\n";
/// Now, for chat templates that write the date: a prompt must not depend on the day that it is made.
const NOW: &str = "2025-01-01T12:00:00";

/// The flags about what the model is asked.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AskArgs {
    /// The instruction, with the placeholders `phrase` and `n` in braces [default: that of the model's language]
    #[arg(long, value_name = "TEXT", help_heading = "Counting")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Give the instruction as a user's message in the model's chat template
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Chat::Auto, help_heading = "Counting")]
    #[serde(default)]
    pub chat: Chat,
    /// System message of the conversation, with a chat template
    #[arg(long, value_name = "TEXT", help_heading = "Counting")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Let the model think first: sets the chat template's `enable_thinking` to true, which is false otherwise
    #[arg(long, help_heading = "Counting")]
    #[serde(default)]
    pub thinking: bool,
}

/// When the chat template is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chat {
    /// If the model has one
    #[default]
    Auto,
    /// Always; a model without one is refused
    On,
    /// Never: the model continues a text
    Off,
}

impl AskArgs {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        if let Some(template) = &self.template
            && !(template.contains("{phrase}") && template.contains("{n}"))
        {
            bail!("--template must hold {{phrase}} and {{n}}");
        }
        if self.chat == Chat::Off && (self.system.is_some() || self.thinking) {
            bail!("--system and --thinking are for chat templates\nhint: leave out --chat off");
        }
        Ok(())
    }
}

/// What asks a model.
pub struct Asking<'a> {
    tokenizer: &'a Tokenizer,
    args: &'a AskArgs,
    chat: Option<ChatTemplate>,
    template: &'a str,
}

impl<'a> Asking<'a> {
    /// As the flags say.
    ///
    /// # Errors
    /// If there is no tokenizer, or a chat template is asked for and there is none, or it cannot be read.
    pub fn new(subject: &'a Subject, words: &Words, args: &'a AskArgs) -> Result<Self> {
        let chat = match args.chat {
            Chat::Off => None,
            Chat::Auto | Chat::On => ChatTemplate::load(subject.files())?,
        };
        if chat.is_none() && (args.chat == Chat::On || args.system.is_some() || args.thinking) {
            bail!(
                "{} has no chat template, which --chat on, --system and --thinking need\nhint: leave them out, or name \
                 a folder that has one with --tokenizer",
                subject.name
            );
        }
        let template = match &args.template {
            Some(template) => template,
            None if words.microworld => microworld::REPEAT_TEMPLATE,
            None => NATURAL_TEMPLATE,
        };
        Ok(Asking { tokenizer: subject.tokenizer()?, args, chat, template })
    }

    /// Whether the model is asked in its chat template.
    pub fn is_chat(&self) -> bool {
        self.chat.is_some()
    }

    /// The instruction with its placeholders, as it is given.
    pub fn instruction(&self) -> &str {
        if self.is_chat() { self.template.trim_end() } else { self.template }
    }

    /// The tokens before the answer: the instruction, and some copies if `prefilled` is not 0.
    ///
    /// # Errors
    /// If the tokenizer or the chat template refuses the text.
    pub fn prompt(&self, phrase: &Phrase, n: u32, prefilled: u32) -> Result<Vec<i64>> {
        let text = self.instruction().replace("{phrase}", &phrase.text).replace("{n}", &n.to_string());
        let mut tokens = match &self.chat {
            None => known(self.tokenizer, &text).context("the prompt")?,
            Some(chat) => {
                self.tokenizer.check_known(&text).context("the prompt")?;
                self.tokenizer.encode(&self.conversation(chat, &text)?)?
            }
        };
        tokens.extend(self.copies(phrase, prefilled)?);
        Ok(tokens)
    }

    /// Copies as an answer begins with them.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn copies(&self, phrase: &Phrase, number: u32) -> Result<Vec<i64>> {
        // After a line or a turn the first has no space before it.
        let begins = self.is_chat() || self.template.ends_with(char::is_whitespace);
        match begins {
            true => Ok(self.tokenizer.encode(&vec![&phrase.text[..]; number as usize].join(" "))?),
            false => Ok(phrase.tokens.repeat(number as usize)),
        }
    }

    fn conversation(&self, chat: &ChatTemplate, text: &str) -> Result<String> {
        let system = self.args.system.as_ref().map(|text| Message::new("system", text));
        let messages: Vec<Message> = system.into_iter().chain([Message::new("user", text)]).collect();
        let mut options =
            ChatOptions { add_generation_prompt: true, now: NOW.parse().ok(), ..ChatOptions::default() };
        options.variables.insert("enable_thinking".into(), self.args.thinking.into());
        chat.apply(&messages, &options).context("the chat template")
    }
}
