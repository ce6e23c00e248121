//! Every greedy row of `count_sweep` without intervention and with the induction heads turned down, computed anew
//! without a cache.

use std::collections::BTreeSet;

use refrain_entropy::table::{CountOutcome, CountRow, CountSweep, DecodingLabel, End};
use refrain_tests::Result;
use refrain_tests::tiny::WINDOW;

use crate::slow::{Finished, best, close};

#[test]
fn greedy_counts_are_those_of_full_recomputation() -> Result {
    let run = Finished::run(&["--phrase-words", "1,2,1", "--phrases", "3", "--counts", "4,16"])?;
    let rows = run.rows::<CountSweep>()?;
    // 7 conditions, 2 counts, 3 pools, 3 phrases, greedy and sampled.
    assert_eq!(rows.len(), 7 * 2 * 3 * 3 * 2);
    let mut outcomes = BTreeSet::new();
    let mut repetitions = BTreeSet::new();
    let mut compared = 0;
    for row in
        rows.iter().filter(|row| row.decoding == DecodingLabel::Greedy && !row.condition.contains("random"))
    {
        // Recomputation is slow: under an intervention the prefilled prompts are enough.
        if row.condition != "none" && row.n != 16 {
            continue;
        }
        check(&run, row)?;
        outcomes.insert(row.end);
        repetitions.insert(row.repetitions);
        compared += 1;
    }
    println!("{compared} rows, {outcomes:?}, repetitions {repetitions:?}");
    assert_eq!(compared, (2 + 3) * 3 * 3);
    assert_eq!(outcomes.len(), 2, "the model should sometimes stop: {outcomes:?}");
    assert!(repetitions.len() > 2 && repetitions.last() > Some(&8), "nothing is counted: {repetitions:?}");
    Ok(())
}

fn check(run: &Finished, row: &CountRow) -> Result {
    let label = format!("{} n {} {} {}", row.condition, row.n, row.pool, row.item);
    let intervention = row.condition.split(':').next().unwrap_or_default();
    let phrase = run.tokenizer.encode(&row.phrase)?;
    let given = if row.n > 8 { 8 } else { 0 };
    let prompt = run.prompt(&row.phrase, row.n, given)?;
    let mut tokens = Vec::new();
    let outcome = loop {
        let ids: Vec<i64> = prompt.iter().chain(&tokens).copied().collect();
        if ids.len() == WINDOW {
            break End::OutOfWindow;
        }
        match best(&run.logits(&ids, prompt.len(), intervention)?) {
            2 => break End::Stopped,
            token => tokens.push(token),
        }
    };
    let response: Vec<i64> =
        phrase.repeat(given as usize).into_iter().chain(tokens.iter().copied()).collect();
    let (copies, _) = longest_run(&run.tokenizer.decode(&response)?, &row.phrase);
    let exact = outcome == End::Stopped && response == phrase.repeat(row.n as usize);
    let found = (row.end, row.tokens as usize, row.repetitions as usize, row.exact);
    assert_eq!(found, (outcome, tokens.len(), copies, exact), "{label}");
    let found =
        (row.phrase_tokens as usize, row.prefilled, row.prompt_tokens as usize, row.response_tokens as usize);
    assert_eq!(found, (phrase.len(), given, prompt.len(), response.len()), "{label}");
    close(&label, Some(row.overshoot), copies as f64 / f64::from(row.n), 1e-12);

    // The five outcomes, by what comes after the copies that the model made itself.
    let (own, rest) = longest_run(&run.tokenizer.decode(&tokens)?, &row.phrase);
    let cut_short = outcome != End::Stopped && format!("{} ", row.phrase).starts_with(&format!("{rest} "));
    let wanted = match (own >= 2, rest.is_empty() || cut_short, outcome == End::Stopped) {
        (false, ..) => CountOutcome::NoAttempt,
        (true, true, true) => CountOutcome::CleanStop,
        (true, true, false) => CountOutcome::PhraseLoop,
        (true, false, true) => CountOutcome::BrokeOffStopped,
        (true, false, false) => CountOutcome::BrokeOffEndless,
    };
    assert_eq!(row.outcome, wanted, "{label}: {response:?}");

    let cycle = (1..=response.len() / 2).find(|size| {
        let (before, last) = response[response.len() - 2 * size..].split_at(*size);
        before == last
    });
    assert_eq!(row.trailing_cycle, cycle.map(|size| size as u32), "{label}: {response:?}");
    match response.len() {
        0..4 => {
            assert_eq!((row.rep_4, row.reason.as_deref()), (None, Some("fewer than 4 tokens")), "{label}")
        }
        length => {
            let grams: BTreeSet<&[i64]> = response.windows(4).collect();
            close(&label, row.rep_4, 1.0 - grams.len() as f64 / (length - 3) as f64, 1e-12);
        }
    }
    Ok(())
}

/// The most copies in a row, and the words after them, numbers and signs aside. Of a text of words, one by one.
fn longest_run(text: &str, phrase: &str) -> (usize, String) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let phrase: Vec<&str> = phrase.split_whitespace().collect();
    let is_word = |word: &&&str| word.contains(char::is_alphabetic);
    let mut found = (0, words.len());
    for start in 0..words.len() {
        let (mut copies, mut at, mut end) = (0, start, start);
        while words[at..].starts_with(&phrase) {
            copies += 1;
            end = at + phrase.len();
            at = end + words[end..].iter().take_while(|word| !is_word(word)).count();
        }
        if copies > found.0 {
            found = (copies, end);
        }
    }
    let rest: Vec<&str> = words[found.1..].iter().filter(is_word).copied().collect();
    (found.0, rest.join(" "))
}
