//! Sessions whose KV a policy stores on the host, or on the disk behind it, in the order in which it would give them up there.

use model::{
    Action, Blocks, Event, HostRelease, Nanos, Outcome, Phase, Residence, SessionId, SessionView,
    Time, View,
};
use std::collections::{BTreeMap, BTreeSet};

/// Rank, then the time of storing: the first goes first.
type Key = (i64, Time, SessionId);

/// Sessions stored on one tier, by rank, then by the time at which they were stored. Those whose lease is over go before all others.
///
/// **Invariant:** each stored session is in exactly one of `leased` and `expired`, and in `by_time` as long as it is in `leased`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// How long a session is stored before it goes before others; `None` is for ever.
    lease: Option<Nanos>,
    keys: BTreeMap<SessionId, Key>,
    leased: BTreeSet<Key>,
    /// `leased` by time. Empty without a lease.
    by_time: BTreeSet<(Time, SessionId)>,
    /// Those whose lease was over when something last happened.
    expired: BTreeSet<Key>,
}

impl Stored {
    /// Stored sessions go first when `lease` has passed.
    pub fn leased(lease: Nanos) -> Self {
        Self {
            lease: Some(lease),
            ..Self::default()
        }
    }

    /// Follows what is stored on the host and what leaves it; `rank` is asked when a session is stored.
    pub fn observe(&mut self, view: &View<'_>, event: &Event, rank: impl Fn(SessionId) -> i64) {
        match *event {
            Event::Acted(session, Action::SwapOut, Outcome::Done(_) | Outcome::Clipped(_)) => {
                self.store(session, rank(session), view.now);
            }
            Event::Compute(session, _)
            | Event::Ended(session)
            | Event::Acted(session, Action::DropHost, _) => self.forget(session),
            _ => {}
        }
        for key in self.newly_expired(view.now) {
            self.by_time.remove(&(key.1, key.2));
            self.leased.remove(&key);
            self.expired.insert(key);
        }
    }

    /// Follows what is stored on the disk and what leaves it, first stored first.
    pub fn observe_disk(&mut self, view: &View<'_>, event: &Event) {
        match *event {
            Event::Acted(
                session,
                Action::Store | Action::Demote,
                Outcome::Done(_) | Outcome::Clipped(_),
            ) => self.store(session, 0, view.now),
            Event::Compute(session, _)
            | Event::Ended(session)
            | Event::Acted(session, Action::DropDisk, _) => self.forget(session),
            _ => {}
        }
    }

    fn store(&mut self, session: SessionId, rank: i64, now: Time) {
        self.forget(session);
        let key = (rank, now, session);
        self.keys.insert(session, key);
        self.leased.insert(key);
        if self.lease.is_some() {
            self.by_time.insert((now, session));
        }
    }

    fn forget(&mut self, session: SessionId) {
        if let Some(key) = self.keys.remove(&session) {
            self.leased.remove(&key);
            self.expired.remove(&key);
            self.by_time.remove(&(key.1, session));
        }
    }

    /// Leases that have run out since something last happened.
    fn newly_expired(&self, now: Time) -> BTreeSet<Key> {
        let Some(lease) = self.lease else {
            return BTreeSet::new();
        };
        let late = self.by_time.range(..(now.before(lease), SessionId(0)));
        late.map(|(_, session)| self.keys[session]).collect()
    }

    /// Who leaves the host for the disk so that it has `need` blocks more, once that is written.
    pub fn demote(&self, view: &View<'_>, need: Blocks) -> Vec<SessionId> {
        self.first(view, need, |seen| {
            let there = matches!(seen.residence, Residence::Hbm | Residence::Host);
            if there {
                seen.host_blocks
            } else {
                Blocks::ZERO
            }
        })
    }

    /// Who gives up `need` blocks of the disk.
    pub fn give_up_disk(&self, view: &View<'_>, need: Blocks) -> Vec<SessionId> {
        self.first(view, need, |seen| seen.disk_blocks)
    }

    /// The first sessions between turns that have `need` blocks, of each as many as `has` says, and of which nothing moves to or from the disk.
    fn first(
        &self,
        view: &View<'_>,
        need: Blocks,
        has: impl Fn(&SessionView) -> Blocks,
    ) -> Vec<SessionId> {
        let mut found = Blocks::ZERO;
        let mut first = Vec::new();
        for &(_, _, session) in self.expired.iter().chain(&self.leased) {
            if found >= need {
                break;
            }
            let seen = view.session(session);
            let rests = matches!(seen.phase, Phase::Idle | Phase::Held) && seen.disk_copy.is_none();
            let blocks = has(seen);
            if rests && blocks > Blocks::ZERO {
                found += blocks;
                first.push(session);
            }
        }
        first
    }

    /// Who gives up `need` blocks of the host.
    pub fn give_up(&self, view: &View<'_>, need: Blocks) -> Vec<HostRelease> {
        let newly = self.newly_expired(view.now);
        let first = self.expired.union(&newly);
        let then = self.leased.difference(&newly);
        let mut found = Blocks::ZERO;
        let mut given_up = Vec::new();
        for &(_, _, session) in first.chain(then) {
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
