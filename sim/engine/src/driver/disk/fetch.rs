//! A turn is ready, and KV of it is on the disk: does it wait for that, and for how long?

use super::super::Driver;
use crate::device::{CopyClass, Device};
use crate::events::Due;
use crate::record::Part;
use model::{Action, Blocks, Direction, Fetch, Outcome, SessionId};

impl<D: Device> Driver<'_, D> {
    /// A turn is ready while KV of it moves between host and disk: its write is stopped, its read is joined. Returns whether it waits for a
    /// read.
    pub(in super::super) fn joins_read(&mut self, session: SessionId) -> bool {
        self.stop_write(session);
        let reads = self.is_read(session);
        if reads {
            self.wait_for_copy(session);
            self.hasten_read(session);
        } else {
            // One that has not begun is asked for again, as demand.
            self.lanes[Direction::DiskRead.index()].remove(session);
        }
        reads
    }

    /// Whether a read of the session is under way that somebody wants.
    fn is_read(&self, session: SessionId) -> bool {
        let transfer = self.ledger.kv(session).disk_transfer();
        transfer.is_some_and(|copy| copy.direction == Direction::DiskRead && !copy.dropped)
    }

    /// Asks whether the turn, whose prompt is known, waits for what the disk has of it. Returns whether it does.
    pub(in super::super) fn fetches(&mut self, session: SessionId) -> bool {
        if self.live[session.index()].fetched || self.ledger.fetchable(session).is_none() {
            return false;
        }
        if self.ledger.kv(session).disk_transfer().is_some() {
            // A copy that was taken back: asked again when it is over.
            self.wait_for_copy(session);
            return true;
        }
        match self.ask(|policy, view| policy.fetch(view, session)) {
            Fetch::Recompute => {
                self.live[session.index()].fetched = true;
                false
            }
            Fetch::Later => {
                self.wait_for_copy(session);
                self.unread.insert(session);
                true
            }
            Fetch::Read { until } => {
                self.wait_for_copy(session);
                self.request_read(session, CopyClass::Demand);
                let epoch = self.live[session.index()].epoch;
                self.events.push(until, Due::FetchEnds, session, epoch);
                true
            }
        }
    }

    fn wait_for_copy(&mut self, session: SessionId) {
        let wake = &mut self.live[session.index()].request.wake;
        wake.turn_to(Part::Copy, self.now);
    }

    /// Asks again about turns that were told to wait, in the order of the queue, until one still is.
    pub(in super::super) fn reconsider_reads(&mut self) {
        self.settle_steps();
        self.settle_copies();
        while let Some(session) = self.first_unread() {
            self.unread.remove(&session);
            self.make_ready(session);
            if self.unread.contains(&session) {
                return;
            }
        }
    }

    fn first_unread(&self) -> Option<SessionId> {
        let place = |&session: &SessionId| self.live[session.index()].request.place;
        self.unread.iter().copied().min_by_key(|s| (place(s), *s))
    }

    /// Turns are told to read later: if nothing runs or moves, the first of them in the queue does read. Returns whether it was so.
    pub(in super::super) fn break_wait(&mut self) -> bool {
        let idle = self.batch.running.is_empty() && self.batch.waiting.is_empty();
        if !idle || !self.in_flight.is_empty() || !self.device_idle() {
            return false;
        }
        let session = self.first_unread().expect("there is one");
        self.unread.remove(&session);
        if self.ledger.fetchable(session).is_some() {
            self.request_read(session, CopyClass::Demand);
        } else {
            self.make_ready(session);
        }
        true
    }

    /// The time is over for which a turn waits for its read, unless it does not wait any more.
    pub(in super::super) fn fetch_ends(&mut self, session: SessionId) {
        let queued = self.lanes[Direction::DiskRead.index()].holds(session);
        if self.live[session.index()].parked && (queued || self.is_read(session)) {
            self.stop_fetch(session);
        }
    }

    /// The turn waits for its read no longer: what has been read is used.
    pub(in super::super) fn stop_fetch(&mut self, session: SessionId) {
        let live = self.live.get(session.index());
        let waits = live.is_some_and(|live| live.parked);
        let reads = waits && self.is_read(session);
        let later = waits && self.unread.remove(&session);
        let queued = waits && self.lanes[Direction::DiskRead.index()].remove(session);
        if !reads && !queued && !later {
            return self.acted(session, Action::StopDisk, Outcome::Void);
        }
        self.live[session.index()].fetched = true;
        if reads && !queued {
            self.cut_disk_copy(Direction::DiskRead);
            return self.acted(session, Action::StopDisk, Outcome::Deferred);
        }
        let transfer = self.ledger.kv(session).disk_transfer();
        let left = transfer.map_or(0, |transfer| transfer.blocks() - transfer.done);
        if reads {
            self.ledger.end_disk_transfer(session);
        }
        self.acted(session, Action::StopDisk, Outcome::Done(Blocks(left)));
        self.refresh(session);
        self.make_ready(session);
    }
}
