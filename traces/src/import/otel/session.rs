//! The spans of an agent as a session.

use serde_json::Value;

use super::Counts;
use super::agents::Agent;
use super::raw::Span;
use crate::format::{
    After, Call, GapKind, Millis, Nullable, Observed, Parent, ParentLink, Session, Tool,
};
use crate::import::calls::{keep_extra, not_empty, tool_extra, wait_for};
use crate::import::clock::Instant;
use crate::import::tool_class::of_tool;

/// A session, and when its calls ran.
struct Timed {
    session: Session,
    starts: Vec<Instant>,
    ends: Vec<Instant>,
}

/// The agents as sessions; those without a call are left out.
pub fn sessions(agents: Vec<Agent>, counts: &mut Counts) -> Result<Vec<Session>, String> {
    let mut invoked = Vec::with_capacity(agents.len());
    let mut timed = Vec::with_capacity(agents.len());
    for agent in agents {
        timed.push(session(agent.sid, agent.calls, agent.tools, counts)?);
        invoked.push(agent.invoked);
    }
    for (child, invoked) in invoked.into_iter().enumerate() {
        if let Some((parent, span)) = invoked
            && !timed[child].session.calls.is_empty()
        {
            attach(&mut timed, parent, child, &span, counts);
        }
    }
    let sessions = timed.into_iter().map(|timed| timed.session);
    Ok(sessions
        .filter(|session| !session.calls.is_empty())
        .collect())
}

fn session(
    sid: String,
    calls: Vec<Span>,
    tools: Vec<Span>,
    counts: &mut Counts,
) -> Result<Timed, String> {
    let start = calls.first().map(|first| first.start);
    let resource = calls.first().map(|first| first.resource.clone());
    let mut timed = Timed {
        session: Session {
            sid,
            start_ms: start.map_or(Nullable::Null, |start| Nullable::Value(start.millis())),
            x: resource.and_then(not_empty),
            ..Session::default()
        },
        starts: calls.iter().map(|span| span.start).collect(),
        ends: calls.iter().map(|span| span.end).collect(),
    };
    let mut issued: Vec<Vec<Tool>> = vec![Vec::new(); calls.len()];
    for span in tools {
        match timed.starts.iter().rposition(|&start| start <= span.start) {
            Some(call) => issued[call].push(tool(span, timed.ends[call])),
            None => counts.ignored += 1,
        }
    }
    let has_tools: Vec<bool> = issued.iter().map(|tools| !tools.is_empty()).collect();
    let mut trace = String::new();
    for (id, (mut span, tools)) in calls.into_iter().zip(issued).enumerate() {
        let same_trace = std::mem::replace(&mut trace, span.trace.clone()) == span.trace;
        let (begin, end) = (span.start, span.end);
        let mut call = call(id as u32, &mut span)?;
        call.at_ms = start.map(|start| begin.since(start));
        call.observed = Some(Observed {
            api_ms: Some(end.since(begin)),
            ttft_ms: first_token(&mut span)?,
            ..Observed::default()
        });
        if let Some(before) = id.checked_sub(1) {
            let ended = timed.ends[before];
            counts.overlapping += u64::from(begin < ended);
            call.gap_ms = begin.since(ended);
            call.gap_kind = match (has_tools[before], same_trace) {
                (true, _) => GapKind::Tool,
                (false, false) => GapKind::Human,
                (false, true) => GapKind::Unknown,
            };
        }
        call.tools = Some(tools).filter(|tools| !tools.is_empty());
        for (key, value) in std::mem::take(&mut span.attributes) {
            keep_extra(&mut call, &key, value);
        }
        keep_extra(&mut call, "traceId", span.trace.into());
        keep_extra(&mut call, "spanId", span.id.into());
        counts.mended.tokens(&mut call);
        timed.session.calls.push(call);
    }
    Ok(timed)
}

fn call(id: u32, span: &mut Span) -> Result<Call, String> {
    let usage = |name: &str| format!("gen_ai.usage.{name}");
    let mut count = |names: [&str; 2]| {
        let keys = names.map(usage);
        span.take_count(&[&keys[0], &keys[1]])
    };
    let input = count(["input_tokens", "prompt_tokens"])?.unwrap_or(0);
    let output = count(["output_tokens", "completion_tokens"])?.unwrap_or(0);
    let cached = count(["cache_read.input_tokens", "cached_tokens"])?;
    let reasoning = count(["reasoning.output_tokens", "reasoning_tokens"])?;
    let asked = span.take_text("gen_ai.request.model");
    let model = span.take_text("gen_ai.response.model").or(asked);
    let stop = match span.take("gen_ai.response.finish_reasons") {
        Some(Value::Array(reasons)) => reasons.first().and_then(Value::as_str).map(str::to_owned),
        Some(Value::String(reason)) => Some(reason),
        _ => None,
    };
    Ok(Call {
        id,
        input,
        output,
        reasoning,
        cached,
        stop,
        model,
        ..Call::default()
    })
}

/// Seconds to the first chunk, as a duration.
fn first_token(span: &mut Span) -> Result<Option<Millis>, String> {
    let key = "gen_ai.response.time_to_first_chunk";
    let Some(value) = span.take(key) else {
        return Ok(None);
    };
    let time = value.as_f64().and_then(Millis::from_secs);
    let wrong = || format!("span {}: `{key}` is {value}, not seconds", span.id);
    time.map(Some).ok_or_else(wrong)
}

/// A tool whose call ended at `end`.
fn tool(mut span: Span, end: Instant) -> Tool {
    let name = span.take_text("gen_ai.tool.name");
    let name = name.unwrap_or_else(|| "tool".to_owned());
    Tool {
        cls: of_tool(&name, None).map(str::to_owned),
        name,
        start_ms: Some(span.start.offset_ms(end)),
        dur_ms: span.end.since(span.start),
        status: Some(if span.is_error { "error" } else { "ok" }.to_owned()),
        extra: tool_extra(std::mem::take(&mut span.attributes)),
        ..Tool::default()
    }
}

/// Makes `child` a sub-agent of the call of `parent` that ended last before it was invoked (`span`).
fn attach(timed: &mut [Timed], parent: usize, child: usize, span: &Span, counts: &mut Counts) {
    let ends = &timed[parent].ends;
    let Some(call) = ends.iter().rposition(|&end| end <= span.start) else {
        counts.orphans += 1;
        return;
    };
    let mut later = timed[parent].starts.iter().enumerate().skip(call + 1);
    let next = later
        .find(|&(_, &start)| start >= span.end)
        .map(|(next, _)| next);
    let begin = timed[child].starts[0];
    let link = Parent {
        sid: timed[parent].session.sid.clone(),
        call: call as u32,
        offset_ms: begin.since(timed[parent].ends[call]),
        join: next.map(|next| next as u32),
        ..Parent::default()
    };
    let last = timed[child].session.calls.len() as u32 - 1;
    let sid = timed[child].session.sid.clone();
    timed[child].session.parent = Some(ParentLink::Call(link));
    match next {
        Some(next) => {
            let waiting = &mut timed[parent].session.calls[next];
            wait_for(waiting, After::Other { sid, call: last });
        }
        None => counts.detached += 1,
    }
}
