//! mini-swe-agent: a chat whose answers carry the provider's usage.

use serde_json::Value;

use super::{Counts, list};
use crate::format::{Call, Extra, GapKind, Millis, Nullable, Observed, Session};
use crate::import::calls::{not_empty, tokens};
use crate::import::clock::Instant;
use crate::import::estimate::{chars_in, tokens_of};

/// The run in `fields`; its name is the caller's.
pub fn session(mut fields: Extra, counts: &mut Counts) -> Result<Session, String> {
    let messages = list(&mut fields, "messages")?;
    let mut calls: Vec<Call> = Vec::new();
    let mut said = 0;
    // When the last message was written, and the last answer.
    let (mut latest, mut answered) = (None, None);
    let mut start: Option<Instant> = None;
    for (number, message) in messages.iter().enumerate() {
        let wrong = |what: String| format!("message {number}: {what}");
        let role = message.get("role").and_then(Value::as_str);
        let role = role.ok_or_else(|| wrong("no `role`".to_owned()))?;
        let length = message.get("content").map_or(0, chars_in);
        let time = time(message).map_err(wrong)?;
        start = start.or(time);
        if role != "assistant" {
            said += length;
            latest = time;
            continue;
        }
        let mut call = Call {
            id: calls.len() as u32,
            ..Call::default()
        };
        let usage = message
            .pointer("/extra/response/usage")
            .or_else(|| message.pointer("/response/usage"));
        let count = |path: &str| usage?.pointer(path)?.as_u64();
        let counted = count("/prompt_tokens").zip(count("/completion_tokens"));
        let (input, output) = counted.unwrap_or((tokens_of(said), tokens_of(length)));
        call.input = tokens("the prompt", input).map_err(wrong)?;
        call.output = tokens("the answer", output).map_err(wrong)?;
        if counted.is_none() {
            counts.estimated += 1;
            call.output_estimated = Some(true);
        }
        let small = |path: &str| count(path).and_then(|count| u32::try_from(count).ok());
        call.cached = small("/prompt_tokens_details/cached_tokens");
        call.reasoning = small("/completion_tokens_details/reasoning_tokens");
        call.model = message
            .pointer("/extra/response/model")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if call.id > 0 {
            if let Some(gap_ms) = distance(answered, latest) {
                (call.gap_ms, call.gap_kind) = (gap_ms, GapKind::Tool);
            } else {
                call.gap_kind = GapKind::Unknown;
                counts.mended.no_gap();
            }
        }
        let api_ms = distance(latest, time);
        call.at_ms = distance(start, latest);
        call.observed = api_ms.map(|_| Observed {
            api_ms,
            ..Observed::default()
        });
        counts.mended.tokens(&mut call);
        calls.push(call);
        said += length;
        (latest, answered) = (time, time);
    }
    Ok(Session {
        cls: Some("coding".to_owned()),
        start_ms: start.map_or(Nullable::Null, |start| Nullable::Value(start.millis())),
        calls,
        x: not_empty(fields),
        ..Session::default()
    })
}

/// When a message was written: seconds of Unix time, beside it or in `extra`.
fn time(message: &Value) -> Result<Option<Instant>, String> {
    let stamp = message
        .get("timestamp")
        .or_else(|| message.pointer("/extra/timestamp"));
    let Some(seconds) = stamp.and_then(Value::as_f64) else {
        return Ok(None);
    };
    let time = Instant::from_unix_secs(seconds);
    time.map(Some)
        .ok_or_else(|| format!("`timestamp` is {seconds} seconds"))
}

/// From one time to a later one, where both are known.
fn distance(from: Option<Instant>, to: Option<Instant>) -> Option<Millis> {
    from.zip(to).map(|(from, to)| to.since(from))
}
