//! OpenTelemetry: spans of agent frameworks under the GenAI semantic conventions, as OTLP JSON.
//!
//! ```text
//!   {"resourceSpans": [{"resource": {…}, "scopeSpans": [{"spans": [
//!      {"traceId": …, "spanId": …, "parentSpanId": …, "startTimeUnixNano": "…", "endTimeUnixNano": "…",
//!       "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}, …]}, …]}]}]}
//! ```
//!
//! | `gen_ai.operation.name` | becomes |
//! |---|---|
//! | `chat`, `text_completion`, `generate_content` | a call |
//! | `execute_tool` | a tool of the latest call of its agent that began before it |
//! | `invoke_agent` inside another `invoke_agent` | a sub-agent; the parent's next call after it waits for it |
//!
//! A session is a `gen_ai.conversation.id`, else a trace. A call's times are its span's; the wait before it runs from the
//! end of the call before. Spans of one session may come in any order and in several exports of a file. Attributes without
//! a place of their own are kept in `x`, as plain JSON.
//!
//! Source: OpenTelemetry semantic conventions for generative AI (spans, agent spans, tool execution; status: development),
//! with the older names of the token counts (`prompt_tokens`, `completion_tokens`).

mod agents;
mod raw;
mod session;

use raw::Span;

use super::calls::Mended;
use super::output::Output;
use super::warning::note;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::Lines;

pub(super) const FORMAT: Format = Format {
    name: "otel-genai",
    summary: "OpenTelemetry GenAI spans (OTLP JSON): calls, tools, agents",
    knows: "times of calls and tools, token counts and cache reads, tool names, sub-agents, models",
    lacks: "prefix blocks; what of its history a prompt kept",
    detect: |head| head.with(&["resourceSpans"]),
    import,
};

/// What was met, for the warnings.
#[derive(Default)]
struct Counts {
    mended: Mended,
    ignored: u64,
    overlapping: u64,
    orphans: u64,
    detached: u64,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut spans: Vec<Span> = Vec::new();
    while let Some(export) = lines.next_value()? {
        let found = raw::spans(export).map_err(|what| lines.wrong(what))?;
        spans.extend(found);
    }
    let mut counts = Counts::default();
    let agents = agents::agents(spans, &mut counts).map_err(|what| lines.wrong(what))?;
    let sessions = session::sessions(agents, &mut counts).map_err(|what| lines.wrong(what))?;
    output.meta(&super::meta(&FORMAT, lines, options))?;
    for session in sessions {
        output.session(session)?;
    }
    let mut warnings = vec![Warning::HistoryAssumed];
    note(&mut warnings, counts.overlapping, |calls| {
        Warning::OverlappingCalls { calls }
    });
    note(&mut warnings, counts.orphans, |subagents| {
        Warning::OrphanSubagents { subagents }
    });
    note(&mut warnings, counts.detached, |subagents| {
        Warning::DetachedSubagents { subagents }
    });
    note(&mut warnings, counts.ignored, |entries| {
        Warning::IgnoredEntries { entries }
    });
    counts.mended.warn(&mut warnings);
    Ok(warnings)
}
