//! What moves between HBM and the host, and which cached content goes first when there is no room.

use crate::Entry;

mod cached_attention;
mod hicache;
mod pensieve;
mod strata_defer;
mod swap_overlap;
mod t_lru;
mod trtllm_retention;
mod uni_agent;
mod wild;

/// Its policies, in the order of lists.
pub(crate) const ENTRIES: &[Entry] = &[
    cached_attention::ENTRY,
    pensieve::ENTRY,
    strata_defer::ENTRY,
    swap_overlap::ENTRY,
    hicache::WRITE_THROUGH,
    hicache::SELECTIVE,
    hicache::WRITE_BACK,
    t_lru::ENTRY,
    trtllm_retention::ENTRY,
    wild::ENTRY,
    uni_agent::ENTRY,
];
