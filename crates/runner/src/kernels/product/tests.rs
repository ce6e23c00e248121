//! Every level against sums in f64.

use super::*;
use crate::kernels::lanes::Level;
use crate::kernels::workers::Team;
use crate::kernels::{narrowed, widened};

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0) * 1.3).collect()
}

/// Every sum in f64, number by number, and the sum of its terms' magnitudes.
fn reference(w: &[f32], x: &[f32], width: usize, bias: Option<&[f32]>) -> Vec<(f64, f64)> {
    let row = |x: &[f32]| {
        let sum = |(o, w): (usize, &[f32])| {
            let terms = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
            let bias = bias.map_or(0.0, |bias| f64::from(bias[o]));
            (terms.clone().sum::<f64>() + bias, terms.map(f64::abs).sum::<f64>() + bias.abs())
        };
        w.chunks(width).enumerate().map(sum).collect::<Vec<_>>()
    };
    x.chunks(width).flat_map(row).collect()
}

/// The rounding of a sum of `terms` in f32: half a unit of what there is so far each time, as often up as down.
fn near(y: f32, (want, magnitude): (f64, f64), terms: usize) -> bool {
    (f64::from(y) - want).abs() <= (terms as f64).sqrt() * f64::from(f32::EPSILON) * magnitude + 1e-7
}

#[test]
fn every_level_equals_the_sums_in_double_precision() {
    let team = Team::new(2);
    for (out, width) in [(1, 1), (3, 7), (50, 64), (97, 33), (129, 577), (13, 1024)] {
        let (w, bias) = (numbers(out * width, 1), numbers(out, 2));
        let short: Vec<Bits16> = w.iter().map(|w| narrowed(*w)).collect();
        let rounded: Vec<f32> = short.iter().map(|w| widened(*w)).collect();
        for count in [1, 2, 3, 4, 7, 8, 9, 16, 17, 33, 70] {
            let x = numbers(count * width, 3);
            for level in Level::all() {
                let vectors = Vectors::new(&x, width, level);
                for (weight, exact) in [(Matrix::Single(&w), &w), (Matrix::Bf16(&short), &rounded)] {
                    for bias in [None, Some(&bias[..])] {
                        let mut y = vec![f32::NAN; count * out];
                        let mut one = [Product { weight, bias, y: &mut y }];
                        products(&vectors, &mut one, Workers::Team(&team));
                        let want = reference(exact, &x, width, bias);
                        for (index, (y, want)) in y.iter().zip(want).enumerate() {
                            assert!(
                                near(*y, want, width),
                                "{level:?} {out} {width} {count} {index}: {y} {want:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_vector_does_not_depend_on_the_few_beside_it_nor_on_the_threads() {
    let (out, width) = (200, 300);
    let (w, x) = (numbers(out * width, 1), numbers(FEW * width, 2));
    let of = |x: &[f32], workers| {
        let mut y = vec![0f32; x.len() / width * out];
        let mut one = [Product { weight: Matrix::Single(&w), bias: None, y: &mut y }];
        products(&Vectors::new(x, width, Level::best()), &mut one, workers);
        y
    };
    let all = of(&x, Workers::Pool(3));
    for (x, y) in x.chunks(width).zip(all.chunks(out)) {
        assert_eq!(of(x, Workers::Pool(1)), y);
    }
}

#[test]
fn several_products_read_the_same_vectors() {
    let (x, a, b) = (numbers(20, 1), numbers(4 * 60, 2), numbers(4 * 7, 3));
    let (mut of_a, mut of_b) = (vec![0f32; 5 * 60], vec![0f32; 5 * 7]);
    let mut both = [
        Product { weight: Matrix::Single(&a), bias: None, y: &mut of_a },
        Product { weight: Matrix::Single(&b), bias: None, y: &mut of_b },
    ];
    products(&Vectors::new(&x, 4, Level::best()), &mut both, Workers::Pool(2));
    for (w, y) in [(&a, &of_a), (&b, &of_b)] {
        for (y, want) in y.iter().zip(reference(w, &x, 4, None)) {
            assert!(near(*y, want, 4), "{y} {want:?}");
        }
    }
}
