//! Trie (Applied Compute; Dynamo's `applied_compute_agentic`): one session per line, with its tool times.
//!
//! ```text
//!   {"num_turns": 2, "input_prompt_length": 4000, "assistant_response_length": [120, 15],
//!    "tool_call_output_length": [60, 900], "tool_call_latency": [0.75, 0.25], "final_assistant_response_length": 1200}
//! ```
//!
//! A row of `num_turns` tool calls has `num_turns` + 1 LLM calls. Prompts only grow: each is the one before, its answer and the
//! tool's output. Latencies are seconds. Streams.

use super::calls::{Mended, not_empty, tokens};
use super::output::Output;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{Call, GapKind, Lines, Millis, Nullable, Session, Tool};

pub(super) const FORMAT: Format = Format {
    name: "trie",
    summary: "Applied Compute trie: office agents, one session per line",
    knows: "token counts, tool times and sizes of tool results",
    lacks: "starts, tool names, lost history",
    detect: |head| head.with(&["num_turns", "input_prompt_length", "tool_call_latency"]),
    import,
};

record! {
    /// A session.
    struct Row {
        required turns: usize = "num_turns",
        required prompt: u32 = "input_prompt_length",
        required outputs: Vec<u32> = "assistant_response_length",
        required results: Vec<u32> = "tool_call_output_length",
        required latencies: Vec<f64> = "tool_call_latency",
        required last_output: u32 = "final_assistant_response_length",
    }
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    output.meta(&super::meta(&FORMAT, lines, options).with_common_clock(false))?;
    let mut mended = Mended::default();
    let mut number = 0;
    while let Some(row) = lines.row()? {
        let session = session(number, row, &mut mended);
        output.session(session.map_err(|what| lines.wrong(what))?)?;
        number += 1;
    }
    let mut warnings = vec![Warning::NoToolNames, Warning::HistoryAssumed];
    mended.warn(&mut warnings);
    Ok(warnings)
}

fn session(number: u64, row: Row, mended: &mut Mended) -> Result<Session, String> {
    for (key, count) in [
        ("assistant_response_length", row.outputs.len()),
        ("tool_call_output_length", row.results.len()),
        ("tool_call_latency", row.latencies.len()),
    ] {
        if count != row.turns {
            let turns = row.turns;
            return Err(format!(
                "`{key}` has {count} entries, but num_turns = {turns}"
            ));
        }
    }
    let mut calls: Vec<Call> = Vec::with_capacity(row.turns + 1);
    for index in 0..=row.turns {
        let issues = index < row.turns;
        let mut call = Call {
            id: index as u32,
            input: row.prompt,
            output: if issues {
                row.outputs[index]
            } else {
                row.last_output
            },
            stop: Some(if issues { "tool_use" } else { "end_turn" }.to_owned()),
            ..Call::default()
        };
        if issues {
            let seconds = row.latencies[index];
            let dur_ms = Millis::from_secs(seconds)
                .ok_or_else(|| format!("`tool_call_latency` holds {seconds} seconds"))?;
            call.tools = Some(vec![Tool {
                name: "tool".to_owned(),
                dur_ms,
                out_tokens: Some(row.results[index]),
                ..Tool::default()
            }]);
        }
        let before = index
            .checked_sub(1)
            .map(|index| (&calls[index], row.results[index]));
        if let Some((before, result)) = before {
            let tool = before.tools.as_ref().and_then(|tools| tools.first());
            (call.gap_ms, call.gap_kind) = (
                tool.map_or(Millis::default(), |tool| tool.dur_ms),
                GapKind::Tool,
            );
            let history = u64::from(before.input) + u64::from(before.output);
            call.input = tokens("the prompt", history + u64::from(result))?;
        }
        mended.tokens(&mut call);
        let history = before.map_or(0, |(before, _)| before.input.saturating_add(before.output));
        call.keep = Some(history);
        calls.push(call);
    }
    Ok(Session {
        sid: format!("trie/{number}"),
        cls: Some("office".to_owned()),
        start_ms: Nullable::Null,
        calls,
        x: not_empty(row.extra),
        ..Session::default()
    })
}
