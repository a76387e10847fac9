//! BurstGPT: arrivals and token counts of a campus's use of ChatGPT and GPT-4.
//!
//! ```text
//!   Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
//!   5,ChatGPT,472,18,490,Conversation log
//! ```
//!
//! A row is a session of one call; times are seconds since the trace began. Failed requests have no response. Session
//! ids of later releases are kept in `x`: rows are not joined by them, for nothing says whether a prompt contains the
//! history. Streams.

use super::calls::not_empty;
use super::output::Output;
use super::table::Table;
use super::{Format, ImportOptions, Warning, request_table};
use crate::TraceError;
use crate::format::{Call, Lines, Millis, Observed};

pub(super) const FORMAT: Format = Format {
    name: "burstgpt",
    summary: "BurstGPT (CSV): arrivals and token counts",
    knows: "arrivals, token counts, model; service times in later releases",
    lacks: "sessions, waits, prefixes, tools",
    detect: |head| head.columns(&USED[..4]),
    import,
};

const USED: [&str; 6] = [
    "Timestamp",
    "Model",
    "Request tokens",
    "Response tokens",
    "Total tokens",
    "Elapsed time",
];

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let meta = super::meta(&FORMAT, lines, options);
    request_table::import(lines, &meta, output, row)
}

fn row(table: &Table<'_>) -> Result<(Millis, Call), TraceError> {
    let seconds = |cell: &str| cell.parse().ok().and_then(Millis::from_secs);
    let start = table.value(&USED[..1], "seconds since the start", seconds)?;
    let elapsed = &USED[5..];
    let api_ms = match table.cell(elapsed) {
        Some(_) => Some(table.value(elapsed, "seconds", seconds)?),
        None => None,
    };
    let call = Call {
        input: table.tokens(&USED[2..3])?,
        output: table.tokens(&USED[3..4])?,
        model: table.cell(&USED[1..2]).map(str::to_owned),
        observed: api_ms.map(|_| Observed {
            api_ms,
            ..Observed::default()
        }),
        x: not_empty(table.rest(&USED)),
        ..Call::default()
    };
    Ok((start, call))
}
