//! `model-check`: what the forward pass of compute `model` is held to, on a real GPU.
//!
//! ```text
//!   model-check logits FOLDER [--gpu N]                 passes over small geometries; tests/pytorch/logits.py compares
//!   model-check speed FOLDER [--model NAME] [--gpu N]   decode steps and prefills beside the memory's and cuBLASLt's limits
//! ```
//!
//! Exit codes: 0, 1 for what failed, 2 for wrong usage, 3 where there is no usable GPU.

mod logits;
mod scenario;
mod speed;

use clap::{Parser, Subcommand};
use kernels::gpu::{Error, Gpu};
use replay::cuda::model::ModelError;
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks and measures the forward pass of compute `model`.
#[derive(Parser)]
#[command(name = "model-check", version)]
struct Check {
    #[command(subcommand)]
    verb: Verb,
    /// Index of the GPU, from 0
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    gpu: u32,
}

#[derive(Subcommand)]
enum Verb {
    /// Run small geometries and write their logits
    Logits {
        /// Where to
        folder: PathBuf,
    },
    /// Time decode steps and prefills
    Speed {
        /// Where to
        folder: PathBuf,
        /// Geometry, as in run specs
        #[arg(long, default_value = "llama-2-7b")]
        model: String,
    },
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Profile(#[from] devices::ProfileError),
    #[error("cannot write {path}: {cause}")]
    File {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("{0}")]
    Wrong(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Model(error.into())
    }
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    std::fs::write(&path, bytes).map_err(|cause| Failure::File { path, cause })
}

fn main() -> ExitCode {
    let check = Check::parse();
    let gpu = match Gpu::open(check.gpu) {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    let done = match &check.verb {
        Verb::Logits { folder } => logits::run(&gpu, folder),
        Verb::Speed { folder, model } => speed::run(&gpu, folder, model),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
