//! Swap-on-demand whose restores overlap: the beginning of what is missing is computed while the rest comes back.

use crate::parts::{balanced, oldest_to_host};
use crate::{Entry, Family, Needs, Policy, Provenance};
use model::{Blocks, Need, Release, Restore, Retention, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "swap-overlap",
    summary: "swap out on demand; compute the head while the tail is copied back",
    family: Family::Hierarchy,
    about: "KV stays in HBM until somebody needs the room; then the longest idle leaves for the host. When its turn is ready, the copy back and the computation of the prompt share the work: the first blocks of \
            what is missing are computed while the last ones are copied, so many that both would end at the same time. On an idle link that is a small share; behind a long queue of copies it is \
            most of the context.",
    formula: "compute x of n missing blocks: T_prefill(x) = T_queue + T_copy(n - x)",
    source: "This project, after the hybrid restores of systems that load and recompute at once.",
    caveats: "Needs an engine that goes on behind KV that arrives while it computes, which vLLM is not. T_prefill is the server's profile of a GPU that computes nothing else, so that a busy batch makes the computed part \
              late; the turn then waits for itself, never for longer than its copy. The copy begins when its lane is free, and the turn with it.",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[],
    build: |_, _| Box::new(SwapOverlap),
};

struct SwapOverlap;

impl Policy for SwapOverlap {
    fn computes_mid_sequence(&self) -> bool {
        true
    }

    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        oldest_to_host(view, need)
    }

    fn restore(&self, view: &View<'_>, session: SessionId) -> Restore {
        balanced(view, session)
    }
}
