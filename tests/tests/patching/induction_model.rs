//! A model whose weights are set by hand, so that theory says what every score is: L0H0 attends to the previous
//! token and writes it beside the current one; L1H0, the induction head, attends to where the previous token is the
//! current one, and writes the token there as the next. L0H1, L1H1 and the MLPs do nothing.

use std::collections::BTreeMap;

use refrain_patching::Change;
use refrain_patching::detect::{self, Detector, RepeatedSequence};
use refrain_patching::sweep::{Settings, Sweep};
use refrain_patching::{Component, Metric, Pair, Site, normalised_effect};
use refrain_runner::Model;
use refrain_runner::family::{Config, architecture};
use refrain_tests::Result;
use refrain_tests::check::Check;
use serde_json::json;
use tch::{Kind, Tensor};

/// Tokens; 0 begins a text and is never repeated.
const VOCAB: i64 = 12;
/// Positions.
const WINDOW: i64 = 40;
/// Heads per layer and their width: positions must fit into one.
const HEADS: i64 = 2;
const D_HEAD: i64 = WINDOW;
/// The stream: the current token, the position, the previous token, the next token.
const D_MODEL: i64 = HEADS * D_HEAD;
const TOKEN: i64 = 0;
const POSITION: i64 = VOCAB;
const PREVIOUS: i64 = VOCAB + WINDOW;
const NEXT: i64 = 2 * VOCAB + WINDOW;
/// Attention scores of a match: the weight on anything else is e^-60.
const SHARPNESS: f64 = 60.0;

/// The model in f64.
fn model() -> Result<Model> {
    let config = json!({
        "model_type": "gpt2", "n_embd": D_MODEL, "n_head": HEADS, "n_layer": 2, "n_positions": WINDOW, "n_inner": 4,
        "vocab_size": VOCAB, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-12,
        "tie_word_embeddings": false, "bos_token_id": 0,
    });
    let architecture = architecture(&Config::parse(config.to_string().as_bytes(), &[])?)?;
    let options = (Kind::Double, tch::Device::Cpu);
    let zeros = |size: &[i64]| Tensor::zeros(size, options);
    // An identity of `size` from coordinate `from` of the input to coordinate `to` of the output, as [in, out].
    let put = |weight: &Tensor, from: i64, to: i64, size: i64, factor: f64| {
        weight.narrow(0, from, size).narrow(1, to, size).copy_(&(Tensor::eye(size, options) * factor));
    };
    let mut tensors = BTreeMap::new();
    let embed = zeros(&[VOCAB, D_MODEL]);
    put(&embed, 0, TOKEN, VOCAB, 1.0);
    let positions = zeros(&[WINDOW, D_MODEL]);
    put(&positions, 0, POSITION, WINDOW, 1.0);
    let unembed = zeros(&[VOCAB, D_MODEL]);
    put(&unembed, 0, NEXT, VOCAB, 1.0);
    tensors.insert("transformer.wte.weight".to_owned(), embed);
    tensors.insert("transformer.wpe.weight".to_owned(), positions);
    tensors.insert("lm_head.weight".to_owned(), unembed);

    // A LayerNorm that gives back a stream of `ones` ones and zeros else: it takes off the mean and divides by the
    // deviation, which are those of any such stream, and its weight and bias undo both.
    let norm = |ones: f64| {
        let mean = ones / D_MODEL as f64;
        let deviation = (mean - mean * mean + 1e-12).sqrt();
        (Tensor::full([D_MODEL], deviation, options), Tensor::full([D_MODEL], mean, options))
    };
    let mut name = |at: &str, tensor: Tensor| tensors.insert(format!("transformer.{at}"), tensor);
    let score = SHARPNESS * (D_HEAD as f64).sqrt();
    for layer in 0..2 {
        // Layer 0 reads token and position; layer 1 the previous token too.
        let (weight, bias) = norm(2.0 + f64::from(layer));
        name(&format!("h.{layer}.ln_1.weight"), weight.copy());
        name(&format!("h.{layer}.ln_1.bias"), bias.copy());
        name(&format!("h.{layer}.ln_2.weight"), weight);
        name(&format!("h.{layer}.ln_2.bias"), bias);
        // Queries, keys and values of all heads, side by side.
        let (qkv, out) = (zeros(&[D_MODEL, 3 * D_MODEL]), zeros(&[D_MODEL, D_MODEL]));
        let (key, value) = (D_MODEL, 2 * D_MODEL);
        if layer == 0 {
            // Position i asks for position i - 1, and the first for itself.
            put(&qkv, POSITION + 1, 0, WINDOW - 1, score);
            let _ = qkv.narrow(0, POSITION, 1).narrow(1, 0, 1).fill_(score);
            put(&qkv, POSITION, key, WINDOW, 1.0);
            put(&out, 0, PREVIOUS, VOCAB, 1.0);
        } else {
            put(&qkv, TOKEN, 0, VOCAB, score);
            put(&qkv, PREVIOUS, key, VOCAB, 1.0);
            put(&out, 0, NEXT, VOCAB, 1.0);
        }
        put(&qkv, TOKEN, value, VOCAB, 1.0);
        name(&format!("h.{layer}.attn.c_attn.weight"), qkv);
        name(&format!("h.{layer}.attn.c_attn.bias"), zeros(&[3 * D_MODEL]));
        name(&format!("h.{layer}.attn.c_proj.weight"), out);
        name(&format!("h.{layer}.attn.c_proj.bias"), zeros(&[D_MODEL]));
        for (at, size) in [("c_fc", [D_MODEL, 4]), ("c_proj", [4, D_MODEL])] {
            name(&format!("h.{layer}.mlp.{at}.weight"), zeros(&size));
            name(&format!("h.{layer}.mlp.{at}.bias"), zeros(&size[1..]));
        }
    }
    let (weight, bias) = norm(4.0);
    name("ln_f.weight", weight);
    name("ln_f.bias", bias);
    Ok(Model::from_tensors(architecture, tensors)?)
}

