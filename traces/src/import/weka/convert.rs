//! A recorded Weka session and its sub-agents, as sessions of our format.

use super::block_list;
use super::raw::{RawRequest, RawSession};
use crate::format::{
    After, BlockList, Call, GapKind, Millis, Nullable, Observed, Parent, ParentLink, Session,
    SharedPrefix,
};
use crate::import::WekaGap;
use crate::import::calls::{Mended, not_empty};

/// What was met and mended, for the warnings.
#[derive(Debug)]
pub struct Counts {
    pub gaps: u64,
    pub whole_second_gaps: bool,
    pub corrected: u64,
    pub uncorrected: u64,
    pub from_timestamps: u64,
    pub mended: Mended,
    pub empty: u64,
    pub stamped_at_end: u64,
    pub detached: u64,
}

pub struct Converter {
    gap: WekaGap,
    pub counts: Counts,
}

/// What the next call needs to know of the one before.
struct Previous {
    t: f64,
    api: Option<f64>,
    blocks: BlockList,
}

impl Previous {
    /// End of the call in seconds, as far as its service time is known.
    fn end(&self) -> f64 {
        self.t + self.api.unwrap_or(0.0)
    }
}

/// A sub-agent that a later call of the parent may wait for.
struct Running {
    index: usize,
    end: f64,
}

impl Converter {
    pub fn new(gap: WekaGap) -> Self {
        let counts = Counts {
            gaps: 0,
            whole_second_gaps: true,
            corrected: 0,
            uncorrected: 0,
            from_timestamps: 0,
            mended: Mended::default(),
            empty: 0,
            stamped_at_end: 0,
            detached: 0,
        };
        Self { gap, counts }
    }

    /// The session and, after it, its sub-agents.
    pub fn session(&mut self, raw: RawSession) -> Result<Vec<Session>, String> {
        if raw
            .hash_id_scope
            .as_ref()
            .is_some_and(|scope| scope != "local")
        {
            return Err(
                "hash_id_scope is not \"local\": only session-scoped ids are supported".to_owned(),
            );
        }
        let session = Session {
            sid: raw.id,
            start_ms: Nullable::Value(Millis::default()),
            shared_prefix: shared_prefix(raw.tool_tokens.value(), raw.system_tokens.value()),
            x: not_empty(raw.extra),
            ..Session::default()
        };
        self.chain(session, raw.requests)
    }

    /// Fills `session` with the calls among `requests`; the sub-agents among them follow it.
    fn chain(
        &mut self,
        mut session: Session,
        requests: Vec<RawRequest>,
    ) -> Result<Vec<Session>, String> {
        session.cls = Some("coding".to_owned());
        let mut children: Vec<Session> = Vec::new();
        let mut running: Vec<Running> = Vec::new();
        let mut previous: Option<Previous> = None;
        for raw in requests {
            if raw.kind == "subagent" {
                let spawner = previous
                    .as_ref()
                    .ok_or("a sub-agent precedes every call of its parent")?;
                let spawner = (session.calls.len() as u32 - 1, spawner.end());
                let (nested, end) = self.subagent(&session.sid, spawner, raw)?;
                match end {
                    Some(end) if !nested.is_empty() => running.push(Running {
                        index: children.len(),
                        end,
                    }),
                    _ => self.counts.detached += u64::from(!nested.is_empty()),
                }
                children.extend(nested);
                continue;
            }
            let (mut call, next) = self.call(session.calls.len() as u32, raw, previous.take())?;
            let (joined, rest) = running.into_iter().partition(|r: &Running| r.end <= next.t);
            running = rest;
            join(&mut call, &joined, &mut children);
            session.calls.push(call);
            previous = Some(next);
        }
        self.counts.detached += running.len() as u64;
        if session.calls.is_empty() {
            self.counts.empty += 1;
            return Ok(children);
        }
        children.insert(0, session);
        Ok(children)
    }

    /// A sub-agent spawned by call `spawner.0`, which ended at `spawner.1`; and when it ended, if known.
    fn subagent(
        &mut self,
        parent: &str,
        spawner: (u32, f64),
        raw: RawRequest,
    ) -> Result<(Vec<Session>, Option<f64>), String> {
        let name = raw.agent_id.value().ok_or("a sub-agent without agent_id")?;
        let duration = raw
            .extra
            .get("duration_ms")
            .and_then(serde_json::Value::as_f64)
            .map(|ms| ms / 1e3);
        let is_end = duration.is_some_and(|duration| raw.t - duration >= spawner.1);
        self.counts.stamped_at_end += u64::from(is_end);
        let start = if is_end {
            raw.t - duration.unwrap_or(0.0)
        } else {
            raw.t
        };
        let end = duration.map(|duration| start + duration);
        let offset_ms = Millis::from_secs((start - spawner.1).max(0.0));
        let session = Session {
            sid: format!("{parent}/{name}"),
            shared_prefix: shared_prefix(raw.tool_tokens.value(), raw.system_tokens.value()),
            parent: Some(ParentLink::Call(Parent {
                sid: parent.to_owned(),
                call: spawner.0,
                offset_ms: offset_ms.ok_or_else(|| format!("sub-agent {name}: t = {}", raw.t))?,
                ..Parent::default()
            })),
            x: not_empty(raw.extra),
            ..Session::default()
        };
        let sessions = self.chain(session, raw.requests.value().unwrap_or_default())?;
        Ok((sessions, end))
    }

