//! A session trace as a [`model::Workload`]: when each session starts, what each turn waits for and keeps.
//!
//! ```text
//!   sessions of a file ─► start (recorded | Poisson) ─► turns (gaps or times, keep, content) ─► sub-agents into parents ─► by start
//! ```
//!
//! A trace is read to its end before the first session is handed over: sub-agents may precede their
//! parents in the file, and starts need not be sorted. Held are the converted sessions, some 64 bytes per turn; a generator
//! streams instead.
//!
//! What had to be cut, capped or ignored is counted in a [`WorkloadReport`], for manifest and terminal.
//!
//! A sub-agent starts when its parent's turn has ended, and is waited for where the trace has a join. A recorded gap that spans the sub-agent
//! is cut to what followed the sub-agent's end: how long the sub-agent takes is the engine's to say. While it runs, the client expects the
//! recorded gap.
//!
//! **Absent on purpose:** HBM: whether a context fits the pool is for the engine to say.

mod content;
mod convert;
mod options;
mod schedule;

use std::path::Path;

use model::WorkloadError;

pub use convert::{Converted, Converter, Timeline};
pub use options::{Timing, TooLong, WorkloadOptions, WorkloadReport};

use crate::TraceError;
use crate::format::{Meta, Reader};

/// A trace, ready to run.
#[derive(Debug)]
pub struct TraceWorkload {
    sessions: std::vec::IntoIter<model::Session>,
    classes: Vec<String>,
    report: WorkloadReport,
    meta: Meta,
}

impl TraceWorkload {
    /// Reads the trace at `path`. `seed` draws arrivals where [`WorkloadOptions::rate`] is set; `block_tokens` is the size
    /// of a KV block, in which content runs are counted.
    ///
    /// # Errors
    /// If the file is not a valid trace, has no common clock and no rate is given, or holds a context above the limit.
    pub fn open(
        path: impl AsRef<Path>,
        options: &WorkloadOptions,
        seed: u64,
        block_tokens: u32,
    ) -> Result<Self, TraceError> {
        Self::new(Reader::open(path)?, options, seed, block_tokens)
    }

    /// Reads what is left of `reader`; see [`TraceWorkload::open`].
    ///
    /// # Errors
    /// As [`TraceWorkload::open`].
    pub fn new(
        reader: Reader,
        options: &WorkloadOptions,
        seed: u64,
        block_tokens: u32,
    ) -> Result<Self, TraceError> {
        let meta = reader.meta().clone();
        let scheduled = schedule::schedule(reader, options, seed, block_tokens)?;
        Ok(Self {
            sessions: scheduled.sessions.into_iter(),
            classes: scheduled.classes,
            report: scheduled.report,
            meta,
        })
    }

    /// What was cut, capped or ignored.
    pub fn report(&self) -> &WorkloadReport {
        &self.report
    }

    /// The first line of the trace.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl model::Workload for TraceWorkload {
    fn next_session(&mut self) -> Result<Option<model::Session>, WorkloadError> {
        Ok(self.sessions.next())
    }

    fn tool_classes(&self) -> Vec<String> {
        self.classes.clone()
    }
}