const L0H0: (usize, usize) = (0, 0);
const L1H0: (usize, usize) = (1, 0);

/// `0 A B c d A`: B follows A.
fn clean() -> Vec<i64> {
    vec![0, 3, 7, 5, 9, 3]
}

/// The effects of all sites that are not 0, each as theory has it.
fn compare(
    check: &mut Check,
    pair: &Pair,
    component: Component,
    by_position: bool,
    theory: &[(Site, f64)],
) -> Result {
    let model = model()?;
    let settings = Settings {
        components: vec![component],
        metrics: vec![Metric::LogitDiff],
        change: Change::Denoise,
        by_position,
        by_key_position: false,
        memory: 1 << 30,
        threads: 1,
    };
    let sweep = Sweep::new(&model, std::slice::from_ref(pair), settings)?;
    let mut seen = 0;
    sweep.run(sweep.units(), &mut |_, scores| {
        for (site, values) in scores.iter() {
            let known = theory.iter().find(|(known, _)| *known == site);
            seen += usize::from(known.is_some());
            let want = known.map_or(0.0, |(_, effect)| *effect);
            let got = normalised_effect(
                Change::Denoise,
                values[[0, 0]],
                scores.clean[[0, 0]],
                scores.corrupted[[0, 0]],
                0.01,
            );
            check.holds(
                format!("{component} {site:?}: {got:?}, theory {want}"),
                got.is_ok_and(|got| (got - want).abs() < 1e-9),
            );
        }
        Ok::<(), refrain_patching::Error>(())
    })?;
    check.holds(format!("{component}: every head of theory is there"), seen == theory.len());
    Ok(())
}

fn site(component: Component, (layer, index): (usize, usize), position: Option<usize>) -> Site {
    Site { component, layer, index, position, key_position: None }
}

#[test]
fn the_induction_rule_is_what_it_computes() -> Result {
    let model = model()?;
    let logits = tch::no_grad(|| model.logits(&model.ids(&[clean()])?))?;
    // The token after the earlier A, with all the weight: the last norm is undone, so its logit is 1.
    let last = Vec::<f64>::try_from(&logits.get(0).get(-1))?;
    for (token, logit) in last.iter().enumerate() {
        assert!((logit - f64::from(u8::from(token == 7))).abs() < 1e-9, "token {token}: {logit}");
    }
    Ok(())
}

