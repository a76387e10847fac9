//! Session traces: format, importers, generators, statistics.
//!
//! ```text
//!   foreign file ──► import ──┐                         ┌──► workload ──► model::Workload
//!                             ├──► format::Session ─────┼──► stat ──► table
//!   parameters ──► generate ──┘     (JSONL, .zst, .gz)  └──► tools ──► another trace, a comparison
//! ```
//!
//! Everything passes through one type, [`format::Session`], and one conversion, so a generated workload
//! and the same workload written to a file and read back run identically.
//!
//! **Absent on purpose:** policies, hints and devices. A trace says what agents did; what a server may
//! know of it is decided elsewhere.

mod error;
pub mod format;
pub mod generate;
pub mod import;
pub mod stat;
pub mod tools;
pub mod workload;

pub use error::{Defect, Place, TraceError};
