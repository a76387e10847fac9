//! InferCept's experiment files: requests that tools interrupt.
//!
//! ```text
//!   {"0": [{"prompt_tokens": 1800, "completion_tokens": 60, "api_time": 0.69, "api_token_length": 120},
//!          {"prompt_tokens": 0, "completion_tokens": 40}], "1": […]}
//! ```
//!
//! One object, a list of calls per request. `api_time` (seconds) is how long the tool ran after the call, and
//! `api_token_length` what it returned. The next prompt is history, that result, and `prompt_tokens` of its own.

use super::calls::{Mended, not_empty, tokens};
use super::output::Output;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{Call, Extra, GapKind, Lines, Millis, Nullable, Session, Tool};

pub(super) const FORMAT: Format = Format {
    name: "infercept",
    summary: "InferCept experiment file: calls interrupted by tools",
    knows: "token counts, tool times and sizes of tool results",
    lacks: "starts, tool names, lost history",
    detect: |head| head.with_nested(&["prompt_tokens", "completion_tokens", "api_time"]),
    import,
};

record! {
    /// A call and the tool that interrupts it.
    struct RawCall {
        required prompt: u32 = "prompt_tokens",
        required completion: u32 = "completion_tokens",
        nullable api_time: f64 = "api_time",
        nullable api_tokens: u32 = "api_token_length",
    }
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    output.meta(&super::meta(&FORMAT, lines, options).with_common_clock(false))?;
    let mut mended = Mended::default();
    while let Some(requests) = lines.next_value::<Extra>()? {
        for (name, calls) in requests {
            let wrong = |what: String| lines.wrong(format!("request \"{name}\": {what}"));
            let calls: Vec<RawCall> =
                serde_json::from_value(calls).map_err(|error| wrong(error.to_string()))?;
            let calls = chain(calls, &mut mended).map_err(wrong)?;
            output.session(Session {
                sid: name,
                start_ms: Nullable::Null,
                calls,
                ..Session::default()
            })?;
        }
    }
    let mut warnings = vec![Warning::NoToolNames, Warning::HistoryAssumed];
    mended.warn(&mut warnings);
    Ok(warnings)
}

fn chain(raw: Vec<RawCall>, mended: &mut Mended) -> Result<Vec<Call>, String> {
    let mut calls: Vec<Call> = Vec::with_capacity(raw.len());
    // What the next prompt has beyond its own tokens, and the wait before it.
    let (mut history, mut gap_ms) = (0, Millis::default());
    for (index, raw) in raw.into_iter().enumerate() {
        let mut call = Call {
            id: index as u32,
            gap_ms,
            gap_kind: if index == 0 {
                GapKind::None
            } else {
                GapKind::Tool
            },
            input: tokens("the prompt", history + u64::from(raw.prompt))?,
            output: raw.completion,
            x: not_empty(raw.extra),
            ..Call::default()
        };
        mended.tokens(&mut call);
        let result = raw.api_tokens.value();
        gap_ms = Millis::default();
        if let Some(seconds) = raw.api_time.value() {
            gap_ms = Millis::from_secs(seconds)
                .ok_or_else(|| format!("`api_time` is {seconds} seconds"))?;
            call.tools = Some(vec![Tool {
                name: "api".to_owned(),
                dur_ms: gap_ms,
                out_tokens: result,
                ..Tool::default()
            }]);
        }
        history = u64::from(call.input) + u64::from(call.output) + u64::from(result.unwrap_or(0));
        calls.push(call);
    }
    Ok(calls)
}
