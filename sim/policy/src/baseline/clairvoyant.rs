//! Clairvoyant: Djinn's mechanism with the truth in place of hints.
//!
//! Victims by true return, farthest first (Belady's rule for waits), and prefetches that end exactly with the wait. Not optimal: sizes,
//! copy times and the batch are not part of Belady's argument. It shows what better hints could give at most to this mechanism.

use crate::parts::{host_or_cache, oldest_first, take_until};
use crate::{Entry, Family, Needs, Param, Policy, Provenance};
use model::{
    Blocks, Direction, Nanos, Need, Oracle, Release, Retention, SessionId, Then, Time, View,
};
use std::cmp::Reverse;
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry {
    name: "clairvoyant",
    summary: "knows every true return: evicts the farthest, prefetches exactly in time",
    family: Family::Baseline,
    about: "When memory is short, the idle session whose true return is farthest leaves for the host (Belady's rule); one that returns before its \
            KV could leave and come back is released to the prefix cache only if nobody else is left. A swapped session is prefetched at \
            true return - margin_ms - (time of its copy behind what the link has queued).",
    formula: "victims: idle sessions by true return, farthest first, spared if return - now < copy out + copy in\n\
              prefetch at: true return - copy in - margin_ms",
    source: "Belady's rule (L. A. Belady, IBM Systems Journal 5(2), 1966), applied to waits.",
    caveats: "An upper reference for hint quality, not an optimum: Belady's rule knows neither sizes nor the cost of copies.",
    grows: "Sorts every waiting session in HBM by its true return when memory is short.",
    provenance: Provenance::Own,
    needs: Needs::Oracle,
    listens: true,
    params: &[Param {
        key: "margin_ms",
        default: 20.0,
        min: 0.0,
        max: 60_000.0,
        help: "how much earlier than needed a prefetch begins: covers the granularity of steps",
    }],
    build: |params, oracle| {
        let oracle = oracle.expect("the registry provides the oracle");
        Box::new(Clairvoyant {
            oracle,
            margin: params.millis("margin_ms"),
        })
    },
};

struct Clairvoyant {
    oracle: Arc<dyn Oracle>,
    margin: Nanos,
}

impl Clairvoyant {
    fn returns_at(&self, session: SessionId) -> Time {
        self.oracle.returns_at(session).unwrap_or(Time::NEVER)
    }
}

impl Policy for Clairvoyant {
    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, why: Need) -> Vec<Release> {
        // A prefetch displaces only sessions that return later than its own.
        let after = match why {
            Need::Prefetch(session) => self.returns_at(session),
            _ => Time::ZERO,
        };
        let mut by_return: Vec<_> = oldest_first(view)
            .map(|s| (Reverse(self.returns_at(s)), s))
            .filter(|&(Reverse(at), _)| at > after)
            .collect();
        by_return.sort_unstable();
        let mut promised = 0;
        take_until(
            view,
            by_return.iter().map(|&(_, s)| s),
            need,
            |seen, session| {
                let there = view.copy_time(Direction::D2h, seen.hbm_blocks);
                let back = view.copy_time(Direction::H2d, seen.hbm_blocks);
                let away = self.returns_at(session).since(view.now);
                if away < there + back {
                    matches!(why, Need::Admission(_) | Need::Growth(_)).then_some(Then::Release)
                } else {
                    Some(host_or_cache(view, &mut promised, seen.hbm_blocks))
                }
            },
        )
    }

    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        let copy = view.copy_time(Direction::H2d, view.session(session).host_blocks);
        self.oracle
            .returns_at(session)
            .map(|at| at.before(copy + self.margin))
    }
}
