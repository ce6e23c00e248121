//! Wordings of the instruction, tried and chosen, on the built-in model, which follows all of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use refrain_entropy::repetition::text::Copies;
use refrain_entropy::schema::Table;
use refrain_entropy::table::{
    CountSweep, End, PromptKind, Prompts, ResponseRow, Responses, WordingRow, Wordings,
};
use refrain_experiments::lab::disk::read_table;
use refrain_tests::Result;
use refrain_tests::program::{Place, Ran, files};

use crate::place;

fn rows<T: Table>(out: &Path) -> Result<Vec<T::Row>> {
    Ok(T::rows(&read_table(&out.join(format!("{}.parquet", T::NAME)))?)?)
}

/// Counts on the built-in model, into `out`.
fn counted(place: &Place, out: &str, arguments: &[&str]) -> Result<Ran> {
    let small = ["--counts", "2,16", "--phrases", "1", "--max-new-tokens", "40", "--threads", "1"];
    let always = ["--counts-only", "--no-figures", "--out", out];
    Ok(Ran::of(&mut place.bare(&[&small[..], &always, arguments].concat()))?.succeeded())
}

/// The word and the number that an answer is to.
fn asked(row: &ResponseRow) -> Option<(&str, &str, usize)> {
    let mut parts = row.prompt_id.strip_prefix("wording/")?.split('/');
    Some((parts.next()?, parts.next()?, parts.next()?.parse().ok()?))
}

#[test]
fn the_wording_that_is_followed_best_asks_everything() -> Result {
    let place = place()?;
    let ran = counted(&place, "out", &["--try-wordings", "on"])?;
    let out = place.path("out");
    let (wordings, responses) = (rows::<Wordings>(&out)?, rows::<Responses>(&out)?);
    let of = |wording: &str, n: Option<u32>| -> Result<WordingRow> {
        let row = wordings.iter().find(|row| row.wording == wording && row.n == n);
        Ok(row.ok_or("no such wording")?.clone())
    };
    assert_eq!(wordings.len(), 3 * 4, "{wordings:#?}");
    // Shares by hand from the answers; every copy is a word of the answer.
    let mut scores = BTreeMap::new();
    let mut words = BTreeSet::new();
    for wording in ["repeat", "say", "write"] {
        let answers: Vec<_> =
            responses.iter().filter(|row| asked(row).is_some_and(|(name, ..)| name == wording)).collect();
        assert_eq!(answers.len(), 18);
        let (mut followed, mut exact) = (0, 0);
        for answer in answers {
            let (_, word, n) = asked(answer).ok_or("not a trial")?;
            words.insert(word.to_owned());
            let copies = Copies::of(word, &answer.text);
            followed += usize::from(copies.longest >= 2);
            let only = answer.text.split_whitespace().all(|found| found == word);
            exact += usize::from(copies.longest == n && only && answer.end == End::Stopped);
        }
        let row = of(wording, None)?;
        assert_eq!((row.followed, row.exact), (followed as f64 / 18.0, exact as f64 / 18.0), "{row:?}");
        let parts: Vec<WordingRow> =
            [2, 4, 8].map(|n| of(wording, Some(n))).into_iter().collect::<Result<_>>()?;
        assert!(parts.iter().all(|part| part.n_runs == 6 && part.chosen == row.chosen), "{parts:?}");
        assert!((parts.iter().map(|part| part.exact).sum::<f64>() / 3.0 - row.exact).abs() < 1e-12);
        scores.insert(wording, followed + exact);
    }
    let chosen: BTreeSet<&str> =
        wordings.iter().filter(|row| row.chosen).map(|row| &row.wording[..]).collect();
    let chosen = chosen.first().ok_or("none is chosen")?;
    assert!(scores.values().all(|score| *score <= scores[chosen]), "{scores:?}: {chosen}");
    assert_eq!(of(chosen, None)?.format.as_deref(), Some("phrase phrase phrase"), "as it was trained");
    // The words are none that are counted, and what is counted is asked in the wording.
    let counts = rows::<CountSweep>(&out)?;
    assert_eq!(words.len(), 6);
    assert!(counts.iter().all(|row| row.phrase.split(' ').all(|word| !words.contains(word))), "{words:?}");
    let template = of(chosen, None)?.template;
    for prompt in rows::<Prompts>(&out)?.iter().filter(|prompt| prompt.kind == PromptKind::Count) {
        let row = counts.iter().find(|row| row.prompt_id == prompt.prompt_id).ok_or("not counted")?;
        let text = template.replace("{phrase}", &row.phrase).replace("{n}", &row.n.to_string());
        // The vocabulary writes numbers digit by digit.
        let plain = |text: &str| text.replace("<bos>", "").replace(' ', "");
        assert!(plain(&prompt.text).starts_with(&plain(&text)), "{prompt:?}");
    }
    // The summary says so, with ten answers.
    let examples =
        ran.stdout.lines().filter(|line| [2, 4, 8].iter().any(|n| line.contains(&format!(" x {n}: "))));
    assert_eq!(examples.count(), 10, "{ran:#?}");
    let marked = |line: &str| line.split_whitespace().take(2).eq(["*", chosen]);
    assert!(ran.stdout.lines().any(marked), "{ran:#?}");
    Ok(())
}

#[test]
fn a_wording_that_is_given_is_not_chosen() -> Result {
    let place = place()?;
    let given = ["--template", "say {phrase} {n} times :"];
    counted(&place, "tried", &[&given[..], &["--try-wordings", "on"]].concat())?;
    let wordings = rows::<Wordings>(&place.path("tried"))?;
    assert!(wordings.iter().all(|row| row.wording == "given" && row.chosen) && wordings.len() == 4);
    // The built-in model has no chat template, and so nothing is tried unless it is asked for.
    counted(&place, "plain", &given)?;
    let untried = files(&place.path("plain")).iter().all(|path| !path.ends_with("wordings.parquet"));
    assert!(untried && rows::<Responses>(&place.path("plain"))?.iter().all(|row| asked(row).is_none()));
    // It answers in the format that copies in the prompt have anyway.
    let (tried, plain) =
        (rows::<CountSweep>(&place.path("tried"))?, rows::<CountSweep>(&place.path("plain"))?);
    assert_eq!(tried, plain);
    Ok(())
}

#[test]
fn the_choice_is_the_same_when_a_run_is_taken_up() -> Result {
    let place = place()?;
    let arguments = ["--try-wordings", "on"];
    counted(&place, "whole", &arguments)?;
    let staged = |stage: &str| counted(&place, "staged", &[&arguments[..], &["--stage", stage]].concat());
    staged("wordings")?;
    staged("conditions")?;
    counted(&place, "staged", &arguments)?;
    let (whole, staged) = (place.path("whole"), place.path("staged"));
    assert_eq!(rows::<Wordings>(&whole)?, rows::<Wordings>(&staged)?);
    assert_eq!(rows::<Prompts>(&whole)?, rows::<Prompts>(&staged)?);
    assert_eq!(rows::<Responses>(&whole)?, rows::<Responses>(&staged)?);
    assert_eq!(rows::<CountSweep>(&whole)?, rows::<CountSweep>(&staged)?);
    Ok(())
}
