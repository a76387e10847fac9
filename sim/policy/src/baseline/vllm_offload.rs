//! vLLM with its native CPU offload tier: finished blocks are copied to the host as they fill, and loaded where a prompt finds them.
//!
//! Source: vLLM 0.32.0, `OffloadingConnector`. The rules are the engine's host tier (`engine::memory::HostTier`); this policy asks for it,
//! and answers every other question as vLLM does.

use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Eviction, Offload, Poll};

pub(crate) const ENTRY: Entry = Entry {
    name: "vllm-offload",
    summary: "vLLM 0.32 with its CPU offload tier: copy blocks as they fill, load what a prompt finds",
    family: Family::Baseline,
    about: "As vllm-recompute, with host memory behind the prefix cache. In the step in which a block of a prompt fills, it is \
            offered to the host; what the host does not hold is copied there by the next step, and the GPU copy stays. At admission \
            the host extends what the prefix cache has of the prompt: those blocks are loaded into GPU blocks taken at once, and the \
            turn waits outside the batch until the copy's end is noticed. A block whose store is on its way, or that another turn \
            loads, makes the turn try again next step, while others may pass. When the host is full, blocks that nobody reads or \
            writes are evicted, by LRU (renewed, tail first, when a turn that has used them ends) or by ARC. A step that would \
            overwrite what a store still reads waits for it.",
    formula: "admit a load:   ceil(tokens / block) - hits + unheld hits <= free, and\n\
              loaded blocks + unheld hits <= free - what prefills in progress still need",
    source: "vLLM 0.32.0, OffloadingConnector and CPUOffloadingManager (Apache-2.0), reproduced byte for byte by `djinn oracle`.",
    caveats: "Chunks of one block only (blocks_per_chunk = 1). The host tier differs between vLLM versions: 0.33 renews recency \
              otherwise. Without host memory it is vllm-recompute.",
    grows: "",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: false,
    params: &[
        Param {
            key: "eviction",
            default: 0.0,
            min: 0.0,
            max: 1.0,
            help: "which blocks of the host go first (vLLM's eviction_policy; default lru)",
        },
        Param {
            key: "prompt_only",
            default: 1.0,
            min: 0.0,
            max: 1.0,
            help: "whether generated tokens are offered only with the next turn's prompt (vLLM's offload_prompt_only; default on)",
        },
        Param {
            key: "poll",
            default: 0.0,
            min: 0.0,
            max: 1.0,
            help: "whether a step looks for ended copies at its launch, as vLLM's second model runner does, or at its end, as its first",
        },
    ],
    build: |params, _| {
        let chosen = |key| params.get(key) >= 0.5;
        Box::new(VllmOffload(Offload {
            eviction: if chosen("eviction") {
                Eviction::Arc
            } else {
                Eviction::Lru
            },
            prompt_only: chosen("prompt_only"),
            poll: if chosen("poll") {
                Poll::End
            } else {
                Poll::Launch
            },
        }))
    },
};

struct VllmOffload(Offload);

impl Policy for VllmOffload {
    fn offload(&self) -> Option<Offload> {
        Some(self.0)
    }
}
