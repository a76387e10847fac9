//! TraceLab (University of Washington): one LLM round of a coding agent per line, with its tools.
//!
//! ```text
//!   {"session_id": "claude:s1", "round_index": 1, "input_tokens_total": 5200, "prefix_tokens": 5000, "output_tokens": 300,
//!    "timing_events": [{"event_type": "tool_result", "timestamp": …}, {"event_type": "text", "timestamp": …}],
//!    "tools": [{"tool_name": "Bash", "emitted_at": …, "tool_wall_latency_ms": 1500, …}], …}
//! ```
//!
//! Events are inputs (`user_message`, `tool_result`) or come from the model (everything else). A round is taken to be dispatched at
//! its last input and to end at its last event of the model; the wait before it is the distance of its last input from the
//! end of the round before. `prefix_tokens`, the provider's cache reads, say how much history was kept.
//!
//! Rounds of a session may lie anywhere in the file; they are put in order of `round_index`. Sub-agents are sessions of
//! their own: nothing but time links them to a parent.

use std::collections::HashMap;

use super::calls::{Mended, keep_extra, not_empty, tool_extra};
use super::clock::Instant;
use super::output::Output;
use super::tool_class::of_tool;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{Call, GapKind, Lines, Millis, Nullable, Observed, Session, Tool};

pub(super) const FORMAT: Format = Format {
    name: "tracelab",
    summary: "TraceLab rounds (JSONL): Claude Code and Codex sessions with tools",
    knows: "times of inputs and answers, token counts, provider cache reads, tools with wall times",
    lacks: "prefix blocks, dispatch times, links from sub-agents to parents",
    detect: |head| head.with(&["session_id", "round_index", "timing_events"]),
    import,
};

record! {
    /// A round.
    struct Row {
        required session_id: String = "session_id",
        required round_index: u64 = "round_index",
        nullable model: String = "model",
        required input: u32 = "input_tokens_total",
        required prefix: u32 = "prefix_tokens",
        required output: u32 = "output_tokens",
        nullable reasoning: u32 = "reasoning_output_tokens",
        required events: Vec<Event> = "timing_events",
        required tools: Vec<RawTool> = "tools",
    }
}

record! {
    /// Something that went in or came out.
    struct Event {
        required kind: String = "event_type",
        required timestamp: String = "timestamp",
    }
}

record! {
    /// A tool that the round issued.
    struct RawTool {
        required name: String = "tool_name",
        nullable emitted_at: String = "emitted_at",
        nullable wall_ms: Millis = "tool_wall_latency_ms",
        nullable is_error: bool = "is_error",
    }
}

/// A round as a call, and when its session saw it.
struct Round {
    index: u64,
    line: u64,
    call: Call,
    /// Last input.
    begin: Option<Instant>,
    /// Last event of the model.
    end: Option<Instant>,
    prefix: u32,
}

#[derive(Default)]
struct Importer {
    sessions: Vec<(String, Vec<Round>)>,
    /// Session by id. Looked up only.
    by_name: HashMap<String, usize>,
    mended: Mended,
    has_clock: bool,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut importer = Importer {
        has_clock: true,
        ..Importer::default()
    };
    while let Some(row) = lines.row()? {
        let line = lines.place().line;
        importer.row(row, line).map_err(|what| lines.wrong(what))?;
    }
    let mut sessions = Vec::new();
    for (name, rounds) in std::mem::take(&mut importer.sessions) {
        let session = importer.session(name, rounds);
        sessions.push(session.map_err(|what| lines.wrong(what))?);
    }
    output.meta(&super::meta(&FORMAT, lines, options).with_common_clock(importer.has_clock))?;
    for session in sessions {
        output.session(session)?;
    }
    let mut warnings = vec![
        Warning::DispatchFromInput,
        Warning::KeepFromCacheReads,
        Warning::ApprovalsInGaps,
        Warning::NoSubagentLinks,
    ];
    importer.mended.warn(&mut warnings);
    Ok(warnings)
}

fn is_input(event: &Event) -> bool {
    ["user_message", "tool_result"].contains(&event.kind.as_str())
}

fn instant(key: &str, text: &str) -> Result<Instant, String> {
    Instant::parse(text).ok_or_else(|| format!("`{key}` is {text:?}, not a time since 1970"))
}

