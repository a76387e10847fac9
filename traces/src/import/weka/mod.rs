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

use super::output::Output;
use super::warning::note;
use super::{Format, ImportOptions, Warning, WekaGap};
use crate::TraceError;
use crate::format::{BlockList, HashScope, Lines, Meta, Nullable};

pub(super) const FORMAT: Format = Format {
    name: "weka",
    summary: "Weka kv-cache-tester / AgentX: Claude Code sessions with sub-agents",
    knows: "token counts, 64-token prefix blocks per session, client waits, service times, sub-agents",
    lacks: "a clock common to sessions, tools; waits hold the service time of a dropped twin request",
    detect: |head| head.with(&["tool_tokens", "requests", "block_size"]),
    import,
};

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut converter = Converter::new(options.weka_gap);
    let mut block_size = None;
    while let Some(raw) = lines.next_value::<RawSession>()? {
        let size = raw.block_size;
        match block_size {
            None => {
                output.meta(&meta(lines, size, options))?;
                block_size = Some(size);
            }
            Some(first) if first != size => {
                return Err(lines.wrong(format!(
                    "block_size {size} after sessions with another; import them into separate files"
                )));
            }
            Some(_) => {}
        }
        let converted = converter.session(raw);
        for session in converted.map_err(|what| lines.wrong(what))? {
            output.session(session)?;
        }
    }
    Ok(warnings(&converter.counts, options.weka_gap))
}

fn meta(lines: &Lines, block_size: u32, options: &ImportOptions) -> Meta {
    let mut meta = super::meta(&FORMAT, lines, options).with_common_clock(false);
    let gap = serde_json::to_value(options.weka_gap).expect("a word");
    let x = meta.x.get_or_insert_default();
    x.insert("weka_gap".to_owned(), gap);
    Meta {
        block_size: Nullable::Value(block_size),
        hash_scope: Nullable::Value(HashScope::Session),
        ..meta
    }
}

fn warnings(counts: &Counts, gap: WekaGap) -> Vec<Warning> {
    let mut warnings = vec![Warning::NoTools, Warning::ApprovalsInGaps];
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
    counts.mended.warn(&mut warnings);
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
