//! The brackets of the space: what an engine does that knows nothing of agents, the two extremes, and the truth.

use crate::Entry;

mod clairvoyant;
mod drop_always;
mod keep_always;
mod swap_on_demand;
mod vllm_offload;
mod vllm_recompute;

/// Its policies, in the order of lists.
pub(crate) const ENTRIES: &[Entry] = &[
    vllm_recompute::ENTRY,
    vllm_offload::ENTRY,
    keep_always::ENTRY,
    drop_always::ENTRY,
    swap_on_demand::ENTRY,
    clairvoyant::ENTRY,
];
