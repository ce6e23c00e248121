//! The repetition-count experiment: "repeat X N times", and what comes of it.

use anyhow::Result;
use refrain_entropy::repetition::{leading_copies, rep_n, trailing_cycle};
use refrain_entropy::stats::seed;
use refrain_entropy::table::CountRow;
use refrain_runner::{BoundInterventions, Decoding, Generate, Generated, Outcome};

use super::conditions::Condition;
use super::settings::Settings;
use super::subject::{Phrase, Subject};

/// Sizes of trailing cycles that are looked for, in tokens.
const CYCLES: std::ops::RangeInclusive<usize> = 1..=500;

/// Copies put into the prompt when `n` are asked for.
pub fn prefilled(settings: &Settings, n: u32) -> u32 {
    if n > settings.prefill { settings.prefill } else { 0 }
}

/// How an outcome is called in tables.
pub fn outcome_label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Stopped => "stopped",
        Outcome::OutOfWindow => "out_of_window",
        Outcome::Limit => "limit",
    }
}

/// Every phrase, greedy and sampled, asked for `n` repetitions under `condition`.
///
/// # Errors
/// If a prompt does not fit the window or the model cannot be run.
pub fn count(
    subject: &Subject,
    settings: &Settings,
    phrases: &[Phrase],
    condition: &Condition,
    n: u32,
) -> Result<Vec<CountRow>> {
    let plan = BoundInterventions::new(subject.model.architecture(), &condition.interventions, &[])?;
    let given = prefilled(settings, n);
    let decodings = std::iter::once(("greedy", 0)).chain((0..settings.draws).map(|draw| ("sample", draw)));
    let mut rows = Vec::new();
    for (decoding, draw) in decodings {
        for chunk in phrases.chunks(settings.batch) {
            let prompts: Vec<Vec<i64>> = chunk
                .iter()
                .map(|phrase| subject.prompt(settings, phrase, n, given))
                .collect::<Result<_>>()?;
            // The same draws under every condition, so that conditions can be compared pair by pair.
            let seeds: Vec<u64> = chunk
                .iter()
                .map(|phrase| {
                    seed(settings.seed, &format!("count/{}/{}/{n}/{draw}", phrase.pool, phrase.prompt))
                })
                .collect();
            let options = Generate {
                decoding: if decoding == "greedy" { Decoding::GREEDY } else { settings.sampling() },
                seeds: &seeds,
                stop: subject.stop(),
                max_new: Some(settings.max_new_tokens),
                interventions: Some(&plan),
                ..Generate::default()
            };
            let generated = subject.model.generate(&prompts, options)?;
            for ((phrase, prompt), generated) in chunk.iter().zip(&prompts).zip(generated) {
                let run = Asked { phrase, n, given, decoding, draw, prompt_tokens: prompt.len() };
                rows.push(run.row(condition, &generated));
            }
        }
    }
    Ok(rows)
}

/// One generation that was asked for.
struct Asked<'a> {
    phrase: &'a Phrase,
    n: u32,
    given: u32,
    decoding: &'static str,
    draw: u32,
    prompt_tokens: usize,
}

impl Asked<'_> {
    fn row(&self, condition: &Condition, generated: &Generated) -> CountRow {
        let length = self.phrase.ids.len();
        let mut response = self.phrase.ids.repeat(self.given as usize);
        response.extend(&generated.tokens);
        let repetitions = leading_copies(&response, &self.phrase.ids) as u32;
        let whole = response.len() == repetitions as usize * length;
        let rep_4 = rep_n(&response, 4);
        CountRow {
            intervention: condition.intervention.clone(),
            head_set: condition.head_set.clone(),
            n: self.n,
            pool: self.phrase.pool.into(),
            prompt: self.phrase.prompt,
            phrase: self.phrase.text.clone(),
            phrase_tokens: length as u32,
            decoding: self.decoding.into(),
            draw: self.draw,
            prefilled: self.given,
            prompt_tokens: self.prompt_tokens as u32,
            tokens: generated.tokens.len() as u32,
            response_tokens: response.len() as u32,
            repetitions,
            outcome: outcome_label(generated.outcome).into(),
            exact: generated.outcome == Outcome::Stopped && repetitions == self.n && whole,
            overshoot: f64::from(repetitions) / f64::from(self.n),
            trailing_cycle: trailing_cycle(&response, CYCLES).map(|size| size as u32),
            rep_4,
            reason: rep_4.is_none().then(|| "fewer than 4 tokens".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(given: u32, tokens: &[i64], outcome: Outcome) -> CountRow {
        let phrase = Phrase { pool: "top", prompt: 0, text: "a b".into(), ids: vec![1, 2] };
        let asked = Asked { phrase: &phrase, n: 3, given, decoding: "greedy", draw: 0, prompt_tokens: 9 };
        let condition = &super::super::conditions::conditions(&[], &[], &[], 0, 0).unwrap()[0];
        asked.row(condition, &Generated { tokens: tokens.to_vec(), outcome })
    }

    #[test]
    fn exact_means_all_of_it_and_nothing_else() {
        assert!(row(0, &[1, 2, 1, 2, 1, 2], Outcome::Stopped).exact);
        assert!(row(2, &[1, 2], Outcome::Stopped).exact);
        assert!(!row(0, &[1, 2, 1, 2, 1, 2], Outcome::OutOfWindow).exact);
        assert!(!row(0, &[1, 2, 1, 2, 1, 2, 1], Outcome::Stopped).exact);
        let over = row(2, &[1, 2, 1, 2, 1, 2, 1, 2], Outcome::OutOfWindow);
        assert_eq!((over.repetitions, over.overshoot, over.response_tokens), (6, 2.0, 12));
        assert_eq!(over.trailing_cycle, Some(2));
    }
}
