//! Keep-always: KV stays in HBM for the whole wait.
//!
//! One end of the space: no wake-up ever pays for a copy or a recomputation, and admission pays for all of it.

use crate::{Entry, Family, Needs, Policy, Provenance};
use model::{Retention, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "keep-always",
    summary: "hold every session's KV in HBM for as long as it waits",
    family: Family::Baseline,
    about: "A soft pin without an end. While memory lasts, this is the fastest possible wake-up: nothing to copy, nothing to \
            recompute. When it does not, new turns wait in the queue, until nothing runs and nothing is being copied: then the \
            engine breaks the pin of the session that arrived last, reports it, and that session recomputes.",
    formula: "",
    source: "The upper bracket of memory held idle.",
    caveats: "Whose pin is broken is the engine's rule, not a choice that this policy makes.",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[],
    build: |_, _| Box::new(KeepAlways),
};

struct KeepAlways;

impl Policy for KeepAlways {
    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }
}
