//! A test of whether a mean over items is 0.

use rand::RngExt;

use super::random::rng;

/// Below so many items no sign-flip test can reach p <= 0.05: of five the smallest p is 2/32.
pub const FEWEST_TESTED: usize = 6;
/// With at most so many items every assignment of signs is tried.
const EXACT_ITEMS: usize = 14;
/// Otherwise so many are drawn.
const FLIPS: usize = 9_999;

/// The two-sided p-value of the sign-flip test that the mean of `items` is 0: the share of assignments of signs
/// whose mean is as far from 0. Exact up to 14 items, else over 9,999 random assignments and the observed one. None
/// of no items.
pub fn sign_flip(items: &[f64], seed: u64, id: &str) -> Option<f64> {
    if items.is_empty() {
        return None;
    }
    let observed = items.iter().sum::<f64>().abs() * (1.0 - 1e-12);
    let as_far = |sign: &mut dyn FnMut(usize) -> bool| {
        let sum: f64 = items.iter().enumerate().map(|(i, item)| if sign(i) { *item } else { -*item }).sum();
        sum.abs() >= observed
    };
    if items.len() <= EXACT_ITEMS {
        let all = 1usize << items.len();
        let far = (0..all).filter(|signs| as_far(&mut |item| signs >> item & 1 == 1)).count();
        return Some(far as f64 / all as f64);
    }
    let mut rng = rng(seed, &format!("sign-flip/{id}"));
    let far = (0..FLIPS).filter(|_| as_far(&mut |_| rng.random_bool(0.5))).count();
    Some((1 + far) as f64 / (1 + FLIPS) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_by_hand() {
        // Of eight assignments of signs to 1, 2, 3 two have a sum as far from 0 as 6.
        assert_eq!(sign_flip(&[1.0, 2.0, 3.0], 0, "x"), Some(0.25));
        assert_eq!(sign_flip(&[1.0, -1.0], 0, "x"), Some(1.0));
        assert_eq!(sign_flip(&[], 0, "x"), None);
        let p = sign_flip(&[0.5; 20], 0, "x").unwrap();
        assert!(p <= 2e-4, "{p}");
    }
}
