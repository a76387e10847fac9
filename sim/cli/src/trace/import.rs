//! `djinn trace import`: traces of other tools, as a session trace.

use super::check_target;
use crate::error::CliError;
use crate::format::plural;
use crate::out;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use trace::TraceError;
use trace::import::{
    Detected, FORMATS, Format, ImportOptions, MooncakeRows, WekaGap, detect, find, import_files,
};

/// Convert traces of other tools into one session trace
///
/// What the source does not say is warned of, and the warnings stay with the trace: every run on it repeats them in its
/// manifest.
#[derive(clap::Args)]
#[command(after_help = help())]
pub struct Args {
    /// Files to convert, compressed (.zst, .gz) or not; before them the name of their format [default: recognised by
    /// their beginning]
    #[arg(value_name = "[FORMAT] FILE", required = true)]
    files: Vec<PathBuf>,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
    /// Weka: which wait to take, as recorded or without the service time that it contains
    #[arg(long, value_name = "GAP", default_value = "corrected", value_parser = ["corrected", "raw"])]
    weka_gap: String,
    /// Mooncake without session ids: a session for each row, or rows chained by their common prefix
    #[arg(long, value_name = "ROWS", default_value = "single", value_parser = ["single", "chain"])]
    mooncake_rows: String,
    /// vLLM generator files: seed of the conversations drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Licence of the data, for the first line of the trace
    #[arg(long)]
    license: Option<String>,
    /// Origin of the data, for the first line of the trace [default: the name of the file]
    #[arg(long)]
    origin: Option<String>,
}

fn help() -> String {
    let mut text = "Examples:\n  djinn trace import weka.jsonl.zst --out weka.trace.jsonl.zst\n  djinn trace import \
                    claude-code logs/*.jsonl --out mine.trace.jsonl\n  djinn trace import mooncake requests.jsonl \
                    --mooncake-rows chain --out requests.trace.jsonl\n\nFormats:"
        .to_owned();
    for format in FORMATS {
        let (name, summary) = (format.name, format.summary);
        let _ = write!(
            text,
            "\n  {name}\n      {summary}\n      knows: {}\n      lacks: {}",
            format.knows, format.lacks
        );
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
        seed: args.seed,
        license: args.license.clone(),
        origin: args.origin.clone(),
    };
    // Every file is looked at before the first is converted.
    let sources = sources(&args.files)?;
    let report =
        import_files(&sources, &args.out, &options).map_err(|error| misnamed(error, &sources))?;
    for warning in &report.warnings {
        out::warn(&warning.to_string());
    }
    let sessions = plural(report.sessions, "session");
    let calls = plural(report.calls, "call");
    out::note(&format!(
        "wrote {}: {sessions}, {calls}",
        args.out.display()
    ));
    Ok(())
}

/// Each file with its format: the one named in front, else the one it looks like.
fn sources(files: &[PathBuf]) -> Result<Vec<(&'static Format, PathBuf)>, CliError> {
    if let Some(folder) = files.iter().find(|file| file.is_dir()) {
        let folder = folder.display();
        return Err(CliError::hinted(
            format!("{folder} is a folder"),
            &format!("name its files, for example `{folder}/*.jsonl`"),
        ));
    }
    if let [first, rest @ ..] = files
        && let Some(name) = first.to_str()
    {
        match find(name) {
            Ok(_) if rest.is_empty() && !first.exists() => {
                let what = format!("`{name}` is a format: the files to convert come after it");
                return Err(CliError::Usage(what));
            }
            _ if rest.is_empty() => {}
            Ok(format) => return Ok(rest.iter().map(|file| (format, file.clone())).collect()),
            // A name that could only have been that of a format.
            Err(unknown) if !first.exists() && !name.contains(['.', '/']) => {
                return Err(unknown.into());
            }
            Err(_) => {}
        }
    }
    files.iter().map(|file| recognised(file)).collect()
}

/// Why an import failed; and, where a file looks like another format than it was taken for, that it does.
fn misnamed(error: TraceError, sources: &[(&Format, PathBuf)]) -> CliError {
    let other = sources.iter().find_map(|(format, file)| {
        let detected = detect(file).ok()?;
        let differs = detected.format.name != format.name;
        let name = file.display().to_string();
        differs.then(|| looks_like(&name, detected.format, &detected.reason))
    });
    match other {
        Some(hint) => CliError::hinted(error, &hint),
        None => error.into(),
    }
}

fn recognised(file: &Path) -> Result<(&'static Format, PathBuf), CliError> {
    let Detected { format, reason } = detect(file)?;
    out::note(&looks_like(&file.display().to_string(), format, &reason));
    Ok((format, file.to_owned()))
}

/// What a file was taken for, and why.
pub fn looks_like(file: &str, format: &Format, reason: &str) -> String {
    format!("{file}: looks like {}: {reason}", format.name)
}
