//! A lognormal distribution, shifted, clipped and with a Pareto tail where asked.
//!
//! ```text
//!   x = shift + exp(mu + sigma z),  and above the quantile `above_p` of that:
//!   x = x_p ((1 - F) / (1 - above_p)) ^ (-1 / alpha)
//! ```
//!
//! Tool times need all three: a network round trip that nothing undercuts, a body, and a tail that carries most of the time.

use serde::{Deserialize, Serialize};

use super::{clip, ordered};
use crate::generate::Draw;
use crate::generate::inverse::normal_at_tail;

/// Parameters of a lognormal distribution, clipped (not truncated) to `min..=max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Mean of the natural logarithm.
    pub mu: f64,
    /// Standard deviation of the natural logarithm.
    pub sigma: f64,
    /// Added to every value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<f64>,
    /// A heavier tail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// Smaller values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Larger values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// The upper end of a distribution as a Pareto distribution, joined without a jump.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// Quantile above which the tail holds, in (0, 1).
    pub above_p: f64,
    /// Index: P(X > x) falls like x^-alpha. At 1 or below, the mean exists only because of `max`.
    pub alpha: f64,
}

impl Tail {
    /// Factor on the value at `above_p` where a larger value has probability `upper`, which is below 1 - `above_p`.
    pub(super) fn factor(self, upper: f64) -> f64 {
        libm::pow(upper / (1.0 - self.above_p), -1.0 / self.alpha)
    }

    pub(super) fn is_valid(self) -> bool {
        self.above_p > 0.0 && self.above_p < 1.0 && self.alpha.is_finite() && self.alpha > 0.0
    }
}

impl Lognormal {
    pub(super) fn sample(&self, draw: Draw) -> f64 {
        let body = |z: f64| libm::exp(self.mu + self.sigma * z);
        let value = match self.tail {
            None => body(draw.normal()),
            Some(tail) => match draw.normal_and_tail() {
                (_, upper) if upper < 1.0 - tail.above_p => {
                    body(normal_at_tail(1.0 - tail.above_p)) * tail.factor(upper)
                }
                (z, _) => body(z),
            },
        };
        clip(value + self.shift.unwrap_or(0.0), self.min, self.max)
    }

    pub(super) fn is_valid(&self) -> bool {
        let shift = self.shift.unwrap_or(0.0);
        self.mu.is_finite()
            && self.sigma.is_finite()
            && self.sigma >= 0.0
            && shift.is_finite()
            && shift >= 0.0
            && self.tail.is_none_or(Tail::is_valid)
            && ordered(self.min, self.max)
    }
}
