//! Values worked out by hand.

use tch::Device;

use super::*;

/// Probabilities that are powers of two, so that every value can be worked out by hand: the logits are their
/// logarithms, and in the second pair 3 more, which changes no distribution.
#[test]
fn every_metric_has_the_value_worked_out_by_hand() {
    let logits = |probabilities: [[f64; 4]; 2]| {
        let shift = [0.0, 3.0];
        let rows: Vec<f64> = (0..2).flat_map(|row| probabilities[row].map(|p| p.ln() + shift[row])).collect();
        Tensor::from_slice(&rows).reshape([2, 4])
    };
    let run = logits([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]);
    let clean = logits([[0.25, 0.25, 0.25, 0.25], [0.5, 0.25, 0.125, 0.125]]);
    let ids = |ids: [i64; 2]| Tensor::from_slice(&ids).to_device(Device::Cpu);
    let targets = Targets { answers: ids([2, 0]), foils: Some(ids([0, 1])), clean: None };
    let targets = targets.with_clean(&clean).unwrap();
    let (ln2, nats) = (2f64.ln(), |bits: f64| bits * 2f64.ln());
    let by_hand = [
        (Metric::Logit, [-3.0 * ln2, 3.0 - 2.0 * ln2]),
        // The answer's less the incorrect answer's.
        (Metric::LogitDiff, [-2.0 * ln2, 0.0]),
        (Metric::LogProb, [-3.0 * ln2, -2.0 * ln2]),
        (Metric::Prob, [0.125, 0.25]),
        // Two tokens are ahead of it, one that is level is not.
        (Metric::Rank, [2.0, 0.0]),
        // KL(clean || run), the sum of clean (log clean - log run): 1/4 (-1 + 0 + 1 + 1) and 1/2 + 0 - 1/8 - 1/8
        // bits.
        (Metric::KlToClean, [nats(0.25), nats(0.25)]),
        (Metric::Entropy, [nats(1.75), nats(2.0)]),
        (Metric::EntropyChange, [nats(-0.25), nats(0.25)]),
    ];
    assert_eq!(by_hand.map(|(metric, _)| metric)[..], *Metric::ALL);
    let values = measure(Metric::ALL, &run, &targets).unwrap();
    for ((metric, wanted), found) in by_hand.iter().zip(values.outer_iter()) {
        for (wanted, found) in wanted.iter().zip(found) {
            assert!((wanted - found).abs() < 1e-12, "{metric}: {found} is not {wanted}");
        }
    }
}

/// The direction of the divergence, where both directions differ; ranks without ties.
#[test]
fn the_divergence_goes_from_clean_to_run_and_ranks_begin_at_0() {
    let row = |p: f64| Tensor::from_slice(&[p.ln(), (1.0 - p).ln()]).reshape([1, 2]);
    let answers = Tensor::from_slice(&[0i64]);
    let targets = Targets { answers, foils: None, clean: None }.with_clean(&row(0.5)).unwrap();
    let found = measure(&[Metric::KlToClean], &row(0.125), &targets).unwrap();
    // 1/2 ln(4) + 1/2 ln(4/7); the other way round it would be 1/8 ln(1/4) + 7/8 ln(7/4).
    let wanted = 0.5 * 4f64.ln() + 0.5 * (4.0 / 7.0f64).ln();
    assert!((found[[0, 0]] - wanted).abs() < 1e-12, "{found} is not {wanted}");
    let logits = |values: [f64; 3]| Tensor::from_slice(&values).reshape([1, 3]);
    let ranked = |values, answer| {
        let targets = Targets { answers: Tensor::from_slice(&[answer]), foils: None, clean: None };
        measure(&[Metric::Rank], &logits(values), &targets).unwrap()[[0, 0]]
    };
    assert_eq!(ranked([3.0, 2.0, 1.0], 0i64), 0.0, "the first has rank 0");
    assert_eq!(ranked([3.0, 2.0, 1.0], 2), 2.0, "the last has as many ahead as there are others");
}
