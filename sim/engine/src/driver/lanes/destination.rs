//! HBM for what a restore brings.
use super::super::Driver;
use super::super::idle::Room;
use super::super::live::Prefetch;
use crate::device::{CopyClass, Device};
use model::{Action, Direction, Need, Outcome, SessionId};

impl<D: Device> Driver<'_, D> {
    /// Takes the destination of a restore that is first in line. Returns whether it may start.
    pub(super) fn take_destination(&mut self, session: SessionId, class: CopyClass) -> bool {
        // A plan could go on for ever that fetches what its victims have sent out for a turn that waits for memory.
        let by_plan = self.live[session.index()].fetched_by_plan;
        if class == CopyClass::Prefetch && by_plan && self.starved {
            self.lanes[Direction::H2d.index()].deferred = true;
            return false;
        }
        loop {
            let overlaps = self.live[session.index()].overlaps;
            if !overlaps && self.ledger.restorable(session).is_none() {
                // What it would have brought has become useless meanwhile.
                self.abandon_restore(session);
                return false;
            }
            // The host's copy will go.
            self.stop_write(session);
            let begun = if overlaps {
                self.ledger.begin_overlap(session)
            } else {
                self.ledger.begin_restore(session)
            };
            let Err(missing) = begun else {
                self.refresh(session);
                return true;
            };
            let demand = class == CopyClass::Demand;
            let why = if demand {
                Need::Restore(session)
            } else {
                Need::Prefetch(session)
            };
            match self.make_room(missing, why) {
                Room::Freed => {}
                Room::Leaving => {
                    self.lanes[Direction::H2d.index()].deferred = true;
                    return false;
                }
                Room::None => {
                    self.lanes[Direction::H2d.index()].deferred = true;
                    if demand {
                        self.short = true;
                    }
                    return false;
                }
            }
        }
    }

    fn abandon_restore(&mut self, session: SessionId) {
        self.lanes[Direction::H2d.index()].remove(session);
        if self.live[session.index()].parked {
            self.acted(session, Action::Restore, Outcome::Void);
            self.make_ready(session);
        } else {
            self.live[session.index()].prefetch = Prefetch::None;
            self.refresh(session);
            self.acted(session, Action::Prefetch, Outcome::Void);
        }
    }
}
