//! Azure LLM inference traces (2023, 2024): arrivals and token counts.
//!
//! ```text
//!   TIMESTAMP,ContextTokens,GeneratedTokens
//!   2023-11-16 18:15:46.6805900,374,44
//! ```
//!
//! A row is a session of one call. Starts are nanoseconds of Unix time in milliseconds; a stamp without an offset is
//! taken as UTC. Streams.

use super::calls::not_empty;
use super::clock::Instant;
use super::output::Output;
use super::table::Table;
use super::{Format, ImportOptions, Warning, request_table};
use crate::TraceError;
use crate::format::{Call, Lines, Millis};

pub(super) const FORMAT: Format = Format {
    name: "azure",
    summary: "Azure LLM inference trace (CSV): arrivals and token counts",
    knows: "arrivals, token counts",
    lacks: "sessions, waits, prefixes, tools",
    detect: |head| head.columns(&USED),
    import,
};

const USED: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

fn import(
    lines: &mut Lines,
    options: &ImportOptions,
    output: &mut Output<'_>,
) -> Result<Vec<Warning>, TraceError> {
    let meta = super::meta(&FORMAT, lines, options);
    request_table::import(lines, &meta, output, row)
}

fn row(table: &Table<'_>) -> Result<(Millis, Call), TraceError> {
    let expected = "a time such as 2023-11-16 18:15:46.68059";
    let start = table.value(&USED[..1], expected, Instant::parse)?;
    let call = Call {
        input: table.tokens(&USED[1..2])?,
        output: table.tokens(&USED[2..])?,
        x: not_empty(table.rest(&USED)),
        ..Call::default()
    };
    Ok((start.millis(), call))
}
