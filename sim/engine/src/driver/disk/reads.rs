//! KV is read from the disk to the host: for a ready turn, or ahead of one.

use super::super::Driver;
use super::super::live::Prefetch;
use crate::device::{CopyClass, Device};
use model::{Action, Blocks, Direction, Outcome, Phase, Residence, SessionId, Tier};

const READ: usize = Direction::DiskRead as usize;

impl<D: Device> Driver<'_, D> {
    /// KV of a session between turns is to come from the disk to the host.
    pub(in super::super) fn promote(&mut self, session: SessionId) {
        let view = self.views.get(session.index());
        let rests = view.is_some_and(|view| {
            matches!(view.phase, Phase::Idle | Phase::Held)
                && matches!(
                    view.residence,
                    Residence::Hbm | Residence::Host | Residence::Disk
                )
                && view.disk_copy.is_none()
        });
        if rests && self.ledger.fetchable(session).is_some() {
            self.request_read(session, CopyClass::Prefetch);
        } else {
            self.acted(session, Action::Promote, Outcome::Void);
        }
    }

    /// What a prefetch is to bring is on the disk: it is read first. Returns whether it is so.
    pub(in super::super) fn reads_first(&mut self, session: SessionId) -> bool {
        let transfer = self.ledger.kv(session).disk_transfer();
        if transfer.is_some_and(|copy| copy.direction == Direction::DiskRead)
            || self.lanes[READ].holds(session)
        {
            return true;
        }
        let reads = self.ledger.fetchable(session).is_some();
        if reads {
            self.stop_write(session);
            self.request_read(session, CopyClass::Prefetch);
        }
        reads
    }

    /// A read asks for its lane.
    pub(super) fn request_read(&mut self, session: SessionId, class: CopyClass) {
        let found = self.ledger.fetchable(session).expect("the caller asked");
        self.lanes[READ].push(session, class, found.end - found.start);
        self.refresh(session);
    }

    /// Takes the place on the host of a read that is first in line. Returns whether it may start.
    ///
    /// A read waits for room that a write or a restore under way will leave. A turn that is ready and finds no more than that takes what there
    /// is, from the beginning, and computes the rest; a read ahead of a turn is given up.
    pub(in super::super) fn take_read_room(
        &mut self,
        session: SessionId,
        class: CopyClass,
    ) -> bool {
        if self.ledger.kv(session).disk_transfer().is_some() {
            // One that was taken back is not over yet.
            self.lanes[READ].deferred = true;
            return false;
        }
        let Some(found) = self.ledger.fetchable(session) else {
            self.abandon_read(session);
            return false;
        };
        let wanted = found.end - found.start;
        self.make_host_room(session, wanted);
        let free = self.ledger.pool(Tier::Host).free();
        let restores = self.lanes[Direction::H2d.index()].current.is_some();
        let limit = if wanted <= free {
            wanted
        } else if restores || self.ledger.host_leaving() > 0 {
            self.lanes[READ].deferred = true;
            return false;
        } else if class == CopyClass::Demand {
            free
        } else {
            0
        };
        // Its victims may have been what it was to join.
        let possible = limit > 0 && self.ledger.fetchable(session).is_some();
        let begun = possible.then(|| self.ledger.begin_read(session, limit));
        let Some(Ok(blocks)) = begun else {
            self.abandon_read(session);
            return false;
        };
        let outcome = if blocks < wanted {
            // The turn does not wait for more.
            self.live[session.index()].fetched = true;
            Outcome::Clipped(Blocks(blocks))
        } else {
            Outcome::Done(Blocks(blocks))
        };
        self.acted(session, Action::Promote, outcome);
        self.refresh(session);
        true
    }

    fn abandon_read(&mut self, session: SessionId) {
        self.lanes[READ].remove(session);
        self.acted(session, Action::Promote, Outcome::Void);
        if self.live[session.index()].parked {
            self.live[session.index()].fetched = true;
            self.make_ready(session);
            return;
        }
        let live = &mut self.live[session.index()];
        if live.prefetch == Prefetch::Asked {
            live.prefetch = Prefetch::None;
        }
        self.refresh(session);
    }

    /// A ready turn waits for the read that is under way.
    pub(super) fn hasten_read(&mut self, session: SessionId) {
        let transfer = self.ledger.kv(session).disk_transfer();
        let left = transfer.map_or(0, |transfer| transfer.blocks() - transfer.done);
        let lane = &mut self.lanes[READ];
        if let Some(current) = &mut lane.current
            && current.session == session
        {
            current.class = CopyClass::Demand;
        } else if lane.remove(session) {
            lane.push(session, CopyClass::Demand, left);
        }
    }

    /// A read has left its lane for good.
    pub(in super::super) fn end_read(&mut self, session: SessionId) {
        self.ledger.end_disk_transfer(session);
        self.disk_settled(session);
        let idle = matches!(self.views[session.index()].phase, Phase::Idle | Phase::Held);
        match self.live[session.index()].prefetch {
            // What follows is over the link.
            Prefetch::Asked if idle => self.prefetch(session),
            Prefetch::None if idle => self.plan_prefetch(session),
            _ => {}
        }
    }
}
