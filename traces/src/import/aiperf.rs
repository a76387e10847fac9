//! aiperf's `multi_turn` data sets: the texts that a benchmark sends, one conversation per line.
//!
//! ```text
//!   {"session_id": "chat_1", "turns": [{"role": "system", "text": "…"}, {"text": "…", "output_length": 50},
//!                                      {"text": "…", "delay": 1500, "output_length": 80}]}
//! ```
//!
//! Every turn but a system prompt is a call; its prompt is the history and its text (`text` or `texts`), whose tokens are
//! estimated. `delay` and `timestamp` are milliseconds. Lines without `session_id` are numbered. Streams.

use model::Nanos;

use super::calls::{Mended, not_empty, tokens};
use super::estimate::{chars_in, tokens_of};
use super::output::Output;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::record::record;
use crate::format::{Call, GapKind, Lines, Millis, Nullable, Session};

pub(super) const FORMAT: Format = Format {
    name: "aiperf-multi-turn",
    summary: "aiperf multi_turn: conversations as texts, one per line",
    knows: "texts (so lengths, roughly), delays, output lengths where given",
    lacks: "token counts, tools, starts (unless turns have timestamps)",
    detect: |head| head.with(&["turns"]).filter(|_| !head.has("requests")),
    import,
};

record! {
    /// A conversation.
    struct Row {
        nullable session_id: String = "session_id",
        required turns: Vec<Turn> = "turns",
    }
}

record! {
    /// A turn; images and other media go into `x`.
    struct Turn {
        nullable role: String = "role",
        nullable text: serde_json::Value = "text",
        nullable texts: serde_json::Value = "texts",
        nullable delay: Millis = "delay",
        nullable timestamp: Millis = "timestamp",
        nullable output: u32 = "output_length",
    }
}

#[derive(Default)]
struct Counts {
    mended: Mended,
    calls: u64,
}

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    // Few files have stamps, and none says before its end that all sessions do: arrivals are drawn.
    output.meta(&super::meta(&FORMAT, lines, options).with_common_clock(false))?;
    let mut counts = Counts::default();
    let mut number = 0;
    while let Some(row) = lines.row()? {
        let session = session(number, row, &mut counts);
        output.session(session.map_err(|what| lines.wrong(what))?)?;
        number += 1;
    }
    let mut warnings = vec![
        Warning::NoTools,
        Warning::HistoryAssumed,
        Warning::EstimatedInput {
            calls: counts.calls,
        },
    ];
    counts.mended.warn(&mut warnings);
    Ok(warnings)
}

fn session(number: u64, row: Row, counts: &mut Counts) -> Result<Session, String> {
    let sid = row.session_id.value();
    let mut calls: Vec<Call> = Vec::new();
    let mut start: Option<Millis> = None;
    let mut pending = 0;
    for turn in row.turns {
        let texts = [&turn.text, &turn.texts]
            .into_iter()
            .filter_map(Nullable::as_ref);
        pending += tokens_of(texts.map(chars_in).sum());
        if turn.role.as_ref().is_some_and(|role| role == "system") {
            continue;
        }
        let history = calls.last().map_or(0, |before| {
            u64::from(before.input) + u64::from(before.output)
        });
        let mut call = Call {
            id: calls.len() as u32,
            input: tokens("the prompt", history + pending)?,
            output: turn.output.value().unwrap_or(0),
            x: not_empty(turn.extra),
            ..Call::default()
        };
        pending = 0;
        if call.id > 0 {
            if let Some(delay) = turn.delay.value() {
                (call.gap_ms, call.gap_kind) = (delay, GapKind::Human);
            } else {
                counts.mended.no_gap();
                call.gap_kind = GapKind::Unknown;
            }
        }
        let stamp = turn.timestamp.value();
        start = start.or(stamp);
        let since = |(now, start): (Millis, Millis)| now.nanos().0.checked_sub(start.nanos().0);
        let since = stamp.zip(start).and_then(since);
        call.at_ms = since.map(|nanos| Millis::from_nanos(Nanos(nanos)));
        counts.calls += 1;
        counts.mended.tokens(&mut call);
        calls.push(call);
    }
    Ok(Session {
        sid: sid.unwrap_or_else(|| format!("row-{number}")),
        start_ms: start.map_or(Nullable::Null, Nullable::Value),
        calls,
        x: not_empty(row.extra),
        ..Session::default()
    })
}
