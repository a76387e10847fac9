//! Conversations as lists of messages: every answer is a call.

use serde_json::Value;

use super::Counts;
use crate::TraceError;
use crate::format::{Call, GapKind, Lines, Nullable, Session};
use crate::import::calls::{not_empty, tokens};
use crate::import::estimate::{chars_in, tokens_of};
use crate::import::output::Output;

/// Roles whose messages are generated (OpenAI's, and those of ShareGPT).
const ANSWERS: [&str; 6] = ["assistant", "gpt", "chatgpt", "bing", "bard", "model"];

/// The conversations in `value`: one, or an array of them.
pub fn sessions(
    value: Value,
    counts: &mut Counts,
    lines: &Lines,
    output: &mut Output<'_>,
) -> Result<(), TraceError> {
    let conversations = match value {
        Value::Array(all) => all,
        one => vec![one],
    };
    for (number, conversation) in conversations.into_iter().enumerate() {
        let session = session(number, conversation, counts);
        let session =
            session.map_err(|what| lines.wrong(format!("conversation {number}: {what}")))?;
        if session.calls.is_empty() {
            counts.empty += 1;
        } else {
            output.session(session)?;
        }
    }
    Ok(())
}

fn session(number: usize, conversation: Value, counts: &mut Counts) -> Result<Session, String> {
    let Value::Object(mut fields) = conversation else {
        return Err("not an object with `messages`".to_owned());
    };
    let messages = ["messages", "conversations"]
        .iter()
        .find_map(|key| fields.shift_remove(*key));
    let Some(Value::Array(messages)) = messages else {
        return Err("no list of `messages`".to_owned());
    };
    let sid = match fields.shift_remove("id") {
        None => format!("conversation-{number}"),
        Some(Value::String(id)) => id,
        Some(id) => id.to_string(),
    };
    let mut calls: Vec<Call> = Vec::new();
    // Tokens since the last answer, and who spoke last.
    let (mut pending, mut speaker, mut entries) = (0, GapKind::Unknown, 0);
    for message in &messages {
        let role = ["role", "from"].iter().find_map(|key| message.get(*key));
        let role = role.and_then(Value::as_str);
        let role = role.ok_or("a message without `role`")?;
        let content = ["content", "value"]
            .iter()
            .find_map(|key| message.get(*key));
        let length = tokens_of(content.map_or(0, chars_in));
        // A conversation cannot begin with an answer: nothing was asked.
        if !ANSWERS.contains(&role) || (calls.is_empty() && pending == 0) {
            pending += length;
            speaker = if role == "tool" {
                GapKind::Tool
            } else {
                GapKind::Human
            };
            entries += 1;
            continue;
        }
        let history = calls.last().map_or(0, |before| {
            u64::from(before.input) + u64::from(before.output)
        });
        let mut call = Call {
            id: calls.len() as u32,
            input: tokens("the prompt", history + pending)?,
            output: tokens("an answer", length)?,
            output_estimated: Some(true),
            ..Call::default()
        };
        if call.id > 0 {
            call.gap_kind = speaker;
            counts.mended.no_gap();
        }
        counts.estimated += 1;
        counts.mended.tokens(&mut call);
        calls.push(call);
        (pending, speaker, entries) = (0, GapKind::Unknown, 0);
    }
    // A last question without an answer is no call.
    counts.ignored += entries;
    Ok(Session {
        sid,
        start_ms: Nullable::Null,
        calls,
        x: not_empty(fields),
        ..Session::default()
    })
}
