//! From traces to other traces, and to comparisons.
//!
//! ```text
//!   file ─► feed ─► select (head, cut, sample, only) ─► scale ─► FileSink, or a Collector
//!   files ─► merge ─► FileSink                files ─► Diff
//!   file ─► Deck ─► deal ─► retime ─► FileSink
//! ```
//!
//! Every tool is a [`Sink`](crate::import::Sink) before another, so a trace of any length passes through a session at a time and
//! tools can be put one after the other. Sampling by copy-cluster or to a fixed number looks at the file twice.
//!
//! **Invariant:** a family (a session, its sub-agents, and theirs) stays together or goes together.
//! **Absent on purpose:** sorting. Sessions keep the order of the file; a workload orders them by their start.

mod band;
mod clusters;
mod cut;
mod deck;
mod diff;
mod families;
mod feed;
mod head;
mod merge;
mod only;
mod rename;
mod retime;
mod sample;
mod scale;

pub use band::Band;
pub use clusters::Clusters;
pub use cut::Cut;
pub use deck::Deck;
pub use diff::{Diff, DiffRow};
pub use feed::{Fed, feed, feed_with};
pub use head::Head;
pub use merge::{Content, Merge};
pub use only::{Only, OnlyMatching};
pub use retime::{Retime, Waits};
pub use sample::{Pick, Sampled};
pub use scale::Scale;
