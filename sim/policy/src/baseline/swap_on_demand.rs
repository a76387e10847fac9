//! Swap-on-demand: KV stays in HBM until somebody needs the room; then the longest idle leaves for the host.
//!
//! The world without signals' foresight: a swapped session comes back only when its turn is ready, and waits for its copy.

use crate::parts::oldest_to_host;
use crate::{Entry, Family, Needs, Policy, Provenance};
use model::{Blocks, Need, Release, Retention, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "swap-on-demand",
    summary: "hold KV until memory is short, then swap out the longest idle; restore when ready",
    family: Family::Baseline,
    about: "Reactive offloading. Idle KV is held; when an admission, a growing turn or a restore lacks blocks, the sessions that have \
            been idle longest are swapped out until the need is met (LRU). If the host is full, they go to the prefix cache \
            instead. A session that returns to find its KV on the host waits for the whole copy. No hint is used.",
    formula: "victims: idle sessions by idle_since, oldest first, until sum(blocks) >= need",
    source: "What a server can do that learns nothing from its clients.",
    caveats: "",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[],
    build: |_, _| Box::new(SwapOnDemand),
};

struct SwapOnDemand;

impl Policy for SwapOnDemand {
    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, _: Need) -> Vec<Release> {
        oldest_to_host(view, need)
    }
}
