//! SWE-agent: steps of answer, command and observation.

use serde_json::Value;

use super::{Counts, list};
use crate::format::record::record;
use crate::format::{Call, Extra, GapKind, Millis, Nullable, Session, Tool};
use crate::import::calls::{not_empty, tokens, tool_extra};
use crate::import::estimate::{chars_in, tokens_of};
use crate::import::tool_class::of_command;

record! {
    struct Step {
        nullable action: String = "action",
        nullable observation: Value = "observation",
        nullable response: Value = "response",
        nullable thought: Value = "thought",
        nullable execution_time: f64 = "execution_time",
        nullable query: Value = "query",
    }
}

/// Characters of one call.
struct Lengths {
    prompt: u64,
    answer: u64,
}

/// The run in `fields`; its name is the caller's.
pub fn session(mut fields: Extra, counts: &mut Counts) -> Result<Session, String> {
    let steps = list(&mut fields, "trajectory")?;
    let history = fields.shift_remove("history").unwrap_or_default();
    let mut said = opening(&history);
    let mut calls: Vec<Call> = Vec::with_capacity(steps.len());
    let mut lengths: Vec<Lengths> = Vec::with_capacity(steps.len());
    // Duration of the command before, where it is known.
    let mut ran: Option<Millis> = None;
    for (number, step) in steps.into_iter().enumerate() {
        let step: Step =
            serde_json::from_value(step).map_err(|error| format!("step {number}: {error}"))?;
        let part = |value: &Nullable<Value>| value.as_ref().map_or(0, chars_in);
        let answer = part(&step.response).max(part(&step.thought));
        if answer == 0 {
            // A step that the harness put in, such as a submission after an error.
            counts.ignored += 1;
            continue;
        }
        let prompt = step.query.as_ref().map_or(said, chars_in).max(1);
        let mut call = Call {
            id: calls.len() as u32,
            ..Call::default()
        };
        if call.id > 0 {
            if let Some(ran) = ran {
                (call.gap_ms, call.gap_kind) = (ran, GapKind::Tool);
            } else {
                call.gap_kind = GapKind::Unknown;
                counts.mended.no_gap();
            }
        }
        ran =
            match step.execution_time.value() {
                Some(seconds) => Some(Millis::from_secs(seconds).ok_or_else(|| {
                    format!("step {number}: `execution_time` is {seconds} seconds")
                })?),
                None => None,
            };
        let observed = part(&step.observation);
        call.tools = ran.map(|dur_ms| {
            let action = step.action.as_ref().map_or("", String::as_str);
            vec![tool(action, dur_ms, observed)]
        });
        said += answer + observed;
        lengths.push(Lengths { prompt, answer });
        calls.push(call);
    }
    let stats = fields.get("info").and_then(|info| info.get("model_stats"));
    let total = |key: &str| stats?.get(key)?.as_u64().filter(|&total| total > 0);
    let totals = total("tokens_sent").zip(total("tokens_received"));
    fill(&mut calls, &lengths, totals, counts)?;
    Ok(Session {
        cls: Some("coding".to_owned()),
        start_ms: Nullable::Null,
        calls,
        x: not_empty(fields),
        ..Session::default()
    })
}

/// Characters that the model was given before its first answer.
fn opening(history: &Value) -> u64 {
    let messages = history.as_array().into_iter().flatten();
    let is_given =
        |message: &&Value| message.get("role").and_then(Value::as_str) != Some("assistant");
    messages
        .take_while(is_given)
        .map(|message| message.get("content").map_or(0, chars_in))
        .sum()
}

fn tool(action: &str, dur_ms: Millis, result_chars: u64) -> Tool {
    let name = action.split_whitespace().next().unwrap_or("none");
    Tool {
        name: name.to_owned(),
        cls: Some(of_command(action).to_owned()),
        start_ms: Some(0.into()),
        dur_ms,
        extra: tool_extra(Extra::from_iter([(
            "result_chars".to_owned(),
            result_chars.into(),
        )])),
        ..Tool::default()
    }
}

/// Shares the totals out by length, or estimates where there are none.
fn fill(
    calls: &mut [Call],
    lengths: &[Lengths],
    totals: Option<(u64, u64)>,
    counts: &mut Counts,
) -> Result<(), String> {
    let sum = |part: fn(&Lengths) -> u64| lengths.iter().map(part).sum::<u64>().max(1);
    let (prompts, answers) = (sum(|l| l.prompt), sum(|l| l.answer));
    let share = |total: u64, part: u64, whole: u64| {
        let share = u128::from(total) * u128::from(part) / u128::from(whole);
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    };
    for (call, length) in calls.iter_mut().zip(lengths) {
        let (input, output) = if let Some((sent, received)) = totals {
            counts.apportioned += 1;
            (
                share(sent, length.prompt, prompts),
                share(received, length.answer, answers),
            )
        } else {
            counts.estimated += 1;
            (tokens_of(length.prompt), tokens_of(length.answer))
        };
        call.input = tokens("a prompt", input)?;
        call.output = tokens("an answer", output)?;
        call.output_estimated = Some(true);
    }
    Ok(())
}
