//! CachedAttention: every context is saved to the host when its turn ends, and the queue says which saved ones are needed soon.
//!
//! Source: CachedAttention (AttentionStore), USENIX ATC 2024.

use crate::parts::Stored;
use crate::{Entry, Family, Needs, Policy, Provenance};
use model::{Blocks, Event, HostRelease, Retention, SessionId, SwapOut, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "cached-attention",
    summary: "save every context to the host; give up there who is not in the queue, oldest first",
    family: Family::Hierarchy,
    about: "When a turn ends, its KV is saved to the host, and its HBM goes to whoever runs next. A turn that becomes ready joins the queue, and its copy back is made while it waits there, in the order of the \
            queue: the look-ahead prefetch. When the host lacks room for another context, contexts whose sessions are not in the queue are given up, those stored longest ago first; those in the queue \
            are never.",
    formula: "prefetch window = queued turns, in order; evict from the host: not queued, oldest first",
    source: "CachedAttention, USENIX ATC 2024, arXiv 2403.19708, known here through its abstract and from memory.",
    caveats: "Reconstructed. The original's third tier, and the lengths of its two windows (memory over the mean size of a context), belong to a disk: what is given up here is computed again. Layer-wise loading overlapped with prefill is \
              not modelled: a turn waits for its whole copy. Positions need no decoupling, for contexts are not truncated.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[],
    build: |_, _| Box::new(CachedAttention::default()),
};

#[derive(Default)]
struct CachedAttention {
    stored: Stored,
}

impl Policy for CachedAttention {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        self.stored.observe(view, event, |_| 0);
    }

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::SwapOut(SwapOut::OrDiscard)
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn host_victims(&self, view: &View<'_>, need: Blocks, _: SessionId) -> Vec<HostRelease> {
        self.stored.give_up(view, need)
    }
}
