//! What copies in flight have brought so far.
use super::super::Driver;
use crate::device::{Completion, Device};
use model::Direction;

impl<D: Device> Driver<'_, D> {
    /// Notes which copies are over, before any completion is taken in: the device need not know them any more.
    pub(in super::super) fn note_over(&mut self, done: &[Completion]) {
        for current in self
            .lanes
            .iter_mut()
            .filter_map(|lane| lane.current.as_mut())
        {
            let completion = done.iter().find(|completion| completion.op == current.op);
            current.over = completion.map(|completion| completion.units);
        }
    }

    /// Counts what copies in flight have brought so far.
    ///
    /// Only where decisions are made: at events, ends of copies and turns, and when memory is short. The free queue would otherwise
    /// depend on what else the driver wakes for.
    pub(in super::super) fn settle_copies(&mut self) {
        for &direction in &Direction::ALL[..self.lane_count()] {
            self.settle_copy(direction);
        }
    }

    /// The same, for one direction. Returns whether anything has arrived.
    pub(in super::super) fn settle_copy(&mut self, direction: Direction) -> bool {
        let Some(current) = &self.lanes[direction.index()].current else {
            return false;
        };
        let chunks = current
            .over
            .unwrap_or_else(|| self.device.progress(current.op));
        let done = current.run.blocks_in(chunks);
        let news = done > current.counted;
        self.copy_progress(direction, done);
        news
    }

    pub(super) fn copy_progress(&mut self, direction: Direction, done: u32) {
        let Some(current) = &mut self.lanes[direction.index()].current else {
            return;
        };
        // Never less than before, unless the device has failed: a recording that has ended says that nothing has arrived.
        let news = done.saturating_sub(current.counted);
        if news == 0 {
            return;
        }
        let (session, total, repeat) = (current.session, current.base + done, current.repeat);
        current.counted = done;
        let bytes = self.bytes(news);
        self.lanes[direction.index()].moved += bytes;
        // A session's account is of the link: copies of the disk may outlive it.
        if let Some(moved) = self.live[session.index()]
            .record
            .moved
            .get_mut(direction.index())
        {
            *moved += bytes;
        }
        if repeat {
            return;
        }
        match direction {
            Direction::D2h => self.ledger.swap_out_progress(session, total),
            Direction::H2d => self.ledger.restore_progress(session, total),
            Direction::DiskWrite | Direction::DiskRead => self.ledger.disk_progress(session, total),
        }
        self.refresh(session);
        self.note_change();
    }
}