    fn call(
        &mut self,
        id: u32,
        raw: RawRequest,
        previous: Option<Previous>,
    ) -> Result<(Call, Previous), String> {
        if raw.kind != "n" && raw.kind != "s" {
            return Err(format!(
                "a request of type \"{}\"; known: n, s, subagent",
                raw.kind
            ));
        }
        let millis = |key: &str, seconds: f64| {
            Millis::from_secs(seconds).ok_or_else(|| format!("call {id}: {key} = {seconds}"))
        };
        let optional = |key: &str, seconds: Nullable<f64>| {
            seconds
                .value()
                .map(|seconds| millis(key, seconds))
                .transpose()
        };
        let api_ms = optional("api_time", raw.api_time)?;
        let ttft_ms = optional("ttft", raw.ttft)?;
        let observed = Observed {
            api_ms,
            ttft_ms,
            ..Observed::default()
        };
        let mut call = Call {
            id,
            at_ms: Some(millis("t", raw.t)?),
            input: raw
                .input
                .value()
                .ok_or_else(|| format!("call {id} has no `in`"))?,
            output: raw
                .output
                .value()
                .ok_or_else(|| format!("call {id} has no `out`"))?,
            observed: (observed != Observed::default()).then_some(observed),
            ..Call::default()
        };
        if let Some(previous) = &previous {
            call.gap_kind = gap_kind(raw.input_types.as_ref());
            let (gap, recorded) = self.client_gap(&raw, previous);
            call.gap_ms = millis("think_time", gap)?;
            let recorded = recorded
                .map(|seconds| millis("think_time", seconds))
                .transpose()?;
            call.gap_raw_ms = recorded.filter(|&raw_ms| raw_ms != call.gap_ms);
        }
        self.counts.mended.tokens(&mut call);
        let mut x = call.x.take().unwrap_or_default();
        if raw.kind == "s" {
            x.insert("type".to_owned(), "s".into());
        }
        // `gap_kind` and `stop` say what the usual lists say; the unusual ones are kept.
        let types = |list: &Nullable<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        if types(&raw.input_types) > 1 {
            x.insert(
                "input_types".to_owned(),
                raw.input_types.as_ref().cloned().into(),
            );
        }
        let thinks = raw
            .output_types
            .as_ref()
            .is_some_and(|list| list.iter().any(|t| t == "thinking"));
        if thinks {
            x.insert(
                "output_types".to_owned(),
                raw.output_types.as_ref().cloned().into(),
            );
        }
        x.extend(raw.extra);
        call.x = not_empty(x);
        call.model = raw.model.value();
        call.stop = raw.stop.value();
        let next = Previous {
            t: raw.t,
            api: raw.api_time.value(),
            blocks: block_list(raw.blocks),
        };
        let before = previous.map(|previous| previous.blocks).unwrap_or_default();
        call.blocks = Some(next.blocks.diff(&before));
        Ok((call, next))
    }

    /// The client's wait in seconds, and what the source says where that differs.
    fn client_gap(&mut self, raw: &RawRequest, previous: &Previous) -> (f64, Option<f64>) {
        let Some(think) = raw.think_time.value() else {
            self.counts.from_timestamps += 1;
            return ((raw.t - previous.end()).max(0.0), None);
        };
        self.counts.gaps += 1;
        self.counts.whole_second_gaps &= think.fract() == 0.0;
        if self.gap == WekaGap::Raw {
            return (think, None);
        }
        let contained = if raw.kind == "n" {
            raw.api_time.value()
        } else {
            previous.api
        };
        let Some(contained) = contained else {
            self.counts.uncorrected += 1;
            return (think, None);
        };
        self.counts.corrected += u64::from(think > 0.0 && contained > 0.0);
        // Both are decimal fractions; microseconds hide the noise of their binary difference.
        let corrected = ((think - contained).max(0.0) * 1e6).round() / 1e6;
        (corrected, Some(think))
    }
}

/// Makes `call` wait for the sub-agents that had ended by then, and tells them.
fn join(call: &mut Call, joined: &[Running], children: &mut [Session]) {
    if joined.is_empty() || call.id == 0 {
        return;
    }
    let mut after = vec![After::Own(call.id - 1)];
    for running in joined {
        let child = &mut children[running.index];
        let last = child.calls.len() as u32 - 1;
        after.push(After::Other {
            sid: child.sid.clone(),
            call: last,
        });
        if let Some(ParentLink::Call(parent)) = &mut child.parent {
            parent.join = Some(call.id);
        }
    }
    call.after = Some(after);
    // The recorded wait spans the sub-agents: it counts from the spawning call.
    call.gap_from = Some(call.id - 1);
}

fn gap_kind(input_types: Option<&Vec<String>>) -> GapKind {
    let has = |kind: &str| input_types.is_some_and(|types| types.iter().any(|t| t == kind));
    match (has("tool_result"), has("text")) {
        (true, true) => GapKind::Mixed,
        (true, false) => GapKind::Tool,
        (false, true) => GapKind::Human,
        (false, false) => GapKind::Unknown,
    }
}

/// Tool definitions, then system prompt. Equal lengths are taken to mean equal content: the recorder hid it.
fn shared_prefix(tools: Option<u32>, system: Option<u32>) -> Option<Vec<SharedPrefix>> {
    let part = |name: &str, tokens: Option<u32>| {
        let tokens = tokens.filter(|&tokens| tokens > 0)?;
        Some(SharedPrefix {
            id: format!("{name}:{tokens}"),
            tokens,
            ..SharedPrefix::default()
        })
    };
    let parts: Vec<_> = [part("tools", tools), part("system", system)]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then_some(parts)
}
