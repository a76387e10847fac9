//! `djinn trace`: traces of other tools in, generated ones out, statistics of either.

mod generate;
mod import;
mod stat;

use crate::error::CliError;
use clap::Subcommand;
use std::path::Path;

/// Import, generate and describe session traces
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
}

pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.verb {
        Verb::Import(args) => import::run(args),
        Verb::Gen(args) => generate::run(args),
        Verb::Stat(args) => stat::run(args),
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
