//! What a run leaves behind: run spec, manifest, rows, metrics, comparison. Simulator and replay write
//! the same files; figures and the terminal read them through this crate only.
//!
//! ```text
//!   spec ──► (a run) ──► rows ──► folder ──► metrics ──► runs.csv ──► compare
//!                          └ parts            └ stats
//! ```
//!
//! Raw times are stored, metrics are derived, here and once.

mod canonical;
pub mod compare;
pub mod folder;
pub mod inputs;
pub mod manifest;
pub mod metrics;
pub mod parts;
pub mod ranking;
pub mod rows;
pub mod runs;
pub mod spec;
pub mod stats;
pub mod validation;

pub use canonical::{sha256_hex, sha256_of_file};
