//! Do two measurements order the same things alike?

use std::cmp::Ordering;

/// Kendall's τ-b of two scores of the same items: 1 for the same order, -1 for the opposite one, corrected
/// for ties (Kendall, Biometrika 1945).
///
/// `None` where it is not defined: fewer than two items, or all scores of one side equal.
///
/// # Panics
/// If the sides have different lengths, or a score is NaN.
pub fn kendall_tau(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two rankings of the same items");
    let sign = |x: f64, y: f64| match x.partial_cmp(&y).expect("a score is a number") {
        Ordering::Less => -1_i64,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    };
    let (mut agree, mut ordered_a, mut ordered_b) = (0_i64, 0_i64, 0_i64);
    for i in 0..a.len() {
        for j in 0..i {
            let (in_a, in_b) = (sign(a[i], a[j]), sign(b[i], b[j]));
            agree += in_a * in_b;
            ordered_a += in_a.abs();
            ordered_b += in_b.abs();
        }
    }
    let scale = ((ordered_a as f64) * (ordered_b as f64)).sqrt();
    (scale > 0.0).then(|| agree as f64 / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(tau: Option<f64>, expected: f64) {
        let tau = tau.unwrap();
        assert!((tau - expected).abs() < 1e-12, "{tau} is not {expected}");
    }

    #[test]
    fn equal_orders_give_one_and_opposite_orders_minus_one() {
        close(kendall_tau(&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]), 1.0);
        close(kendall_tau(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
    }

    #[test]
    fn one_swapped_pair_of_three_leaves_a_third() {
        // Pairs: two agree, one does not: (2 - 1) / 3.
        close(kendall_tau(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]), 1.0 / 3.0);
    }

    #[test]
    fn ties_are_corrected_for() {
        // a: (1,2) tied, two pairs ordered; b: all three ordered; both agree: 2 / sqrt(2 * 3).
        close(
            kendall_tau(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]),
            2.0 / 6.0_f64.sqrt(),
        );
    }

    #[test]
    fn there_is_no_order_among_one_or_among_equals() {
        assert_eq!(kendall_tau(&[1.0], &[1.0]), None);
        assert_eq!(kendall_tau(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
