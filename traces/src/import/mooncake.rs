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
//! Single rows stream. Sessions are handed on at the end of the file, because their rows interleave.

use std::collections::HashMap;

use super::warning::note;
use super::{Format, ImportOptions, ImportReport, MooncakeRows, Sink, Warning, has_key};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{
    BlockList, Call, Extra, GapKind, GapSemantics, HashScope, Lines, Meta, Millis, Nullable,
    Session,
};

pub(super) const FORMAT: Format = Format {
    name: "mooncake",
    summary: "Mooncake request trace, with or without session ids: arrivals, 512-token global prefix blocks",
    sniff: |head| {
        has_key(head, "hash_ids")
            && (has_key(head, "input_length") || has_key(head, "input_tokens"))
            && !["chat_id", "request_id", "requests"]
                .iter()
                .any(|key| has_key(head, key))
    },
    import,
};

/// Tokens per block (Mooncake, FAST'25, release notes of the traces).
const BLOCK_TOKENS: u32 = 512;
/// Full blocks that a row must extend to continue another. Chosen: on the FAST'25 conversations (first half) 1 takes the
/// common system prompt for a conversation (41 % of rows chained); 2, 3 and 4 chain 29.7, 26.8 and 25.0 % with
/// equal gap quantiles (p50 120 s, p90 426 s).
const CHAIN_BLOCKS_MIN: u64 = 3;
/// Distances between arrivals that no clock would produce by itself.
const GRID_STEP_MIN_MS: u64 = 1_000;

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

#[derive(Default)]
struct Importer {
    groups: Vec<Group>,
    /// Group by session id. Looked up only.
    by_name: HashMap<String, usize>,
    /// Group by the last full block of its latest row. Looked up only.
    by_tail: HashMap<u64, usize>,
    no_output: u64,
    start_to_start: u64,
    delays: u64,
    chained: u64,
    grid: Grid,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<ImportReport, TraceError> {
    let mut importer = Importer::default();
    let (mut rows, mut sessions, mut calls) = (0_u64, 0, 0);
    let mut streaming = false;
    while lines.next_line()?.is_some() {
        let row: Row = lines.parse()?;
        let named = row.session_id.as_ref().is_some();
        if rows == 0 {
            streaming = !named && options.mooncake_rows == MooncakeRows::Single;
            if streaming {
                sink.meta(&meta(lines.file(), options, GapSemantics::default()))?;
            }
        }
        importer
            .row(rows, row, options)
            .map_err(|what| TraceError::Malformed {
                at: lines.place(),
                what,
            })?;
        rows += 1;
        if streaming && !named {
            let group = importer
                .groups
                .pop()
                .expect("a row without id begins a group");
            sessions += 1;
            calls += 1;
            sink.session(group.session)?;
        }
    }
    if rows == 0 {
        let what = "no request in the file".to_owned();
        return Err(TraceError::Malformed {
            at: lines.place(),
            what,
        });
    }
    if !streaming {
        sink.meta(&meta(lines.file(), options, importer.semantics()))?;
    }
    for group in std::mem::take(&mut importer.groups) {
        sessions += 1;
        calls += group.session.calls.len() as u64;
        sink.session(group.session)?;
    }
    let warnings = importer.warnings(streaming);
    Ok(ImportReport {
        format: FORMAT.name,
        sessions,
        calls,
        warnings,
    })
}

impl Importer {
    fn row(&mut self, number: u64, row: Row, options: &ImportOptions) -> Result<(), String> {
        let input = row.input_length.value().or(row.input_tokens.value());
        let output = row.output_length.value().or(row.output_tokens.value());
        let input = input.ok_or("neither `input_length` nor `input_tokens`")?;
        let output = output.ok_or("neither `output_length` nor `output_tokens`")?;
        let arrival = row.timestamp.value().or(row.created_time.value());
        let delay = row.delay.value().or(row.delay_ms.value());
        let blocks = row.hash_ids.value().unwrap_or_default();
        self.grid.observe(arrival);

        let full_blocks = u64::from(input / BLOCK_TOKENS).min(blocks.len());
        let (name, earlier) = match row.session_id.value() {
            Some(id) => {
                let name = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                let earlier = self.by_name.get(&name).copied();
                (name, earlier)
            }
            None if options.mooncake_rows == MooncakeRows::Chain => (
                format!("row-{number}"),
                self.continued(&blocks, full_blocks),
            ),
            None => (format!("row-{number}"), None),
        };
        let index = earlier.unwrap_or(self.groups.len());
        if earlier.is_none() {
            if arrival.is_none() {
                return Err(format!(
                    "the first row of session {name} has no `timestamp`"
                ));
            }
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
            ..Call::default()
        };
        let mut x = row.extra;
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
        if output == 0 {
            self.no_output += 1;
            x.insert("out".to_owned(), 0.into());
            (call.output, call.output_estimated) = (1, Some(true));
        }
        call.x = (!x.is_empty()).then_some(x);
        call.blocks = Some(blocks.diff(&group.blocks));
        // A row that says only its delay has no place in time, nor has one that counts from it.
        group.latest = arrival;
        group.session.calls.push(call);
        group.blocks = blocks;
        if options.mooncake_rows == MooncakeRows::Chain {
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
        note(&mut warnings, self.no_output, |calls| Warning::NoOutput {
            calls,
        });
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

/// Do arrivals lie on a grid?
#[derive(Default)]
struct Grid {
    latest: Option<Millis>,
    step: Option<u64>,
    repeats: u64,
}

impl Grid {
    fn observe(&mut self, arrival: Option<Millis>) {
        let Some(arrival) = arrival else { return };
        if let Some(latest) = self.latest {
            match arrival.nanos().saturating_sub(latest.nanos()).0 / 1_000_000 {
                0 => self.repeats += 1,
                ms => self.step = Some(self.step.map_or(ms, |step| step.min(ms))),
            }
        }
        self.latest = Some(arrival);
    }

    /// Smallest distance between different arrivals if it is suspiciously large and points repeat; else 0.
    fn step_ms(&self) -> u64 {
        let step = self
            .step
            .filter(|&step| step >= GRID_STEP_MIN_MS && self.repeats > 0);
        step.unwrap_or(0)
    }
}

fn meta(file: &str, options: &ImportOptions, gap_semantics: GapSemantics) -> Meta {
    Meta {
        source: FORMAT.name.to_owned(),
        origin: options.origin.clone().unwrap_or_else(|| file.to_owned()),
        license: options
            .license
            .clone()
            .unwrap_or_else(|| "unknown".to_owned()),
        block_size: Nullable::Value(BLOCK_TOKENS),
        hash_scope: Nullable::Value(HashScope::Global),
        tokenizer: Nullable::Null,
        gap_semantics,
        x: None,
        extra: Extra::new(),
    }
}
