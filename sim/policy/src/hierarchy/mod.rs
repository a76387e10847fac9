//! What moves between HBM and the host, and which cached content goes first when there is no room.

pub(crate) mod cached_attention;
pub(crate) mod hicache;
pub(crate) mod pensieve;
pub(crate) mod strata_defer;
pub(crate) mod swap_overlap;
pub(crate) mod t_lru;
pub(crate) mod trtllm_retention;
pub(crate) mod uni_agent;
pub(crate) mod wild;
