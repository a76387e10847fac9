//! `djinn trace cut`: a stretch of time out of a trace.

use super::common::{name, tell, write};
use crate::error::CliError;
use model::Nanos;
use std::path::PathBuf;
use trace::tools::{Cut, feed};

/// Write the sessions that start within a stretch of time to another trace
///
/// Sessions are taken whole, with their sub-agents; the clock of the new trace starts with the stretch. The trace needs a common
/// clock: of one without, take sessions with `head` or `sample`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A session trace, or a file that `djinn trace import` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Beginning of the stretch, on the clock of the trace: `90s`, `10m`, `1h30m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    from: std::time::Duration,
    /// End of the stretch; sessions that start then are not in it [default: the end of the trace]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    to: Option<std::time::Duration>,
    /// Session trace to write; the ending .zst or .gz compresses it
    #[arg(long, value_name = "TRACE")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  djinn trace cut requests.jsonl --to 10m --out first.jsonl
  djinn trace cut requests.jsonl --from 10m --to 20m --out second.jsonl.zst";

pub fn run(args: &Args) -> Result<(), CliError> {
    let nanos =
        |time: std::time::Duration| Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let to = args.to.map_or(Nanos::MAX, nanos);
    write(&args.out, |sink| {
        let mut cut = Cut::new(nanos(args.from), to, &name(&args.file), sink)?;
        Ok(tell(&args.file, feed(&args.file, &mut cut)?))
    })
}
