//! Inverse distribution functions, so that one draw gives one value without rejection.
//!
//! By bisection on functions of `libm`: the same bits on every platform, and accurate to the last few of them. A
//! generator needs thousands of values, not billions, so a closed-form approximation would save nothing.

/// P(Z > z) of a standard normal.
pub(super) fn normal_upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// The z with P(Z > z) = `tail`, which lies in (0, 1).
pub(super) fn normal_at_tail(tail: f64) -> f64 {
    bisect(-40.0, 40.0, |z| normal_upper_tail(z) <= tail)
}

/// The x with P(X <= x) = `p` of a gamma distribution of this shape and scale 1; `p` in (0, 1).
pub(super) fn gamma_quantile(shape: f64, p: f64) -> f64 {
    // Over ln x, because for a small shape most of the mass lies at values like 1e-30.
    // P(a, x) <= x^a / Gamma(a + 1) bounds the quantile from below.
    let low = (libm::log(p) + libm::lgamma(shape + 1.0)) / shape;
    let mut high = libm::log(shape.max(1.0)) + 1.0;
    while gamma_cdf(shape, high) < p {
        high += 1.0;
    }
    libm::exp(bisect(low.min(high), high, |ln_x| {
        gamma_cdf(shape, ln_x) >= p
    }))
}

/// P(X <= exp(ln_x)) of a gamma distribution: series below the mode, Lentz's continued fraction above
/// (Press et al., Numerical Recipes, section 6.2).
fn gamma_cdf(shape: f64, ln_x: f64) -> f64 {
    let x = libm::exp(ln_x);
    let front = shape * ln_x - x - libm::lgamma(shape);
    if x < shape + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / shape, 1.0 / shape, shape);
        while term > sum * 1e-16 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return libm::exp(front + libm::log(sum));
    }
    let tiny = 1e-300;
    let mut partial = x + 1.0 - shape;
    let (mut above, mut below) = (1.0 / tiny, 1.0 / partial);
    let mut fraction = below;
    for i in (1..1_000).map(f64::from) {
        let numerator = -i * (i - shape);
        partial += 2.0;
        below = 1.0 / floor_at(numerator * below + partial, tiny);
        above = floor_at(partial + numerator / above, tiny);
        let step = below * above;
        fraction *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    1.0 - libm::exp(front) * fraction
}

/// `value`, kept away from 0.
fn floor_at(value: f64, tiny: f64) -> f64 {
    if value.abs() < tiny { tiny } else { value }
}

/// The point in `low..=high` where `reached` turns true, which it stays.
pub(super) fn bisect(mut low: f64, mut high: f64, reached: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if reached(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_quantile_has_its_textbook_values() {
        // One-sided 5 %, 2.5 % and 50 %.
        for (tail, z) in [(0.05, 1.644_853_627), (0.025, 1.959_963_985), (0.5, 0.0)] {
            assert!((normal_at_tail(tail) - z).abs() < 1e-8, "{tail}");
        }
    }

    #[test]
    fn a_gamma_of_shape_one_is_the_exponential_and_of_shape_two_its_sum() {
        for p in [1e-6_f64, 0.1, 0.5, 0.9, 0.999_999] {
            let exponential = -(-p).ln_1p();
            assert!(
                (gamma_quantile(1.0, p) / exponential - 1.0).abs() < 1e-9,
                "{p}"
            );
            // P(2, x) = 1 - (1 + x) exp(-x).
            let x = gamma_quantile(2.0, p);
            assert!((1.0 - (1.0 + x) * (-x).exp() - p).abs() < 1e-9, "{p}");
        }
    }

    #[test]
    fn a_gamma_of_a_tiny_shape_has_tiny_values_and_its_mean() {
        // Shape 1/36 (coefficient of variation 6): P(a, x) = x^a / Gamma(a + 1) for small x.
        let shape = 1.0 / 36.0;
        let x = gamma_quantile(shape, 0.3);
        let expected = (0.3_f64.ln() + libm::lgamma(shape + 1.0)) / shape;
        assert!((x.ln() - expected).abs() < 1e-6, "{} {expected}", x.ln());
        // The mean is the shape: midpoint rule over 20,000 quantiles.
        let n = 20_000;
        let mean = (0..n)
            .map(|i| gamma_quantile(shape, (f64::from(i) + 0.5) / f64::from(n)))
            .sum::<f64>()
            / f64::from(n);
        assert!((mean / shape - 1.0).abs() < 0.01, "{mean}");
    }
}
