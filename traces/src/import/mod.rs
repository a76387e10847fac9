//! Traces of other tools, read into session-trace v1.
//!
//! One file (or folder) per format, and one entry in [`FORMATS`]; command line, detection, tests and fuzz targets go over
//! that table. An importer hands its sessions to a [`Sink`] as soon as it has them, and says in typed [`Warning`]s
//! what its source does not tell: they are written into the trace and belong into the manifest of every run on it.
//!
//! What of a source has no place in the format is kept verbatim in `x`. Texts of prompts and answers are not: a
//! trace holds their lengths.
//!
//! **Invariant:** what an importer hands on passes every check of the format, or the import is an error.
//! **Absent on purpose:** guessing. Where a source lacks a value the field stays absent, or the warning counts
//! how often which rule filled it.

mod agentic_mooncake;
mod aiperf;
mod azure;
mod bailian;
mod burstgpt;
mod calls;
mod claude_code;
mod clock;
mod detect;
mod estimate;
mod infercept;
mod join;
mod mooncake;
mod otel;
mod output;
mod request_table;
mod sink;
mod swe_agent;
mod table;
mod tool_class;
mod tracelab;
mod tracelab_csv;
mod trie;
mod vllm;
mod warning;
mod weka;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use detect::Head;
pub use join::import_files;
use output::Output;
pub use sink::{Collected, FileSink, Sink};
pub use warning::Warning;

use crate::TraceError;
use crate::format::{Lines, Meta, Nullable, Reader};

/// Every format that can be imported. Where several recognise a file, the first wins.
pub const FORMATS: &[Format] = &[
    weka::FORMAT,
    agentic_mooncake::FORMAT,
    mooncake::DELTA,
    mooncake::FORMAT,
    bailian::FORMAT,
    tracelab::FORMAT,
    tracelab_csv::FORMAT,
    trie::FORMAT,
    aiperf::FORMAT,
    vllm::FORMAT,
    claude_code::FORMAT,
    swe_agent::FORMAT,
    infercept::FORMAT,
    azure::FORMAT,
    burstgpt::FORMAT,
    otel::FORMAT,
];

/// A foreign trace format.
pub struct Format {
    /// Name on the command line.
    pub name: &'static str,
    /// Whose it is and what one entry is: one line.
    pub summary: &'static str,
    /// What it tells of a session.
    pub knows: &'static str,
    /// What it does not tell.
    pub lacks: &'static str,
    /// Why a file that begins so has this format, if it has.
    pub detect: fn(&Head) -> Option<String>,
    import: Import,
}

type Import = fn(&mut Lines, &ImportOptions, &mut Output<'_>) -> Result<Vec<Warning>, TraceError>;

/// What a user may choose. Each importer reads what concerns it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportOptions {
    /// Weka: which gap to take.
    pub weka_gap: WekaGap,
    /// Mooncake rows without session ids: one session per row, or chained by prefix.
    pub mooncake_rows: MooncakeRows,
    /// Seed of sources that describe distributions (vLLM's generator files).
    pub seed: u64,
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

/// A format, and why a file is taken to have it.
pub struct Detected {
    /// The format.
    pub format: &'static Format,
    /// What in the file's beginning says so, as the end of "looks like …: ".
    pub reason: String,
}

/// The format that the file at `source` appears to have.
///
/// # Errors
/// If it cannot be read, is empty, is a session trace, or no format recognises it.
pub fn detect(source: &Path) -> Result<Detected, TraceError> {
    let bytes = Lines::open(source)?.head(detect::HEAD_BYTES)?;
    let file = source.display().to_string();
    if bytes.trim_ascii().is_empty() {
        return Err(TraceError::NoContent { file });
    }
    let head = Head::new(&bytes);
    let recognise = |format: &'static Format| {
        let reason = (format.detect)(&head)?;
        Some(Detected { format, reason })
    };
    FORMATS.iter().find_map(recognise).ok_or_else(|| {
        if Reader::open(source).is_ok() {
            return TraceError::AlreadyTrace { file };
        }
        TraceError::Unrecognised {
            file,
            known: known(),
        }
    })
}

/// Reads `source` as `format` and hands its sessions to `sink`.
///
/// # Errors
/// What reading or the sink may raise, and sessions that break a rule of the trace format.
pub fn import(
    format: &Format,
    source: &Path,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<ImportReport, TraceError> {
    import_lines(format, Lines::open(source)?, options, sink)
}

/// As [`import`], from a source that is open.
///
/// # Errors
/// As [`import`].
pub fn import_lines(
    format: &Format,
    mut lines: Lines,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<ImportReport, TraceError> {
    let mut output = Output::new(lines.file(), sink);
    let mut warnings = (format.import)(&mut lines, options, &mut output)?;
    if !output.has_common_clock() {
        warnings.insert(0, Warning::NoCommonClock);
    }
    let (sessions, calls) = output.finish()?;
    Ok(ImportReport {
        sessions,
        calls,
        warnings,
    })
}

fn known() -> String {
    FORMATS
        .iter()
        .map(|format| format.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A first line for a source without blocks, with gaps that are the client's alone and starts on one clock.
fn meta(format: &Format, lines: &Lines, options: &ImportOptions) -> Meta {
    let origin = options.origin.clone();
    let license = options.license.clone();
    Meta {
        source: format.name.to_owned(),
        origin: origin.unwrap_or_else(|| lines.file().to_owned()),
        license: license.unwrap_or_else(|| "unknown".to_owned()),
        block_size: Nullable::Null,
        hash_scope: Nullable::Null,
        tokenizer: Nullable::Null,
        ..Meta::default()
    }
}
