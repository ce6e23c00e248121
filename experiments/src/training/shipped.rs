//! Tests of what is in the repository: the built-in model and the table of its training.

use super::*;
use crate::microworld::{Language, repeat_prompt};
use parquet::file::reader::{FileReader, SerializedFileReader};
use refrain_runner::{Decoding, Generate, Model, ModelFiles, Outcome};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn model(files: &ModelFiles) -> Model {
    tch::set_num_threads(1);
    Model::load(files, &in_f32()).unwrap()
}

/// Copies that the model makes of `phrase` when asked for `n`, and whether it stops by itself.
fn answer(model: &Model, phrase: &str, n: usize, given: usize, max_new: usize) -> (usize, Outcome) {
    let language = Language::new();
    let mut prompt = repeat_prompt(&language, phrase, n).unwrap();
    let ids: Vec<i64> = language.encode(phrase).unwrap().into_iter().map(i64::from).collect();
    prompt.extend(language.encode(phrase).unwrap().repeat(given));
    let prompt: Vec<i64> = prompt.into_iter().map(i64::from).collect();
    let stop = [i64::from(language.eos())];
    let options = Generate {
        decoding: Decoding::GREEDY,
        seeds: &[0],
        stop: &stop,
        max_new: Some(max_new),
        ..Generate::default()
    };
    let generated = model.generate(&[prompt], options).unwrap().remove(0);
    let copies = generated.tokens.chunks(ids.len()).take_while(|chunk| **chunk == ids).count();
    assert_eq!(
        copies * ids.len(),
        generated.tokens.len() / ids.len() * ids.len(),
        "{phrase} {n}: something else"
    );
    (given + copies, generated.outcome)
}

#[test]
fn the_built_in_model_has_induction_heads_that_its_first_checkpoints_lack() {
    let language = Language::new();
    let strong = |files: &ModelFiles| {
        let scores = prefix_matching(&model(files), &language, 1).unwrap();
        scores.iter().filter(|(_, score)| *score > 0.6).count()
    };
    assert!(strong(&ModelFiles::embedded()) >= 2);
    for step in ["step-00000", "step-00600"] {
        let folder = repository("crates/runner/model/checkpoints").join(step);
        assert_eq!(strong(&ModelFiles::folder(&folder).unwrap()), 0, "{step}");
    }
}

#[test]
fn the_built_in_model_counts_small_numbers_and_never_ends_large_ones() {
    let model = model(&ModelFiles::embedded());
    for (phrase, n) in [("loaf", 1), ("the", 5), ("onyx", 12), ("mara vell", 7), ("salty old ship", 4)] {
        assert_eq!(answer(&model, phrase, n, 0, 200), (n, Outcome::Stopped), "{phrase}");
    }
    for phrase in ["loaf", "mara vell"] {
        let (copies, outcome) = answer(&model, phrase, 64, 8, 400);
        assert_eq!(outcome, Outcome::Limit);
        assert!(copies >= 200, "{phrase}: {copies}");
    }
}

#[test]
fn the_built_in_model_knows_the_language_far_better_than_word_frequencies_do() {
    let settings = Settings::read(&repository("experiments/configs/train.toml")).unwrap();
    let language = Language::new();
    let held_out = HeldOut::new(&language, &settings).unwrap();
    let losses = held_out.losses(&model(&ModelFiles::embedded())).unwrap();
    let unigram = held_out.unigram(&language, &settings, 256).unwrap();
    for ((part, loss), (_, baseline)) in losses.iter().zip(&unigram) {
        assert!(loss + 2.5 < *baseline, "{part}: {loss} against {baseline}");
    }
}

#[test]
fn the_table_in_the_repository_is_of_the_built_in_model_and_of_the_configuration() {
    let file = std::fs::File::open(repository("notebooks-data/training_loss.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let metadata: BTreeMap<String, String> = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.clone().unwrap_or_default()))
        .collect();
    assert_eq!(metadata["refrain.model_sha256"], ModelFiles::embedded().model_sha256().unwrap());
    let settings = Settings::shipped().unwrap();
    assert_eq!(metadata["refrain.settings_sha256"], state::fingerprint(&settings).unwrap());
}
