//! Drop-always: KV is gone when the turn is over.
//!
//! The other end of the space: no memory is held idle, and every wake-up recomputes its whole context.

use crate::{Entry, Family, Needs, Policy, Provenance};
use model::{Retention, SessionId, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "drop-always",
    summary: "drop a session's own KV when its turn ends; recompute every time",
    family: Family::Baseline,
    about: "Discards at once what only this session can use; a prefix that it shares with other sessions goes to the prefix cache. \
            Every wake-up prefills the whole context again, so the GPU pays in compute what it saves in memory.",
    formula: "",
    source: "The lower bracket of memory held idle, and the upper one of recomputed tokens.",
    caveats: "Content that other sessions share is not dropped: it goes to the prefix cache.",
    grows: "",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[],
    build: |_, _| Box::new(DropAlways),
};

struct DropAlways;

impl Policy for DropAlways {
    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }
}
