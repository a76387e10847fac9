//! Who holds which KV block, run-length throughout.
//!
//! ```text
//!   Content ──► what position i of a session's context holds        (content)
//!   Table   ──► the blocks that a holder has, in order of position   (table)
//!   BlockPool ─► one tier: reference counts by content, free queue  (pool, extents, queue, places)
//!   Ledger  ──► all tiers, and every legal change of hands          (ledger)
//!   HostTier ──► vLLM's own host tier, in place of the ledger's     (host_tier)
//! ```
//!
//! A naive twin that does all of this block by block (`naive`) is compared with the pool in tests.

mod by_content;
mod content;
mod extents;
mod host_tier;
mod ledger;

#[cfg(test)]
mod naive;
mod places;
mod pool;
mod queue;
mod table;

pub use content::{Content, Lineages};
pub use host_tier::{Found, HostTier, JobId, Orders};
pub use ledger::{
    DiskTransfer, Kv, Ledger, LedgerConfig, OnDisk, Restorable, SwapStart, Transfer, WriteStart,
};

pub use pool::{BlockPool, Hits};
pub use table::{Span, Table};
