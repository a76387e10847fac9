//! Arrivals that keep the texture of a recorded trace: stretches of its intervals in random order.
//!
//! A moving-block bootstrap (Künsch 1989): `block` consecutive intervals at a time, from a random place, round the
//! end. Bursts within a stretch stay, longer patterns do not. With `rate`, intervals are scaled to it.

use model::Nanos;
use serde::{Deserialize, Serialize};

use super::ArrivalTimes;
use crate::TraceError;
use crate::format::{Meta, Millis, Session};
use crate::generate::{Draws, Purpose};
use crate::import::Sink;
use crate::tools::feed;

/// A recorded arrival process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resampled {
    /// A session trace, or a file that `djinn trace import` reads; relative to the working folder.
    pub file: String,
    /// Consecutive intervals that stay together.
    #[serde(default = "block")]
    pub block: u32,
}

fn block() -> u32 {
    50
}

impl Resampled {
    pub(super) fn validate(&self) -> Result<(), TraceError> {
        if self.block > 0 {
            return Ok(());
        }
        Err(TraceError::Parameters(
            "`arrivals.trace`: block = 0; at least one interval is taken at a time".to_owned(),
        ))
    }

    pub(super) fn start(&self, rate: Option<f64>, draws: Draws) -> Result<Stretches, TraceError> {
        let mut starts = Starts::default();
        feed(self.file.as_ref(), &mut starts)?;
        if !starts.has_clock {
            return Err(TraceError::NoCommonClock {
                file: self.file.clone(),
            });
        }
        starts.times.sort_unstable();
        let pairs = starts.times.windows(2);
        let mut intervals: Vec<f64> = pairs.map(|t| (t[1].0 - t[0].0) as f64 / 1e9).collect();
        let mean = intervals.iter().sum::<f64>() / intervals.len().max(1) as f64;
        if intervals.is_empty() || mean <= 0.0 {
            return Err(TraceError::Parameters(format!(
                "`arrivals.trace`: `{}` has fewer than two different start times; another trace is needed",
                self.file
            )));
        }
        if let Some(rate) = rate {
            for interval in &mut intervals {
                *interval /= mean * rate;
            }
        }
        Ok(Stretches {
            intervals,
            block: self.block,
            draws,
            clock: Nanos::ZERO,
        })
    }
}

/// Collects when sessions start. Sub-agents follow their parent's clock and are no arrivals.
#[derive(Default)]
struct Starts {
    has_clock: bool,
    times: Vec<Nanos>,
}

impl Sink for Starts {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        self.has_clock = meta.has_common_clock();
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        if session.parent.is_none() {
            self.times
                .extend(session.start_ms.value().map(Millis::nanos));
        }
        Ok(())
    }
}

pub(super) struct Stretches {
    intervals: Vec<f64>,
    block: u32,
    draws: Draws,
    clock: Nanos,
}

impl ArrivalTimes for Stretches {
    fn next(&mut self, agent: u32) -> Nanos {
        let (stretch, place) = (agent / self.block, agent % self.block);
        let draw = self.draws.at(stretch, 0, Purpose::ArrivalBlock);
        let first = (draw.uniform() * self.intervals.len() as f64) as usize;
        let index = (first + place as usize) % self.intervals.len();
        let wait = Nanos::from_secs_f64(self.intervals[index]);
        self.clock = Nanos(self.clock.0.saturating_add(wait.0));
        self.clock
    }
}
