//! The brackets of the space: what an engine does that knows nothing of agents, the two extremes, and the truth.

pub(crate) mod clairvoyant;
pub(crate) mod drop_always;
pub(crate) mod keep_always;
pub(crate) mod swap_on_demand;
pub(crate) mod vllm_offload;
pub(crate) mod vllm_recompute;
