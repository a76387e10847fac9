//! `djinn new`: a config to start from.

use crate::error::CliError;
use crate::out;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

/// Write a commented config with every key and its default
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const EXAMPLES: &str = "\
Example:
  djinn new my.toml && djinn run my.toml --set seed=2";

pub fn run(args: &Args) -> Result<(), CliError> {
    let path = &args.file;
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            return Err(CliError::failed(format!(
                "{} exists and is not overwritten; choose another name or remove it",
                path.display()
            )));
        }
        Err(cause) => return Err(CliError::file("create", path, &cause)),
    };
    let written = file
        .write_all(results::spec::template().as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(cause) = written {
        // Half a config would be taken for a whole one.
        let _ = fs::remove_file(path);
        return Err(CliError::file("write", path, &cause));
    }
    out::note(&format!(
        "wrote {}; `djinn run {}` runs it",
        path.display(),
        path.display()
    ));
    Ok(())
}
