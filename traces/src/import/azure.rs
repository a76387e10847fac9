//! Azure LLM inference traces (2023, 2024): arrivals and token counts.
//!
//! ```text
//!   TIMESTAMP,ContextTokens,GeneratedTokens
//!   2023-11-16 18:15:46.6805900,374,44
//! ```
//!
//! A row is a session of one call. Starts are nanoseconds of Unix time in milliseconds; a stamp without an offset is
//! taken as UTC. Streams.

use super::calls::{Mended, not_empty};
use super::clock::Instant;
use super::output::Output;
use super::table::Table;
use super::{Format, ImportOptions, Warning};
use crate::TraceError;
use crate::format::{Call, Lines, Nullable, Session};

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
    output.meta(&super::meta(&FORMAT, lines, options))?;
    let mut mended = Mended::default();
    let mut table = Table::open(lines)?;
    let mut rows = 0_u64;
    while table.next_row()? {
        let expected = "a time such as 2023-11-16 18:15:46.68059";
        let start = table.value(&USED[..1], expected, Instant::parse)?;
        let mut call = Call {
            input: table.tokens(&USED[1..2])?,
            output: table.tokens(&USED[2..])?,
            x: not_empty(table.rest(&USED)),
            ..Call::default()
        };
        mended.tokens(&mut call);
        output.session(Session {
            sid: format!("row-{rows}"),
            start_ms: Nullable::Value(start.millis()),
            calls: vec![call],
            ..Session::default()
        })?;
        rows += 1;
    }
    let mut warnings = vec![Warning::NoSessions, Warning::NoTools];
    mended.warn(&mut warnings);
    Ok(warnings)
}
