//! Circuits of heads.

use refrain_patching::{Ablation, Circuits, Metric};
use refrain_runner::{Action, Head, Intervention};
use refrain_tests::Result;

use crate::common::{apart, ids, metrics, model, pairs, run};

#[test]
fn all_heads_are_the_model_and_none_is_nothing() -> Result {
    let model = model("llama-gqa")?;
    let pairs = pairs(&model);
    for ablation in [
        Ablation::Zero,
        Ablation::Mean { pooled: false },
        Ablation::Mean { pooled: true },
        Ablation::Corrupted,
    ] {
        let circuits = Circuits::new(&model, &pairs, Metric::LogProb, ablation, 7)?;
        let some = vec![Head { layer: 0, head: 1 }, Head { layer: 1, head: 2 }];
        let found = circuits.evaluate(&[model.heads(), Vec::new(), some.clone()])?;
        let clean = run(&model, &ids(&model, &pairs, true)?, &[], &[])?;
        let value =
            metrics(&model, &pairs, &[Metric::LogProb], clean.logits()?)?[0].iter().sum::<f64>() / 3.0;
        assert!((found[0].value - value).abs() < 1e-12, "{ablation:?}");
        assert_eq!((found[0].faithfulness, found[0].incompleteness), (Some(1.0), Some(0.0)));
        assert_eq!((found[1].faithfulness, found[1].incompleteness), (Some(0.0), Some(1.0)));

        // The same, one set in one run.
        let outside: Vec<Head> = model.heads().into_iter().filter(|head| !some.contains(head)).collect();
        if ablation == Ablation::Zero {
            let plan = Intervention::on_heads(&outside, &Action::Zero);
            let alone = run(&model, &ids(&model, &pairs, true)?, &plan, &[])?;
            let value =
                metrics(&model, &pairs, &[Metric::LogProb], alone.logits()?)?[0].iter().sum::<f64>() / 3.0;
            assert!((found[2].value - value).abs() < 1e-12);
        }
        if ablation == Ablation::Corrupted {
            let source = run(&model, &ids(&model, &pairs, false)?, &[], &[])?;
            let plan = Intervention::on_heads(&outside, &Action::Replace("source".into()));
            let alone = run(&model, &ids(&model, &pairs, true)?, &plan, &[("source", &source.cache)])?;
            let value =
                metrics(&model, &pairs, &[Metric::LogProb], alone.logits()?)?[0].iter().sum::<f64>() / 3.0;
            assert!((found[2].value - value).abs() < 1e-12);
        }
    }
    Ok(())
}

#[test]
fn greedy_takes_the_best_of_all_single_heads_first() -> Result {
    let model = model("gpt2-untied")?;
    let circuits = Circuits::new(&model, &pairs(&model), Metric::LogitDiff, Ablation::Zero, 64)?;
    let heads = model.heads();
    let singles: Vec<Vec<Head>> = heads.iter().map(|head| vec![*head]).collect();
    let (whole, empty) = circuits.ends();
    let miss: Vec<f64> = circuits.values(&singles)?.iter().map(|value| (value - whole).abs()).collect();
    let best = (0..heads.len()).min_by(|a, b| miss[*a].total_cmp(&miss[*b])).unwrap();
    let steps = circuits.greedy(&heads, 3)?;
    if miss[best] < (empty - whole).abs() {
        assert_eq!(steps[0].heads, [heads[best]]);
    }
    let misses: Vec<f64> = steps.iter().map(|step| (step.value - whole).abs()).collect();
    assert!(misses.windows(2).all(|two| two[1] < two[0]), "{misses:?}");
    let curve = circuits.curve(&heads, &[0, 1, heads.len()])?;
    assert!(apart(&[curve[0].value, curve[2].value], &[empty, whole]) < 1e-12);
    Ok(())
}
