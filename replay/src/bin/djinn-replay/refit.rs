//! `djinn-replay refit`: fits a profile again to what its calibration timed.

use crate::calibrate::{unwritable, write};
use crate::{Failure, command};
use replay::calibrate::{refit, steps_csv};
use std::path::PathBuf;
use std::process::ExitCode;

/// Fit a profile's steps again to what its calibration timed, without a GPU
///
/// For a calibration of an earlier version: FILE.steps.csv beside the profile has every timed step, and FILE.bursts.csv how the card slows
/// down behind prompts. A calibration that timed no bursts takes those of another one of such a card (`--bursts`).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  djinn-replay refit my-gpu.toml --out my-gpu.toml
  djinn-replay refit old.toml --bursts my-gpu.bursts.csv --out refitted.toml")]
pub struct Args {
    /// A profile that `calibrate` wrote
    #[arg(value_name = "FILE")]
    profile: PathBuf,
    /// Where the new one goes, with its .steps.csv; may be the same
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Timed bursts [default: FILE.bursts.csv beside the profile]
    #[arg(long, value_name = "CSV")]
    bursts: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let refit =
        refit(&args.profile, args.bursts.as_deref(), &command()).map_err(|error| failed(&error))?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).map_err(|cause| unwritable(folder, &cause))?;
    }
    write(&args.out, &refit.text)?;
    let steps = steps_csv(&refit.points, &refit.cost);
    write(&args.out.with_extension("steps.csv"), &steps)?;
    // The reader of profiles has the last word.
    devices::hardware(&args.out.to_string_lossy()).map_err(|error| failed(&error))?;
    print!("{}", refit.text);
    Ok(ExitCode::SUCCESS)
}
