//! `djinn trace`: traces of other tools in, generated ones out, statistics of either, and other traces made of them.

mod common;
mod cut;
mod diff;
mod generate;
mod head;
mod import;
mod merge;
mod sample;
mod scale;
mod stat;

use crate::error::CliError;
use clap::Subcommand;
use std::path::Path;

/// Import, generate, describe, compare and change session traces
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Import(import::Args),
    Gen(generate::Args),
    Stat(stat::Args),
    Diff(diff::Args),
    Head(head::Args),
    Cut(cut::Args),
    Sample(sample::Args),
    Merge(merge::Args),
    Scale(scale::Args),
}

pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.verb {
        Verb::Import(args) => import::run(args),
        Verb::Gen(args) => generate::run(args),
        Verb::Stat(args) => stat::run(args),
        Verb::Diff(args) => diff::run(args),
        Verb::Head(args) => head::run(args),
        Verb::Cut(args) => cut::run(args),
        Verb::Sample(args) => sample::run(args),
        Verb::Merge(args) => merge::run(args),
        Verb::Scale(args) => scale::run(args),
    }
}

/// Whether a new trace may be written there. Nothing is overwritten, and no device is mistaken for a file.
fn check_target(path: &Path) -> Result<(), CliError> {
    if path.symlink_metadata().is_ok() {
        return Err(CliError::failed(format!(
            "{} exists and is not overwritten; choose another name or remove it",
            path.display()
        )));
    }
    Ok(())
}

/// Writes a table as CSV, whole or not at all.
fn write_csv<T: serde::Serialize>(path: &Path, rows: &[T]) -> Result<(), CliError> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.serialize(row).expect("memory takes every write");
    }
    let bytes = csv.into_inner().expect("memory takes every write");
    std::fs::write(path, bytes).map_err(|cause| {
        // Half a table would be taken for a whole one.
        let _ = std::fs::remove_file(path);
        CliError::file("write", path, &cause)
    })
}