impl Importer {
    fn row(&mut self, row: Row, line: u64) -> Result<(), String> {
        let (mut begin, mut end) = (None, None);
        for event in &row.events {
            let time = Some(instant("timestamp", &event.timestamp)?);
            let latest = if is_input(event) {
                &mut begin
            } else {
                &mut end
            };
            *latest = time.max(*latest);
        }
        let has = |kind: &str| row.events.iter().any(|event| event.kind == kind);
        let gap_kind = match (has("tool_result"), has("user_message")) {
            (true, true) => GapKind::Mixed,
            (true, false) => GapKind::Tool,
            (false, true) => GapKind::Human,
            (false, false) => GapKind::Unknown,
        };
        let mut call = Call {
            gap_kind,
            input: row.input,
            output: row.output,
            reasoning: row.reasoning.value(),
            cached: Some(row.prefix),
            model: row.model.value(),
            observed: begin.zip(end).map(|(begin, end)| Observed {
                api_ms: Some(end.since(begin)),
                ..Observed::default()
            }),
            x: not_empty(row.extra),
            ..Call::default()
        };
        // A tool without a duration cannot be a tool of the format; it stays in `x`.
        let (timed, untimed): (Vec<RawTool>, Vec<RawTool>) = row
            .tools
            .into_iter()
            .partition(|tool| tool.wall_ms.as_ref().is_some());
        let tools: Result<Vec<Tool>, String> =
            timed.into_iter().map(|raw| tool(raw, end)).collect();
        call.tools = Some(tools?).filter(|tools| !tools.is_empty());
        let plain = |value| serde_json::to_value(value).expect("plain values");
        if !untimed.is_empty() {
            keep_extra(&mut call, "tools", plain(untimed));
        }
        let events = serde_json::to_value(row.events).expect("plain values");
        keep_extra(&mut call, "timing_events", events);
        let index = *self
            .by_name
            .entry(row.session_id.clone())
            .or_insert_with(|| {
                self.sessions.push((row.session_id, Vec::new()));
                self.sessions.len() - 1
            });
        self.sessions[index].1.push(Round {
            index: row.round_index,
            line,
            call,
            begin,
            end,
            prefix: row.prefix,
        });
        Ok(())
    }

    fn session(&mut self, sid: String, mut rounds: Vec<Round>) -> Result<Session, String> {
        rounds.sort_by_key(|round| (round.index, round.line));
        if let Some(pair) = rounds
            .windows(2)
            .find(|pair| pair[0].index == pair[1].index)
        {
            let (index, first, second) = (pair[0].index, pair[0].line, pair[1].line);
            return Err(format!(
                "session `{sid}` has round {index} twice, on lines {first} and {second}"
            ));
        }
        let start = rounds.first().and_then(|round| round.begin.or(round.end));
        self.has_clock &= start.is_some();
        let mut calls: Vec<Call> = Vec::with_capacity(rounds.len());
        let mut ended: Option<Instant> = None;
        for (id, round) in rounds.into_iter().enumerate() {
            let mut call = round.call;
            call.id = id as u32;
            call.at_ms = round
                .begin
                .zip(start)
                .map(|(begin, start)| begin.since(start));
            self.mended.tokens(&mut call);
            if id == 0 {
                call.gap_kind = GapKind::None;
            } else {
                if let Some((begin, ended)) = round.begin.zip(ended) {
                    call.gap_ms = begin.since(ended);
                } else {
                    self.mended.no_gap();
                    call.gap_kind = GapKind::Unknown;
                }
                self.mended.keep(&mut call, round.prefix, calls.last());
            }
            ended = round.end;
            calls.push(call);
        }
        Ok(Session {
            sid,
            cls: Some("coding".to_owned()),
            start_ms: start.map_or(Nullable::Null, |start| Nullable::Value(start.millis())),
            calls,
            ..Session::default()
        })
    }
}

/// A tool of a round that ended at `end`.
fn tool(raw: RawTool, end: Option<Instant>) -> Result<Tool, String> {
    let emitted = match raw.emitted_at.as_ref() {
        Some(text) => Some(instant("emitted_at", text)?),
        None => None,
    };
    let status = raw.is_error.value();
    let status = status.map(|is_error| if is_error { "error" } else { "ok" }.to_owned());
    Ok(Tool {
        cls: of_tool(&raw.name, None).map(str::to_owned),
        name: raw.name,
        start_ms: emitted
            .zip(end)
            .map(|(emitted, end)| emitted.offset_ms(end)),
        dur_ms: raw.wall_ms.value().expect("only timed tools come here"),
        status,
        extra: tool_extra(raw.extra),
        ..Tool::default()
    })
}
