//! Weka: Claude Code sessions recorded through a proxy (kv-cache-tester, SemiAnalysis AgentX).
//!
//! One JSON object per session: alone in a file, or one per line. Sub-agents are nested in their parent's
//! requests and become sessions of their own.
//!
//! Two traps of the format are dealt with here, and warned of:
//!
//! - `think_time` contains the service time of a twin request that the recorder dropped. For a normal row it is the
//!   row's own `api_time`, for a streaming row the previous one's ([`WekaGap::Corrected`] subtracts it).
//!   Unsubtracted, the median tool gap is 9 s instead of 1.2 s.
//! - `t` of a sub-agent is the time of its *end* in every recorded one that has a `duration_ms`: subtracting
//!   it gives a start within about a second after the spawning call, adding it would let the parent go on
//!   before its sub-agent is done. A `t` that cannot be the end, because the start would precede the end
//!   of the spawning call, is taken as the start.
//!
//! [`WekaGap::Corrected`]: super::WekaGap::Corrected

mod convert;
mod raw;

use convert::{Converter, Counts};
use raw::RawSession;

use super::warning::note;
use super::{Format, ImportOptions, ImportReport, Sink, Warning, WekaGap, has_key};
use crate::TraceError;
use crate::format::{
    BlockList, COMMON_CLOCK, Extra, GapSemantics, HashScope, Lines, Meta, Nullable,
};

pub(super) const FORMAT: Format = Format {
    name: "weka",
    summary: "Weka kv-cache-tester / AgentX: Claude Code sessions, 64-token prefix blocks, sub-agents",
    sniff: |head| {
        has_key(head, "tool_tokens") && has_key(head, "requests") && has_key(head, "block_size")
    },
    import,
};

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<ImportReport, TraceError> {
    let mut converter = Converter::new(options.weka_gap);
    let mut block_size = None;
    let (mut sessions, mut calls) = (0, 0);
    while lines.next_line()?.is_some() {
        let raw = parse(lines)?;
        if *block_size.get_or_insert(raw.block_size) != raw.block_size {
            let what = format!(
                "block_size {} after sessions with another; import them into separate files",
                raw.block_size
            );
            return Err(malformed(lines, what));
        }
        if sessions == 0 {
            sink.meta(&meta(lines.file(), raw.block_size, options))?;
        }
        let converted = converter
            .session(raw)
            .map_err(|what| malformed(lines, what))?;
        for session in converted {
            sessions += 1;
            calls += session.calls.len() as u64;
            sink.session(session)?;
        }
    }
    if block_size.is_none() {
        return Err(malformed(lines, "no session in the file".to_owned()));
    }
    let warnings = warnings(&converter.counts, options.weka_gap);
    Ok(ImportReport {
        format: FORMAT.name,
        sessions,
        calls,
        warnings,
    })
}

/// The session on the current line, or, where a single one is spread over the lines of a file, that.
fn parse(lines: &mut Lines) -> Result<RawSession, TraceError> {
    match serde_json::from_slice(lines.current()) {
        Ok(session) => Ok(session),
        Err(error) if error.is_eof() => {
            lines.rest()?;
            lines.parse()
        }
        Err(error) => Err(lines.malformed(&error)),
    }
}

fn malformed(lines: &Lines, what: String) -> TraceError {
    TraceError::Malformed {
        at: lines.place(),
        what,
    }
}

fn meta(file: &str, block_size: u32, options: &ImportOptions) -> Meta {
    let mut x = Extra::new();
    x.insert(COMMON_CLOCK.to_owned(), false.into());
    x.insert(
        "weka_gap".to_owned(),
        serde_json::to_value(options.weka_gap).expect("a word"),
    );
    Meta {
        source: FORMAT.name.to_owned(),
        origin: options.origin.clone().unwrap_or_else(|| file.to_owned()),
        license: options
            .license
            .clone()
            .unwrap_or_else(|| "unknown".to_owned()),
        block_size: Nullable::Value(block_size),
        hash_scope: Nullable::Value(HashScope::Session),
        tokenizer: Nullable::Null,
        gap_semantics: GapSemantics::EndOfDependencyToDispatch,
        x: Some(x),
        extra: Extra::new(),
    }
}

fn warnings(counts: &Counts, gap: WekaGap) -> Vec<Warning> {
    let mut warnings = vec![
        Warning::NoCommonClock,
        Warning::NoTools,
        Warning::ApprovalsInGaps,
    ];
    if counts.whole_second_gaps && counts.gaps > 0 {
        warnings.push(Warning::WholeSecondGaps);
    }
    if gap == WekaGap::Corrected {
        note(&mut warnings, counts.corrected, |calls| {
            Warning::CorrectedGaps { calls }
        });
        note(&mut warnings, counts.uncorrected, |calls| {
            Warning::UncorrectedGaps { calls }
        });
    }
    note(&mut warnings, counts.from_timestamps, |calls| {
        Warning::GapsFromTimestamps { calls }
    });
    note(&mut warnings, counts.no_output, |calls| Warning::NoOutput {
        calls,
    });
    note(&mut warnings, counts.empty, |sessions| {
        Warning::EmptySessions { sessions }
    });
    note(&mut warnings, counts.stamped_at_end, |subagents| {
        Warning::SubagentStampedAtEnd { subagents }
    });
    note(&mut warnings, counts.detached, |subagents| {
        Warning::DetachedSubagents { subagents }
    });
    warnings
}

/// Blocks of a request; none where the recorder left them out.
fn block_list(blocks: Nullable<BlockList>) -> BlockList {
    blocks.value().unwrap_or_default()
}
