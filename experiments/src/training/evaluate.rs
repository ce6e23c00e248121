//! What `docs/model.md` reports of a trained model: loss against the unigram baseline, induction heads, and
//! whether it counts.

use super::measure::{HeldOut, prefix_matching};
use super::settings::Settings;
use crate::microworld::{Language, repeat_prompt};
use anyhow::{Context, Result};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use refrain_runner::{Decoding, Generate, Model, ModelFiles, Outcome};
use std::io::Write;
use std::path::Path;

/// Counts that the model is asked for.
const COUNTS: [usize; 13] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512];
/// Above this the copies up to it are given.
const PREFILLED: usize = 8;
/// Phrases per pool and length.
const PHRASES: usize = 8;
/// Rows of training text that the unigram baseline is counted on.
const UNIGRAM_ROWS: u64 = 4096;

/// How the model answered one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    pool: &'static str,
    words: usize,
    copies: usize,
    stopped: bool,
    /// Nothing but copies.
    clean: bool,
}

/// Measures the model folder `folder`, trained by `settings`, and writes three Markdown tables to `out`.
///
/// # Errors
/// When the model cannot be loaded or run, or `out` cannot be written.
pub fn evaluate(folder: &Path, settings: &Settings, out: &mut dyn Write) -> Result<()> {
    let language = Language::new();
    let files = ModelFiles::folder(folder)?;
    let model = Model::load(&files, &super::in_f32())?;
    writeln!(out, "| held-out part | loss (nats) | unigram (nats) |\n|---|---|---|")?;
    let held_out = HeldOut::new(&language, settings)?;
    let unigram = held_out.unigram(&language, settings, UNIGRAM_ROWS)?;
    for ((part, loss), (_, baseline)) in held_out.losses(&model)?.iter().zip(&unigram) {
        writeln!(out, "| {part} | {loss:.3} | {baseline:.3} |")?;
    }
    writeln!(out, "\n| head | prefix matching |\n|---|---|")?;
    for (head, score) in prefix_matching(&model, &language)? {
        writeln!(out, "| {head} | {score:.3} |")?;
    }
    writeln!(
        out,
        "\n| N | exact | endless | median of those that stop | by words, by pool: exact, endless |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    let pools = pools(&files)?;
    for n in COUNTS {
        let answers = ask(&model, &language, &pools, n)?;
        writeln!(out, "{}", count_row(n, &answers))?;
    }
    Ok(())
}

/// The most frequent 1 % of the words, all, and the least frequent 1 %, at least four each.
fn pools(files: &ModelFiles) -> Result<[(&'static str, Vec<String>); 3]> {
    let text = files.text("token_counts.json")?.context("the model folder has no token_counts.json")?;
    let counts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)?;
    let words: Vec<String> = counts.keys().cloned().collect();
    let size = words.len().div_ceil(100).max(4).min(words.len());
    let (top, rare) = (words[..size].to_vec(), words[words.len() - size..].to_vec());
    Ok([("top", top), ("random", words), ("rare", rare)])
}

/// Greedy answers to `repeat X n times :` for every pool and length of phrase.
fn ask(
    model: &Model,
    language: &Language,
    pools: &[(&'static str, Vec<String>); 3],
    n: usize,
) -> Result<Vec<Answer>> {
    let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
    let mut prompts = Vec::new();
    let mut asked = Vec::new();
    for (pool, words) in pools {
        for length in 1..=3 {
            for _ in 0..PHRASES {
                let phrase: Vec<&str> = words.sample(&mut rng, length).map(String::as_str).collect();
                let phrase = phrase.join(" ");
                let mut ids = repeat_prompt(language, &phrase, n)?;
                let phrase = language.encode(&phrase)?;
                let given = if n > PREFILLED { PREFILLED } else { 0 };
                ids.extend(phrase.repeat(given));
                prompts.push(ids.into_iter().map(i64::from).collect::<Vec<i64>>());
                asked.push((*pool, phrase, given));
            }
        }
    }
    let seeds: Vec<u64> = (0..prompts.len()).map(|_| rng.random()).collect();
    let options = Generate {
        decoding: Decoding::GREEDY,
        seeds: &seeds,
        stop: &[i64::from(language.eos())],
        max_new: None,
        ..Generate::default()
    };
    let generated = model.generate(&prompts, options)?;
    Ok(asked
        .into_iter()
        .zip(generated)
        .map(|((pool, phrase, given), answer)| {
            let tokens: Vec<u32> = answer.tokens.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
            let copies = tokens.chunks(phrase.len()).take_while(|chunk| *chunk == phrase).count();
            Answer {
                pool,
                words: phrase.len(),
                copies: given + copies,
                stopped: answer.outcome == Outcome::Stopped,
                clean: copies * phrase.len() == tokens.len(),
            }
        })
        .collect())
}

/// Shares of answers that are exactly right and that are endless.
fn shares<'a>(n: usize, answers: impl Iterator<Item = &'a Answer> + Clone) -> (f64, f64) {
    let all = answers.clone().count().max(1) as f64;
    let exact = answers.clone().filter(|a| a.stopped && a.clean && a.copies == n).count() as f64;
    let endless = answers.filter(|a| !a.stopped).count() as f64;
    (exact / all, endless / all)
}

fn count_row(n: usize, answers: &[Answer]) -> String {
    let (exact, endless) = shares(n, answers.iter());
    let mut stopped: Vec<usize> = answers.iter().filter(|a| a.stopped).map(|a| a.copies).collect();
    stopped.sort_unstable();
    let median = stopped.get(stopped.len() / 2).map_or("-".to_string(), ToString::to_string);
    let by = |keep: &dyn Fn(&Answer) -> bool| {
        let (exact, endless) = shares(n, answers.iter().filter(|a| keep(a)));
        format!("{exact:.2}, {endless:.2}")
    };
    let words: Vec<String> = (1..=3).map(|words| format!("{words}: {}", by(&|a| a.words == words))).collect();
    let pools: Vec<String> = ["top", "random", "rare"]
        .iter()
        .map(|pool| format!("{pool}: {}", by(&|a| a.pool == *pool)))
        .collect();
    format!("| {n} | {exact:.2} | {endless:.2} | {median} | {}; {} |", words.join("; "), pools.join("; "))
}
