//! Session-trace v1: JSON lines, a `meta` line and then one session per line.
//!
//! ```text
//!   {"v":1,"type":"meta","source":…,"block_size":64,"hash_scope":"session","gap_semantics":…}
//!   {"v":1,"type":"session","sid":"a","start_ms":0,"calls":[{"id":0,"gap_ms":0,"gap_kind":"none","in":300,"out":40}, …]}
//! ```
//!
//! Times are milliseconds. What is missing is absent, never 0. Keys that this version does not know are
//! kept verbatim at every level, so that reading and writing a file gives equal JSON values.
//! Files that end in `.zst` or `.gz` are compressed; when reading, the first bytes decide.
//!
//! **Invariant:** a [`Reader`] yields only sessions that passed every check of this format, and a
//! [`Writer`] accepts no others.
//! **Absent on purpose:** repair. A line that contradicts itself ends the read; importers, which know
//! what their source means, are the place to mend and to say so.

mod block_list;
mod call;
mod check;
mod codec;
mod history;
mod lines;
mod meta;
mod millis;
mod read;
pub(crate) mod record;
mod session;
mod write;

pub(crate) use block_list::BLOCK_ID_END;
pub use block_list::{BlockList, Run};
pub use call::{After, Blocks, Call, GapKind, Observed, Tool};
pub(crate) use check::{Checker, TOKENS_MAX};
pub use history::History;
pub use lines::Lines;
pub(crate) use meta::WARNINGS;
pub use meta::{GapSemantics, HashScope, Meta};
pub use millis::Millis;
pub use read::Reader;
pub use record::{Extra, Nullable};
pub use session::{Parent, ParentLink, Session, SharedPrefix};
pub use write::Writer;
