//! Qwen-Bailian (Alibaba): requests of production chats, each naming the one it continues.
//!
//! ```text
//!   {"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.114, "input_length": 71, "output_length": 132,
//!    "type": "search", "turn": 2, "hash_ids": [1089, 1090, …]}
//! ```
//!
//! A tree of requests becomes one session, named after its root. A request that continues another than the one before it says
//! so (`after`). Waits run from start to start: the trace has no service times. Blocks have 16 tokens and ids that
//! hold across the file; the last one of a prompt may be named anew when its padding is replaced.

use std::collections::HashMap;

use super::calls::{Mended, not_empty};
use super::output::Output;
use super::warning::note;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{
    After, BlockList, Call, GapKind, GapSemantics, HashScope, Lines, Meta, Millis, Nullable,
    Session,
};

pub(super) const FORMAT: Format = Format {
    name: "bailian",
    summary: "Qwen-Bailian usage trace (Alibaba): chats by `parent_chat_id`",
    knows: "arrivals, chains of requests, token counts, 16-token prefix blocks with global ids",
    lacks: "service times (waits run from start to start), tools",
    detect: |head| head.with(&["chat_id", "parent_chat_id", "timestamp"]),
    import,
};

/// Tokens per block (README of the trace).
const BLOCK_TOKENS: u32 = 16;

record! {
    /// A request. `type` and `turn` go into `x`.
    struct Row {
        required chat_id: i64 = "chat_id",
        required parent: i64 = "parent_chat_id",
        required timestamp: f64 = "timestamp",
        required input: u32 = "input_length",
        required output: u32 = "output_length",
        required blocks: BlockList = "hash_ids",
    }
}

struct Group {
    session: Session,
    /// By call.
    blocks: Vec<BlockList>,
    arrivals: Vec<Millis>,
}

#[derive(Default)]
struct Importer {
    groups: Vec<Group>,
    /// Group and call by chat id. Looked up only.
    chats: HashMap<i64, (usize, u32)>,
    mended: Mended,
    gaps: u64,
    orphans: u64,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let mut importer = Importer::default();
    while let Some(row) = lines.row()? {
        importer.row(row).map_err(|what| lines.wrong(what))?;
    }
    output.meta(&Meta {
        block_size: Nullable::Value(BLOCK_TOKENS),
        hash_scope: Nullable::Value(HashScope::Global),
        gap_semantics: GapSemantics::StartToStart,
        ..super::meta(&FORMAT, lines, options)
    })?;
    for group in importer.groups {
        output.session(group.session)?;
    }
    let mut warnings = vec![Warning::NoTools];
    note(&mut warnings, importer.gaps, |calls| {
        Warning::StartToStartGaps { calls }
    });
    note(&mut warnings, importer.orphans, |calls| {
        Warning::OrphanCalls { calls }
    });
    importer.mended.warn(&mut warnings);
    Ok(warnings)
}

impl Importer {
    fn row(&mut self, row: Row) -> Result<(), String> {
        let arrival = Millis::from_secs(row.timestamp)
            .ok_or_else(|| format!("`timestamp` is {} seconds", row.timestamp))?;
        let parent = self.chats.get(&row.parent).copied();
        self.orphans += u64::from(parent.is_none() && row.parent >= 0);
        let index = parent.map_or(self.groups.len(), |(index, _)| index);
        if parent.is_none() {
            let session = Session {
                sid: format!("chat-{}", row.chat_id),
                start_ms: Nullable::Value(arrival),
                ..Session::default()
            };
            self.groups.push(Group {
                session,
                blocks: Vec::new(),
                arrivals: Vec::new(),
            });
        }
        let group = &mut self.groups[index];
        let id = group.session.calls.len() as u32;
        let mut call = Call {
            id,
            input: row.input,
            output: row.output,
            x: not_empty(row.extra),
            ..Call::default()
        };
        let start = group.arrivals.first().copied().unwrap_or(arrival);
        call.at_ms = Some(Millis::from_nanos(
            arrival.nanos().saturating_sub(start.nanos()),
        ));
        let mut blocks = row.blocks;
        self.mended.tokens(&mut call);
        self.mended.blocks(&mut blocks, call.input, BLOCK_TOKENS);
        let mut before = BlockList::default();
        if let Some((_, parent)) = parent {
            let asked = group.arrivals[parent as usize];
            if arrival.nanos() < asked.nanos() {
                return Err("the timestamp lies before that of the parent".to_owned());
            }
            call.gap_ms = Millis::from_nanos(arrival.nanos() - asked.nanos());
            call.gap_kind = GapKind::Unknown;
            self.gaps += 1;
            if parent + 1 != id {
                call.after = Some(vec![After::Own(parent)]);
            }
            before.clone_from(&group.blocks[parent as usize]);
        }
        call.blocks = Some(blocks.diff(&before));
        group.session.calls.push(call);
        group.blocks.push(blocks);
        group.arrivals.push(arrival);
        if self.chats.insert(row.chat_id, (index, id)).is_some() {
            return Err(format!("a second request has chat_id {}", row.chat_id));
        }
        Ok(())
    }
}
