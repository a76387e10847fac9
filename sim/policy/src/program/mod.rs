//! Which sessions may run, and in which order: programs are admitted, paused and ranked as a whole, whatever their KV does.

use crate::Entry;

mod concur;
mod mori;
mod plas;
mod thunderagent;

/// Its policies, in the order of lists.
pub(crate) const ENTRIES: &[Entry] = &[
    plas::ENTRY,
    thunderagent::RELEASE,
    thunderagent::DECAY,
    concur::ENTRY,
    mori::ENTRY,
];
