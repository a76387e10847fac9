//! What a source does not say, as values: stored in the manifest, printed on the terminal.

use serde::Serialize;

/// A limit of an imported trace, or something that was mended on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// Start times of different sessions cannot be compared.
    #[error("sessions have no common clock: a run must draw their arrivals (`rate`)")]
    NoCommonClock,
    /// Tool names and durations are unknown.
    #[error("no tool names or tool times: a gap is all that is known of a tool call")]
    NoTools,
    /// A person may have to approve a tool call.
    #[error("tool gaps may include a person approving the call")]
    ApprovalsInGaps,
    /// All gaps are whole seconds in the source.
    #[error("gaps are recorded in whole seconds: nothing below about 1 s is resolved")]
    WholeSecondGaps,
    /// Gaps were lessened by the service time they contain.
    #[error("{calls} gaps were corrected for the service time of a dropped twin request")]
    CorrectedGaps {
        /// How many changed.
        calls: u64,
    },
    /// Gaps should have been corrected, but the service time is missing.
    #[error("{calls} gaps could not be corrected: the source has no service time for them")]
    UncorrectedGaps {
        /// How many.
        calls: u64,
    },
    /// Gaps were filled in from the distance of start times.
    #[error(
        "{calls} gaps are missing in the source: start-time distance less known service time was taken"
    )]
    GapsFromTimestamps {
        /// How many.
        calls: u64,
    },
    /// Gaps contain the recorded service time.
    #[error(
        "{calls} gaps run from start to start and so contain the recorded system's service time"
    )]
    StartToStartGaps {
        /// How many.
        calls: u64,
    },
    /// Calls without output.
    #[error("{calls} calls have no output tokens in the source: 1 was put in (marked out_est)")]
    NoOutput {
        /// How many.
        calls: u64,
    },
    /// Sessions without calls.
    #[error("{sessions} sessions without a single call were left out")]
    EmptySessions {
        /// How many.
        sessions: u64,
    },
    /// Sub-agents whose time stamp is that of their end.
    #[error(
        "{subagents} sub-agents are stamped with their end: the duration was subtracted to find their start"
    )]
    SubagentStampedAtEnd {
        /// How many.
        subagents: u64,
    },
    /// Sub-agents that no call of the parent is known to wait for.
    #[error("{subagents} sub-agents run in the background: no call of the parent waits for them")]
    DetachedSubagents {
        /// How many.
        subagents: u64,
    },
    /// Arrivals are bunched on a grid.
    #[error("arrivals lie on a grid of {step_ms} ms: the bursts at its points are an artefact")]
    ArrivalGrid {
        /// Smallest distance between different arrivals.
        step_ms: u64,
    },
    /// Calls of one session cannot be told from those of another.
    #[error("no session ids: every row is a session of one call, and no wait is known")]
    NoSessions,
    /// Sessions were pieced together.
    #[error(
        "no session ids: {calls} rows were taken to continue an earlier one by their prefix blocks"
    )]
    ChainedByPrefix {
        /// How many.
        calls: u64,
    },
}

/// Adds `warning(count)` unless `count` is 0.
pub fn note(warnings: &mut Vec<Warning>, count: u64, warning: impl FnOnce(u64) -> Warning) {
    if count > 0 {
        warnings.push(warning(count));
    }
}
