//! Sessions whose KV a policy stores on the host, in the order in which it would give them up there.

use model::{Action, Blocks, Event, HostRelease, Outcome, Phase, Residence, SessionId, Time, View};
use std::collections::{BTreeMap, BTreeSet};

/// Stored sessions by rank, then by the time at which they were stored: the first goes first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    order: BTreeSet<(i64, Time, SessionId)>,
    keys: BTreeMap<SessionId, (i64, Time)>,
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
            Event::Compute(session, _)
            | Event::Ended(session)
            | Event::Acted(session, Action::DropHost, _) => self.forget(session),
            _ => {}
        }
    }

    fn forget(&mut self, session: SessionId) {
        if let Some((rank, at)) = self.keys.remove(&session) {
            self.order.remove(&(rank, at, session));
        }
    }

    /// Who gives up `need` blocks of the host. Sessions stored before `expired` go before all others.
    pub fn give_up(
        &self,
        view: &View<'_>,
        need: Blocks,
        expired: Option<Time>,
    ) -> Vec<HostRelease> {
        let late = |at: Time| expired.is_some_and(|expired| at < expired);
        let first = expired.map(|_| self.order.iter().filter(|&&(_, at, _)| late(at)));
        let then = self.order.iter().filter(|&&(_, at, _)| !late(at));
        let mut found = Blocks::ZERO;
        let mut given_up = Vec::new();
        for &(_, _, session) in first.into_iter().flatten().chain(then) {
            if found >= need {
                break;
            }
            // Others are on their way, or wanted at this moment.
            let seen = view.session(session);
            let idle = matches!(seen.phase, Phase::Idle | Phase::Held);
            if idle && seen.residence == Residence::Host && seen.host_blocks > Blocks::ZERO {
                found += seen.host_blocks;
                given_up.push(HostRelease::all(session));
            }
        }
        given_up
    }
}
