//! A rate that changes with the hour, day after day.
//!
//! Intervals are drawn on a clock that runs with the load (operational time) and mapped back: where the level is
//! twice the mean, arrivals come twice as fast. Burstiness is that of `cv` at every level.

use model::Nanos;
use serde::{Deserialize, Serialize};

use super::renewal::interval_at;
use super::{ArrivalTimes, Burstiness, IntervalLaw};
use crate::TraceError;
use crate::generate::Draws;
use crate::generate::distribution::are_weights;

/// A profile of the rate over a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diurnal {
    /// Load in equal parts of the period, relative to each other; `rate` is their mean.
    pub levels: Vec<f64>,
    /// Length of the period in seconds.
    #[serde(default = "day")]
    pub period_s: f64,
    /// Place in the period at time 0, in seconds.
    #[serde(default)]
    pub start_s: f64,
    /// Coefficient of variation of intervals (gamma) at a constant level.
    #[serde(default = "poisson")]
    pub cv: f64,
}

fn day() -> f64 {
    86_400.0
}

fn poisson() -> f64 {
    1.0
}

impl Diurnal {
    pub(super) fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: String| {
            Err(TraceError::Parameters(format!(
                "`arrivals.diurnal`: {text}"
            )))
        };
        if !are_weights(self.levels.iter().copied()) {
            return wrong(format!(
                "levels = {:?}; they must be finite, at least 0, and not all 0",
                self.levels
            ));
        }
        if !(self.period_s.is_finite() && self.period_s > 0.0) {
            return wrong(format!("period_s = {}; seconds above 0", self.period_s));
        }
        if !(0.0..self.period_s).contains(&self.start_s) {
            return wrong(format!(
                "start_s = {}; a place within the period",
                self.start_s
            ));
        }
        Burstiness { cv: self.cv }.validate()
    }

    pub(super) fn start(&self, rate: f64, draws: Draws) -> Modulated {
        let mean = self.levels.iter().sum::<f64>() / self.levels.len() as f64;
        let levels: Vec<f64> = self.levels.iter().map(|level| level / mean).collect();
        let law = if self.cv.total_cmp(&poisson()).is_eq() {
            IntervalLaw::Exponential
        } else {
            IntervalLaw::gamma(self.cv)
        };
        Modulated {
            part_s: self.period_s / levels.len() as f64,
            position_s: self.start_s,
            start_s: self.start_s,
            levels,
            law,
            rate,
            draws,
        }
    }
}

pub(super) struct Modulated {
    /// Levels with mean 1, each for `part_s`.
    levels: Vec<f64>,
    part_s: f64,
    start_s: f64,
    /// Seconds since the beginning of the period in which the clock starts.
    position_s: f64,
    law: IntervalLaw,
    rate: f64,
    draws: Draws,
}

impl ArrivalTimes for Modulated {
    fn next(&mut self, agent: u32) -> Nanos {
        // Seconds that the interval would take at the mean level.
        let interval = interval_at(self.law, self.draws, (agent, 0), agent == 0);
        let mut left = interval / self.rate;
        loop {
            let part = (self.position_s / self.part_s).floor();
            let level = self.levels[(part % self.levels.len() as f64) as usize];
            // At least one step of the number, so that rounding cannot hold the clock.
            let end = ((part + 1.0) * self.part_s).max(self.position_s.next_up());
            let room = (end - self.position_s) * level;
            if left <= room && level > 0.0 {
                self.position_s += left / level;
                return Nanos::from_secs_f64(self.position_s - self.start_s);
            }
            left -= room;
            self.position_s = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Domain;

    #[test]
    fn each_hour_has_its_share_of_the_arrivals() {
        let diurnal = Diurnal {
            levels: vec![1.0, 0.0, 3.0],
            period_s: 300.0,
            start_s: 0.0,
            cv: 1.0,
        };
        let mut process = diurnal.start(2.0, Draws::new(6, Domain::Agents));
        let mut counts = [0_u32; 3];
        let mut last = Nanos::ZERO;
        for agent in 0..12_000 {
            let time = process.next(agent);
            assert!(time >= last);
            last = time;
            counts[(time.as_secs_f64() % 300.0 / 100.0) as usize] += 1;
        }
        // One quarter in the first third of the period, none in the second: 3,000 with standard deviation 47.
        assert_eq!(counts[1], 0);
        assert!(counts[0].abs_diff(3_000) < 240, "{counts:?}");
        // 12,000 arrivals at a mean of 2 per second: 6,000 s.
        assert!(
            (last.as_secs_f64() / 6_000.0 - 1.0).abs() < 0.05,
            "{last:?}"
        );
    }
}
