//! Agentic Mooncake (Dynamo): Mooncake requests that wait for others, by name.
//!
//! ```text
//!   {"request_id": "root-2", "session_id": "root", "input_length": 4096, "output_length": 256, "hash_ids": […],
//!    "wait_for": ["child-1"], "delay": 10.0, "tool_wait_ms": 2500.0, "tool_events": [{"tool_class": "shell", …}]}
//! ```
//!
//! A row is dispatched `delay` + `tool_wait_ms` after the last of `wait_for` has ended, else after the row before it in its
//! session. A session whose first row waits for another session's was spawned there; the first row of the parent that waits
//! for it joins it. `tool_events` are the tools that ran during the wait: they are given to the call before it, which
//! issued them, from the start of the first.
//!
//! A row may wait for earlier rows only, so there are no circles. `request_id` and `branches` are kept in `x`.

use std::collections::HashMap;

use model::Nanos;

use super::calls::{Mended, keep_extra, not_empty, tool_extra};
use super::clock::Instant;
use super::output::Output;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{
    After, BlockList, Call, GapKind, HashScope, Lines, Meta, Millis, Nullable, Parent, ParentLink,
    Session, Tool,
};

pub(super) const FORMAT: Format = Format {
    name: "agentic-mooncake",
    summary: "Agentic Mooncake (Dynamo): requests that wait for others, with tool events",
    knows: "arrivals, dependencies, sub-agents and joins, waits, tool classes and times, 512-token global prefix blocks",
    lacks: "service times; when a tool ran relative to the end of the call that issued it",
    detect: |head| head.with(&["request_id", "session_id", "hash_ids"]),
    import,
};

/// Tokens per block (Dynamo, trace replay: as Mooncake).
const BLOCK_TOKENS: u32 = 512;

record! {
    /// A request.
    struct Row {
        required request_id: String = "request_id",
        required session_id: String = "session_id",
        nullable timestamp: Millis = "timestamp",
        required input: u32 = "input_length",
        required output: u32 = "output_length",
        required blocks: BlockList = "hash_ids",
        nullable wait_for: Vec<String> = "wait_for",
        nullable prefix_reset: bool = "prefix_reset",
        nullable delay: Millis = "delay",
        nullable tool_wait_ms: Millis = "tool_wait_ms",
        nullable tool_events: Vec<ToolEvent> = "tool_events",
    }
}

record! {
    /// A tool that ran while the session waited.
    struct ToolEvent {
        required class: String = "tool_class",
        nullable status: String = "status",
        required started: u64 = "started_at_unix_ms",
        required ended: u64 = "ended_at_unix_ms",
    }
}

struct Group {
    session: Session,
    blocks: BlockList,
    start: Option<Millis>,
}

#[derive(Default)]
struct Importer {
    groups: Vec<Group>,
    /// Group by session id. Looked up only.
    by_name: HashMap<String, usize>,
    /// Group and call by request id. Looked up only.
    requests: HashMap<String, (usize, u32)>,
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
        importer.row(row).map_err(|what| lines.wrong(what))?;
    }
    output.meta(&Meta {
        block_size: Nullable::Value(BLOCK_TOKENS),
        hash_scope: Nullable::Value(HashScope::Global),
        ..super::meta(&FORMAT, lines, options).with_common_clock(importer.has_clock)
    })?;
    for group in importer.groups {
        output.session(group.session)?;
    }
    let mut warnings = vec![Warning::NoServiceTimes];
    importer.mended.warn(&mut warnings);
    Ok(warnings)
}

impl Importer {
    fn row(&mut self, row: Row) -> Result<(), String> {
        let request = row.request_id.clone();
        let awaited = self.awaited(&row)?;
        let index = self.group(&row, &awaited)?;
        let group = &mut self.groups[index];
        let id = group.session.calls.len() as u32;
        let (delay, tools) = (row.delay.value(), row.tool_wait_ms.value());
        let mut call = Call {
            id,
            input: row.input,
            output: row.output,
            x: not_empty(row.extra),
            ..Call::default()
        };
        call.at_ms = row
            .timestamp
            .value()
            .zip(group.start)
            .and_then(|(now, start)| {
                // A row before the first of its session has no place on its clock.
                (now.nanos() >= start.nanos())
                    .then(|| Millis::from_nanos(now.nanos() - start.nanos()))
            });
        if id > 0 {
            call.gap_ms = wait(delay, tools)?;
            call.gap_kind = if tools.is_some_and(|wait| wait.nanos() > Nanos(0)) {
                GapKind::Tool
            } else {
                GapKind::Unknown
            };
            if delay.is_none() && tools.is_none() {
                self.mended.no_gap();
            }
            call.after = after(&awaited, index, id, &self.groups);
        } else if awaited.len() > 1 {
            // The first spawned it; it waits for the others as well.
            call.after = Some(
                awaited
                    .iter()
                    .map(|end| refer(end, index, &self.groups))
                    .collect(),
            );
        }
        let group = &mut self.groups[index];
        if let Some(events) = row.tool_events.value() {
            match group.session.calls.last_mut() {
                Some(issuer) => issuer.tools = tools_of(events)?,
                // Whoever issued them is not in this session.
                None => keep_extra(
                    &mut call,
                    "tool_events",
                    serde_json::to_value(events).expect("plain values"),
                ),
            }
        }
        let mut blocks = row.blocks;
        self.mended.tokens(&mut call);
        self.mended.blocks(&mut blocks, call.input, BLOCK_TOKENS);
        if id > 0 && row.prefix_reset.value() == Some(true) {
            call.keep = Some(0);
        }
        call.blocks = Some(blocks.diff(&group.blocks));
        keep_extra(&mut call, "request_id", request.clone().into());
        group.blocks = blocks;
        group.session.calls.push(call);
        self.join(&awaited, index, id);
        if self.requests.insert(request.clone(), (index, id)).is_some() {
            return Err(format!("a second request is called `{request}`"));
        }
        Ok(())
    }

