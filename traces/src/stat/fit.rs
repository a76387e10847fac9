//! Fits that a generator can start from, each with how far it is off.

use serde::Serialize;

use super::Ecdf;

/// Fewest positive values that a fit is made from.
const VALUES_MIN: u64 = 10;

/// Share of the values that make the tail.
const TAIL_SHARE: f64 = 0.05;

/// A lognormal distribution through the positive values: by the mean and standard deviation of their logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LognormalFit {
    /// Mean of the natural logarithm.
    pub mu: f64,
    /// Standard deviation of the natural logarithm.
    pub sigma: f64,
    /// Kolmogorov-Smirnov distance between fit and positive values.
    pub ks: f64,
    /// Share of the values that are 0, which the fit leaves out.
    pub zero_share: f64,
    /// Hill's estimate of the tail index from the largest 5 % of the positive values; `None` if they are all equal.
    pub tail_alpha: Option<f64>,
}

impl LognormalFit {
    /// Of `values`; `None` with fewer than ten positive ones, or without a spread.
    pub fn of(values: &Ecdf) -> Option<Self> {
        let positive = || values.counts().filter(|(value, _)| *value > 0.0);
        let count: u64 = positive().map(|(_, count)| count).sum();
        if count < VALUES_MIN {
            return None;
        }
        let n = count as f64;
        let mean = |f: &dyn Fn(f64) -> f64| {
            positive()
                .map(|(value, count)| f(libm::log(value)) * count as f64)
                .sum::<f64>()
                / n
        };
        let mu = mean(&|ln| ln);
        let sigma = libm::sqrt(mean(&|ln| (ln - mu) * (ln - mu)));
        if sigma <= 0.0 {
            return None;
        }
        let (mut below, mut ks) = (0_u64, 0.0_f64);
        for (value, count) in positive() {
            let z = (libm::log(value) - mu) / sigma;
            let fitted = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
            ks = ks.max((fitted - below as f64 / n).abs());
            below += count;
            ks = ks.max((fitted - below as f64 / n).abs());
        }
        Some(Self {
            mu,
            sigma,
            ks,
            zero_share: 1.0 - n / values.count() as f64,
            tail_alpha: hill(values, (n * TAIL_SHARE).ceil() as u64),
        })
    }
}

/// Hill (1975): k / sum of ln(x_i / x_k) over the k largest values.
fn hill(values: &Ecdf, k: u64) -> Option<f64> {
    let (mut left, mut logs, mut smallest) = (k, 0.0, 0.0);
    for (value, count) in values.counts().rev() {
        let taken = count.min(left);
        logs += libm::log(value) * taken as f64;
        smallest = libm::log(value);
        left -= taken;
        if left == 0 {
            break;
        }
    }
    let excess = logs - smallest * k as f64;
    (excess > 0.0).then(|| k as f64 / excess)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Domain, Draws, Purpose};
    use crate::stat::Sample;

    fn fit(value: impl Fn(crate::generate::Draw) -> f64) -> Option<LognormalFit> {
        let draws = Draws::new(8, Domain::Agents);
        let values = (0..20_000).map(|i| value(draws.at(i, 0, Purpose::Gap)));
        LognormalFit::of(&values.collect::<Sample>().ecdf().unwrap())
    }

    #[test]
    fn a_lognormal_sample_gives_its_parameters_back() {
        let fit = fit(|draw| (1.4 + 2.2 * draw.normal()).exp()).unwrap();
        // Standard errors: 2.2 / 141 = 0.016 and 0.011; the distance of a true fit is below 1.36 / 141 = 0.0096 in 95 %.
        assert!((fit.mu - 1.4).abs() < 0.08, "{fit:?}");
        assert!((fit.sigma - 2.2).abs() < 0.055, "{fit:?}");
        assert!(fit.ks < 0.015, "{fit:?}");
    }

    #[test]
    fn a_pareto_sample_gives_its_tail_index_back_and_is_no_lognormal() {
        let fit = fit(|draw| draw.uniform().powf(-1.0 / 1.6)).unwrap();
        // 1,000 values in the tail: standard error 1.6 / sqrt(1,000) = 0.05.
        assert!((fit.tail_alpha.unwrap() - 1.6).abs() < 0.25, "{fit:?}");
        assert!(fit.ks > 0.1, "{fit:?}");
    }

    #[test]
    fn zeros_are_counted_and_left_out() {
        let fit = fit(|draw| {
            if draw.uniform() < 0.25 {
                0.0
            } else {
                draw.derived().normal().exp()
            }
        });
        let fit = fit.unwrap();
        assert!((fit.zero_share - 0.25).abs() < 0.02, "{fit:?}");
        assert!(
            fit.mu.abs() < 0.05 && (fit.sigma - 1.0).abs() < 0.05,
            "{fit:?}"
        );
    }

    #[test]
    fn values_without_a_spread_have_no_fit() {
        assert!(fit(|_| 3.0).is_none());
        let nine: Sample = (1..10).map(f64::from).collect();
        assert!(LognormalFit::of(&nine.ecdf().unwrap()).is_none());
    }
}
