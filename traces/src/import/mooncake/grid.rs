//! Arrivals that were rounded.

use crate::format::Millis;

/// Distances between arrivals that no clock would produce by itself.
const GRID_STEP_MIN_MS: u64 = 1_000;

/// Do arrivals lie on a grid?
#[derive(Debug, Default)]
pub struct Grid {
    latest: Option<Millis>,
    step: Option<u64>,
    repeats: u64,
}

impl Grid {
    pub fn observe(&mut self, arrival: Option<Millis>) {
        let Some(arrival) = arrival else { return };
        if let Some(latest) = self.latest {
            match arrival.nanos().saturating_sub(latest.nanos()).0 / 1_000_000 {
                0 => self.repeats += 1,
                ms => self.step = Some(self.step.map_or(ms, |step| step.min(ms))),
            }
        }
        self.latest = Some(arrival);
    }

    /// Smallest distance between different arrivals if it is suspiciously large and points repeat; else 0.
    pub fn step_ms(&self) -> u64 {
        let step = self
            .step
            .filter(|&step| step >= GRID_STEP_MIN_MS && self.repeats > 0);
        step.unwrap_or(0)
    }
}
