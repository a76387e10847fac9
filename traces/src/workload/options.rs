//! What may be asked of a trace, and what became of it.

use serde::{Deserialize, Serialize};

use crate::TraceError;

/// How to run a trace. Unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadOptions {
    /// Run the first so many sessions of the file (with their sub-agents); default: all. Sessions that
    /// `too_long` leaves out are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Where waits come from.
    pub timing: Timing,
    /// Largest prompt and output of a turn in tokens; default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_context: Option<u32>,
    /// What happens to a session with a turn above `max_context`.
    pub too_long: TooLong,
    /// Longest wait in seconds; longer ones become this. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_cap_s: Option<f64>,
    /// Sessions per second: draw Poisson arrivals, in file order, in place of recorded starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl WorkloadOptions {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`TraceError::Parameters`] with the key.
    pub fn validate(&self) -> Result<(), TraceError> {
        let wrong = |text: String| Err(TraceError::Parameters(text));
        if let Some(rate) = self.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return wrong(format!(
                "`rate` = {rate}; sessions per second must be above 0"
            ));
        }
        if let Some(cap) = self.gap_cap_s
            && !(cap.is_finite() && cap >= 0.0)
        {
            return wrong(format!("`gap_cap_s` = {cap}; seconds must be at least 0"));
        }
        if self.sessions == Some(0) {
            return wrong("`sessions` = 0; leave the key out to run all".to_owned());
        }
        Ok(())
    }
}

/// Where the wait before a turn comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timing {
    /// Closed loop: `gap_ms` after the end of the previous turn, however fast that was served. Where the trace's
    /// gaps run from start to start, the recorded service time is subtracted as far as it is known.
    #[default]
    ThinkOnly,
    /// Open loop, as near as waits can express it: the wait is the recorded distance from the end of the
    /// previous call (`at_ms` + `api_ms`, without which the whole distance of starts) to this one's start, at least 0. Turns arrive at
    /// their recorded time if served as fast as recorded, and later by what the engine takes longer.
    Original,
}

/// What happens to a session with a turn above `max_context`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TooLong {
    /// The run does not start.
    #[default]
    Error,
    /// It ends before that turn; without a turn left, it is left out.
    TruncateSession,
    /// It is left out.
    SkipSession,
}

/// What a trace became. Counts of sessions include sub-agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkloadReport {
    /// Sessions to run.
    pub sessions: u64,
    /// Turns in them.
    pub turns: u64,
    /// Sessions that end early because of `max_context`.
    pub sessions_truncated: u64,
    /// Sessions left out because of `max_context`, sub-agents of what was cut included.
    pub sessions_skipped: u64,
    /// Turns in neither.
    pub turns_cut: u64,
    /// Waits shortened to `gap_cap_s`.
    pub gaps_capped: u64,
    /// Waits that contain the recorded service time, because the trace does not say how long it was.
    pub gaps_with_service_time: u64,
    /// Turns that should wait for sub-agents, but wait for their recorded gap.
    pub joins_ignored: u64,
    /// Turns that do not continue the one before in the file, but are served after it.
    pub branches_serialised: u64,
    /// Sub-agents placed on their parent's recorded timeline.
    pub subagents: u64,
}

impl WorkloadReport {
    /// What a user should be told, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let notes = [
            (
                self.sessions_truncated,
                "sessions end early because a turn exceeds max_context",
            ),
            (
                self.sessions_skipped,
                "sessions left out because a turn (or one of the parent) exceeds max_context",
            ),
            (self.turns_cut, "turns cut with them"),
            (self.gaps_capped, "waits shortened to gap_cap_s"),
            (
                self.gaps_with_service_time,
                "waits contain the recorded service time, which the trace does not tell",
            ),
            (
                self.joins_ignored,
                "turns wait for their recorded gap instead of their sub-agents",
            ),
            (
                self.branches_serialised,
                "turns branch off an earlier one, but are served after the one before",
            ),
        ];
        let told = notes.iter().filter(|(count, _)| *count > 0);
        told.map(|(count, text)| format!("{count} {text}"))
            .collect()
    }
}
