//! Traces of other tools, read into session-trace v1.
//!
//! One file (or folder) per format, and one entry in [`FORMATS`]; command line, sniffing and tests go over that table.
//! An importer hands its sessions to a [`Sink`] as soon as it has them, and says in typed [`Warning`]s what
//! its source does not tell: they belong into the manifest of every run on the trace.
//!
//! **Absent on purpose:** guessing. Where a source lacks a value the field stays absent, or the warning counts
//! how often which rule filled it.

mod mooncake;
mod sink;
mod warning;
mod weka;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use sink::{Collected, FileSink, Sink};
pub use warning::Warning;

use crate::TraceError;
use crate::format::Lines;

/// Every format that can be imported.
pub const FORMATS: &[Format] = &[weka::FORMAT, mooncake::FORMAT];

/// A foreign trace format.
pub struct Format {
    /// Name on the command line.
    pub name: &'static str,
    /// One line for `--help`.
    pub summary: &'static str,
    /// Whether the first [`SNIFF_BYTES`] of a (decompressed) file look like it.
    pub sniff: fn(&[u8]) -> bool,
    import: fn(&mut Lines, &ImportOptions, &mut dyn Sink) -> Result<ImportReport, TraceError>,
}

/// Bytes that [`Format::sniff`] is given at most: the keys before and after a long array of hashes.
pub const SNIFF_BYTES: u64 = 64 << 10;

/// What a user may choose. Each importer reads what concerns it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportOptions {
    /// Weka: which gap to take.
    pub weka_gap: WekaGap,
    /// Mooncake rows without session ids: one session per row, or chained by prefix.
    pub mooncake_rows: MooncakeRows,
    /// Licence for the meta line, where the file does not name it.
    pub license: Option<String>,
    /// Origin for the meta line; default: the name of the file.
    pub origin: Option<String>,
}

/// Which wait a Weka trace is taken to record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WekaGap {
    /// `think_time` as recorded.
    Raw,
    /// `think_time` less the service time of the dropped twin request, which it contains.
    #[default]
    Corrected,
}

/// What to make of Mooncake rows that carry no session id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MooncakeRows {
    /// One session of one call per row: open loop.
    #[default]
    Single,
    /// A row continues the latest row of which all full blocks (three or more) are its prefix.
    Chain,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Name of the format.
    pub format: &'static str,
    /// Sessions handed on, sub-agents included.
    pub sessions: u64,
    /// Calls in them.
    pub calls: u64,
    /// What the source does not say, and what was mended.
    pub warnings: Vec<Warning>,
}

/// The format called `name`.
///
/// # Errors
/// If there is none; the message lists all.
pub fn find(name: &str) -> Result<&'static Format, TraceError> {
    FORMATS
        .iter()
        .find(|format| format.name == name)
        .ok_or_else(|| TraceError::UnknownFormat {
            name: name.to_owned(),
            known: known(),
        })
}

/// The format that the file at `source` appears to have.
///
/// # Errors
/// If it cannot be read, or no format recognises it.
pub fn sniff(source: &Path) -> Result<&'static Format, TraceError> {
    let head = Lines::open(source)?.head(SNIFF_BYTES)?;
    FORMATS
        .iter()
        .find(|format| (format.sniff)(&head))
        .ok_or_else(|| TraceError::Unrecognised {
            file: source.display().to_string(),
            known: known(),
        })
}

/// Reads `source` as `format` and hands its sessions to `sink`.
///
/// # Errors
/// What reading or the sink may raise.
pub fn import(
    format: &Format,
    source: &Path,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<ImportReport, TraceError> {
    (format.import)(&mut Lines::open(source)?, options, sink)
}

/// Converts `source` into a session trace at `target`, which appears only when complete.
///
/// # Errors
/// As [`import`], and what writing may raise.
pub fn import_file(
    format: &Format,
    source: &Path,
    target: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, TraceError> {
    let mut sink = FileSink::new(target);
    let report = import(format, source, options, &mut sink)?;
    sink.finish()?;
    Ok(report)
}

fn known() -> String {
    FORMATS
        .iter()
        .map(|format| format.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether `head` has the JSON key `key`.
fn has_key(head: &[u8], key: &str) -> bool {
    let quoted = format!("\"{key}\"");
    head.windows(quoted.len())
        .any(|window| window == quoted.as_bytes())
}
