//! How sessions arrive.

use serde::Serialize;

use crate::format::{Meta, Session};
use model::Nanos;

/// Nanoseconds of a minute.
const MINUTE: u64 = 60_000_000_000;

/// Arrivals of the sessions of a trace with a common clock; sub-agents do not count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ArrivalRow {
    /// Arrivals per second, from the first to the last.
    pub rate_per_s: f64,
    /// Coefficient of variation of the intervals: 1 is Poisson.
    pub cv: f64,
    /// The busiest minute relative to the mean.
    pub busiest_minute: f64,
}

/// Collects start times. Memory: one number per session.
#[derive(Debug, Default)]
pub(super) struct Starts {
    absent: bool,
    times: Vec<Nanos>,
}

impl Starts {
    pub fn new(meta: &Meta) -> Self {
        Self {
            absent: !meta.has_common_clock(),
            times: Vec::new(),
        }
    }

    pub fn add(&mut self, session: &Session) {
        if session.parent.is_some() || self.absent {
            return;
        }
        match session.start_ms.value() {
            Some(start) => self.times.push(start.nanos()),
            None => self.absent = true,
        }
    }

    /// `None` without a clock, or if all start at once.
    pub fn finish(mut self) -> Option<ArrivalRow> {
        self.times.sort_unstable();
        let (first, last) = (*self.times.first()?, *self.times.last()?);
        if self.absent || first == last {
            return None;
        }
        let count = (self.times.len() - 1) as f64;
        let span_s = (last.0 - first.0) as f64 / 1e9;
        let mean_s = span_s / count;
        let pairs = self.times.windows(2);
        let squares = pairs.map(|t| {
            let off = (t[1].0 - t[0].0) as f64 / 1e9 - mean_s;
            off * off
        });
        let variance = squares.sum::<f64>() / count;
        let minutes = self
            .times
            .chunk_by(|a, b| (a.0 - first.0) / MINUTE == (b.0 - first.0) / MINUTE);
        let busiest = minutes.map(<[Nanos]>::len).max().unwrap_or(0) as f64;
        // The last minute is counted as far as it goes, so a trace shorter than that is its own busiest minute.
        let minute_mean = self.times.len() as f64 / (span_s / 60.0).max(1.0);
        Some(ArrivalRow {
            rate_per_s: 1.0 / mean_s,
            cv: libm::sqrt(variance) / mean_s,
            busiest_minute: busiest / minute_mean,
        })
    }
}
