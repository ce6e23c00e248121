//! Integrated gradients of the input account for the whole difference.

use refrain_patching::Change;
use refrain_patching::attribution::{IgSteps, atp, integrated_gradients};
use refrain_patching::{Component, Metric};
use refrain_tests::Result;

use crate::common::{furthest, model, pairs, settings};

#[test]
fn the_input_accounts_for_all() -> Result {
    for name in ["gpt2-untied", "llama-gqa"] {
        let model = model(name)?;
        let pairs = pairs(&model);
        for change in [Change::Denoise, Change::Noise] {
            let settings = settings(&[Component::ResidPre], &[Metric::LogitDiff, Metric::Prob], change);
            let miss = |count| -> Result<f64> {
                let steps = IgSteps { count, midpoint: true };
                let scores = integrated_gradients(&model, &pairs, &settings, steps)?.remove(0);
                let source = if change == Change::Denoise { &scores.clean } else { &scores.corrupted };
                let (site, values) = scores.iter().next().ok_or("no site")?;
                assert_eq!((site.component, site.layer), (Component::ResidPre, 0));
                Ok(furthest(&values, source))
            };
            let (few, more, many) = (miss(2)?, miss(40)?, miss(80)?);
            assert!(more < few, "{few:e}, {more:e}");
            // The midpoint rule: half the step, a quarter of the error.
            assert!(many < 1e-9 || (3.0..5.0).contains(&(more / many)), "{few:e}, {more:e}, {many:e}");
        }
    }
    Ok(())
}

/// One step at its end takes the gradient at the source run.
#[test]
fn a_single_step_is_attribution_at_the_source() -> Result {
    let model = model("gpt2-untied")?;
    let pairs = pairs(&model);
    let of = |change| settings(&[Component::Z, Component::MlpOut], &[Metric::LogitDiff], change);
    let steps = IgSteps { count: 1, midpoint: false };
    let ig = integrated_gradients(&model, &pairs, &of(Change::Denoise), steps)?.remove(0);
    let mirrored = atp(&model, &pairs, &of(Change::Noise))?.remove(0);
    for ((_, ig), (_, atp)) in ig.iter().zip(mirrored.iter()) {
        for pair in 0..3 {
            let gain = ig[[0, pair]] - mirrored.corrupted[[0, pair]];
            let loss = mirrored.clean[[0, pair]] - atp[[0, pair]];
            assert!((gain - loss).abs() < 1e-10);
        }
    }
    assert_eq!(IgSteps::default().fractions(), [0.2, 0.4, 0.6, 0.8, 1.0]);
    Ok(())
}
