//! Independent intervals of one distribution.

use model::Nanos;
use serde::{Deserialize, Serialize};

use super::ArrivalTimes;
use crate::TraceError;
use crate::generate::inverse::{bisect, gamma_quantile};
use crate::generate::{Draw, Draws, Purpose};

/// How uneven intervals are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burstiness {
    /// Coefficient of variation of intervals: 1 is a Poisson process, more is burstier.
    pub cv: f64,
}

/// Largest and smallest coefficient of variation: beyond, one interval in millions decides the rate.
const CV_RANGE: std::ops::RangeInclusive<f64> = 0.05..=50.0;

impl Burstiness {
    pub(super) fn validate(self) -> Result<(), TraceError> {
        if CV_RANGE.contains(&self.cv) {
            return Ok(());
        }
        Err(TraceError::Parameters(format!(
            "`arrivals`: cv = {}; a coefficient of variation from {} to {} is needed",
            self.cv,
            CV_RANGE.start(),
            CV_RANGE.end()
        )))
    }
}

/// A distribution of intervals with mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IntervalLaw {
    /// Of a Poisson process.
    Exponential,
    /// Gamma.
    Gamma {
        /// 1 / cv².
        shape: f64,
    },
    /// Weibull.
    Weibull {
        /// Exponent; below 1 for cv above 1.
        shape: f64,
        /// 1 / Gamma(1 + 1 / shape).
        scale: f64,
    },
}

impl IntervalLaw {
    /// Gamma intervals of this coefficient of variation, which is brought into the supported range.
    pub fn gamma(cv: f64) -> Self {
        let cv = cv.clamp(*CV_RANGE.start(), *CV_RANGE.end());
        Self::Gamma {
            shape: 1.0 / (cv * cv),
        }
    }

    /// Weibull intervals of this coefficient of variation, which is brought into the supported range.
    pub fn weibull(cv: f64) -> Self {
        let cv = cv.clamp(*CV_RANGE.start(), *CV_RANGE.end());
        // cv² + 1 = Gamma(1 + 2/k) / Gamma(1 + 1/k)², which falls as k grows.
        let wanted = libm::log(cv * cv + 1.0);
        let shape = bisect(0.05, 100.0, |k| {
            libm::lgamma(1.0 + 2.0 / k) - 2.0 * libm::lgamma(1.0 + 1.0 / k) <= wanted
        });
        let scale = libm::exp(-libm::lgamma(1.0 + 1.0 / shape));
        Self::Weibull { shape, scale }
    }

    /// One interval.
    pub fn interval(self, draw: Draw) -> f64 {
        match self {
            Self::Exponential => draw.exponential(),
            Self::Gamma { shape } => gamma_quantile(shape, draw.uniform()) / shape,
            Self::Weibull { shape, scale } => scale * libm::pow(draw.exponential(), 1.0 / shape),
        }
    }

    /// From a moment picked at random to the next arrival: a uniform part (`phase`) of an interval that is picked in
    /// proportion to its length.
    pub fn first_interval(self, draw: Draw, phase: Draw) -> f64 {
        match self {
            // Without memory: as any other.
            Self::Exponential => draw.exponential(),
            // In proportion to length, a gamma interval is one of a shape larger by 1; a Weibull interval a power of a gamma value.
            Self::Gamma { shape } => {
                phase.uniform() * gamma_quantile(shape + 1.0, draw.uniform()) / shape
            }
            Self::Weibull { shape, scale } => {
                let value = gamma_quantile(1.0 + 1.0 / shape, draw.uniform());
                phase.uniform() * scale * libm::pow(value, 1.0 / shape)
            }
        }
    }
}

/// Arrivals at these intervals.
pub(super) struct Renewal {
    law: IntervalLaw,
    rate: f64,
    draws: Draws,
    clock: Nanos,
}

impl Renewal {
    pub(super) fn new(law: IntervalLaw, rate: f64, draws: Draws) -> Self {
        Self {
            law,
            rate,
            draws,
            clock: Nanos::ZERO,
        }
    }
}

/// The interval drawn at an address; the first of a process is cut by the start of the clock.
pub(super) fn interval_at(
    law: IntervalLaw,
    draws: Draws,
    (agent, turn): (u32, u32),
    is_first: bool,
) -> f64 {
    let draw = draws.at(agent, turn, Purpose::Arrival);
    if is_first {
        law.first_interval(draw, draws.at(agent, turn, Purpose::ArrivalPhase))
    } else {
        law.interval(draw)
    }
}

impl ArrivalTimes for Renewal {
    fn next(&mut self, agent: u32) -> Nanos {
        let interval = interval_at(self.law, self.draws, (agent, 0), agent == 0);
        let wait = Nanos::from_secs_f64(interval / self.rate);
        self.clock = Nanos(self.clock.0.saturating_add(wait.0));
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Domain;

    /// Mean and coefficient of variation over the midpoints of many equal parts of the draws.
    fn moments(law: IntervalLaw) -> (f64, f64) {
        let draws = Draws::new(11, Domain::Agents);
        let n = 40_000;
        let values = (1..=n).map(|i| law.interval(draws.at(i, 0, Purpose::Arrival)));
        let (sum, squares) = values.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        let mean = sum / f64::from(n);
        (mean, (squares / f64::from(n) - mean * mean).sqrt() / mean)
    }

    #[test]
    fn intervals_have_mean_one_and_the_variation_asked_for() {
        for cv in [0.5, 1.0, 1.2, 2.0] {
            for law in [IntervalLaw::gamma(cv), IntervalLaw::weibull(cv)] {
                let (mean, found) = moments(law);
                // Standard error of the mean: cv / 200; that of cv is larger for heavy tails.
                assert!((mean - 1.0).abs() < 5.0 * cv / 200.0, "{law:?}: {mean}");
                assert!((found / cv - 1.0).abs() < 0.1, "{law:?}: {found}");
            }
        }
    }

    #[test]
    fn a_weibull_of_variation_one_is_exponential() {
        let IntervalLaw::Weibull { shape, scale } = IntervalLaw::weibull(1.0) else {
            panic!("a Weibull law")
        };
        assert!((shape - 1.0).abs() < 1e-9 && (scale - 1.0).abs() < 1e-9);
        // A coefficient of variation of 6: Gamma(1 + 2/k) / Gamma(1 + 1/k)² = 37.
        let IntervalLaw::Weibull { shape, .. } = IntervalLaw::weibull(6.0) else {
            panic!("a Weibull law")
        };
        let ratio = libm::tgamma(1.0 + 2.0 / shape) / libm::tgamma(1.0 + 1.0 / shape).powi(2);
        assert!((ratio - 37.0).abs() < 1e-6, "{ratio}");
    }

    #[test]
    fn the_first_arrival_is_that_of_a_process_that_was_going_on() {
        // A moment at random waits (1 + cv²) / 2 mean intervals: 2.5 for cv = 2.
        let draws = Draws::new(2, Domain::Agents);
        for law in [IntervalLaw::gamma(2.0), IntervalLaw::weibull(2.0)] {
            let n = 20_000;
            let first = |i| {
                let (draw, phase) = (Purpose::Arrival, Purpose::ArrivalPhase);
                law.first_interval(draws.at(i, 0, draw), draws.at(i, 0, phase))
            };
            let mean = (0..n).map(first).sum::<f64>() / f64::from(n);
            assert!((mean - 2.5).abs() < 0.25, "{law:?}: {mean}");
        }
    }
}
