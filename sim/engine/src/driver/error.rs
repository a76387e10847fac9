//! Why a run ends before its work does.

use crate::device::DeviceError;
use model::{Time, WorkloadError};

/// Why a run ended before its work did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The workload is unreadable.
    #[error("workload: {0}")]
    Workload(#[from] WorkloadError),
    /// A session can never fit.
    #[error(
        "HBM holds {capacity} KV blocks, but session `{session}` alone needs {needed}; \
         raise `memory.hbm_gib`, shorten the sessions, or (for a trace) let `workload.too_long` cut or skip them"
    )]
    TooLong {
        /// Which.
        session: String,
        /// Its blocks.
        needed: u32,
        /// Blocks there are.
        capacity: u32,
    },
    /// Sessions are out of order.
    #[error("workload: session `{0}` starts before its predecessor; sort sessions by start")]
    Unsorted(String),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Nothing can happen any more, and work is left.
    #[error(
        "no progress possible at {at} s: {waiting} turns wait, {free} of {capacity} blocks are free"
    )]
    Stuck {
        /// When.
        at: Time,
        /// Turns that wait.
        waiting: u32,
        /// Free blocks.
        free: u32,
        /// Blocks there are.
        capacity: u32,
    },
    /// An invariant does not hold: a bug of ours.
    #[error("checker `{checker}` at {at} s: {what}")]
    Check {
        /// Which.
        checker: &'static str,
        /// When.
        at: Time,
        /// What does not hold.
        what: String,
    },
}
