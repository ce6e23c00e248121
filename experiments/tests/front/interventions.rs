//! `--intervene`: what the programs do with a file of interventions is what the library does with them.

use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::read_table;
use refrain_patching::table::HeadScores;
use refrain_runner::{
    BoundInterventions, Decoding, Generate, Intervention, InterventionFile, LogitPositions, Model,
    NameFilter, Run,
};
use refrain_tests::Result;
use refrain_tests::program::Place;
use safetensors::SafeTensors;
use tch::{Kind, Tensor, no_grad};

use crate::{place, refrain};

const PROMPT: &str = "Please repeat this word: bab in 4 times";

/// Writes a file of interventions that change much, and returns them.
fn intervene(place: &Place) -> Result<Vec<Intervention>> {
    tch::set_num_threads(1);
    let vector: Vec<String> = (0..16).map(|i| format!("{}", 3.0 * f64::from(i % 3) - 2.0)).collect();
    let text = format!(
        r#"[{{"hook": "blocks.1.hook_resid_post", "action": {{"add": [{}]}}}},
            {{"hook": "blocks.0.attn.hook_z", "heads": [1], "action": "zero"}}]"#,
        vector.join(", ")
    );
    std::fs::write(place.path("file.json"), &text)?;
    Ok(InterventionFile::parse(&text)?.interventions)
}

#[test]
fn generate_is_the_librarys() -> Result {
    let place = place()?;
    let interventions = intervene(&place)?;
    let (model, tokenizer) = place.tiny.load()?;
    let tokens = tokenizer.encode_with_specials(PROMPT)?;
    let mut texts = Vec::new();
    for (own, flags) in [(&[][..], &[][..]), (&interventions, &["--intervene", "file.json"])] {
        let bound = BoundInterventions::new(model.architecture(), own, &[])?;
        let options = Generate {
            decoding: Decoding::GREEDY,
            seeds: &[0],
            stop: &model.architecture().eos,
            max_new: Some(12),
            interventions: Some(&bound),
            ..Generate::default()
        };
        let wanted = model.generate(std::slice::from_ref(&tokens), options)?.remove(0);
        let common = ["generate", "--model", "tiny", "--prompt", PROMPT, "--max-new-tokens", "12", "--quiet"];
        let ran = refrain(&place, &[&common[..], flags].concat())?.succeeded();
        assert_eq!(ran.stdout, format!("{}\n", tokenizer.decode(&wanted.tokens)?));
        texts.push(ran.stdout);
    }
    assert_ne!(texts[0], texts[1], "the interventions change nothing");
    Ok(())
}

#[test]
fn cache_keeps_what_a_run_keeps() -> Result {
    let place = place()?;
    let interventions = intervene(&place)?;
    let (model, tokenizer) = place.tiny.load()?;
    let tokens = tokenizer.encode_with_specials(PROMPT)?;
    let hooks = ["blocks.*.attn.hook_z", "blocks.1.hook_resid_post"];
    for (own, flags) in [(&[][..], &[][..]), (&interventions, &["--intervene", "file.json"])] {
        let common = ["cache", "--model", "tiny", "--prompt", PROMPT, "--out", "acts.safetensors", "--hooks"];
        refrain(&place, &[&common[..], &[&*hooks.join(",")], flags].concat())?.succeeded();
        let bytes = std::fs::read(place.path("acts.safetensors"))?;
        let found = SafeTensors::deserialize(&bytes)?;
        let bound = BoundInterventions::new(model.architecture(), own, &[])?;
        let run = Run { interventions: Some(&bound), names: NameFilter::parse(&hooks)?, ..Run::default() };
        let ids = model.ids(std::slice::from_ref(&tokens))?;
        let cache = no_grad(|| model.run(&ids, run))?.cache;
        let mut names = vec!["tokens".to_owned()];
        for hook in cache.hooks() {
            let (wanted, view) = (cache.get(hook)?, found.tensor(&hook.to_string())?);
            let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
            assert_eq!(shape, wanted.size(), "{hook}");
            assert!(Tensor::from_data_size(view.data(), &shape, Kind::Float) == *wanted, "{hook}");
            names.push(hook.to_string());
        }
        assert_eq!(names.len(), 4);
        names.sort();
        let mut there: Vec<&str> = found.names().into_iter().collect();
        there.sort_unstable();
        assert_eq!(there, names);
        let ids: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
        assert_eq!(found.tensor("tokens")?.data(), ids);
    }
    Ok(())
}

/// The logit of `answer` after `tokens`.
fn logit(model: &Model, tokens: &[i64], answer: i64, interventions: &[Intervention]) -> Result<f64> {
    let bound = BoundInterventions::new(model.architecture(), interventions, &[])?;
    let run = Run { interventions: Some(&bound), logits: LogitPositions::Last, ..Run::default() };
    let output = no_grad(|| model.run(&model.ids(&[tokens.to_vec()])?, run))?;
    Ok(output.logits()?.double_value(&[0, 0, answer]))
}

#[test]
fn heads_are_scored_in_runs_under_the_interventions() -> Result {
    let place = place()?;
    let interventions = intervene(&place)?;
    let (model, _) = place.tiny.load()?;
    let pairs =
        [([1, 20, 21, 22, 20], [1, 20, 23, 22, 20], 21), ([1, 40, 41, 42, 40], [1, 40, 50, 42, 40], 41)];
    let line = |(clean, corrupted, answer): &([i64; 5], [i64; 5], i64)| {
        format!("{{\"clean_ids\": {clean:?}, \"corrupted_ids\": {corrupted:?}, \"answer_id\": {answer}}}\n")
    };
    std::fs::write(place.path("pairs.jsonl"), pairs.iter().map(line).collect::<String>())?;
    let flags = ["--task", "pairs.jsonl", "--intervene", "file.json", "--no-figures", "--threads", "1"];
    refrain(&place, &[&["score-heads", "--model", "tiny", "--out", "out"], &flags[..]].concat())?.succeeded();
    let rows = HeadScores::rows(&read_table(&place.path("out/head_scores.parquet"))?)?;
    for (prompt, (clean, corrupted, answer)) in (0..).zip(&pairs) {
        let own: Vec<_> = rows.iter().filter(|row| row.prompt == Some(prompt)).collect();
        assert_eq!(own.len(), model.heads().len());
        for (tokens, of) in [(clean, 0), (corrupted, 1)] {
            let wanted = logit(&model, tokens, *answer, &interventions)?;
            let without = logit(&model, tokens, *answer, &[])?;
            assert!((wanted - without).abs() > 0.1, "the interventions change nothing");
            for row in &own {
                let found = [row.clean_value, row.corrupted_value][of].ok_or("no value")?;
                assert!((found - wanted).abs() < 1e-4, "{found} is not {wanted}: {row:?}");
            }
        }
    }
    Ok(())
}
