//! When agents arrive.
//!
//! ```toml
//! arrivals = "poisson"
//! arrivals = { gamma = { cv = 1.2 } }
//! arrivals = { weibull = { cv = 6 } }
//! arrivals = { clients = { count = 100, weight_sigma = 1.9, cv = { lognormal = { mu = 0.34, sigma = 1.1 } } } }
//! arrivals = { diurnal = { levels = [1, 3, 2], period_s = 86400 } }
//! arrivals = { trace = { file = "requests.jsonl" } }
//! arrivals = { closed = { ramp_s = 60 } }
//! ```
//!
//! All but `closed` are open loop: agents arrive whether or not the server keeps up, `rate` of them per second on
//! average. A process has been going on for ever when the clock starts, so the first arrival comes after a part of an interval.
//!
//! **Absent on purpose:** agents that come back. An agent of a closed loop stays from its start to the end of its session.

mod clients;
mod closed;
mod diurnal;
mod renewal;
mod resampled;

use model::Nanos;
use serde::{Deserialize, Serialize};

pub use clients::ClientMixture;
pub use closed::Closed;
pub use diurnal::Diurnal;
pub use renewal::{Burstiness, IntervalLaw};
pub use resampled::Resampled;

use super::{Domain, Draws};
use crate::TraceError;

/// A process of arrivals, as a workload file writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Exponential intervals.
    Poisson,
    /// Gamma intervals: clustered where the coefficient of variation is above 1.
    Gamma(Burstiness),
    /// Weibull intervals: heavier than gamma ones of equal variation.
    Weibull(Burstiness),
    /// Many clients, each with a rate and a burstiness of its own.
    Clients(ClientMixture),
    /// A rate that changes with the hour.
    Diurnal(Diurnal),
    /// Intervals of a recorded trace, in stretches.
    Trace(Resampled),
    /// A number of agents that are all there from the start.
    Closed(Closed),
}

/// Arrival times one by one, never descending.
pub(super) trait ArrivalTimes: Send {
    /// When `agent` arrives; asked for 0, 1, 2, … in turn.
    fn next(&mut self, agent: u32) -> Nanos;
}

impl Arrivals {
    /// Whether parameters and `rate` (agents per second) make sense together.
    ///
    /// # Errors
    /// [`TraceError::Parameters`] with the key.
    pub(super) fn validate(&self, rate: Option<f64>) -> Result<(), TraceError> {
        let wrong = |text: String| Err(TraceError::Parameters(text));
        match (self, rate) {
            (Self::Closed(_), Some(_)) => {
                return wrong(
                    "`rate` does not apply to closed-loop arrivals: all agents start within `ramp_s`; remove it"
                        .to_owned(),
                );
            }
            (Self::Closed(_) | Self::Trace(_), None) => {}
            (_, Some(rate)) if rate.is_finite() && rate > 0.0 => {}
            (_, rate) => {
                let text = "open-loop arrivals need `rate`, agents per second, above 0";
                return wrong(rate.map_or(text.to_owned(), |rate| format!("{text}; it is {rate}")));
            }
        }
        match self {
            Self::Poisson => Ok(()),
            Self::Gamma(law) | Self::Weibull(law) => law.validate(),
            Self::Clients(clients) => clients.validate(),
            Self::Diurnal(diurnal) => diurnal.validate(),
            Self::Trace(resampled) => resampled.validate(),
            Self::Closed(closed) => closed.validate(),
        }
    }

    /// The process of `seed` for so many agents. Parameters have been validated.
    ///
    /// # Errors
    /// If a recorded trace cannot be read.
    pub(super) fn start(
        &self,
        rate: Option<f64>,
        agents: u32,
        seed: u64,
    ) -> Result<Box<dyn ArrivalTimes>, TraceError> {
        let draws = Draws::new(seed, Domain::Agents);
        let per_second = rate.unwrap_or(1.0);
        let renewal = |law| Box::new(renewal::Renewal::new(law, per_second, draws));
        Ok(match self {
            Self::Poisson => renewal(IntervalLaw::Exponential),
            Self::Gamma(law) => renewal(IntervalLaw::gamma(law.cv)),
            Self::Weibull(law) => renewal(IntervalLaw::weibull(law.cv)),
            Self::Clients(clients) => Box::new(clients.start(per_second, seed)),
            Self::Diurnal(diurnal) => Box::new(diurnal.start(per_second, draws)),
            Self::Trace(resampled) => Box::new(resampled.start(rate, draws)?),
            Self::Closed(closed) => Box::new(closed.start(agents, draws)),
        })
    }
}
