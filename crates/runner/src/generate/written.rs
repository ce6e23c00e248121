//! The forms in which a [`Decoding`] stands in settings.

use serde::{Deserialize, Serialize};

use crate::generate::sample::{Choice, Decoding};

/// How a [`Decoding`] is written down: in full, or as it was before there were processors for both choices.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Written {
    Name(Name),
    Old(Old),
    Fields(Fields),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Name {
    Greedy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Old {
    sample: OldSample,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OldSample {
    temperature: f64,
    top_k: usize,
    top_p: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fields {
    #[serde(skip_serializing_if = "is_one")]
    repetition_penalty: f64,
    #[serde(skip_serializing_if = "is_none")]
    no_repeat_ngram: usize,
    #[serde(skip_serializing_if = "is_one")]
    temperature: f64,
    #[serde(skip_serializing_if = "is_none")]
    top_k: usize,
    #[serde(skip_serializing_if = "is_one")]
    top_p: f64,
    #[serde(skip_serializing_if = "is_zero")]
    min_p: f64,
    choice: Choice,
}

impl Default for Fields {
    fn default() -> Self {
        Fields::of(Decoding::GREEDY)
    }
}

impl Fields {
    fn of(decoding: Decoding) -> Self {
        let Decoding { repetition_penalty, no_repeat_ngram, temperature, top_k, top_p, min_p, choice } =
            decoding;
        Fields { repetition_penalty, no_repeat_ngram, temperature, top_k, top_p, min_p, choice }
    }
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_none(value: &usize) -> bool {
    *value == 0
}

impl From<Written> for Decoding {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(Name::Greedy) => Decoding::GREEDY,
            Written::Old(Old { sample: OldSample { temperature, top_k, top_p } }) => {
                Decoding { temperature, top_k, top_p, ..Decoding::SAMPLE }
            }
            Written::Fields(Fields {
                repetition_penalty,
                no_repeat_ngram,
                temperature,
                top_k,
                top_p,
                min_p,
                choice,
            }) => Decoding { repetition_penalty, no_repeat_ngram, temperature, top_k, top_p, min_p, choice },
        }
    }
}

impl From<Decoding> for Written {
    fn from(decoding: Decoding) -> Self {
        match decoding {
            Decoding::GREEDY => Written::Name(Name::Greedy),
            other => Written::Fields(Fields::of(other)),
        }
    }
}
