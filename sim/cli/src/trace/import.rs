//! `djinn trace import`: traces of other tools, as a session trace.

use super::check_target;
use crate::error::CliError;
use crate::format::plural;
use crate::out;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use trace::TraceError;
use trace::format::{Meta, Session};
use trace::import::{
    FORMATS, FileSink, Format, ImportOptions, MooncakeRows, Sink, WekaGap, find, import, sniff,
};

/// Convert traces of other tools into one session trace
///
/// What the source does not say is warned of; it never becomes a value without that.
#[derive(clap::Args)]
#[command(after_help = help())]
pub struct Args {
    /// Files to convert, compressed (.zst, .gz) or not
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
    /// Format of the files [default: recognised by their beginning]
    #[arg(long)]
    format: Option<String>,
    /// Weka: which wait to take, as recorded or without the service time that it contains
    #[arg(long, value_name = "GAP", default_value = "corrected", value_parser = ["corrected", "raw"])]
    weka_gap: String,
    /// Mooncake without session ids: a session for each row, or rows chained by their common prefix
    #[arg(long, value_name = "ROWS", default_value = "single", value_parser = ["single", "chain"])]
    mooncake_rows: String,
    /// Licence of the data, for the first line of the trace
    #[arg(long)]
    license: Option<String>,
    /// Origin of the data, for the first line of the trace [default: the name of the file]
    #[arg(long)]
    origin: Option<String>,
}

fn help() -> String {
    let mut text = "Examples:\n  djinn trace import weka.jsonl.zst --out weka.trace.jsonl.zst\n  djinn trace import \
                    --format mooncake --mooncake-rows chain requests.jsonl --out requests.trace.jsonl\n\nFormats:"
        .to_owned();
    for format in FORMATS {
        let _ = write!(text, "\n  {:<10} {}", format.name, format.summary);
    }
    text
}

pub fn run(args: &Args) -> Result<(), CliError> {
    check_target(&args.out)?;
    let options = ImportOptions {
        weka_gap: if args.weka_gap == "raw" {
            WekaGap::Raw
        } else {
            WekaGap::Corrected
        },
        mooncake_rows: if args.mooncake_rows == "chain" {
            MooncakeRows::Chain
        } else {
            MooncakeRows::Single
        },
        license: args.license.clone(),
        origin: args.origin.clone(),
    };
    // Every file is looked at before the first is converted.
    let formats: Vec<_> = args
        .files
        .iter()
        .map(|file| format_of(args, file))
        .collect::<Result<_, _>>()?;
    let mut joined = Joined {
        sink: FileSink::new(&args.out),
        meta: None,
    };
    let (mut sessions, mut calls) = (0, 0);
    for (file, format) in args.files.iter().zip(formats) {
        let report = import(format, file, &options, &mut joined)?;
        sessions += report.sessions;
        calls += report.calls;
        for warning in &report.warnings {
            out::warn(&format!("{}: {warning}", file.display()));
        }
    }
    joined.sink.finish()?;
    let (sessions, calls) = (plural(sessions, "session"), plural(calls, "call"));
    out::note(&format!(
        "wrote {}: {sessions}, {calls}",
        args.out.display()
    ));
    Ok(())
}

fn format_of(args: &Args, file: &Path) -> Result<&'static Format, CliError> {
    if let Some(name) = &args.format {
        return Ok(find(name)?);
    }
    let format = sniff(file)?;
    out::note(&format!(
        "{}: read as {}, for it begins like one ({})",
        file.display(),
        format.name,
        format.summary
    ));
    Ok(format)
}

/// Several sources in one trace: the first line is that of the first, and the others must agree with it.
struct Joined {
    sink: FileSink,
    meta: Option<Meta>,
}

impl Sink for Joined {
    fn meta(&mut self, meta: &Meta) -> Result<(), TraceError> {
        let Some(first) = &self.meta else {
            self.sink.meta(meta)?;
            self.meta = Some(meta.clone());
            return Ok(());
        };
        let same = first.source == meta.source
            && first.block_size == meta.block_size
            && first.hash_scope == meta.hash_scope
            && first.gap_semantics == meta.gap_semantics;
        if same {
            return Ok(());
        }
        Err(TraceError::Parameters(format!(
            "the files differ in source, block size, scope of block ids or meaning of gaps ({} and {}), so they cannot \
             share a trace; import them one by one",
            first.origin, meta.origin
        )))
    }

    fn session(&mut self, session: Session) -> Result<(), TraceError> {
        self.sink.session(session)
    }
}
