//! Gemma 3 and 4 as published, beside towers for images and sound: what is passed over, and what still is not.

use std::path::Path;

use refrain_runner::{LoadOptions, Model, ModelFiles};
use refrain_tests::Result;
use refrain_tests::golden::{folder, model};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

type Weights = Vec<(String, Tensor)>;

/// Loads `name` after a change to its files.
fn changed(
    name: &str,
    change: impl FnOnce(&mut Value, &mut Weights),
) -> Result<std::result::Result<Model, String>> {
    let dir = tempfile::tempdir()?;
    let mut config = serde_json::from_slice(&std::fs::read(folder(name).join("config.json"))?)?;
    let mut weights = Tensor::read_safetensors(folder(name).join("model.safetensors"))?;
    change(&mut config, &mut weights);
    std::fs::write(dir.path().join("config.json"), config.to_string())?;
    Tensor::write_safetensors(&weights, dir.path().join("model.safetensors"))?;
    Ok(load(dir.path()))
}

fn load(folder: &Path) -> std::result::Result<Model, String> {
    let files = ModelFiles::folder(folder).map_err(|error| error.to_string())?;
    Model::load(&files, &LoadOptions::default()).map_err(|error| error.to_string())
}

fn refused(name: &str, word: &str, change: impl FnOnce(&mut Value, &mut Weights)) -> Result {
    let error = changed(name, change)?.err().ok_or(format!("{name}: {word} was let through"))?;
    assert!(error.contains(word), "{name}: {error}");
    Ok(())
}

const ALL: [(&str, &str, &str); 3] = [
    ("gemma3-images", "language_model.model.", "vision_tower."),
    ("gemma3-images-newer", "model.language_model.", "model.vision_tower."),
    ("gemma4-images", "model.language_model.", "model.audio_tower."),
];

#[test]
fn a_tensor_of_a_tower_is_passed_over_and_no_other() -> Result {
    let one = || Tensor::ones([1], (Kind::Float, tch::Device::Cpu));
    for (name, text, tower) in ALL {
        changed(name, |_, weights| weights.push((format!("{tower}more.weight"), one())))??;
        changed(name, |_, weights| weights.retain(|(name, _)| !name.starts_with(tower)))??;
        let extra = format!("{text}layers.0.more.weight");
        refused(name, &extra, |_, weights| weights.push((extra.clone(), one())))?;
        refused(name, "more.weight", |_, weights| weights.push(("more.weight".into(), one())))?;
        let norm = format!("{text}norm.weight");
        refused(name, &norm, |_, weights| weights.retain(|(name, _)| *name != norm))?;
    }
    Ok(())
}

#[test]
fn a_key_about_images_is_passed_over_and_no_other() -> Result {
    for (name, ..) in ALL {
        changed(name, |config, _| config["vision_soft_tokens_per_image"] = json!(280))??;
        refused(name, "`more`", |config, _| config["more"] = json!(1))?;
        refused(name, "`more`", |config, _| config["text_config"]["more"] = json!(1))?;
        refused(name, "`vision_config`", |config, _| {
            config["text_config"]["vision_config"] = json!({"a": 1})
        })?;
        refused(name, "llama", |config, _| config["text_config"]["model_type"] = json!("llama"))?;
        refused(name, "`text_config`", |config, _| config["text_config"] = Value::Null)?;
        refused(name, "bidirectional", |config, _| {
            config["text_config"]["use_bidirectional_attention"] = json!("all");
        })?;
    }
    refused("gemma3-images", "final_logit_softcapping", |config, _| {
        config["text_config"]["final_logit_softcapping"] = json!(30.0);
    })
}

/// Ties and the tokens that end a text are those of the outer object.
#[test]
fn the_outer_object_wins() -> Result {
    let [older, newer, four] = ALL.map(|(name, ..)| model(name, Kind::Float));
    let (older, newer, four) = (older?, newer?, four?);
    assert_eq!([older.architecture(), newer.architecture()].map(|arch| arch.embedding.tied), [true, false]);
    assert_eq!(older.architecture().family, "gemma3");
    assert_eq!(four.architecture().family, "gemma4");
    assert_eq!(older.architecture().eos, [2, 5]);
    assert_eq!(newer.architecture().eos, [2]);
    assert_eq!(four.architecture().bos, Some(1));
    Ok(())
}

/// A tied model may store its head, if it is the embedding.
#[test]
fn a_stored_head_of_a_tied_model() -> Result {
    let head = "language_model.lm_head.weight";
    let embedding = |weights: &Weights| {
        weights
            .iter()
            .find(|(name, _)| name.ends_with("embed_tokens.weight"))
            .map(|(_, tensor)| tensor.copy())
    };
    let add = |weights: &mut Weights, factor: f64| {
        let tensor = embedding(weights).map(|tensor| (head.to_owned(), tensor * factor));
        weights.extend(tensor);
    };
    changed("gemma3-images", |_, weights| add(weights, 1.0))??;
    refused("gemma3-images", "differs from the embedding", |_, weights| add(weights, 2.0))?;
    let untied = changed("gemma3-images", |config, weights| {
        config["tie_word_embeddings"] = json!(false);
        add(weights, 2.0);
    })??;
    assert!(!untied.architecture().embedding.tied);
    Ok(())
}
