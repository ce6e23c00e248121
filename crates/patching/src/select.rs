//! Choosing heads by their scores.

use refrain_runner::Head;

/// The `share` of `heads` with the highest scores, rounded, at least `least`; equal scores in the order given, and
/// heads without a score never.
pub fn strongest(heads: &[Head], scores: &[Option<f64>], share: f64, least: usize) -> Vec<Head> {
    let mut scored: Vec<(Head, f64)> =
        heads.iter().zip(scores).filter_map(|(head, score)| Some((*head, (*score)?))).collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    let wanted = ((heads.len() as f64 * share).round() as usize).max(least);
    let mut chosen: Vec<Head> = scored.into_iter().take(wanted).map(|(head, _)| head).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_taken_from_the_top() {
        let heads: Vec<Head> = (0..100).map(|head| Head { layer: 0, head }).collect();
        let mut scores: Vec<Option<f64>> = (0..100).map(|i| Some(f64::from(i))).collect();
        scores[99] = None;
        assert_eq!(strongest(&heads, &scores, 0.02, 1), heads[97..99]);
        assert_eq!(strongest(&heads[..3], &scores[..3], 0.02, 1), heads[2..3]);
    }
}
