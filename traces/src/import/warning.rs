//! What a source does not say, as values: stored in the trace, printed on the terminal, copied into manifests.

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
    /// Tools are told apart by time alone, not by name.
    #[error("no tool names: only how long tools took is known")]
    NoToolNames,
    /// Tool names are known, but not how long each ran.
    #[error("no tool times: the gap tells how long all tools of a call took together")]
    NoToolTimes,
    /// A person may have to approve a tool call.
    #[error("tool gaps may include a person approving the call")]
    ApprovalsInGaps,
    /// All gaps are whole seconds in the source.
    #[error("gaps are recorded in whole seconds: nothing below about 1 s is resolved")]
    WholeSecondGaps,
    /// Waits are unknown.
    #[error("{calls} calls have no recorded wait before them: 0 was put in")]
    NoGaps {
        /// How many.
        calls: u64,
    },
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
    /// How long the recorded system took is unknown.
    #[error("no service times: a replay at recorded times cannot tell waiting from being served")]
    NoServiceTimes,
    /// Service times begin at a log line, not at the request.
    #[error(
        "the dispatch of a call is not logged: the last input before it was taken, so service times are upper bounds"
    )]
    DispatchFromInput,
    /// Calls without output.
    #[error("{calls} calls have no output tokens in the source: 1 was put in (marked out_est)")]
    NoOutput {
        /// How many.
        calls: u64,
    },
    /// Calls without a prompt.
    #[error("{calls} calls have no prompt tokens in the source: 1 was put in")]
    NoInput {
        /// How many.
        calls: u64,
    },
    /// Outputs were estimated.
    #[error(
        "{calls} outputs are estimated from the length of their text (marked out_est): the source has no usable count"
    )]
    EstimatedOutput {
        /// How many.
        calls: u64,
    },
    /// Prompts were estimated.
    #[error(
        "{calls} prompts are estimated from the length of their text: the source has no token counts"
    )]
    EstimatedInput {
        /// How many.
        calls: u64,
    },
    /// Tokens per call were apportioned.
    #[error(
        "tokens of {calls} calls are shares of the session's totals by length of text: the source counts no single call"
    )]
    ApportionedTokens {
        /// How many.
        calls: u64,
    },
    /// What a prompt keeps of its history is not recorded.
    #[error(
        "the source does not say what a prompt keeps of its history: all that fits is assumed to be kept"
    )]
    HistoryAssumed,
    /// What is kept is what a provider's cache hit.
    #[error(
        "the kept history is what the provider's cache hit: where that cache had expired, kept text counts as lost"
    )]
    KeepFromCacheReads,
    /// More was said to be kept than there was.
    #[error(
        "{calls} calls keep more than the call before them had: their kept history was cut to that"
    )]
    KeepClipped {
        /// How many.
        calls: u64,
    },
    /// More blocks than a prompt of that length has.
    #[error("{calls} calls have more prefix blocks than their prompt: the surplus was dropped")]
    BlocksTrimmed {
        /// How many.
        calls: u64,
    },
    /// Block ids of several files are compared.
    #[error("{files} files are taken to share one numbering of prefix blocks")]
    BlockIdsAcrossFiles {
        /// How many.
        files: u64,
    },
    /// Sessions without calls.
    #[error("{sessions} sessions without a single call were left out")]
    EmptySessions {
        /// How many.
        sessions: u64,
    },
    /// Sessions of several files had one name.
    #[error("{sessions} sessions have the name of one in an earlier file: a number was added")]
    RenamedSessions {
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
    /// Sub-agents whose parent is known by time alone.
    #[error("{subagents} sub-agents were assigned to the call during whose tools they ran")]
    SubagentsByTime {
        /// How many.
        subagents: u64,
    },
    /// Sub-agents whose parent is unknown.
    #[error("{subagents} sub-agents have no known parent: they are sessions of their own")]
    OrphanSubagents {
        /// How many.
        subagents: u64,
    },
    /// The source has sub-agents, but does not say whose.
    #[error("sub-agents are not linked to their parents: they are sessions of their own")]
    NoSubagentLinks,
    /// Turns whose predecessor lies outside of the file.
    #[error("{calls} calls continue one that is not in the file: each begins a session")]
    OrphanCalls {
        /// How many.
        calls: u64,
    },
    /// Calls that ran at the same time in one session.
    #[error("{calls} calls began before the one before them had ended: they follow it at once")]
    OverlappingCalls {
        /// How many.
        calls: u64,
    },
    /// Entries of a log that say nothing about calls.
    #[error("{entries} entries are no LLM calls, inputs or tools: they were left out")]
    IgnoredEntries {
        /// How many.
        entries: u64,
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
    /// A source that is a recipe, not a log.
    #[error("the source describes distributions: the sessions were drawn from them (`seed`)")]
    Drawn,
}

impl Warning {
    /// The number that grows when the same is said of a second file.
    fn count(&mut self) -> Option<&mut u64> {
        match self {
            Self::NoCommonClock
            | Self::NoTools
            | Self::NoToolNames
            | Self::NoToolTimes
            | Self::ApprovalsInGaps
            | Self::WholeSecondGaps
            | Self::NoServiceTimes
            | Self::DispatchFromInput
            | Self::HistoryAssumed
            | Self::KeepFromCacheReads
            | Self::NoSubagentLinks
            | Self::ArrivalGrid { .. }
            | Self::NoSessions
            | Self::Drawn => None,
            Self::NoGaps { calls: count }
            | Self::CorrectedGaps { calls: count }
            | Self::UncorrectedGaps { calls: count }
            | Self::GapsFromTimestamps { calls: count }
            | Self::StartToStartGaps { calls: count }
            | Self::NoOutput { calls: count }
            | Self::NoInput { calls: count }
            | Self::EstimatedOutput { calls: count }
            | Self::EstimatedInput { calls: count }
            | Self::ApportionedTokens { calls: count }
            | Self::KeepClipped { calls: count }
            | Self::BlocksTrimmed { calls: count }
            | Self::BlockIdsAcrossFiles { files: count }
            | Self::EmptySessions { sessions: count }
            | Self::RenamedSessions { sessions: count }
            | Self::SubagentStampedAtEnd { subagents: count }
            | Self::DetachedSubagents { subagents: count }
            | Self::SubagentsByTime { subagents: count }
            | Self::OrphanSubagents { subagents: count }
            | Self::OrphanCalls { calls: count }
            | Self::OverlappingCalls { calls: count }
            | Self::IgnoredEntries { entries: count }
            | Self::ChainedByPrefix { calls: count } => Some(count),
        }
    }
}

/// Adds `warning(count)` unless `count` is 0.
pub fn note(warnings: &mut Vec<Warning>, count: u64, warning: impl FnOnce(u64) -> Warning) {
    if count > 0 {
        warnings.push(warning(count));
    }
}

/// Adds what was said of one more file to what was said of the others: counts are added up, the rest is said once.
pub fn merge(all: &mut Vec<Warning>, more: Vec<Warning>) {
    for mut warning in more {
        let kind = std::mem::discriminant(&warning);
        let Some(count) = warning.count().map(|count| *count) else {
            if !all.contains(&warning) {
                all.push(warning);
            }
            continue;
        };
        let said = all
            .iter_mut()
            .find(|known| std::mem::discriminant(*known) == kind);
        match said.and_then(Warning::count) {
            Some(sum) => *sum += count,
            None => all.push(warning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_several_files_is_said_once_with_counts_added() {
        let mut all = vec![Warning::NoTools, Warning::NoOutput { calls: 2 }];
        let more = vec![
            Warning::NoOutput { calls: 3 },
            Warning::NoTools,
            Warning::ArrivalGrid { step_ms: 3_000 },
            Warning::NoGaps { calls: 1 },
        ];
        merge(&mut all, more);
        let expected = [
            Warning::NoTools,
            Warning::NoOutput { calls: 5 },
            Warning::ArrivalGrid { step_ms: 3_000 },
            Warning::NoGaps { calls: 1 },
        ];
        assert_eq!(all, expected);
    }
}
