//! A run is a folder: written once, as a whole, and read with care.
//!
//! ```text
//!   RunWriter ──► <run>.tmp-<pid>-<n>/ ──rename──► <run>/
//!                                                   manifest.json   what was asked, how it went
//!                                                   turns.csv       a row per turn, raw times
//!                                                   sessions.csv    a row per session
//!                                                   ops.csv         a row per step run or copy  (optional)
//!                                                   samples.csv     levels over time            (optional)
//!                                                   decisions.log   events and actions          (optional)
//!                                                   wakes.log       what the device said        (replay)
//! ```
//!
//! **Invariant:** a folder that has its final name is whole: rows are streamed into a sibling folder,
//! synced, and renamed into place. One that an interrupted process left behind keeps `.tmp-` in its name
//! and is never read as a result.
//! Tables may be compressed once they are there (`gzip ops.csv`); they are read as before, and the digest of the run is the same.
//! **Absent on purpose:** overwriting. A folder is added or already there. Only a sweep, whose folders are its own, has the same run from other
//! inputs give way to its successor ([`RunWriter::replace`]).

mod digest;
mod error;
mod reader;
mod stored;
mod table;
mod writer;

pub use digest::{DIGEST_SHORT, UNDIGESTED};
pub use error::FolderError;
pub use reader::{RunFolder, left_behind};
pub use stored::find as find_stored;
pub use table::{Rows, read_table, write_table};
pub(crate) use table::{columns, write_whole};
pub use writer::{Opened, RunWriter};

/// Name of the manifest in a run folder.
pub const MANIFEST: &str = "manifest.json";
/// Name of the turn rows.
pub const TURNS: &str = "turns.csv";
/// Name of the session rows.
pub const SESSIONS: &str = "sessions.csv";
/// Name of the operation rows.
pub const OPS: &str = "ops.csv";
/// Name of the sample rows.
pub const SAMPLES: &str = "samples.csv";
/// Name of the decision log.
pub const DECISIONS: &str = "decisions.log";

/// Name of the log of a device's answers, from which a run is played back.
pub const WAKES: &str = "wakes.log";

/// Every file of a run folder, in the order in which digests read them.
pub const FILES: [&str; 6] = [MANIFEST, TURNS, SESSIONS, OPS, SAMPLES, DECISIONS];

/// What a folder that is not yet a result has in its name.
const UNFINISHED: &str = ".tmp-";

#[cfg(test)]
mod tests;
