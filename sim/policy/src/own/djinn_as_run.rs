//! Djinn as it ran: the literal rules of the original evaluation's code, for the seed study.
//!
//! Source: the original semantic scheduler at the commits of its reported runs (variants of the margin: 500, 150, 100 ms).
//! Its defects are not here: they are faults that the engine injects.

use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{Nanos, Queueing, Residence, Restore, Retention, SessionId, SwapOut, Time, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "djinn-as-run",
    summary: "the seed's literal rules: evict on every IO_WAIT, prefetch by a constant margin",
    family: Family::Own,
    about: "Every IO_WAIT evicts the session's KV, whether memory is short or not; what the host pool refuses is lost. If the client gave an \
            estimate, a prefetch starts at estimate - margin_ms, a constant without regard to size or link. From IO_WAIT until that \
            prefetch is done a flag is set, and a COMPUTE that finds it set starts no restore: a session that returns early recomputes. A finished session's \
            KV stays for `linger_s` (the reaper's period and limit). Last in, first out beyond `lifo_queued` ready turns.",
    formula: "prefetch at: estimate - margin_ms",
    source: "The original semantic scheduler at the commits of its reported runs.",
    caveats: "Its defects are not part of the rule: they are faults that the engine injects.",
    grows: "",
    provenance: Provenance::Reconstructed,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "margin_ms",
            default: 500.0,
            min: 0.0,
            max: 60_000.0,
            help: "prefetch this long before the estimate: 500 at the time of the reported runs, later 150 and 100",
        },
        Param {
            key: "linger_s",
            default: 65.0,
            min: 0.0,
            max: 3600.0,
            help: "KV of a finished session stays this long: 60 s limit, checked every 10 s",
        },
        Param {
            key: "lifo_queued",
            default: 128.0,
            min: 0.0,
            max: 1e9,
            help: "last in, first out beyond this many queued turns: 2.0 times 64 slots, later 0.5 times",
        },
    ],
    build: |params, _| {
        Box::new(DjinnAsRun {
            margin: params.millis("margin_ms"),
            linger: params.secs("linger_s"),
            lifo_queued: params.get("lifo_queued"),
        })
    },
};

struct DjinnAsRun {
    margin: Nanos,
    linger: Nanos,
    lifo_queued: f64,
}

impl Policy for DjinnAsRun {
    fn on_idle(&self, view: &View<'_>, session: SessionId) -> Retention {
        if view.session(session).signalled {
            Retention::SwapOut(SwapOut::OrDiscard)
        } else {
            Retention::keep()
        }
    }

    fn on_end(&self, view: &View<'_>, _: SessionId) -> Retention {
        Retention::keep_until(view.now + self.linger)
    }

    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        view.session(session)
            .hint
            .map(|hint| hint.returns_at.before(self.margin))
    }

    fn restore(&self, view: &View<'_>, session: SessionId) -> Restore {
        let seen = view.session(session);
        if seen.prefetching && seen.residence == Residence::Host {
            Restore::Recompute
        } else {
            Restore::Load
        }
    }

    fn queueing(&self, view: &View<'_>, _: SessionId) -> Queueing {
        if f64::from(view.queued) > self.lifo_queued {
            Queueing::Front
        } else {
            Queueing::Back
        }
    }
}
