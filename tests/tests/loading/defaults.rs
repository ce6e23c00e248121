//! Keys that `config.json` leaves out: what holds then are the defaults of transformers' configuration classes.

use refrain_runner::Architecture;
use refrain_runner::family::{Config, architecture};
use refrain_tests::Result;
use serde_json::{Value, json};

/// A configuration with the sizes that every family must state, and `more`.
fn config(family: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": family, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6,
        "num_attention_heads": 32, "vocab_size": 50, "max_position_embeddings": 8192, "moe_intermediate_size": 8,
        "num_experts": 4, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 8, "num_local_experts": 4,
        "n_embd": 512, "n_head": 4, "n_layer": 2, "n_positions": 64,
    });
    let unused: &[&str] = match family {
        "gptj" => &[],
        _ => &["n_embd", "n_head", "n_layer", "n_positions"],
    };
    let mixture = family.ends_with("moe") || family == "mixtral";
    let experts = ["moe_intermediate_size", "num_experts", "num_experts_per_tok"];
    let others = ["shared_expert_intermediate_size", "num_local_experts"];
    if let Some(keys) = config.as_object_mut() {
        keys.retain(|key, _| {
            let key = key.as_str();
            let wrong = match family {
                "qwen2_moe" => key == "num_local_experts",
                "qwen3_moe" => others.contains(&key),
                "mixtral" => {
                    ["moe_intermediate_size", "num_experts", "shared_expert_intermediate_size"].contains(&key)
                }
                "gptj" => !key.starts_with("n_") && key != "vocab_size" && key != "model_type",
                _ => false,
            };
            !(unused.contains(&key) || wrong || !mixture && (experts.contains(&key) || others.contains(&key)))
        });
        keys.extend(more.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    config
}

fn read(config: &Value) -> refrain_runner::Result<Architecture> {
    architecture(&Config::parse(config.to_string().as_bytes(), &[])?)
}

/// Key and value heads, width of a head, and the windows of the first and the last layer.
type Read = (usize, usize, [Option<usize>; 2]);

fn summary(arch: &Architecture) -> Read {
    let (first, last) = (&arch.layers[0], &arch.layers[arch.layers.len() - 1]);
    (first.n_kv_heads, first.d_head, [first.window, last.window])
}

#[test]
fn defaults_are_those_of_transformers() -> Result {
    let sliding = json!({"use_sliding_window": true, "max_window_layers": 3});
    let cases: [(&str, Value, Read); 14] = [
        ("llama", json!({}), (32, 2, [None, None])),
        ("mistral", json!({}), (8, 2, [Some(4096), Some(4096)])),
        ("mixtral", json!({}), (8, 2, [None, None])),
        ("gemma", json!({"num_attention_heads": 16}), (16, 256, [None, None])),
        ("gemma2", json!({}), (4, 256, [Some(4096), None])),
        ("gemma3_text", json!({}), (4, 256, [Some(4096), None])),
        ("gemma4_text", json!({"hidden_size_per_layer_input": 0}), (4, 256, [Some(512), None])),
        ("qwen2", json!({}), (32, 2, [None, None])),
        ("qwen2", sliding.clone(), (32, 2, [None, Some(4096)])),
        ("qwen3", json!({}), (32, 128, [None, None])),
        ("qwen3", sliding.clone(), (32, 128, [None, Some(4096)])),
        ("qwen2_moe", sliding, (16, 2, [Some(4096), None])),
        ("qwen3_moe", json!({"use_sliding_window": true}), (4, 2, [Some(4096), Some(4096)])),
        ("phi3", json!({}), (32, 2, [None, None])),
    ];
    for (family, more, wanted) in cases {
        let arch =
            read(&config(family, more.clone())).map_err(|error| format!("{family} {more}: {error}"))?;
        assert_eq!(summary(&arch), wanted, "{family} {more}");
    }
    let arch = read(&config("gemma2", json!({})))?;
    assert_eq!((arch.caps.scores, arch.caps.logits), (Some(50.0), Some(30.0)));
    let arch = read(&config("gptj", json!({})))?;
    assert_eq!(arch.layers[0].rotary.as_ref().map(|rotary| rotary.dims), Some(64));
    Ok(())
}

/// What the file says counts, and null is something that it says.
#[test]
fn null_is_no_default() -> Result {
    let null = json!({"sliding_window": null, "num_key_value_heads": null});
    assert_eq!(summary(&read(&config("mistral", null))?), (32, 2, [None, None]));
    let stated = json!({"sliding_window": 16, "num_key_value_heads": 2, "head_dim": 6});
    assert_eq!(summary(&read(&config("mistral", stated))?), (2, 6, [Some(16), Some(16)]));
    let caps = json!({"attn_logit_softcapping": null, "final_logit_softcapping": null});
    let arch = read(&config("gemma2", caps))?;
    assert_eq!((arch.caps.scores, arch.caps.logits), (None, None));
    let error = read(&config("gemma2", json!({"sliding_window": null}))).unwrap_err().to_string();
    assert!(error.contains("`sliding_window` is missing"), "{error}");
    // Sizes are nobody's default.
    let mut sizeless = config("mistral", json!({}));
    sizeless.as_object_mut().map(|keys| keys.remove("num_hidden_layers"));
    assert!(read(&sizeless).unwrap_err().to_string().contains("`num_hidden_layers` is missing"));
    Ok(())
}
