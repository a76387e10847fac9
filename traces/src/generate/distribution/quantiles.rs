//! A distribution given by points of its inverse distribution function, as tables in papers do.
//!
//! Between two points ln x is linear in p (x itself where a point is 0); outside them the value is that of the
//! outermost point, unless `tail_alpha` extends the top as a Pareto distribution.

use serde::{Deserialize, Serialize};

use super::lognormal::Tail;
use super::{clip, ordered};
use crate::generate::Draw;

/// Points of the inverse distribution function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Probabilities, ascending, in 0..=1.
    pub p: Vec<f64>,
    /// Values at them, ascending.
    pub x: Vec<f64>,
    /// Index of the tail above the last point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_alpha: Option<f64>,
    /// Larger values become this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Quantiles {
    pub(super) fn sample(&self, draw: Draw) -> f64 {
        let u = draw.uniform();
        let after = self.p.partition_point(|&p| p <= u);
        let value = if after == 0 {
            self.x[0]
        } else if after == self.p.len() {
            let tail = self.tail_alpha.map(|alpha| Tail {
                above_p: self.p[after - 1],
                alpha,
            });
            self.x[after - 1] * tail.map_or(1.0, |tail| tail.factor(1.0 - u))
        } else {
            let part = (u - self.p[after - 1]) / (self.p[after] - self.p[after - 1]);
            let (low, high) = (self.x[after - 1], self.x[after]);
            if low > 0.0 {
                low * libm::pow(high / low, part)
            } else {
                low + (high - low) * part
            }
        };
        clip(value, None, self.max)
    }

    pub(super) fn is_valid(&self) -> bool {
        let rising = |values: &[f64], strictly: bool| {
            values
                .windows(2)
                .all(|pair| pair[0] < pair[1] || (!strictly && pair[0] <= pair[1]))
        };
        !self.p.is_empty()
            && self.p.len() == self.x.len()
            && self.p.iter().all(|p| (0.0..=1.0).contains(p))
            && rising(&self.p, true)
            && self.x.iter().all(|x| x.is_finite() && *x >= 0.0)
            && rising(&self.x, false)
            && self.tail_alpha.is_none_or(|alpha| {
                let above_p = self.p[self.p.len() - 1];
                Tail { above_p, alpha }.is_valid()
            })
            && ordered(None, self.max)
    }
}
