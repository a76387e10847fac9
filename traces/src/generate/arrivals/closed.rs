//! A closed loop: a number of agents that are all there from the start and stay until their session is over.

use model::Nanos;
use serde::{Deserialize, Serialize};

use super::ArrivalTimes;
use crate::TraceError;
use crate::generate::{Draws, Purpose};

/// How the agents of a closed loop start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Time within which all start, in seconds, one in each of as many equal parts of it. 0: all at once.
    pub ramp_s: f64,
}

impl Closed {
    pub(super) fn validate(self) -> Result<(), TraceError> {
        if self.ramp_s.is_finite() && self.ramp_s >= 0.0 {
            return Ok(());
        }
        Err(TraceError::Parameters(format!(
            "`arrivals.closed`: ramp_s = {}; seconds, at least 0",
            self.ramp_s
        )))
    }

    pub(super) fn start(self, agents: u32, draws: Draws) -> Ramp {
        Ramp {
            length_s: self.ramp_s,
            agents,
            draws,
        }
    }
}

pub(super) struct Ramp {
    length_s: f64,
    agents: u32,
    draws: Draws,
}

impl ArrivalTimes for Ramp {
    fn next(&mut self, agent: u32) -> Nanos {
        let draw = self.draws.at(agent, 0, Purpose::Arrival);
        let part = (f64::from(agent) + draw.uniform()) / f64::from(self.agents);
        Nanos::from_secs_f64(self.length_s * part)
    }
}
