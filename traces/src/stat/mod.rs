//! `trace stat`: what is in a trace.
//!
//! Rows with names and units, for files and tests, and one renderer for the terminal.
//!
//! Percentiles are exact up to a million values per quantity and to 0.05 % beyond ([`Sample`]); between two order
//! statistics they are interpolated linearly (the p-th of n values lies at position p (n - 1) from 0).
//! The prefix hit ratio is that of a cache that forgets nothing: blocks seen before, in the session or, for
//! global ids, anywhere; without blocks, the kept tokens.

mod arrivals;
mod collect;
mod fit;
mod id_set;
mod quantiles;
mod quantity;
mod render;
mod sample;
mod turnover;

use serde::Serialize;

pub use arrivals::ArrivalRow;
pub use collect::Collector;
pub use fit::LognormalFit;
pub use quantiles::{PERCENTILES, Quantiles};
pub use quantity::{GapClass, Quantity};
pub use sample::{EXACT_MAX, Ecdf, Sample};
pub use turnover::Turnover;

use crate::TraceError;
use crate::format::{Meta, Session};

/// Points of the survival function of gaps \[s\].
pub const SURVIVAL_S: [f64; 11] = [
    0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0,
];

/// Idle time is long above this \[s\].
pub const LONG_GAP_S: f64 = 60.0;

/// Everything about a trace. Calls of sub-agents count; whoever wants main agents alone filters the sessions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stat {
    /// Name of the data set.
    pub source: String,
    /// Sessions, sub-agents included.
    pub sessions: u64,
    /// Of them, sub-agents.
    pub subagents: u64,
    /// LLM calls.
    pub calls: u64,
    /// Prompt tokens, resubmitted history included.
    pub input_tokens: u64,
    /// Generated tokens.
    pub output_tokens: u64,
    /// Calls after the first that keep less than nine tenths of the previous prompt.
    pub prefix_losses: u64,
    /// Calls that issued tools.
    pub calls_with_tools: u64,
    /// Of them, those that issued more than one.
    pub calls_with_parallel_tools: u64,
    /// Who sends the next input.
    pub turnover: Turnover,
    /// How sessions arrive; `None` without a common clock.
    pub arrivals: Option<ArrivalRow>,
    /// Distributions, one row per quantity that occurs.
    pub quantiles: Vec<QuantileRow>,
    /// Waits by kind, one row per kind that occurs, and one of tool and mixed together.
    pub gaps: Vec<GapRow>,
    /// Durations of tools by class, in the order of their names.
    pub tools: Vec<ToolRow>,
    /// Part of all prompt tokens that an infinite cache holds.
    pub prefix_hit_ratio: Option<f64>,
    /// The same without the first call of each session.
    pub prefix_hit_ratio_after_first: Option<f64>,
    /// Part of the prompt tokens after the first call that the provider reported as read from its cache.
    pub cached_ratio_after_first: Option<f64>,
    /// Part of the wall time of calls and the waits before them that is waiting; `None` without recorded service times.
    pub idle_ratio: Option<f64>,
}

/// The distribution of one quantity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantileRow {
    /// What, with its unit at the end.
    pub name: String,
    /// Its distribution.
    #[serde(flatten)]
    pub quantiles: Quantiles,
    /// A lognormal through it.
    pub fit: Option<LognormalFit>,
}

/// Durations of a class of tools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolRow {
    /// Which: the class, or the name of a tool without one.
    pub class: String,
    /// Their distribution \[s\].
    #[serde(flatten)]
    pub quantiles: Quantiles,
    /// Their sum \[s\].
    pub total_s: f64,
    /// A lognormal through it.
    pub fit: Option<LognormalFit>,
}

/// Waits of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapRow {
    /// Whose.
    pub kind: GapClass,
    /// Their distribution \[s\].
    #[serde(flatten)]
    pub quantiles: Quantiles,
    /// A lognormal through those above 0.
    pub fit: Option<LognormalFit>,
    /// Their sum \[s\].
    pub total_s: f64,
    /// Part of the sum that lies in gaps above [`LONG_GAP_S`]; `None` if the sum is 0.
    pub long_share: Option<f64>,
    /// P(gap > t) at [`SURVIVAL_S`].
    pub survival: [f64; SURVIVAL_S.len()],
}

impl Stat {
    /// Of `sessions` of a trace with this `meta`; filter them to see a part.
    ///
    /// # Errors
    /// What reading raises.
    pub fn of<I>(meta: &Meta, sessions: I) -> Result<Self, TraceError>
    where
        I: IntoIterator<Item = Result<Session, TraceError>>,
    {
        let mut collector = Collector::new(meta.clone());
        for session in sessions {
            collector.add(&session?);
        }
        Ok(collector.finish())
    }
}
