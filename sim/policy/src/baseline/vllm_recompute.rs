//! vLLM as it is: a wait looks like a finished request.
//!
//! Source: vLLM 0.32.0, v1 scheduler and block pool. Every answer is the default.

use crate::{Entry, Family, Needs, Policy, Provenance};

pub(crate) const ENTRY: Entry = Entry {
    name: "vllm-recompute",
    summary: "vLLM 0.32: release to the prefix cache, evict LRU, preempt the last, recompute",
    family: Family::Baseline,
    about: "When a turn ends, its blocks go to the back of the free queue, tail first, and stay hits until they are \
            overwritten. The next turn is an ordinary new request at the end of the queue; what the prefix cache has lost \
            is recomputed as prefill. A running request that cannot get a block preempts the last admitted one. Nothing is \
            known of agents: no signal is heard, nothing is held, nothing is copied.",
    formula: "",
    source: "vLLM 0.32.0, v1 scheduler and block pool (Apache-2.0), reproduced byte for byte by `djinn oracle`.",
    caveats: "A tool wait looks like a finished request, so an agent queues anew at every turn.",
    grows: "",
    provenance: Provenance::Release,
    needs: Needs::Nothing,
    listens: false,
    params: &[],
    build: |_, _| Box::new(VllmRecompute),
};

struct VllmRecompute;

impl Policy for VllmRecompute {}
