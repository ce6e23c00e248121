//! Heads patched along one pair and read at many positions, against a sweep for every beginning of the pair.

use refrain_patching::{Pair, patch_heads, patch_heads_along};
use refrain_runner::{Action, Hook, HookPoint, Intervention, Schedule, StepIndex};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{self, models};
use tch::{Kind, Tensor};

const FIRST: usize = 3;
const LENGTH: usize = 9;

/// A pair that differs at two places, the first of them [`FIRST`].
fn pair(vocab: i64) -> Pair {
    let clean: Vec<i64> = (0..LENGTH as i64).map(|i| (7 + 13 * i) % vocab).collect();
    let mut corrupted = clean.clone();
    for place in [FIRST, FIRST + 3] {
        corrupted[place] = (corrupted[place] + 5) % vocab;
    }
    Pair { clean, corrupted, answer: 11 % vocab, foil: None }
}

#[test]
fn every_position_equals_the_pair_that_ends_there() -> Result {
    let mut check = Check::new();
    for (name, _) in models()? {
        let model = golden::model(&name, Kind::Double)?;
        let pair = pair(model.architecture().n_vocab as i64);
        // Not in order, and not all.
        let positions = [8, 3, 5, 6];
        let turned = Intervention {
            heads: Some(vec![0]),
            ..Intervention::new(Hook::block(0, HookPoint::Z), Action::Schedule(Schedule::Linear))
        };
        // The prompt has four columns; from there on every position is a step with a factor of its own.
        let steps = StepIndex { prompt_columns: Some(4) };
        for base in [vec![], vec![turned]] {
            let along = patch_heads_along(&model, &pair, &positions, &base, steps, 1 << 30)?;
            for (column, position) in positions.iter().enumerate() {
                let own = pair.until(*position)?;
                let alone = patch_heads(&model, &[own], &base, steps, 1 << 30, 1)?;
                let of = |swept: &refrain_patching::HeadSweep, column: usize| {
                    let ends = [swept.clean[column], swept.corrupted[column]];
                    let all: Vec<f64> = swept.patched.column(column).iter().chain(&ends).copied().collect();
                    Tensor::from_slice(&all)
                };
                let what = format!("{name} after {position}, {} interventions", base.len());
                check.close(what, &of(&along, column), &of(&alone, 0), 1e-10);
            }
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn what_cannot_be_read_is_refused() -> Result {
    let model = golden::model("llama-gqa", Kind::Double)?;
    let pair = pair(model.architecture().n_vocab as i64);
    let along = |pair: &Pair, positions: &[usize], memory| {
        patch_heads_along(&model, pair, positions, &[], StepIndex::default(), memory)
    };
    for position in [FIRST - 1, LENGTH] {
        let error = along(&pair, &[8, position], 1 << 30).unwrap_err().to_string();
        assert!(error.contains(&format!("after position {position}")), "{error}");
    }
    let shorter = Pair { corrupted: pair.corrupted[1..].to_vec(), ..pair.clone() };
    assert!(along(&shorter, &[5], 1 << 30).unwrap_err().to_string().contains("same length"));
    assert!(along(&pair, &[5], 100).unwrap_err().to_string().contains("too small"));
    let none = along(&pair, &[], 1 << 30)?;
    assert_eq!((none.clean.len(), none.patched.dim()), (0, (model.heads().len(), 0)));
    Ok(())
}
