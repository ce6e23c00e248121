//! The softmax with one score of each row changed at a time, for all of them at once.

use tch::{Kind, Tensor};

use crate::error::Result;

/// What becomes of each query's pattern when the score of one key alone changes. With a the key's weight, a' its new
/// one and P the pattern of the others (which sums to 1), the pattern changes by (a' - a) (e_key - P). In terms of the
/// whole pattern A that is C (e_key - A) with C = (a' - a) / (1 - a), which is how it is computed for all keys of a row
/// but the strongest: their weights are at most one half. For the strongest, 1 - a may be anything down to nothing, and
/// P is made by a softmax of its own. a' is the logistic function of the logarithm of the old odds plus the score's
/// change. In f64.
pub(crate) struct KeyTurn {
    /// C, and a' - a for the strongest key, `[pairs, head, query, key]`.
    turn: Tensor,
    /// A, alike.
    pattern: Tensor,
    /// P for the strongest key, alike; zeros where there is no other.
    others: Tensor,
    /// Which key is the strongest, bool, alike.
    strongest: Tensor,
}

impl KeyTurn {
    /// Of `scores`, of which one at a time becomes that of `changed`; both `[pairs, head, query, key]`, -inf where
    /// masked.
    pub(crate) fn new(scores: &Tensor, changed: &Tensor) -> Result<KeyTurn> {
        let scores = scores.f_to_kind(Kind::Double)?;
        let masked = scores.f_eq(f64::NEG_INFINITY)?;
        let change = changed.f_to_kind(Kind::Double)?.f_sub(&scores)?.f_masked_fill(&masked, 0.0)?;
        let pattern = scores.f_softmax(-1, None::<Kind>)?;
        let top = scores.f_argmax(-1, true)?;
        let strongest = masked.f_zeros_like()?.f_scatter_value(-1, &top, 1)?;

        let rest = scores.f_masked_fill(&strongest, f64::NEG_INFINITY)?;
        let alone = rest.f_eq(f64::NEG_INFINITY)?.f_all_dim(-1, true)?;
        let others = rest.f_softmax(-1, None::<Kind>)?.f_masked_fill(&alone, 0.0)?;
        // The logarithm of the odds of each key against all others.
        let of_strongest = scores.f_sub(&rest.f_logsumexp([-1i64], true)?)?;
        let of_rest = scores.f_log_softmax(-1, None::<Kind>)?.f_sub(&pattern.f_neg()?.f_log1p()?)?;
        let odds = of_strongest.f_where_self(&strongest, &of_rest)?;
        let moved = odds.f_add(&change)?.f_sigmoid()?.f_sub(&odds.f_sigmoid()?)?;
        let share = moved.f_div(&pattern.f_neg()?.f_add_scalar(1.0)?)?;
        let turn = moved.f_where_self(&strongest, &share)?;
        let turn = turn.f_masked_fill(&masked.f_logical_or(&alone)?, 0.0)?;
        Ok(KeyTurn { turn, pattern, others, strongest })
    }

    /// What the change of each key alone does to first order where `gradient`, `[pairs, head, query, key]`, is that at
    /// the pattern: summed over the queries, `[pairs, head, key]`.
    pub(crate) fn changes(&self, gradient: &Tensor) -> Result<Tensor> {
        let gradient = gradient.f_to_kind(Kind::Double)?;
        let mean = |of: &Tensor| of.f_mul(&gradient)?.f_sum_dim_intlist(-1, true, None::<Kind>);
        let instead = mean(&self.others)?.f_where_self(&self.strongest, &mean(&self.pattern)?)?;
        let change = self.turn.f_mul(&gradient.f_sub(&instead)?)?;
        Ok(change.f_sum_dim_intlist(2, false, None::<Kind>)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each key's column changed alone, and the softmax taken again, far into saturation.
    #[test]
    fn one_changed_score_moves_the_pattern_as_the_softmax_does() {
        let double = (Kind::Double, tch::Device::Cpu);
        tch::manual_seed(0);
        for spread in [1.0, 30.0, 300.0, 3000.0] {
            let mask = Tensor::ones([5, 5], (Kind::Bool, tch::Device::Cpu)).triu(1);
            let random =
                || (Tensor::randn([1, 2, 5, 5], double) * spread).masked_fill(&mask, f64::NEG_INFINITY);
            let (scores, changed, gradient) = (random(), random(), Tensor::randn([1, 2, 5, 5], double));
            let got = KeyTurn::new(&scores, &changed).unwrap().changes(&gradient).unwrap();
            for key in 0..5 {
                let one = scores.copy();
                one.narrow(3, key, 1).copy_(&changed.narrow(3, key, 1));
                let moved = one.softmax(-1, Kind::Double) - scores.softmax(-1, Kind::Double);
                let want = (moved * &gradient).sum_dim_intlist([2i64, 3].as_slice(), false, Kind::Double);
                let error = (got.select(2, key) - want).abs().max().double_value(&[]);
                assert!(error < 1e-12, "{spread}: {error:e}");
            }
        }
    }
}
