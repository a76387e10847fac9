//! `djinn show`: what a run was and what it came to.

use crate::error::CliError;
use crate::{out, summary};
use results::folder::RunFolder;
use results::runs::RunRow;
use std::path::PathBuf;

/// Summarise a run: latencies, wake-up breakdown, traffic, memory, digest
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    folder: PathBuf,
    /// All metrics as JSON, with the names and units of runs.csv
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  djinn show results/first
  djinn show results/first --json | jq .wakeup_ns_p99
Two machines that show the same digest have the same results, byte for byte.";

pub fn run(args: &Args) -> Result<(), CliError> {
    let folder = RunFolder::open(&args.folder)?;
    if !args.json {
        return out::stdout(&summary::of(&folder)?);
    }
    let row = RunRow::of(&folder, "{}")?;
    let json = |part: Result<serde_json::Value, serde_json::Error>| match part {
        Ok(serde_json::Value::Object(fields)) => fields,
        other => unreachable!("a row is a struct of plain fields, got {other:?}"),
    };
    let mut fields = json(serde_json::to_value(&row.id));
    fields.extend(json(serde_json::to_value(&row.metrics)));
    fields.insert("digest".to_owned(), folder.digest()?.into());
    let mut text = serde_json::to_string_pretty(&fields).expect("plain values");
    text.push('\n');
    out::stdout(&text)
}
