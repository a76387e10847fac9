//! `trace stat`: what is in a trace.
//!
//! Rows with names and units, for files and tests, and one renderer for the terminal.
//!
//! Percentiles are exact: all values are kept and sorted, and between two order statistics the percentile is
//! interpolated linearly (the p-th of n values lies at position p (n - 1) from 0).
//! The prefix hit ratio is that of a cache that forgets nothing: blocks seen before, in the session or, for
//! global ids, anywhere; without blocks, the kept tokens.

mod collect;
mod id_set;
mod quantiles;
mod render;

use serde::Serialize;

pub use collect::Collector;
pub use quantiles::{PERCENTILES, Quantiles};

use crate::TraceError;
use crate::format::{GapKind, Meta, Session};

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
    /// Calls after the first that keep less than the previous prompt.
    pub prefix_losses: u64,
    /// Distributions, one row per quantity that occurs.
    pub quantiles: Vec<QuantileRow>,
    /// Waits by kind, one row per kind that occurs, and one of tool and mixed together.
    pub gaps: Vec<GapRow>,
    /// Part of all prompt tokens that an infinite cache holds.
    pub prefix_hit_ratio: Option<f64>,
    /// The same without the first call of each session.
    pub prefix_hit_ratio_after_first: Option<f64>,
}

/// The distribution of one quantity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantileRow {
    /// What, with its unit at the end.
    pub name: &'static str,
    /// Its distribution.
    #[serde(flatten)]
    pub quantiles: Quantiles,
}

/// Waits of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapRow {
    /// Whose.
    pub kind: GapClass,
    /// Their distribution \[s\].
    #[serde(flatten)]
    pub quantiles: Quantiles,
    /// Their sum \[s\].
    pub total_s: f64,
    /// Part of the sum that lies in gaps above [`LONG_GAP_S`]; `None` if the sum is 0.
    pub long_share: Option<f64>,
    /// P(gap > t) at [`SURVIVAL_S`].
    pub survival: [f64; SURVIVAL_S.len()],
}

/// Which waits a [`GapRow`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapClass {
    /// For tools alone.
    Tool,
    /// For tools and people together.
    Mixed,
    /// For tools, alone or with people: the first two rows in one.
    ToolOrMixed,
    /// For people alone.
    Human,
    /// The trace does not say.
    Unknown,
}

impl GapClass {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Tool,
        Self::Mixed,
        Self::ToolOrMixed,
        Self::Human,
        Self::Unknown,
    ];

    /// Whether a wait of `kind` belongs to it.
    pub fn contains(self, kind: GapKind) -> bool {
        match self {
            Self::Tool => kind == GapKind::Tool,
            Self::Mixed => kind == GapKind::Mixed,
            Self::ToolOrMixed => matches!(kind, GapKind::Tool | GapKind::Mixed),
            Self::Human => kind == GapKind::Human,
            Self::Unknown => kind == GapKind::Unknown,
        }
    }
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
