//! Sessions whose KV a policy stores on the host, in the order in which it would give them up there.
//!
//! ```text
//!   on_idle: room on the host? ── yes ──► swap out
//!                └─ no ──► hold ──► plan, in the same wake: give up others, then swap out; or release
//! ```

use model::{
    Action, Blocks, Event, Outcome, Phase, Plan, Residence, Retention, SessionId, SwapOut, Time,
    View,
};
use std::collections::{BTreeMap, BTreeSet};

/// To the host if it has room for all of it, else held until the [`Stored::plan`] of the same wake.
pub(crate) fn store(view: &View<'_>, session: SessionId) -> Retention {
    let blocks = view.session(session).context.blocks_ceil(view.block_tokens);
    if blocks <= view.host.free {
        Retention::SwapOut(SwapOut::IfRoom)
    } else {
        Retention::keep()
    }
}

/// Stored sessions by rank, then by the time at which they were stored: the first goes first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    order: BTreeSet<(i64, Time, SessionId)>,
    keys: BTreeMap<SessionId, (i64, Time)>,
    /// Held, because the host had no room.
    wanting: BTreeSet<SessionId>,
}

impl Stored {
    /// Follows what is stored and what leaves; `rank` is asked when a session is stored.
    pub fn observe(&mut self, view: &View<'_>, event: &Event, rank: impl Fn(SessionId) -> i64) {
        match *event {
            Event::Acted(session, Action::SwapOut, Outcome::Done(_) | Outcome::Clipped(_)) => {
                self.forget(session);
                let key = (rank(session), view.now);
                self.keys.insert(session, key);
                self.order.insert((key.0, key.1, session));
            }
            Event::Acted(session, Action::Keep, _) => {
                self.wanting.insert(session);
            }
            Event::Compute(session, _)
            | Event::Ended(session)
            | Event::Acted(
                session,
                Action::DropHost | Action::Release | Action::Discard | Action::BreakPin,
                _,
            ) => self.forget(session),
            _ => {}
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.wanting.remove(&session);
        if let Some((rank, at)) = self.keys.remove(&session) {
            self.order.remove(&(rank, at, session));
        }
    }

    /// Makes room on the host for those that are held for want of it. Who was stored before `expired` goes before all others.
    pub fn plan(&self, view: &View<'_>, expired: Option<Time>) -> Plan {
        let mut plan = Plan::default();
        if self.wanting.is_empty() {
            return plan;
        }
        // Others are on their way, or wanted at this moment.
        let there = |&&(_, _, session): &&(i64, Time, SessionId)| {
            let seen = view.session(session);
            let idle = matches!(seen.phase, Phase::Idle | Phase::Held);
            idle && seen.residence == Residence::Host && seen.host_blocks > Blocks::ZERO
        };
        let late = |at: Time| expired.is_some_and(|expired| at < expired);
        let first = expired.map(|_| self.order.iter().filter(|&&(_, at, _)| late(at)));
        let then = self.order.iter().filter(|&&(_, at, _)| !late(at));
        let mut line = first.into_iter().flatten().chain(then).filter(there);
        let mut free = view.host.free;
        for &session in &self.wanting {
            let need = view.session(session).hbm_blocks;
            while free < need {
                let Some(&(_, _, given_up)) = line.next() else {
                    break;
                };
                free += view.session(given_up).host_blocks;
                plan.retain.push((given_up, Retention::Discard));
            }
            let retention = if free >= need {
                free -= need;
                Retention::SwapOut(SwapOut::IfRoom)
            } else {
                Retention::Release
            };
            plan.retain.push((session, retention));
        }
        plan
    }
}
