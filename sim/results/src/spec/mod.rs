//! The run spec: everything that a run depends on, in one TOML file.
//!
//! ```text
//!   file ──► --set key=value ──► --policy a,b ──► SweepSpec ──► RunSpec, RunSpec, ...
//!            (Layers)                             (points)      each with a run id
//! ```
//!
//! - [`RunSpec`]: one run, resolved: every default filled in, every value checked;
//! - [`SweepSpec`]: the runs that a file stands for, in a fixed order (one, where there is no `[sweep]`);
//! - [`template`]: a commented file with every key.
//!
//! **Invariant:** a key that is not known, a value of the wrong type and a value that makes no sense are
//! errors that name file, line, column and key, and say what would be right. Nothing is ignored.
//! **Absent on purpose:** the meaning of `[workload.params]`. It belongs to the generator that is named,
//! which parses it as strictly.

mod check;
mod document;
mod error;
mod layers;
mod range;
mod run;
mod sections;
mod sweep;
mod template;

pub use error::SpecError;
pub use layers::{Layers, split_policies};
pub use range::parse_range;
pub use run::RunSpec;
pub use sections::{
    Batching, Compute, CopyMethod, EndSignal, Engine, Faults, HintKind, Hints, HostMode, Measure,
    Memory, Noise, Replay, Timing, TooLong, Workload,
};
pub use sweep::{DRAW, SWEEP_POINTS_MAX, SweepPoint, SweepSpec};
pub use template::template;

#[cfg(test)]
mod tests;
