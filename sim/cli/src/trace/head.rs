//! `djinn trace head`: the first sessions of a trace.

use super::common::{name, tell, write};
use crate::error::CliError;
use std::path::PathBuf;
use trace::tools::{Head, feed};

/// Write the first sessions of a trace to another
///
/// Sub-agents go with their parent and are not counted.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A session trace, or a file that `djinn trace import` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    sessions: u64,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace head weka.jsonl.zst --out ten.jsonl
  djinn trace head weka.jsonl.zst -n 100 --out hundred.jsonl.zst";

pub fn run(args: &Args) -> Result<(), CliError> {
    write(&args.out, |sink| {
        let mut head = Head::new(args.sessions, &name(&args.file), sink);
        Ok(tell(&args.file, feed(&args.file, &mut head)?))
    })
}