    /// Group and call of the requests that `row` waits for.
    fn awaited(&self, row: &Row) -> Result<Vec<(usize, u32)>, String> {
        let names = row.wait_for.as_ref().into_iter().flatten();
        let find = |name: &String| {
            self.requests
                .get(name)
                .copied()
                .ok_or_else(|| format!("`wait_for` names `{name}`, which no earlier row is called"))
        };
        names.map(find).collect()
    }

    /// The group of `row`'s session, which begins if this is its first.
    fn group(&mut self, row: &Row, awaited: &[(usize, u32)]) -> Result<usize, String> {
        if let Some(&index) = self.by_name.get(&row.session_id) {
            return Ok(index);
        }
        let mut session = Session {
            sid: row.session_id.clone(),
            ..Session::default()
        };
        let start = row.timestamp.value();
        if let Some(&(parent, call)) = awaited.first() {
            let offset_ms = wait(row.delay.value(), row.tool_wait_ms.value())?;
            session.parent = Some(ParentLink::Call(Parent {
                sid: self.groups[parent].session.sid.clone(),
                call,
                offset_ms,
                ..Parent::default()
            }));
        } else {
            self.has_clock &= start.is_some();
        }
        session.start_ms = start.map_or(Nullable::Null, Nullable::Value);
        self.by_name
            .insert(row.session_id.clone(), self.groups.len());
        self.groups.push(Group {
            session,
            blocks: BlockList::default(),
            start,
        });
        Ok(self.groups.len() - 1)
    }

    /// Tells the sub-agents of `index` that its call `id` waits for them.
    fn join(&mut self, awaited: &[(usize, u32)], index: usize, id: u32) {
        let waiting = self.groups[index].session.sid.clone();
        for &(child, _) in awaited {
            if let Some(ParentLink::Call(parent)) = &mut self.groups[child].session.parent
                && parent.sid == waiting
                && parent.call < id
            {
                parent.join.get_or_insert(id);
            }
        }
    }
}

fn wait(delay: Option<Millis>, tools: Option<Millis>) -> Result<Millis, String> {
    let nanos = |part: Option<Millis>| part.map_or(0, |part| part.nanos().0);
    let sum = Nanos(nanos(delay).saturating_add(nanos(tools)));
    Millis::checked(sum).ok_or_else(|| "`delay` + `tool_wait_ms` is more than 300 years".to_owned())
}

/// What call `id` of the group at `index` waits for; `None` where it is just the call before. One of its own session
/// is always among them: it says which history goes on.
fn after(awaited: &[(usize, u32)], index: usize, id: u32, groups: &[Group]) -> Option<Vec<After>> {
    let all = awaited.iter().map(|end| refer(end, index, groups));
    let mut after: Vec<After> = all.collect();
    if !awaited.iter().any(|&(group, _)| group == index) {
        after.insert(0, After::Own(id - 1));
    }
    (after != [After::Own(id - 1)]).then_some(after)
}

/// The end of a call, as seen from the group at `index`.
fn refer(&(group, call): &(usize, u32), index: usize, groups: &[Group]) -> After {
    if group == index {
        return After::Own(call);
    }
    After::Other {
        sid: groups[group].session.sid.clone(),
        call,
    }
}

/// Tools that ran while the session waited; the wait begins with the first.
fn tools_of(events: Vec<ToolEvent>) -> Result<Option<Vec<Tool>>, String> {
    let first = events.iter().map(|event| event.started).min();
    let time = |ms: u64| {
        let nanos = ms.checked_mul(1_000_000).and_then(Instant::from_nanos);
        nanos.ok_or_else(|| format!("{ms} is no Unix time in milliseconds"))
    };
    let tool = |event: ToolEvent| {
        let (started, ended) = (time(event.started)?, time(event.ended)?);
        if ended < started {
            return Err(format!("tool `{}` ends before it starts", event.class));
        }
        Ok(Tool {
            name: event.class.clone(),
            cls: Some(event.class),
            start_ms: first.map(|first| (event.started - first).into()),
            dur_ms: ended.since(started),
            status: event.status.value(),
            extra: tool_extra(event.extra),
            ..Tool::default()
        })
    };
    let tools: Vec<Tool> = events.into_iter().map(tool).collect::<Result<_, _>>()?;
    Ok((!tools.is_empty()).then_some(tools))
}
