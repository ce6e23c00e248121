//! Controls: models that are wrong in one detail must be far outside the tolerances, or the tests above would show
//! nothing.

use std::collections::BTreeMap;
use std::fs;

use refrain_runner::{LoadOptions, Model, ModelFiles, family};
use refrain_tests::Result;
use refrain_tests::check::largest;
use refrain_tests::golden::{Golden, folder};
use tch::{Kind, Tensor, no_grad};

type Weights = BTreeMap<String, Tensor>;

/// How far the logits move when `config.json` (as text) and the weights are changed by `edit`.
fn moved(name: &str, edit: impl Fn(String, &mut Weights) -> String) -> Result<f64> {
    let golden = Golden::load(name)?;
    let mut weights: Weights = Tensor::read_safetensors(folder(name).join("model.safetensors"))?
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_kind(Kind::Double)))
        .collect();
    let config = edit(fs::read_to_string(folder(name).join("config.json"))?, &mut weights);
    let architecture = family::architecture(&family::Config::parse(config.as_bytes(), &[])?)?;
    let model = Model::from_tensors(architecture, weights)?;
    let ids = golden.get("input_ids")?;
    Ok(largest(&no_grad(|| model.logits(ids))?, golden.double("logits_f64")?))
}

fn replaced(config: String, from: &str, to: &str) -> String {
    assert_eq!(config.matches(from).count(), 1, "{from} in {config}");
    config.replace(from, to)
}

#[track_caller]
fn assert_far(name: &str, edit: impl Fn(String, &mut Weights) -> String) {
    let distance = moved(name, edit).expect("the wrong model runs");
    assert!(
        distance > 1e-3,
        "{name}: the wrong model is {distance:.1e} from transformers, which the tests could miss"
    );
}

#[test]
fn a_model_in_memory_that_is_not_changed_is_right() -> Result {
    for (name, _) in refrain_tests::golden::models()? {
        let distance = moved(&name, |config, _| config)?;
        assert!(distance < 1e-9, "{name}: {distance:.1e}");
    }
    Ok(())
}

#[test]
fn wrong_choices_in_the_configuration_show() {
    assert_far("llama-mha-untied", |config, _| {
        replaced(config, "\"rope_theta\": 500.0", "\"rope_theta\": 510.0")
    });
    assert_far("llama-mha-untied", |config, _| {
        replaced(config, "\"rms_norm_eps\": 0.01", "\"rms_norm_eps\": 0.011")
    });
    assert_far("llama-bias", |config, _| {
        replaced(config, "\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"")
    });
    assert_far("gpt2-untied", |config, _| {
        replaced(config, "\"layer_norm_epsilon\": 0.01", "\"layer_norm_epsilon\": 0.011")
    });
    let scale = "\"scale_attn_by_inverse_layer_idx\": ";
    assert_far("gpt2-odd", |config, _| replaced(config, &format!("{scale}true"), &format!("{scale}false")));
    // The two forms of GELU are that close to each other.
    let distance = moved("gpt2-odd", |config, _| replaced(config, "\"gelu\"", "\"gelu_new\"")).unwrap();
    assert!(distance > 1e-4, "{distance:.1e}");
}

#[test]
fn wrong_weights_show() {
    fn change(weights: &mut Weights, name: &str, by: impl Fn(&Tensor) -> Tensor) {
        let changed = by(&weights[name]);
        weights.insert(name.to_owned(), changed);
    }
    let second_layer = "model.layers.1.self_attn";
    assert_far("llama-mha-tied", |config, weights| {
        change(weights, &format!("{second_layer}.q_proj.weight"), Tensor::tr);
        config
    });
    // The two key heads exchanged: query heads grouped the wrong way round.
    assert_far("llama-gqa", |config, weights| {
        change(weights, &format!("{second_layer}.k_proj.weight"), |k| k.roll(k.size()[0] / 2, 0));
        config
    });
    // Queries paired as in the original Llama code, (0, 1), (2, 3), ..., and not by halves.
    assert_far("llama-mqa", |config, weights| {
        change(weights, &format!("{second_layer}.q_proj.weight"), |q| {
            q.reshape([4, 2, 5, -1]).transpose(1, 2).reshape([40, -1])
        });
        config
    });
    for bias in [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
    ] {
        assert_far("llama-bias", |config, weights| {
            change(weights, &format!("model.layers.0.{bias}.bias"), Tensor::zeros_like);
            config
        });
    }
    assert_far("gpt2-tied", |config, weights| {
        change(weights, "transformer.wpe.weight", |positions| positions.roll(1, 0));
        config
    });
    assert_far("gpt2-tied", |config, weights| {
        change(weights, "transformer.h.1.ln_2.bias", Tensor::zeros_like);
        config
    });
}

/// A weight lost from the file is an error, not a zero.
#[test]
fn a_lost_weight_is_named() -> Result {
    let (from, to) = (folder("llama-bias"), tempfile::tempdir()?);
    fs::copy(from.join("config.json"), to.path().join("config.json"))?;
    let weights = Tensor::read_safetensors(from.join("model.safetensors"))?;
    let lost = "model.layers.1.mlp.up_proj.bias";
    let left: Vec<_> = weights.into_iter().filter(|(name, _)| name != lost).collect();
    Tensor::write_safetensors(&left, to.path().join("model.safetensors"))?;
    let error = Model::load(&ModelFiles::folder(to.path())?, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains(&format!("`{lost}` is missing")), "{error}");
    Ok(())
}
