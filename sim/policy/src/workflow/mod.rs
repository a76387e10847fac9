//! What a workflow says about who runs next.

use crate::Entry;

mod kvflow;
mod tokencake;

/// Its policies, in the order of lists.
pub(crate) const ENTRIES: &[Entry] = &[kvflow::ENTRY, tokencake::PORT, tokencake::PAPER];
