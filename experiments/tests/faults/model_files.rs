//! Model folders that cannot be used, tensor by tensor, and tokenizers of other models.

use refrain_tests::Result;
use refrain_tests::program::{Place, Ran};
use serde_json::{Value, json};
use tch::{IndexOp, Tensor};

use crate::place;

/// Runs a place whose model `spoil` has changed: it must be refused with `words`, and leave nothing.
fn refused(spoil: impl FnOnce(&mut Place) -> Result, words: &[&str]) -> Result {
    let mut place = place()?;
    spoil(&mut place)?;
    place.run(&[])?.refused(words);
    place.no_table();
    assert!(!place.out().exists(), "an output folder for a model that cannot be used");
    Ok(())
}

/// Writes the model with other weights.
fn weights(change: impl FnOnce(&mut Place) -> Result, words: &[&str]) -> Result {
    refused(|place| change(place).and_then(|()| place.tiny.write()), words)
}

#[test]
fn a_missing_folder() -> Result {
    let place = place()?;
    let ran = Ran::of(&mut place.bare(&["--model", "nowhere", "--out", "out"]))?;
    ran.refused(&["nowhere", "does not exist", "hint: --model takes a local folder"]);
    let ran = Ran::of(&mut place.bare(&["--model", "texts.txt", "--out", "out"]))?;
    ran.refused(&["texts.txt", "hint: --model takes a local folder"]);
    place.no_table();
    Ok(())
}

#[test]
fn a_missing_file() -> Result {
    for (file, hint) in [
        ("config.json", "hint: a model folder holds config.json, model.safetensors and tokenizer.json"),
        ("model.safetensors", "hint: a model folder holds its weights as safetensors"),
        ("tokenizer.json", "hint: put the model's tokenizer.json beside its weights"),
    ] {
        let gone = |place: &mut Place| Ok(std::fs::remove_file(place.tiny.path(file))?);
        refused(gone, &[&format!("tiny/{file}"), "does not exist", hint])?;
    }
    Ok(())
}

#[test]
fn an_empty_file() -> Result {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let emptied = |place: &mut Place| Ok(std::fs::write(place.tiny.path(file), "")?);
        refused(emptied, &[&format!("tiny/{file}"), "is empty"])?;
    }
    Ok(())
}

#[test]
fn a_folder_where_a_file_should_be() -> Result {
    let folder = |place: &mut Place| {
        std::fs::remove_file(place.tiny.path("model.safetensors"))?;
        Ok(std::fs::create_dir(place.tiny.path("model.safetensors"))?)
    };
    refused(folder, &["tiny/model.safetensors"])
}

#[test]
fn a_missing_tensor() -> Result {
    let name = "model.layers.1.self_attn.k_proj.weight";
    let missing = |place: &mut Place| {
        place.tiny.weights.remove(name);
        Ok(())
    };
    weights(missing, &[&format!("tensor `{name}` is missing"), "tiny/model.safetensors"])
}

#[test]
fn a_tensor_of_another_shape() -> Result {
    let name = "model.layers.0.mlp.down_proj.weight";
    let turned = |place: &mut Place| {
        let tensor = place.tiny.weights[name].tr().contiguous();
        place.tiny.weights.insert(name.into(), tensor);
        Ok(())
    };
    weights(turned, &[name, "has shape [24, 16]", "config.json implies [16, 24]"])
}

#[test]
fn a_tensor_of_whole_numbers() -> Result {
    let name = "model.norm.weight";
    let counted = |place: &mut Place| {
        let tensor = place.tiny.weights[name].to_kind(tch::Kind::Int64);
        place.tiny.weights.insert(name.into(), tensor);
        Ok(())
    };
    weights(counted, &[name, "is stored as I64", "not supported"])
}

#[test]
fn a_tensor_too_many() -> Result {
    let name = "model.layers.2.mlp.up_proj.weight";
    let extra = |place: &mut Place| {
        place.tiny.weights.insert(name.into(), Tensor::zeros([24, 16], tch::kind::FLOAT_CPU));
        Ok(())
    };
    weights(extra, &[name, "has no such weight"])
}

#[test]
fn nan_and_infinity_among_the_weights() -> Result {
    let name = "model.layers.1.mlp.gate_proj.weight";
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let spoiled = |place: &mut Place| {
            let _ = place.tiny.weights[name].i((5, 3)).fill_(value);
            Ok(())
        };
        weights(spoiled, &[&format!("tensor `{name}` holds NaN or infinity"), "tiny/model.safetensors"])?;
    }
    Ok(())
}

