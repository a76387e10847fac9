//! Strata's delay hits: a turn whose prefix is being loaded for another one waits for that load instead of computing the prefix again.

use crate::parts::oldest_to_host;
use crate::{Entry, Family, Needs, Policy, Provenance};
use model::{
    Admission, Blocks, Direction, Event, Need, Release, Residence, Retention, SessionId, View,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const ENTRY: Entry = Entry {
    name: "strata-defer",
    summary: "hold a turn whose shared prefix another session is loading, until it is there",
    family: Family::Hierarchy,
    about: "KV stays in HBM until somebody needs the room; then the longest idle leaves for the host, and is loaded when its turn is ready. While a session's KV is on its way back, turns of \
            other sessions with the same prefix are withheld, for they would otherwise miss what is about to be there, and compute it or load it again. They enter when the load has ended.",
    formula: "hold(s) while another session with the prefix of s is loading",
    source: "Strata, arXiv 2508.18572 (now in SGLang), known here through its abstract and notes: its deferral of delay hits.",
    caveats: "Reconstructed, and one of Strata's parts: balanced batches of compute- and load-bound requests, small-block I/O by the GPU and the page-first host layout are left out. A server sees hashes; here a prefix is what the trace \
              declares as shared, and whether the load in flight brings it or only what follows it is not looked at. Without shared prefixes it is swap-on-demand.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[],
    build: |_, _| Box::new(StrataDefer::default()),
};

#[derive(Default)]
struct StrataDefer {
    /// Sessions whose turn is ready and whose KV is on the host or on its way, by the prefix that they share.
    loading: BTreeMap<u64, BTreeSet<SessionId>>,
}

impl Policy for StrataDefer {
    fn observe(&mut self, view: &View<'_>, event: &Event) {
        let Some(session) = event.session() else {
            return;
        };
        let Some(prefix) = view.session(session).shared_prefix else {
            return;
        };
        match *event {
            Event::Compute(..) if view.session(session).host_blocks > Blocks::ZERO => {
                self.loading.entry(prefix.id).or_default().insert(session);
            }
            Event::Copied {
                direction: Direction::H2d,
                ..
            }
            | Event::Admitted { .. }
            | Event::Ended(_) => {
                if let Some(sessions) = self.loading.get_mut(&prefix.id) {
                    sessions.remove(&session);
                }
            }
            _ => {}
        }
    }

    fn admit(&self, view: &View<'_>, session: SessionId) -> Admission {
        let prefix = view.session(session).shared_prefix;
        let others = prefix.and_then(|prefix| self.loading.get(&prefix.id));
        // A load that was cancelled, or has not begun, is not waited for.
        let moves =
            |&s: &SessionId| s != session && view.session(s).residence == Residence::SwappingIn;
        if others.is_some_and(|others| others.iter().any(moves)) {
            Admission::Hold
        } else {
            Admission::Enter
        }
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
}
