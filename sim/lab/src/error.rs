//! Why a run did not happen, or did not end.

use std::path::PathBuf;

/// Anything between a spec and a finished run.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The spec is wrong.
    #[error(transparent)]
    Spec(#[from] results::spec::SpecError),
    /// A hardware or model profile is missing, malformed, or too small.
    #[error(transparent)]
    Profile(#[from] devices::ProfileError),
    /// The trace or the generator's parameters are wrong.
    #[error(transparent)]
    Trace(#[from] trace::TraceError),
    /// There is no such policy.
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    /// Results cannot be written or read.
    #[error(transparent)]
    Folder(#[from] results::folder::FolderError),
    /// Runs have nothing in common.
    #[error(transparent)]
    Compare(#[from] results::compare::CompareError),
    /// A list of recordings is wrong.
    #[error("{path}: {what}")]
    Recordings {
        /// The list.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A row cannot be true.
    #[error(transparent)]
    Row(#[from] results::parts::RowFault),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] engine::RunError),
    /// A value of the spec means nothing here.
    #[error("`{key}`: {what}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A file was changed while runs were made from it.
    #[error("changed while runs were made: {what}; give the command again")]
    Changed {
        /// Which inputs.
        what: String,
    },
    /// The config of a ranking is wrong.
    #[error("{name}: {what}")]
    Ranking {
        /// The file.
        name: String,
        /// What is wrong, and where.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}
