//! `djinn trace scale`: a trace with another load, or on another clock.

use super::common::{name, tell, write};
use crate::error::CliError;
use std::path::PathBuf;
use trace::tools::{Scale, feed};

/// Write a trace with more or less load, or with longer or shorter waits
///
/// --load 2 lets sessions start twice as close together and leaves what happens inside them alone. --time 2 makes everything that the
/// client does take twice as long: starts, waits, tools. Recorded service times stay.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A session trace, or a file that `djinn trace import` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Factor on arrivals per second
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    load: f64,
    /// Factor on all times of the client
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time: f64,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace scale chat.jsonl --load 2 --out busy.jsonl
  djinn trace scale coding.jsonl --time 0.1 --out fast-tools.jsonl.zst";

pub fn run(args: &Args) -> Result<(), CliError> {
    write(&args.out, |sink| {
        let mut scale = Scale::new(args.time, args.load, &name(&args.file), sink)?;
        Ok(tell(&args.file, feed(&args.file, &mut scale)?))
    })
}
