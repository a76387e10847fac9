//! This project's own scheduler, and the one that its first evaluation ran.

use crate::Entry;

mod djinn;
mod djinn_as_run;

/// Its policies, in the order of lists.
pub(crate) const ENTRIES: &[Entry] = &[djinn::ENTRY, djinn_as_run::ENTRY];
