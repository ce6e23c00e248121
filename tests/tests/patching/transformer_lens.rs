//! Against TransformerLens's own sweeps, on the shared random models in goldens/heads (goldens/heads.py made the
//! numbers).

use refrain_patching::Change;
use refrain_patching::sweep::{Settings, Sweep};
use refrain_patching::{Component, Metric, Pair, Site};
use refrain_runner::Model;
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden;
use serde_json::Value;
use tch::{Kind, Tensor};

/// TransformerLens's function, the component, by position, the axis order of its result beside `[pair][layer]`.
const SWEEPS: [(&str, Component, bool, Order); 15] = [
    ("attn_head_out_all_pos", Component::Z, false, Order::Heads),
    ("attn_head_q_all_pos", Component::Q, false, Order::Heads),
    ("attn_head_k_all_pos", Component::K, false, Order::Heads),
    ("attn_head_v_all_pos", Component::V, false, Order::Heads),
    ("attn_head_pattern_all_pos", Component::Pattern, false, Order::Heads),
    ("attn_head_out_by_pos", Component::Z, true, Order::PositionHead),
    ("attn_head_q_by_pos", Component::Q, true, Order::PositionHead),
    ("attn_head_k_by_pos", Component::K, true, Order::PositionHead),
    ("attn_head_v_by_pos", Component::V, true, Order::PositionHead),
    ("attn_head_pattern_by_pos", Component::Pattern, true, Order::HeadPosition),
    ("resid_pre", Component::ResidPre, true, Order::Position),
    ("resid_mid", Component::ResidMid, true, Order::Position),
    ("attn_out", Component::AttnOut, true, Order::Position),
    ("mlp_out", Component::MlpOut, true, Order::Position),
    ("attn_head_pattern_dest_src_pos", Component::Pattern, true, Order::HeadQueryKey),
];

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Heads,
    Position,
    PositionHead,
    HeadPosition,
    HeadQueryKey,
}

impl Order {
    /// Where the site stands in `[pair][layer]...`.
    fn of(self, value: &Value, site: &Site) -> Option<f64> {
        let (head, position) = (site.index, site.position.unwrap_or(0));
        match self {
            Order::Heads => value[head].as_f64(),
            Order::Position => value[position].as_f64(),
            Order::PositionHead => value[position][head].as_f64(),
            Order::HeadPosition => value[head][position].as_f64(),
            Order::HeadQueryKey => value[head][position][site.key_position?].as_f64(),
        }
    }
}

#[test]
fn sweeps_equal_those_of_transformer_lens() -> Result {
    let mut check = Check::new();
    for name in ["gpt2", "llama-gqa"] {
        let folder = format!("heads/{name}");
        let text = std::fs::read_to_string(golden::folder(&folder).join("activation_patching.json"))?;
        let golden: Value = serde_json::from_str(&text)?;
        for (kind, key, tolerance) in [(Kind::Double, "f64", 1e-10), (Kind::Float, "f32", 1e-5)] {
            let model = golden::model(&folder, kind)?;
            for set in ["late", "first"] {
                let set_name = format!("{name} {set} {key}");
                one_set(&model, &golden["sets"][set], &set_name, key, tolerance, &mut check)?;
            }
        }
    }
    check.finish();
    Ok(())
}

fn one_set(model: &Model, set: &Value, name: &str, key: &str, tolerance: f64, check: &mut Check) -> Result {
    tch::set_num_threads(1);
    let pairs = pairs(set)?;
    for (function, component, by_position, order) in SWEEPS {
        let want = &set["sweeps"][format!("get_act_patch_{function}")][key];
        if want.is_null() {
            continue;
        }
        let settings = Settings {
            components: vec![component],
            metrics: vec![Metric::LogitDiff],
            change: Change::Denoise,
            by_position,
            by_key_position: order == Order::HeadQueryKey,
            memory: 1 << 30,
            threads: 1,
        };
        let sweep = Sweep::new(model, &pairs, settings)?;
        let (mut got, mut wanted) = (Vec::new(), Vec::new());
        sweep.run(sweep.units(), &mut |_, scores| {
            for (site, values) in scores.iter() {
                for (value, pair) in values.row(0).iter().zip(&scores.pairs) {
                    got.push(*value);
                    wanted.push(order.of(&want[*pair][site.layer], &site).unwrap_or(f64::NAN));
                }
            }
            Ok::<(), refrain_patching::Error>(())
        })?;
        let size = count(want);
        // TransformerLens has no entry above the diagonal to patch: both keys and queries run over all positions there.
        let expected = if order == Order::HeadQueryKey { size / 2 + size / 24 } else { size };
        check.holds(format!("{name} {function}: all of them"), got.len() == expected);
        // The models' effects are large: a tolerance relative to the metric's size is as good as one of the logits.
        let scale = wanted.iter().fold(1.0f64, |most, value| most.max(value.abs()));
        let ends = [Tensor::from_slice(&got) / scale, Tensor::from_slice(&wanted) / scale];
        check.close(format!("{name} {function}"), &ends[0], &ends[1], tolerance);
    }
    Ok(())
}

fn pairs(set: &Value) -> Result<Vec<Pair>> {
    let rows = |key: &str| -> Result<Vec<Vec<i64>>> { Ok(serde_json::from_value(set[key].clone())?) };
    let ids = |key: &str| -> Result<Vec<i64>> { Ok(serde_json::from_value(set[key].clone())?) };
    let (answers, foils) = (ids("answer_ids")?, ids("foil_ids")?);
    let both = rows("clean_ids")?.into_iter().zip(rows("corrupted_ids")?);
    Ok(both
        .zip(answers.into_iter().zip(foils))
        .map(|((clean, corrupted), (answer, foil))| Pair { clean, corrupted, answer, foil: Some(foil) })
        .collect())
}

/// Numbers in nested lists.
fn count(value: &Value) -> usize {
    value.as_array().map_or(1, |list| list.iter().map(count).sum())
}
