//! `head_scores`: every effect of every head by one full forward pass a head, and who is an induction head.

use refrain_entropy::stats::rng;
use refrain_patching::CopyTask;
use refrain_patching::table::{HeadScoreRow, HeadScores};
use refrain_runner::{HookPoint, NameFilter};
use refrain_tests::Result;
use refrain_tests::tiny::vocabulary;
use tch::{IndexOp, no_grad};

use crate::slow::{Finished, close, logits, patched};

const TRIALS: u32 = 6;

#[test]
fn effects_are_those_of_one_pass_a_head() -> Result {
    let run = Finished::run(&["--trials", "6"])?;
    let rows = run.rows::<HeadScores>()?;
    let plain: Vec<i64> = (3..vocabulary().len() as i64).collect();
    let task = CopyTask { m: 8, candidates: &plain, bos: Some(1) };
    let heads = run.model.heads();
    // Sums over the trials of patched - corrupted, by head, and of clean - corrupted.
    let (mut changes, mut whole) = (vec![0.0; heads.len()], 0.0);
    for trial in 0..TRIALS {
        let pair = task.draw(&mut rng(0, &format!("task/copy/{trial}")))?;
        let answer = pair.answer as usize;
        let clean = logits(&run.model, &pair.clean, &[])?[answer];
        let corrupted = logits(&run.model, &pair.corrupted, &[])?[answer];
        assert!((clean - corrupted).abs() > 0.01, "a trial that tells nothing: {clean} and {corrupted}");
        whole += clean - corrupted;
        for (index, head) in heads.iter().enumerate() {
            let value = patched(&run.model, &pair.clean, &pair.corrupted, *head, pair.answer)?;
            let effect = (value - corrupted) / (clean - corrupted);
            changes[index] += value - corrupted;
            let row = find(&rows, "logit", (head.layer, head.head), Some(trial))?;
            let label = format!("{head} trial {trial}");
            close(format!("{label} value"), row.value, value, 1e-4);
            close(format!("{label} clean"), row.clean_value, clean, 1e-4);
            close(format!("{label} corrupted"), row.corrupted_value, corrupted, 1e-4);
            // An effect is a quotient: its error is that of the logits by the difference.
            let tolerance = 1e-4 / (clean - corrupted).abs().min(1.0);
            close(format!("{label} change"), row.change, value - corrupted, 2e-4);
            close(format!("{label} effect"), row.effect, effect, tolerance);
        }
    }
    // Normalised after averaging: a trial that hardly tells clean from corrupted has little say.
    let means: Vec<f64> = changes.iter().map(|change| change / whole).collect();
    let strongest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for (head, mean) in heads.iter().zip(&means) {
        let row = find(&rows, "logit", (head.layer, head.head), None)?;
        close(format!("{head} mean"), row.effect, *mean, 1e-4 / (whole / f64::from(TRIALS)).abs().min(1.0));
        match row.ci_low.zip(row.ci_high) {
            Some((low, high)) => {
                assert!(low <= *mean && *mean <= high, "{head}: {mean} outside [{low}, {high}]")
            }
            None => assert!(row.reason.is_some(), "{row:?}"),
        }
        assert_eq!(row.selected, *mean == strongest, "{head} of {means:?}");
        assert_eq!(run.induction.contains(head), row.selected, "{head}");
    }
    Ok(())
}

/// The attention of each token to the one before it, and from each token of the second copy to the one after its first
/// occurrence.
#[test]
fn detectors_by_hand() -> Result {
    let run = Finished::run(&["--probes", "2"])?;
    let rows = run.rows::<HeadScores>()?;
    let (block, copies) = (10, 2);
    let plain: Vec<i64> = (3..vocabulary().len() as i64).collect();
    let probe =
        refrain_patching::detect::RepeatedSequence { block, copies, candidates: &plain, bos: Some(1) };
    for sequence in 0..2 {
        let tokens = probe.draw(&mut rng(0, &format!("probe/{sequence}")))?;
        assert_eq!(tokens[1..=block], tokens[block + 1..], "a block, twice");
        let ids = run.model.ids(std::slice::from_ref(&tokens))?;
        let (_, cache) =
            no_grad(|| run.model.run_with_cache(&ids, NameFilter::points(&[HookPoint::Pattern])))?;
        for head in run.model.heads() {
            let pattern = cache.block(head.layer, HookPoint::Pattern)?.i((0, head.head as i64));
            let at = |query: usize, key: usize| pattern.double_value(&[query as i64, key as i64]);
            let previous: f64 = (1..tokens.len()).map(|query| at(query, query - 1)).sum();
            let row = find(&rows, "previous_token", (head.layer, head.head), Some(sequence))?;
            close(format!("{head} previous token"), row.value, previous / (tokens.len() - 1) as f64, 1e-5);
            // Two copies: the token after the earlier occurrence stands block - 1 before the query.
            let queries = block + 1..tokens.len();
            let matching: f64 = queries.clone().map(|query| at(query, query - block + 1)).sum();
            let row = find(&rows, "prefix_matching_recent", (head.layer, head.head), Some(sequence))?;
            close(format!("{head} prefix matching"), row.value, matching / queries.len() as f64, 1e-5);
        }
    }
    Ok(())
}

fn find<'a>(
    rows: &'a [HeadScoreRow],
    metric: &str,
    head: (usize, usize),
    prompt: Option<u32>,
) -> Result<&'a HeadScoreRow> {
    let same = |row: &&HeadScoreRow| {
        row.metric.name() == metric
            && (row.layer as usize, row.head) == (head.0, Some(head.1 as u32))
            && row.prompt == prompt
    };
    let mut found = rows.iter().filter(same);
    let first = found.next().ok_or_else(|| format!("no row for {metric} {head:?} {prompt:?}"))?;
    assert!(found.next().is_none(), "two rows for {metric} {head:?} {prompt:?}");
    Ok(first)
}
