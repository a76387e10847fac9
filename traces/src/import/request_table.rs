//! Tables of requests: every row is a session of one call, and all that is known is when it came and how long it was.

use super::Warning;
use super::calls::Mended;
use super::output::Output;
use super::table::Table;
use crate::TraceError;
use crate::format::{Call, Lines, Meta, Millis, Nullable, Session};

/// Reads the table in `lines`; `row` makes of its current row an arrival and a call. Streams.
pub fn import(
    lines: &mut Lines,
    meta: &Meta,
    output: &mut Output<'_>,
    row: impl Fn(&Table<'_>) -> Result<(Millis, Call), TraceError>,
) -> Result<Vec<Warning>, TraceError> {
    output.meta(meta)?;
    let mut mended = Mended::default();
    let mut table = Table::open(lines)?;
    let mut number = 0_u64;
    while table.next_row()? {
        let (start, mut call) = row(&table)?;
        mended.tokens(&mut call);
        output.session(Session {
            sid: format!("row-{number}"),
            start_ms: Nullable::Value(start),
            calls: vec![call],
            ..Session::default()
        })?;
        number += 1;
    }
    let mut warnings = vec![Warning::NoSessions, Warning::NoTools];
    mended.warn(&mut warnings);
    Ok(warnings)
}
