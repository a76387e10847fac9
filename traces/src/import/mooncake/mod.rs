//! Mooncake: one request per line, with 512-token prefix blocks whose ids hold across the file.
//!
//! ```text
//!   {"timestamp": 3000, "input_length": 1500, "output_length": 40, "hash_ids": [0, 1, 2]}
//! ```
//!
//! Rows with a `session_id` (Dynamo, aiperf) are grouped by it; the wait before a row is its `delay` or
//! `delay_ms`, else the distance of its `timestamp` from the row before. Rows without become one session each, or are
//! chained by prefix ([`MooncakeRows::Chain`]). The names `created_time`, `input_tokens` and `output_tokens` are
//! understood too.
//!
//! [`DELTA`] is the dialect of `aiperf synthesize agentic-code`: after the first row of a session, `input_length` and
//! `hash_ids` are what the prompt has beyond the row before and its answer. So the documentation of aiperf has it:
//! prompt = previous prompt + previous output + new tokens. Nothing but the first row's `group_id` tells the dialects
//! apart; a file without it has to be named. How long the prefix of a group is, the rows do not say; the ids
//! do, and `group_id` is kept in `x`.
//!
//! Single rows stream. Sessions are handed on at the end of the file, because their rows interleave.

mod grid;

use std::collections::HashMap;

use grid::Grid;

