//! HBM is short: how blocks are found.
use super::super::Driver;
use super::super::live::is_victim;
use crate::device::Device;
use model::{
    Action, Blocks, Direction, Event, Need, Outcome, Phase, Release, SessionView, Then, Tier,
};

/// What a search for memory came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Room {
    /// Blocks have become free.
    Freed,
    /// Blocks will be free when copies have left.
    Leaving,
    /// Nobody gives any.
    None,
}

impl<D: Device> Driver<'_, D> {
    /// Finds `need` blocks: what copies will free, then what the policy gives.
    pub(in super::super) fn make_room(&mut self, need: u32, why: Need) -> Room {
        if self.settle_copy(Direction::D2h) {
            return Room::Freed;
        }
        let leaving = self.leaving();
        if need <= leaving {
            return Room::Leaving;
        }
        let missing = Blocks(need - leaving);
        self.tell(Event::Short(why, missing));
        let victims = self.ask(|policy, view| policy.victims(view, missing, why));
        if victims.is_empty() {
            return if leaving > 0 {
                Room::Leaving
            } else {
                Room::None
            };
        }
        let before = self.ledger.pool(Tier::Hbm).free();
        let asker = match why {
            Need::Admission(s) | Need::Growth(s) | Need::Restore(s) | Need::Prefetch(s) => s,
        };
        for Release { session, how } in victims {
            let view = self.views.get(session.index());
            let legal =
                |view: &&SessionView| is_victim(view.phase, view.residence) && session != asker;
            let Some(view) = view.filter(legal) else {
                self.acted(session, Action::Release, Outcome::Void);
                continue;
            };
            if view.phase == Phase::Ended {
                self.close_session(session, how == Then::Discard);
            } else {
                self.end_pin(session, how);
            }
            self.refresh(session);
        }
        if self.ledger.pool(Tier::Hbm).free() > before {
            self.note_change();
            Room::Freed
        } else if self.leaving() > leaving || leaving > 0 {
            Room::Leaving
        } else {
            Room::None
        }
    }

    /// Blocks that copies to the host will free.
    pub(in super::super) fn leaving(&self) -> u32 {
        self.lanes[Direction::D2h.index()].left()
    }

    /// Nothing runs, nothing is on its way, and ready turns lack memory: a pin is broken: the one that the policy names, or that of the
    /// session that arrived last. Returns whether there was one.
    pub(in super::super) fn break_pin(&mut self) -> bool {
        // The turn that is first in line keeps what it has as long as there are others. Its own pin can be in its way as well: a block
        // that was computed twice is held in one copy and found in the other.
        let first = self.batch.waiting.values().next();
        let mut latest = self.pinned.iter().rev();
        let victim = latest.find(|&session| Some(session) != first);
        let Some(&latest) = victim.or(self.pinned.last()) else {
            return false;
        };
        let named = self.ask(|policy, view| policy.break_pin(view));
        let named = named.filter(|session| self.pinned.contains(session));
        let session = named.unwrap_or(latest);
        let blocks = self.ledger.release_pin(session);
        self.summary.pins_broken += 1;
        self.acted(session, Action::BreakPin, Outcome::Done(Blocks(blocks)));
        self.price(session);
        if self.views[session.index()].phase == Phase::Ended {
            self.close_session(session, false);
        }
        self.refresh(session);
        self.note_change();
        true
    }
}
