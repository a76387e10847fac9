//! `djinn oracle`: this engine behind the flags of the reference harness.

use crate::error::CliError;
use crate::out;
use lab::oracle::{OracleArgs, run as run_oracle};

/// Take the scheduling decisions of vLLM's scheduler, as the reference harness does
///
/// Reads and writes what the harness does, with its flags, so that its outputs and these are compared byte for byte:
/// turns.csv, steps.csv and summary.json in the output folder.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    harness: OracleArgs,
}

const EXAMPLES: &str = "\
Example:
  djinn oracle --trace tiny.jsonl --gpu-blocks 41 --max-num-seqs 4 --out out/tiny
  cmp out/tiny/turns.csv reference/tiny/turns.csv";

pub fn run(args: &Args) -> Result<(), CliError> {
    // steps.csv has a row for every step, so each is a run of its own.
    let output = run_oracle(&args.harness, true)?;
    output.write(&args.harness)?;
    out::note(&format!("results in {}", args.harness.out.display()));
    Ok(())
}
