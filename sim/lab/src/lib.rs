//! From a run spec to a finished run folder, on any device.
//!
//! ```text
//!   RunSpec ──► Setup (workload, memory, costs, policy) ──► engine::Driver on a Device ──► rows ──► run folder
//!                  └─► Forecast: will policies differ at all?
//!   SweepSpec ──► one Setup a point, in parallel ──► runs.csv
//! ```
//!
//! The simulator and the replay differ in the device that they hand to [`run::execute`], and in nothing else.

pub mod audit;
mod error;
pub mod faults;
mod forecast;
pub mod inputs;
mod kept;
pub mod oracle;
pub mod playback;
pub mod ranking;
mod row_thread;
mod rows;
pub mod run;
pub mod seed;
mod setup;
pub mod sweep;
pub mod timeline;
pub mod validate;

pub use error::LabError;
pub use forecast::Forecast;
pub use inputs::InputCache;
pub use kept::Renewed;
pub use rows::{FolderSink, Progress, RowRecorder, Sink, Wants};
pub use setup::{Setup, generator};
