//! `djinn playback`: does a recorded run of a GPU decide the same without it?

use crate::error::CliError;
use crate::format::plural;
use crate::out;
use lab::playback::play_back;
use std::path::PathBuf;

/// Play a recorded run back without its device, and compare every decision
///
/// A run of `djinn-replay` keeps what the GPU said in wakes.log. With these answers driver and policy must come to the same
/// decisions, byte for byte, and to the same turns.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

const EXAMPLES: &str = "\
Example:
  djinn playback results/RUN_ID-gpu";

pub fn run(args: &Args) -> Result<(), CliError> {
    let played = play_back(&args.run).map_err(|error| CliError::failed(error.to_string()))?;
    out::stdout(&format!(
        "{}: {} and {} the same\n",
        args.run.display(),
        plural(played.decisions, "decision"),
        plural(played.turns, "turn"),
    ))
}