/// The token that is copied is another: only its value differs.
#[test]
fn a_changed_value_is_carried_by_the_induction_head_alone() -> Result {
    let mut check = Check::new();
    let pair = Pair { clean: clean(), corrupted: vec![0, 3, 8, 5, 9, 3], answer: 7, foil: Some(8) };
    for component in [Component::Z, Component::Result, Component::V] {
        compare(&mut check, &pair, component, false, &[(site(component, L1H0, None), 1.0)])?;
    }
    for component in [Component::Q, Component::K, Component::Pattern] {
        compare(&mut check, &pair, component, false, &[])?;
    }
    // Its z counts at the last position, its value where the copied token stands.
    compare(&mut check, &pair, Component::Z, true, &[(site(Component::Z, L1H0, Some(5)), 1.0)])?;
    compare(&mut check, &pair, Component::V, true, &[(site(Component::V, L1H0, Some(2)), 1.0)])?;
    check.finish();
    Ok(())
}

/// The token before it is another: there is nothing to match, and attention spreads evenly. Then what L0H0 says
/// about position 2 is what differs, as the induction head's key there.
#[test]
fn a_changed_key_is_carried_by_both() -> Result {
    let mut check = Check::new();
    // The foil stands in the context once, as the answer does: without a match the two are equal.
    let pair = Pair { clean: clean(), corrupted: vec![0, 4, 7, 5, 9, 3], answer: 7, foil: Some(5) };
    let both = |component| [(site(component, L0H0, None), 1.0), (site(component, L1H0, None), 1.0)];
    compare(&mut check, &pair, Component::Z, false, &both(Component::Z))?;
    compare(&mut check, &pair, Component::K, false, &[(site(Component::K, L1H0, None), 1.0)])?;
    compare(&mut check, &pair, Component::Pattern, false, &[(site(Component::Pattern, L1H0, None), 1.0)])?;
    compare(&mut check, &pair, Component::V, false, &[(site(Component::V, L0H0, None), 1.0)])?;
    compare(&mut check, &pair, Component::Q, false, &[])?;
    let places = [(site(Component::Z, L0H0, Some(2)), 1.0), (site(Component::Z, L1H0, Some(5)), 1.0)];
    compare(&mut check, &pair, Component::Z, true, &places)?;
    compare(&mut check, &pair, Component::V, true, &[(site(Component::V, L0H0, Some(1)), 1.0)])?;
    compare(&mut check, &pair, Component::K, true, &[(site(Component::K, L1H0, Some(2)), 1.0)])?;
    check.finish();
    Ok(())
}

/// On repeated tokens the detectors see what the heads were made for.
#[test]
fn detectors_find_the_heads() -> Result {
    let model = model()?;
    // With a block of distinct tokens there is one match for every copy.
    let candidates: Vec<i64> = (1..VOCAB).collect();
    let probe = RepeatedSequence { block: 5, copies: 2, candidates: &candidates, bos: Some(0) };
    let settings = detect::Settings { sequences: 4, ..detect::Settings::new(probe) };
    let mut check = Check::new();
    for found in detect::run(&model, &settings, &mut |_, _| {})? {
        let head = (found.head.layer, found.head.head);
        let value = found.value.unwrap_or(f64::NAN);
        let made = match found.detector {
            Detector::PreviousToken => head == L0H0,
            // Summed over all places after an earlier copy: tokens that stand in the block twice count too.
            Detector::PrefixMatching => head == L1H0,
            _ => continue,
        };
        if made {
            let what = format!("{:?} of {head:?}: {value}", found.detector);
            check.holds(what, (value - 1.0).abs() < 1e-9 && found.p_value.is_some_and(|p| p < 0.01));
        } else {
            check.holds(format!("{:?} of {head:?} is less: {value}", found.detector), value < 0.5);
        }
    }
    check.finish();
    Ok(())
}
