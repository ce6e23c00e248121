//! Pairs from files, and models without a tokenizer.

use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::{read_provenance, read_table};
use refrain_patching::Metric;
use refrain_patching::table::HeadScores;
use refrain_tests::Result;
use refrain_tests::program::Ran;
use refrain_tests::tiny::word;

use crate::{command, place, run, table};

#[test]
fn a_file_of_text() -> Result {
    let place = place()?;
    let [a, b, c, d] = [0, 5, 11, 17].map(word);
    let line = |clean: &str, corrupted: &str| {
        format!(
            "{{\"clean\": \"{clean}\", \"corrupted\": \"{corrupted}\", \"answer\": \"{b}\", \"foil\": \"{c}\"}}\n"
        )
    };
    let text = line(&format!("{a} {b} {d} {a}"), &format!("{a} {c} {d} {a}"))
        + &line(&format!("{a} {b} {a}"), &format!("{a} {c} {a}"));
    std::fs::write(place.path("pairs.jsonl"), &text)?;
    let ran = run(&place, &["--task", "pairs.jsonl"])?.succeeded();
    // BOS stands first.
    assert!(ran.stdout.contains("pairs.jsonl: 2 pairs of 4 to 5 tokens"), "{}", ran.stdout);
    let rows = HeadScores::rows(&read_table(&table(&place.out()))?)?;
    assert_eq!(rows.len(), 8 * 3);
    assert!(rows.iter().all(|row| row.metric == Metric::LogitDiff.into()));
    assert_eq!(read_provenance(&table(&place.out()))?.get("task").map(String::as_str), Some("file"));
    // The same pairs under another name are the same run; others are not.
    std::fs::rename(place.path("pairs.jsonl"), place.path("moved.jsonl"))?;
    let again = run(&place, &["--task", "moved.jsonl"])?.succeeded();
    assert!(again.stderr.contains("holds this run already"), "{again:?}");
    std::fs::write(place.path("moved.jsonl"), text.replace(&d, &word(23)))?;
    run(&place, &["--task", "moved.jsonl"])?.refused(&["contents of the prompts:"]);
    Ok(())
}

#[test]
fn faults_are_told_and_incorrect_answers_asked_for() -> Result {
    let place = place()?;
    let good = "{\"clean_ids\": [1, 20, 21], \"corrupted_ids\": [1, 22, 21], \"answer_id\": 20}\n";
    std::fs::write(place.path("pairs.jsonl"), format!("{good}{{\"clean_ids\": [1]}}\n{{oops\n"))?;
    run(&place, &["--task", "pairs.jsonl"])?.refused(&[
        "pairs.jsonl: two lines cannot be used:\n  line 2: lacks the key `corrupted_ids`\n  line 3: is not JSON: ",
    ]);
    std::fs::write(place.path("pairs.jsonl"), good.repeat(3))?;
    run(&place, &["--task", "pairs.jsonl", "--metric", "logit_diff"])?.refused(&[
        "logit_diff needs an incorrect answer in every pair, and 3 of the 3 pairs of pairs.jsonl have none",
        "hint: without one, choose from logit, log_prob",
    ]);
    run(&place, &["--task", "pairs.jsonl", "--pairs", "4"])?.refused(&["--pairs 4: pairs.jsonl has 3"]);
    let ran = run(&place, &["--task", "pairs.jsonl", "--pairs", "1"])?.succeeded();
    assert!(ran.stdout.contains("activation-patching of z (denoise): logit\n"), "{}", ran.stdout);
    Ok(())
}

#[test]
fn random_tokens_and_ids_need_no_tokenizer() -> Result {
    let place = place()?;
    std::fs::remove_file(place.tiny.path("tokenizer.json"))?;
    run(&place, &[])?.succeeded();
    assert!(!read_provenance(&table(&place.out()))?.contains_key("tokenizer_sha256"));
    run(&place, &["--task", "ioi"])?.refused(&["`ioi` is text, and the model has no tokenizer", "hint: "]);
    std::fs::write(place.path("text.jsonl"), "{\"clean\": \"a\", \"corrupted\": \"b\", \"answer\": \"c\"}")?;
    run(&place, &["--task", "text.jsonl"])?.refused(&["line 1: is text, and the model has no tokenizer"]);
    let ids = "{\"clean_ids\": [5, 6], \"corrupted_ids\": [5, 7], \"answer_id\": 8, \"foil_id\": 9}";
    std::fs::write(place.path("ids.jsonl"), ids)?;
    Ran::of(&mut command(&place, &place.path("other"), &["--task", "ids.jsonl"]))?.succeeded();
    Ok(())
}
