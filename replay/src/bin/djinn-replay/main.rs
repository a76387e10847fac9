//! The `djinn-replay` command line: one file per verb, each thin over the crate.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0, 1 for what failed, 2 for a command that makes no sense, 3 where there is
//! no usable GPU (one sentence says what is missing).

mod calibrate;
mod check;
mod machine;
mod progress;
mod refit;
mod run;
mod spec;
mod summary;
mod sweep;

use clap::{Parser, Subcommand};
use kernels::gpu::{Error, Gpu, PoolPhase};
use replay::run::{ComputeKind, ReplayError};
use std::process::ExitCode;

/// Replays agent traces on an NVIDIA GPU, with the policies of the simulator: real copies, wall clock.
#[derive(Parser)]
#[command(name = "djinn-replay", version, propagate_version = true, after_help = EXAMPLES)]
struct Replay {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  djinn-replay check                                     does this GPU do what the engine expects, and are faults caught?
  djinn-replay calibrate --out my-gpu.toml               measure it; then: djinn run --set hardware=my-gpu.toml
  djinn-replay run my.toml --policy djinn --hbm-gib 40   the run that `djinn run` simulates
  djinn-replay sweep my.toml --policy djinn,ski --out D  several, with pools and weights taken once";

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Sweep(sweep::Args),
    Check(check::Args),
    Calibrate(calibrate::Args),
    Refit(refit::Args),
}

/// Why a verb ended without what was asked for.
enum Failure {
    /// Exit code 3.
    NoGpu(Error),
    /// Exit code 1.
    Failed(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NoDriver | Error::NoDevice { .. } => Self::NoGpu(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Gpu(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// What steps do on the GPU.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Kind {
    /// Read weights and KV, and compute nothing
    #[default]
    Touch,
    /// Pass modelled time
    Spin,
    /// Compute the forward pass of the model, with random weights
    Model,
}

impl From<Kind> for ComputeKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Touch => Self::Touch,
            Kind::Spin => Self::Spin,
            Kind::Model => Self::Model,
        }
    }
}

/// The GPU that was asked for.
#[derive(Clone, Copy, clap::Args)]
struct GpuArgs {
    /// Index of the GPU, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpu: u32,
}

impl GpuArgs {
    fn open(self) -> Result<Gpu, Failure> {
        Ok(Gpu::open(self.gpu)?)
    }
}

/// Tells of a growing host pool, on one line.
fn pool_progress(phase: PoolPhase) {
    let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
    match phase {
        PoolPhase::Touching { done, total } => {
            eprint!("\rhost pool: {:.1} of {:.1} GiB", gib(done), gib(total));
        }
        PoolPhase::Pinning { total } => eprintln!("\rhost pool: {:.1} GiB, pinning", gib(total)),
    }
}

/// The command line as it was given, ready for a shell.
fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quote = |word: String| {
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = std::env::args_os()
        .skip(1)
        .map(|word| quote(word.to_string_lossy().into_owned()));
    std::iter::once("djinn-replay".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn main() -> ExitCode {
    let done = match Replay::parse().verb {
        Verb::Run(args) => run::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Sweep(args) => sweep::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Check(args) => check::run(args),
        Verb::Calibrate(args) => calibrate::run(&args),
        Verb::Refit(args) => refit::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(Failure::NoGpu(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
        Err(Failure::Failed(what)) => {
            eprintln!("error: {what}");
            ExitCode::FAILURE
        }
    }
}
