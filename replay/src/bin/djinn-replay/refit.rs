//! `djinn-replay refit`: fits a profile again to what its calibration timed.

use crate::calibrate::{unwritable, write};
use crate::{Failure, command};
use replay::calibrate::{Others, refit, steps_csv};
use std::path::PathBuf;
use std::process::ExitCode;

/// Fit a profile again to what its calibration timed, without a GPU
///
/// For a calibration of an earlier version: FILE.steps.csv beside the profile has every timed step, FILE.copies.csv every copy, and FILE.bursts.csv how
/// the card slows down behind prompts. Without FILE.copies.csv the link stays as it was. A calibration that timed no bursts takes those of another one of such a card (`--bursts`), and one whose copies were
/// disturbed the link of another (`--link`).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  djinn-replay refit my-gpu.toml --out my-gpu.toml
  djinn-replay refit old.toml --bursts my-gpu.bursts.csv --out refitted.toml
  djinn-replay refit disturbed.toml --link my-gpu.toml --out refitted.toml")]
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
    /// Profile whose link is taken, of a calibration of such a card that nothing disturbed
    #[arg(long, value_name = "FILE")]
    link: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let others = Others {
        bursts: args.bursts.as_deref(),
        link: args.link.as_deref(),
    };
    let refit = refit(&args.profile, others, &command()).map_err(|error| failed(&error))?;
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