use super::calls::{Mended, not_empty, tokens};
use super::output::Output;
use super::warning::note;
use super::{Format, Head, ImportOptions, MooncakeRows, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{
    BlockList, Call, GapKind, GapSemantics, HashScope, Lines, Meta, Millis, Nullable, Session,
};

pub(super) const FORMAT: Format = Format {
    name: "mooncake",
    summary: "Mooncake request trace, with or without session ids",
    knows: "arrivals, token counts, 512-token prefix blocks with global ids; waits where rows have session ids",
    lacks: "tools, and sessions where rows have no ids (chain them by prefix); the published traces lie on a 3 s grid",
    detect: |head| {
        let others = [
            "chat_id",
            "request_id",
            "requests",
            "group_id",
            "is_restart",
        ];
        if others.iter().any(|key| head.has(key)) {
            return None;
        }
        row_keys(head)
    },
    import: |lines, options, output| import(&FORMAT, lines, options, output),
};

pub(super) const DELTA: Format = Format {
    name: "mooncake-delta",
    summary: "Mooncake with increments (aiperf agentic-code): rows say what is new since the row before",
    knows: "sessions, waits, token counts, 512-token prefix blocks with global ids",
    lacks: "tools; the length of what a group shares",
    detect: |head| {
        let mark = head.with(&["session_id", "group_id"]);
        mark.or_else(|| head.with(&["session_id", "is_restart"]))
            .and_then(|reason| row_keys(head).map(|_| reason))
    },
    import: |lines, options, output| import(&DELTA, lines, options, output),
};

fn row_keys(head: &Head) -> Option<String> {
    let old = head.with(&["input_length", "output_length", "hash_ids"]);
    old.or_else(|| head.with(&["input_tokens", "output_tokens", "hash_ids"]))
}

/// Tokens per block (Mooncake, FAST'25, release notes of the traces).
const BLOCK_TOKENS: u32 = 512;
/// Full blocks that a row must extend to continue another. Chosen: on the FAST'25 conversations (first half) 1 takes the
/// common system prompt for a conversation (41 % of rows chained); 2, 3 and 4 chain 29.7, 26.8 and 25.0 % with
/// equal gap quantiles (p50 120 s, p90 426 s).
const CHAIN_BLOCKS_MIN: u64 = 3;

record! {
    /// A request.
    struct Row {
        nullable timestamp: Millis = "timestamp",
        nullable created_time: Millis = "created_time",
        nullable input_length: u32 = "input_length",
        nullable input_tokens: u32 = "input_tokens",
        nullable output_length: u32 = "output_length",
        nullable output_tokens: u32 = "output_tokens",
        nullable hash_ids: BlockList = "hash_ids",
        nullable session_id: serde_json::Value = "session_id",
        nullable delay: Millis = "delay",
        nullable delay_ms: Millis = "delay_ms",
    }
}

/// A session being pieced together.
struct Group {
    session: Session,
    blocks: BlockList,
    latest: Option<Millis>,
}

struct Importer {
    rows: MooncakeRows,
    is_delta: bool,
    groups: Vec<Group>,
    /// Group by session id. Looked up only.
    by_name: HashMap<String, usize>,
    /// Group by the last full block of its latest row. Looked up only.
    by_tail: HashMap<u64, usize>,
    mended: Mended,
    start_to_start: u64,
    delays: u64,
    chained: u64,
    has_clock: bool,
    grid: Grid,
}

fn import(
    format: &Format,
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut importer = Importer {
        rows: options.mooncake_rows,
        is_delta: format.name == DELTA.name,
        groups: Vec::new(),
        by_name: HashMap::new(),
        by_tail: HashMap::new(),
        mended: Mended::default(),
        start_to_start: 0,
        delays: 0,
        chained: 0,
        has_clock: true,
        grid: Grid::default(),
    };
    let mut rows = 0_u64;
    let mut streaming = false;
    while let Some(row) = lines.row::<Row>()? {
        let named = row.session_id.as_ref().is_some();
        if rows == 0 {
            streaming = !named && options.mooncake_rows == MooncakeRows::Single;
            if streaming {
                output.meta(&sized(super::meta(format, lines, options)))?;
            }
        }
        let taken = importer.row(rows, row);
        taken.map_err(|what| lines.wrong(what))?;
        rows += 1;
        if streaming && named {
            return Err(lines.wrong("a row with `session_id` after rows without"));
        }
        if streaming {
            let group = importer.groups.pop();
            output.session(group.expect("a row without id begins a group").session)?;
            importer.by_name.clear();
        }
    }
    if !streaming {
        let meta = super::meta(format, lines, options).with_common_clock(importer.has_clock);
        output.meta(&Meta {
            gap_semantics: importer.semantics(),
            ..sized(meta)
        })?;
    }
    for group in std::mem::take(&mut importer.groups) {
        output.session(group.session)?;
    }
    Ok(importer.warnings(streaming))
}

impl Importer {
    fn row(&mut self, number: u64, row: Row) -> Result<(), String> {
        let input = row.input_length.value().or(row.input_tokens.value());
        let output = row.output_length.value().or(row.output_tokens.value());
        let input = input.ok_or("neither `input_length` nor `input_tokens`")?;
        let output = output.ok_or("neither `output_length` nor `output_tokens`")?;
        let arrival = row.timestamp.value().or(row.created_time.value());
        let delay = row.delay.value().or(row.delay_ms.value());
        let mut blocks = row.hash_ids.value().unwrap_or_default();
        self.grid.observe(arrival);

        let full_blocks = u64::from(input / BLOCK_TOKENS).min(blocks.len());
        let named = row.session_id.as_ref().is_some();
        let (name, earlier) = match row.session_id.value() {
            Some(id) => {
                let name = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                let earlier = self.by_name.get(&name).copied();
                (name, earlier)
            }
            None if self.is_delta => return Err("no `session_id`: increments need one".to_owned()),
            None if self.rows == MooncakeRows::Chain => (
                format!("row-{number}"),
                self.continued(&blocks, full_blocks),
            ),
            None => (format!("row-{number}"), None),
        };
        let index = earlier.unwrap_or(self.groups.len());
        if earlier.is_none() {
            let is_session = self.is_delta || named;
            if arrival.is_none() && !is_session {
                return Err(format!("{name} has no `timestamp`"));
            }
            self.has_clock &= arrival.is_some();
            let start_ms = arrival.map_or(Nullable::Null, Nullable::Value);
            let session = Session {
                sid: name.clone(),
                start_ms,
                ..Session::default()
            };
            self.groups.push(Group {
                session,
                blocks: BlockList::default(),
                latest: None,
            });
            self.by_name.insert(name, index);
        }
        let group = &mut self.groups[index];
        let mut call = Call {
            id: group.session.calls.len() as u32,
            input,
            output,
            x: not_empty(row.extra),
            ..Call::default()
        };
        if self.is_delta
            && let Some(before) = group.session.calls.last()
        {
            let history = u64::from(before.input) + u64::from(before.output);
            call.input = tokens("the prompt of increments", history + u64::from(input))?;
            let mut whole = group.blocks.clone();
            for &run in blocks.runs() {
                whole.push_run(run);
            }
            blocks = whole;
        }
        if call.id > 0 {
            call.gap_kind = GapKind::Unknown;
            call.gap_ms = match (delay, arrival.zip(group.latest)) {
                (Some(delay), _) => {
                    self.delays += 1;
                    delay
                }
                (None, Some((arrival, latest))) if arrival.nanos() >= latest.nanos() => {
                    self.start_to_start += 1;
                    Millis::from_nanos(arrival.nanos() - latest.nanos())
                }
                (None, Some(_)) => {
                    return Err("the timestamp lies before the session's previous row".to_owned());
                }
                (None, None) => {
                    return Err("neither `delay`, `delay_ms` nor two timestamps".to_owned());
                }
            };
        }
        if let (Some(arrival), Nullable::Value(start)) = (arrival, group.session.start_ms) {
            call.at_ms = Some(Millis::from_nanos(
                arrival.nanos().saturating_sub(start.nanos()),
            ));
        }
        self.mended.tokens(&mut call);
        self.mended.blocks(&mut blocks, call.input, BLOCK_TOKENS);
        call.blocks = Some(blocks.diff(&group.blocks));
        // A row that says only its delay has no place in time, nor has one that counts from it.
        group.latest = arrival;
        group.session.calls.push(call);
        group.blocks = blocks;
        if self.rows == MooncakeRows::Chain {
            self.chained += u64::from(earlier.is_some());
            if let Some(tail) = tail(&self.groups[index].blocks, full_blocks) {
                self.by_tail.insert(tail, index);
            }
        }
        Ok(())
    }

    /// The chain of which all full blocks lead this row: longest prefix first. Ids name a block together with
    /// all before it, so the last one suffices.
    fn continued(&mut self, blocks: &BlockList, full_blocks: u64) -> Option<usize> {
        let ids: Vec<u64> = blocks
            .runs()
            .iter()
            .flat_map(|run| run.first..run.first + u64::from(run.len))
            .collect();
        let ends = (CHAIN_BLOCKS_MIN..=full_blocks).rev();
        ends.map(|end| ids[end as usize - 1])
            .find_map(|id| self.by_tail.remove(&id))
    }

    fn semantics(&self) -> GapSemantics {
        if self.start_to_start > 0 && self.delays == 0 {
            GapSemantics::StartToStart
        } else {
            GapSemantics::EndOfDependencyToDispatch
        }
    }

    fn warnings(&self, single: bool) -> Vec<Warning> {
        let mut warnings = vec![Warning::NoTools];
        if single {
            warnings.push(Warning::NoSessions);
        }
        note(&mut warnings, self.chained, |calls| {
            Warning::ChainedByPrefix { calls }
        });
        note(&mut warnings, self.start_to_start, |calls| {
            Warning::StartToStartGaps { calls }
        });
        self.mended.warn(&mut warnings);
        note(&mut warnings, self.grid.step_ms(), |step_ms| {
            Warning::ArrivalGrid { step_ms }
        });
        warnings
    }
}

/// Id of the last full block, where there are enough to chain by.
fn tail(blocks: &BlockList, full_blocks: u64) -> Option<u64> {
    let mut full = blocks.clone();
    full.truncate(full_blocks);
    let last = full.runs().last()?;
    (full_blocks >= CHAIN_BLOCKS_MIN).then(|| last.first + u64::from(last.len) - 1)
}

/// `meta` with blocks of 512 tokens.
fn sized(meta: Meta) -> Meta {
    Meta {
        block_size: Nullable::Value(BLOCK_TOKENS),
        hash_scope: Nullable::Value(HashScope::Global),
        ..meta
    }
}
