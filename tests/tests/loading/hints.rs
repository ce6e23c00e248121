//! Folders that other tools write and that cannot be loaded: the error says what is wrong and what to do.

use refrain_runner::{LoadOptions, Model, ModelFiles, Tokenizer};
use refrain_tests::Result;
use refrain_tests::tiny::Tiny;
use serde_json::json;
use tch::Kind;

/// The tiny model, changed and written, is refused with `words` and a hint.
#[track_caller]
fn refused(change: impl FnOnce(&mut Tiny), words: &[&str]) {
    let error = || -> Result<String> {
        let dir = tempfile::tempdir()?;
        let mut tiny = Tiny::new(dir.path())?;
        change(&mut tiny);
        tiny.write()?;
        let files = ModelFiles::folder(&tiny.folder)?;
        Ok(Model::load(&files, &LoadOptions::default()).err().ok_or("it was loaded")?.to_string())
    };
    let error = error().unwrap_or_else(|error| panic!("{error}"));
    for word in words.iter().chain(&["\nhint: "]) {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

fn rename(tiny: &mut Tiny, name: impl Fn(&str) -> String) {
    tiny.weights = std::mem::take(&mut tiny.weights).into_iter().map(|(old, t)| (name(&old), t)).collect();
}

#[test]
fn a_head_that_is_missing_may_be_the_embedding() -> Result {
    let headless = |tiny: &mut Tiny| drop(tiny.weights.remove("lm_head.weight"));
    refused(headless, &["`lm_head.weight` is missing", "set `tie_word_embeddings` to true"]);
    // The hint works.
    let dir = tempfile::tempdir()?;
    let mut tiny = Tiny::new(dir.path())?;
    headless(&mut tiny);
    tiny.config["tie_word_embeddings"] = true.into();
    tiny.write()?;
    Model::load(&ModelFiles::folder(dir.path())?, &LoadOptions::default())?;
    Ok(())
}

#[test]
fn a_tensor_that_is_missing_may_have_another_name() {
    // Saved from LlamaModel, without the head and the prefix.
    refused(
        |tiny| rename(tiny, |name| name.trim_start_matches("model.").to_owned()),
        &["`model.embed_tokens.weight` is missing", "`embed_tokens.weight` is there", "AutoModelForCausalLM"],
    );
    // Wrapped, as adapters and compiled models are.
    refused(
        |tiny| rename(tiny, |name| format!("_orig_mod.{name}")),
        &["`_orig_mod.model.embed_tokens.weight` is there"],
    );
    let missing = "model.layers.1.mlp.up_proj.weight";
    refused(
        |tiny| drop(tiny.weights.remove(missing)),
        &[missing, "check that config.json belongs to these weights"],
    );
}

#[test]
fn a_tensor_too_many_says_where_to_look() {
    let extra = |tiny: &mut Tiny| {
        tiny.weights
            .insert("model.layers.0.mlp.up_proj.bias".into(), tch::Tensor::zeros([24], tch::kind::FLOAT_CPU));
    };
    refused(extra, &["`model.layers.0.mlp.up_proj.bias`", "states every part of the model (biases"]);
}

#[test]
fn quantised_weights_are_told_from_broken_ones() {
    let before = "take the checkpoint from before quantisation";
    // libtorch writes no 8-bit floats; they take the same way as these.
    for kind in [Kind::Int8, Kind::Uint8] {
        let name = "model.layers.0.mlp.up_proj.weight";
        let narrow = |tiny: &mut Tiny| {
            let tensor = tiny.weights[name].to_kind(kind);
            tiny.weights.insert(name.into(), tensor);
        };
        refused(narrow, &[name, "is stored as", "weights in it are quantised", before]);
    }
    // GPTQ, AWQ and compressed-tensors have other tensors in the weight's stead.
    for end in ["qweight", "weight_packed"] {
        let name = "model.layers.0.self_attn.q_proj.weight";
        let other = format!("model.layers.0.self_attn.q_proj.{end}");
        let packed = |tiny: &mut Tiny| {
            let tensor = tiny.weights.remove(name).map(|tensor| tensor.to_kind(Kind::Int));
            tiny.weights.extend(tensor.map(|tensor| (other.clone(), tensor)));
        };
        refused(packed, &[name, "is missing", &format!("`{other}` is there"), "quantised", before]);
    }
    let stated = |tiny: &mut Tiny| tiny.config["quantization_config"] = json!({"quant_method": "fp8"});
    refused(stated, &["`quantization_config`: weights that are quantised (fp8)", before]);
}

fn tokenizer(spoil: impl FnOnce(&mut Tiny) -> Result) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let mut tiny = Tiny::new(dir.path())?;
    tiny.write()?;
    spoil(&mut tiny)?;
    let loaded = Tokenizer::load(&ModelFiles::folder(dir.path())?, 80);
    Ok(loaded.err().ok_or("it was loaded")?.to_string())
}

#[test]
fn a_tokenizer_in_another_form_is_named() -> Result {
    let gone = |tiny: &mut Tiny| Ok(std::fs::remove_file(tiny.path("tokenizer.json"))?);
    let error = tokenizer(gone)?;
    let how = "AutoTokenizer.from_pretrained(\"DIR\").save_pretrained(\"DIR\")";
    assert!(error.contains("tokenizer.json: does not exist\nhint: ") && error.contains(how), "{error}");
    for others in [&["merges.txt", "vocab.json"][..], &["tokenizer.model"], &["vocab.txt"]] {
        let error = tokenizer(|tiny| {
            others.iter().try_for_each(|file| std::fs::write(tiny.path(file), "x"))?;
            gone(tiny)
        })?;
        let found = format!("a tokenizer in another form ({})\nhint: ", others.join(", "));
        assert!(error.contains(&found) && error.contains(how), "{error}");
    }
    Ok(())
}

#[test]
fn a_tokenizer_of_another_version_is_told_from_a_broken_one() -> Result {
    let newer = "another version of the tokenizers library";
    for (key, value) in [
        ("pre_tokenizer", json!({"type": "NewThing"})),
        ("normalizer", json!({"type": "NewThing", "x": 1})),
        ("model", json!({"type": "NewThing", "vocab": {}})),
        ("decoder", json!({"type": "NewThing"})),
    ] {
        let error = tokenizer(|tiny| {
            tiny.tokenizer[key] = value;
            tiny.write()
        })?;
        assert!(error.contains(newer) && error.contains("\nhint: "), "{key}: {error}");
    }
    let cut = tokenizer(|tiny| {
        let text = std::fs::read(tiny.path("tokenizer.json"))?;
        Ok(std::fs::write(tiny.path("tokenizer.json"), &text[..text.len() / 2])?)
    })?;
    assert!(cut.contains("is not JSON") && cut.contains("hint: fetch or copy it again"), "{cut}");
    assert!(!cut.contains(newer), "{cut}");
    Ok(())
}
