//! TraceLab's replay input: a row per round, in either of its two headings.
//!
//! ```text
//!   session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms[,arrival_time]
//!   id,input_len,output_len,arrival_time,round_idx,tool_wait_after_ms,prefix_len
//! ```
//!
//! `prefix_len` is how much of the history the prompt keeps and `input_len` what it adds. `tool_wait_after_ms` is the wait
//! before the next round; what the last row of a session says is kept in `x`. Arrivals are milliseconds.

use std::collections::HashMap;

use super::calls::{Mended, keep_extra, not_empty, tokens};
use super::output::Output;
use super::table::Table;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::{Call, GapKind, Lines, Millis, Nullable, Session};

pub(super) const FORMAT: Format = Format {
    name: "tracelab-csv",
    summary: "TraceLab replay input (CSV, both headings): rounds with prefix lengths",
    knows: "token counts, kept history, tool waits; arrivals where there is a column",
    lacks: "tools, prefix blocks, people's waits",
    detect: |head| {
        let reason = head.columns(&USED[2..])?;
        head.columns(&["session_id"])
            .or_else(|| head.columns(&["id"]))?;
        Some(reason)
    },
    import,
};

const USED: [&str; 7] = [
    "session_id",
    "id",
    "round_idx",
    "prefix_len",
    "input_len",
    "output_len",
    "tool_wait_after_ms",
];
const ARRIVAL: &str = "arrival_time";

struct Group {
    session: Session,
    round: u64,
    /// Wait before the next round.
    wait: Millis,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let meta = super::meta(&FORMAT, lines, options);
    let mut groups: Vec<Group> = Vec::new();
    // Group by session id. Looked up only.
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut mended = Mended::default();
    let mut table = Table::open(lines)?;
    let has_clock = table.has(&[ARRIVAL]);
    while table.next_row()? {
        let (round, call, wait) = row(&table)?;
        let name = table.value(&USED[..2], "a session", |cell| Some(cell.to_owned()))?;
        let index = *by_name.entry(name.clone()).or_insert(groups.len());
        if index == groups.len() {
            groups.push(begin(&table, name, has_clock)?);
        } else if round <= groups[index].round {
            let what = format!("round {round} after round {}", groups[index].round);
            return Err(table.wrong(format!("{what} of session `{name}`; sort the rows")));
        }
        let group = &mut groups[index];
        push(group, call, &mut mended);
        (group.round, group.wait) = (round, wait);
    }
    output.meta(&meta.with_common_clock(has_clock))?;
    for mut group in groups {
        if group.wait != Millis::default()
            && let Some(last) = group.session.calls.last_mut()
        {
            let wait = serde_json::to_value(group.wait).expect("a number");
            keep_extra(last, USED[6], wait);
        }
        output.session(group.session)?;
    }
    let mut warnings = vec![Warning::NoTools];
    mended.warn(&mut warnings);
    Ok(warnings)
}

/// The current row: its round, its call, and the wait after it. `keep` is what the row says, unchecked.
fn row(table: &Table<'_>) -> Result<(u64, Call, Millis), TraceError> {
    let round = table.value(&USED[2..3], "a whole number", |cell| cell.parse().ok())?;
    let prefix = table.tokens(&USED[3..4])?;
    let input = u64::from(prefix) + u64::from(table.tokens(&USED[4..5])?);
    let input = tokens("the prompt", input).map_err(|what| table.wrong(what))?;
    let wait = table.value(&USED[6..7], "milliseconds", millis)?;
    let mut x = table.rest(&USED);
    x.shift_remove(ARRIVAL);
    let call = Call {
        keep: Some(prefix),
        input,
        output: table.tokens(&USED[5..6])?,
        x: not_empty(x),
        ..Call::default()
    };
    Ok((round, call, wait))
}

fn begin(table: &Table<'_>, sid: String, has_clock: bool) -> Result<Group, TraceError> {
    let start_ms = if has_clock {
        Nullable::Value(table.value(&[ARRIVAL], "milliseconds", millis)?)
    } else {
        Nullable::Null
    };
    let session = Session {
        sid,
        start_ms,
        ..Session::default()
    };
    Ok(Group {
        session,
        round: 0,
        wait: Millis::default(),
    })
}

fn push(group: &mut Group, mut call: Call, mended: &mut Mended) {
    call.id = group.session.calls.len() as u32;
    let kept = call.keep.take().unwrap_or(0);
    mended.tokens(&mut call);
    if call.id > 0 {
        (call.gap_ms, call.gap_kind) = (group.wait, GapKind::Tool);
        mended.keep(&mut call, kept, group.session.calls.last());
    } else if kept > 0 {
        // What was there before the session began: nothing of it is in the trace.
        call.cached = Some(kept);
    }
    group.session.calls.push(call);
}

/// Milliseconds, whole where they are written so.
fn millis(cell: &str) -> Option<Millis> {
    serde_json::from_str(cell).ok()
}
