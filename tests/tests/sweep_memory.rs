//! Sweeps keep to their memory budget. A test of its own program: the peak is the whole process's.
#![cfg(target_os = "linux")]

use refrain_patching::Change;
use refrain_patching::sweep::{Settings, Sweep};
use refrain_patching::{Component, Error, Metric, Pair};
use refrain_runner::Model;
use refrain_runner::family::{self, Config, architecture};
use refrain_tests::Result;
use refrain_tests::peak::Peak;
use serde_json::{Value, json};

/// How far the peak may lie above the budget.
const EXCESS: f64 = 1.1;
/// What libtorch and the threads keep for themselves, once, whatever is computed.
const FIXED: f64 = 8e6;

fn model(config: &Value) -> Result<Model> {
    let architecture = architecture(&Config::parse(config.to_string().as_bytes(), &[])?)?;
    let tensors = family::fresh(&architecture, 0.05)?;
    Ok(Model::from_tensors(architecture, tensors)?)
}

fn gpt2() -> Value {
    json!({
        "model_type": "gpt2", "n_embd": 256, "n_head": 8, "n_layer": 4, "n_positions": 1024, "vocab_size": 8000,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    })
}

fn llama() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4,
        "num_attention_heads": 16, "num_key_value_heads": 2, "vocab_size": 30000, "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true, "rope_theta": 10000.0,
    })
}

fn pairs(count: i64, length: i64, differs: usize) -> Vec<Pair> {
    let of = |pair: i64| (0..length).map(|i| (5 + 31 * i + 97 * pair) % 7919).collect::<Vec<i64>>();
    let pair = |pair| {
        let clean = of(pair);
        let mut corrupted = clean.clone();
        corrupted[differs] += 1;
        Pair { clean, corrupted, answer: 1, foil: Some(2) }
    };
    (0..count).map(pair).collect()
}

/// The peak over the budget of one sweep, of some of its units.
fn one(model: &Model, pairs: &[Pair], settings: Settings) -> Result<f64> {
    let budget = settings.memory as f64;
    let peak = Peak::start()?;
    let sweep = Sweep::new(model, pairs, settings)?;
    let units = sweep.units();
    let some: Vec<_> = units.iter().step_by(units.len().div_ceil(2)).copied().collect();
    sweep.run(&some, &mut |_, _| Ok::<(), Error>(()))?;
    let found = peak.bytes()?;
    println!("  {:4.0} MB of {:4.0} MB", found / 1e6, budget / 1e6);
    Ok((found - FIXED) / budget)
}

fn main() -> Result {
    use Component::{Neuron, Pattern, V, Z};
    let every = Metric::ALL.to_vec();
    let (mut worst, mut wrong) = (0.0f64, Vec::new());
    for (name, config) in [("gpt2", gpt2()), ("llama", llama())] {
        let model = model(&config)?;
        for (components, count, length, differs, by_position, metrics) in [
            (vec![Z], 8, 64, 10, false, vec![Metric::Logit]),
            (vec![Z], 8, 32, 0, true, vec![Metric::Logit]),
            (vec![Z], 2, 384, 0, false, every.clone()),
            (vec![Pattern], 2, 256, 5, false, vec![Metric::Logit]),
            (vec![V], 2, 24, 5, true, every.clone()),
            (vec![Neuron], 2, 96, 90, false, every.clone()),
        ]
        .into_iter()
        // The second model differs where keys are shared by heads and the vocabulary is large.
        .take(if name == "gpt2" { 6 } else { 4 })
        {
            let settings = |memory: u64| Settings {
                components: components.clone(),
                metrics: metrics.clone(),
                change: Change::Denoise,
                by_position,
                by_key_position: false,
                memory,
                threads: 2,
            };
            let pairs = pairs(count, length, differs);
            let Err(Error::Memory { needed, .. }) = Sweep::new(&model, &pairs, settings(1)) else {
                return Err("one byte is enough".into());
            };
            // The first run takes what libtorch takes once.
            let first = Settings { components: vec![Z], by_position: false, ..settings(needed) };
            one(&model, &pairs[..1], first)?;
            for memory in [needed.max(48_000_000), needed.max(192_000_000)] {
                let share = one(&model, &pairs, settings(memory))?;
                worst = worst.max(share);
                if share > EXCESS {
                    wrong.push(format!(
                        "{name} {components:?} by position {by_position}: {share:.2} of {memory} bytes"
                    ));
                }
            }
        }
    }
    if wrong.is_empty() {
        println!("sweeps take at most {worst:.2} of their budget ... ok");
        Ok(())
    } else {
        Err(format!("over the budget:\n{}", wrong.join("\n")).into())
    }
}
