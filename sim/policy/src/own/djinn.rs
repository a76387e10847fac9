//! Djinn: the semantic scheduler, done right.
//!
//! ```text
//!   IO_WAIT ── short wait ──► keep
//!           └─ memory short ─► swap out ──► prefetch, so that it ends as the wait does ──► COMPUTE
//! ```
//!
//! It acts on what the client says. KV leaves only when its room is needed, the farthest expected return first; it comes back ahead of
//! the expected return by the time that its copy will take behind what the link has queued. Transfers are joined or cancelled when
//! the session returns early (the engine's epochs see to that).

use crate::parts::{host_or_cache, take_until};
use crate::{Entry, Family, Needs, Param, Params, Policy, Provenance};
use model::{Blocks, Direction, Nanos, Need, Queueing, Release, Retention, SessionId, Time, View};

pub(crate) const ENTRY: Entry = Entry {
    name: "djinn",
    summary: "swap by need, farthest expected return first; prefetch just before the return",
    family: Family::Own,
    about: "On IO_WAIT a session's KV stays in HBM. When an admission, a growing turn or a restore lacks blocks, idle sessions leave for \
            the host in order of their expected return, the farthest first; one that is expected back sooner than its KV could leave and \
            return (times `slack`) is spared as long as there are others. A session without a hint counts as the farthest. \
            A swapped session is prefetched at expected return - margin_ms - (time of its copy behind what the link has queued). When more than \
            `lifo_queued` turns are ready, the newest goes first (the seed's overload rule).",
    formula: "victims: idle sessions by expected return, farthest first, spared while return - now < slack x (copy out + copy in)\n\
              prefetch at: expected return - copy in - margin_ms",
    source: "The seed's design, without its defects.",
    caveats: "It trusts what clients say: with biased hints it evicts the wrong sessions and prefetches at the wrong time.",
    grows: "Passes over, one by one, sessions that are expected back within `slack` round trips of their own copy and not of an empty one: on an idle link, those of a few milliseconds.",
    provenance: Provenance::Own,
    needs: Needs::Nothing,
    listens: true,
    params: &[
        Param {
            key: "margin_ms",
            default: 20.0,
            min: 0.0,
            max: 60_000.0,
            help: "how much earlier than needed a prefetch begins: covers the granularity of steps",
        },
        Param {
            key: "slack",
            default: 2.0,
            min: 0.0,
            max: 100.0,
            help: "spare sessions expected back within this many round trips of their copy",
        },
        Param {
            key: "lifo_queued",
            default: 128.0,
            min: 0.0,
            max: 1e9,
            help: "last in, first out beyond this many queued turns; the seed's 2.0 times 64 slots",
        },
    ],
    build: |params, _| Box::new(Djinn::new(params)),
};

struct Djinn {
    margin: Nanos,
    slack: f64,
    lifo_queued: f64,
}

impl Djinn {
    fn new(params: &Params) -> Self {
        Self {
            margin: params.millis("margin_ms"),
            slack: params.get("slack"),
            lifo_queued: params.get("lifo_queued"),
        }
    }

    /// Whether a session that holds `blocks` and is expected back at `at` is back before its KV could leave and return.
    fn is_soon(&self, view: &View<'_>, at: Time, blocks: Blocks) -> bool {
        let there = view.copy_time(Direction::D2h, blocks);
        let back = view.copy_time(Direction::H2d, blocks);
        let round_trip = (there + back).as_secs_f64() * self.slack;
        at.since(view.now) < Nanos::from_secs_f64(round_trip)
    }

    fn returns_soon(&self, view: &View<'_>, session: SessionId) -> bool {
        let seen = view.session(session);
        let at = seen.hint.map(|hint| hint.returns_at);
        at.is_some_and(|at| self.is_soon(view, at, seen.hbm_blocks))
    }
}

impl Policy for Djinn {
    fn on_idle(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::keep()
    }

    fn on_end(&self, _: &View<'_>, _: SessionId) -> Retention {
        Retention::Discard
    }

    fn victims(&self, view: &View<'_>, need: Blocks, why: Need) -> Vec<Release> {
        // A prefetch displaces only sessions that are expected back later than its own.
        let after = match why {
            Need::Prefetch(session) => view
                .session(session)
                .hint
                .map_or(Time::NEVER, |hint| hint.returns_at),
            _ => Time::ZERO,
        };
        // Farthest return first; those without a hint count as farthest. Who returns soon is spared in the first round.
        let mut promised = 0;
        let mut victims: Vec<Release> = Vec::new();
        let prefetch = matches!(why, Need::Prefetch(_));
        for soon in [false, true] {
            if soon && prefetch {
                break;
            }
            let held = victims
                .iter()
                .map(|v| view.session(v.session).hbm_blocks)
                .sum();
            let missing = need.saturating_sub(held);
            if missing == Blocks::ZERO {
                break;
            }
            // Who is back before an empty copy is spared whatever it holds, and so is everybody who is back still sooner.
            let farthest_first = view
                .idle_by_return
                .iter()
                .rev()
                .take_while(|&(at, _)| {
                    let displaced = at == Time::NEVER || at > after;
                    displaced && (soon || !self.is_soon(view, at, Blocks::ZERO))
                })
                .map(|(_, session)| session);
            victims.extend(take_until(
                view,
                farthest_first,
                missing,
                |seen, session| {
                    let later = seen.hint.is_none_or(|hint| hint.returns_at > after);
                    (later && self.returns_soon(view, session) == soon)
                        .then(|| host_or_cache(view, &mut promised, seen.hbm_blocks))
                },
            ));
        }
        victims
    }

    fn prefetch_at(&self, view: &View<'_>, session: SessionId) -> Option<Time> {
        let seen = view.session(session);
        let copy = view.copy_time(Direction::H2d, seen.host_blocks);
        seen.hint
            .map(|hint| hint.returns_at.before(copy + self.margin))
    }

    fn queueing(&self, view: &View<'_>, _: SessionId) -> Queueing {
        if f64::from(view.queued) > self.lifo_queued {
            Queueing::Front
        } else {
            Queueing::Back
        }
    }
}
