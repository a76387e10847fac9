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
    /// Only with [`Timing::ApiScaled`]: recorded service times are multiplied by this; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_scale: Option<f64>,
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
        if let Some(scale) = self.api_scale {
            if !(scale.is_finite() && scale >= 0.0) {
                return wrong(format!(
                    "`api_scale` = {scale}; a factor must be at least 0"
                ));
            }
            if self.timing != Timing::ApiScaled {
                return wrong("`api_scale` needs timing = \"api-scaled\"".to_owned());
            }
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
    /// Open loop: a turn arrives `at_ms` after the session's first one, or when the turn before it is over if that is later.
    Original,
    /// Open loop on the timeline of a server that is `api_scale` times as slow as the recorded one: gaps as recorded, service times
    /// (`api_ms`) scaled.
    ApiScaled,
}

impl Timing {
    /// Whether turns arrive at times of their own, however long the turns before take.
    pub fn is_open_loop(self) -> bool {
        matches!(self, Self::Original | Self::ApiScaled)
    }

    /// As written in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::ThinkOnly => "think-only",
            Self::Original => "original",
            Self::ApiScaled => "api-scaled",
        }
    }
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
    /// Sub-agents that a turn of their parent waits for.
    pub joins: u64,
    /// Calls of other sessions that a turn should wait for, but does not: the session does not run, or is no sub-agent of this one.
    pub joins_ignored: u64,
    /// Turns that do not continue the one before in the file, but are served after it.
    pub branches_serialised: u64,
    /// Sub-agents.
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
                "waits for calls of other sessions that are not sub-agents of the waiting one, or do not run, are left out",
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
