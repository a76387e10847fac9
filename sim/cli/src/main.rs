//! The `djinn` command line: one file per verb, each thin over the crates that do the work.
//!
//! ```text
//!   new ──► config ──► run, sweep ──► results ──► show, explain, compare, figures
//!                        ▲                     ▲
//!   trace import, gen ──► trace ──► trace stat  │
//!                           └──► rank ──────────┘
//! ```
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0, 1 for what failed, 2 for a command that makes no sense.
//! Where the output folder, the trace or the policy cannot be used, a verb says so before the work, not after.

mod command;
mod config;
mod error;
mod format;
mod interrupt;
mod out;
mod progress;
mod summary;
mod table;

mod compare;
mod explain;
mod figures;
mod new;
mod oracle;
mod playback;
mod policies;
mod rank;
mod reproduce;
mod revalidate;
mod run;
mod show;
mod sweep;
mod trace;
mod validate;

use clap::{Parser, Subcommand};
use error::CliError;
use std::process::ExitCode;

/// What should happen to an LLM agent's KV cache while it waits on a tool?
///
/// A deterministic simulator of one GPU that serves agents: keep their KV in HBM, move it to host memory and bring it
/// back in time, or drop it and compute it again.
#[derive(Parser)]
#[command(name = "djinn", version, propagate_version = true, after_help = EXAMPLES)]
struct Djinn {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
A first look:
  djinn reproduce                               the seed study and the first comparison, with figures
  djinn run --policy djinn                      simulate 200 agents with the default policy
  djinn run --policy vllm-recompute             the same agents, KV recomputed when it was evicted
  djinn compare results/RUN results/RUN         is the difference larger than chance?
  djinn explain results/RUN 17 3                what happened to the KV of session 17 before turn 3
  djinn policies djinn                          what a policy does, and its parameters
  djinn rank --quick                            all policies on public workloads, at loads that are found

`djinn VERB --help` has examples of each verb.";

#[derive(Subcommand)]
enum Verb {
    Run(run::Args),
    Sweep(sweep::Args),
    Rank(rank::Args),
    Show(show::Args),
    Explain(explain::Args),
    Compare(compare::Args),
    Playback(playback::Args),
    Policies(policies::Args),
    New(new::Args),
    Trace(trace::Args),
    Figures(figures::Args),
    Oracle(Box<oracle::Args>),
    Reproduce(reproduce::Args),
    Validate(validate::Args),
    Revalidate(revalidate::Args),
}

impl Verb {
    fn run(self) -> Result<(), CliError> {
        match self {
            Self::Run(args) => run::run(&args),
            Self::Sweep(args) => sweep::run(&args),
            Self::Rank(args) => rank::run(&args),
            Self::Show(args) => show::run(&args),
            Self::Explain(args) => explain::run(&args),
            Self::Compare(args) => compare::run(&args),
            Self::Playback(args) => playback::run(&args),
            Self::Policies(args) => policies::run(&args),
            Self::New(args) => new::run(&args),
            Self::Trace(args) => trace::run(&args),
            Self::Figures(args) => figures::run(&args),
            Self::Oracle(args) => oracle::run(&args),
            Self::Reproduce(args) => reproduce::run(&args),
            Self::Validate(args) => validate::run(&args),
            Self::Revalidate(args) => revalidate::run(&args),
        }
    }
}

fn main() -> ExitCode {
    match Djinn::parse().verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