/// Finite weights whose products are not: no table of NaN.
#[test]
fn weights_that_overflow() -> Result {
    let mut place = place()?;
    for name in ["model.norm.weight", "lm_head.weight"] {
        let huge = &place.tiny.weights[name] * 1e30;
        place.tiny.weights.insert(name.into(), huge);
    }
    place.tiny.write()?;
    place.run(&[])?.refused(&["scoring the heads", "not a number"]);
    place.no_table();
    Ok(())
}

/// Writes `config.json` or `tokenizer.json` after a change.
fn config(change: impl FnOnce(&mut Value), words: &[&str]) -> Result {
    let changed = |place: &mut Place| {
        change(&mut place.tiny.config);
        place.tiny.write()
    };
    refused(changed, words)
}

#[test]
fn an_unknown_family() -> Result {
    let words = [
        "config.json",
        "model_type `mamba` is not supported",
        "hint: supported families are ",
        "gpt2",
        "llama",
    ];
    config(|config| config["model_type"] = json!("mamba"), &words)
}

#[test]
fn keys_of_config_json() -> Result {
    let words =
        ["key `sliding_window` = 32", "may change the computation", "--allow-config-key sliding_window"];
    config(|config| config["sliding_window"] = json!(32), &words)?;
    // The hint works.
    let mut place = place()?;
    place.tiny.config["sliding_window"] = json!(32);
    place.tiny.write()?;
    place.run(&["--allow-config-key", "sliding_window"])?.succeeded();
    config(
        |config| config["hidden_size"] = json!("16"),
        &["`hidden_size` must be a whole number", "\"16\""],
    )?;
    let headless = |config: &mut Value| {
        config.as_object_mut().map(|keys| keys.remove("num_attention_heads"));
    };
    config(headless, &["`num_attention_heads` is missing"])?;
    // Sizes that no machine has.
    config(
        |config| config["vocab_size"] = json!(u64::MAX),
        &["config.json", "vocabulary: 18446744073709551615"],
    )?;
    config(
        |config| config["num_hidden_layers"] = json!(1u64 << 40),
        &["config.json", "layers: 1099511627776"],
    )
}

#[test]
fn a_config_that_is_no_json() -> Result {
    for text in ["{\"model_type\": \"llama\",", "model_type = llama", "[1, 2]", "\u{0}\u{1}"] {
        let broken = |place: &mut Place| Ok(std::fs::write(place.tiny.path("config.json"), text)?);
        refused(broken, &["config.json", "JSON"])?;
    }
    Ok(())
}

#[test]
fn a_tokenizer_of_another_model() -> Result {
    let larger = |place: &mut Place| {
        place.tiny.tokenizer["model"]["vocab"]["stranger"] = json!(80);
        place.tiny.write()
    };
    let words = ["tokenizer", "tiny/tokenizer.json", "\"stranger\" has id 80", "the model has 80 tokens"];
    refused(larger, &words)?;
    let wordless = |place: &mut Place| {
        let ids: serde_json::Map<String, Value> = (0..80)
            .map(|id| {
                (if id < 3 { ["<unk>", "<bos>", "<eos>"][id].into() } else { format!("{id}") }, json!(id))
            })
            .collect();
        place.tiny.tokenizer["model"]["vocab"] = Value::Object(ids);
        place.tiny.write()
    };
    refused(wordless, &["the vocabulary has 0 words", "needs a tokenizer with whole words"])
}

#[test]
fn a_broken_tokenizer() -> Result {
    let versions = |model: &str| format!("{{\"version\": \"1.0\", \"model\": {model}}}");
    for text in [
        "{}".to_owned(),
        "not JSON".into(),
        "[]".into(),
        versions("{\"type\": \"Astrology\"}"),
        versions("{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}"),
        versions("{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"ab\"]}"),
        versions("{\"type\": \"Unigram\", \"vocab\": [], \"unk_id\": 3}"),
        versions("{\"type\": \"WordLevel\", \"vocab\": {}, \"unk_token\": \"u\"}"),
        versions("{\"type\": \"WordLevel\", \"vocab\": {\"a\": 5000000000}, \"unk_token\": \"u\"}"),
        versions("{\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}"),
    ] {
        let broken = |place: &mut Place| Ok(std::fs::write(place.tiny.path("tokenizer.json"), &text)?);
        refused(broken, &["tokenizer", "tiny/tokenizer.json"])?;
    }
    Ok(())
}

#[test]
fn counts_that_are_no_counts() -> Result {
    let broken = |place: &mut Place| Ok(std::fs::write(place.tiny.path("token_counts.json"), "[1]")?);
    refused(broken, &["token_counts.json is not an object of counts"])
}
