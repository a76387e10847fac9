//! The disk behind the host: KV of sessions between turns goes there, and comes back by way of the host.
//!
//! ```text
//!   store    host ──► disk      the host keeps its copy
//!   demote   host ──► disk      host blocks are free when all is written, at once where the disk has it already
//!   promote  disk ──► host      of a session between turns
//!   fetch    disk ──► host ──► HBM    of a ready turn, which waits for both copies, one after the other
//! ```
//!
//! A session's write is stopped by whatever changes what the host has of it: a turn that becomes ready, a swap-out or a restore of the same
//! session, and its end. What had been written by then stays on the disk as cache.
//!
//! **Absent on purpose:** loading to HBM what has been read while the rest is still being read.

mod fetch;
mod reads;

use super::Driver;
use crate::device::{CopyClass, Device};
use model::{
    Action, Blocks, CopyEstimate, Direction, DiskLevel, Outcome, Phase, PoolLevel, Residence,
    SessionId, SessionView, Tier,
};

impl<D: Device> Driver<'_, D> {
    /// Whether there is a disk.
    pub(super) fn has_disk(&self) -> bool {
        self.config.memory.disk_blocks > 0
    }

    /// How full it is, and what its lanes have to do. Out of line: a view without a disk is made at every question.
    #[cold]
    #[inline(never)]
    pub(super) fn disk_level(&self) -> DiskLevel {
        let pool = self.ledger.pool(Tier::Disk);
        let [write, read] = self.config.disk;
        let queued = |direction: Direction| self.bytes(self.lanes[direction.index()].left());
        DiskLevel {
            pool: PoolLevel {
                capacity: Blocks(pool.capacity()),
                free: Blocks(pool.free()),
                cached: Blocks(pool.cached()),
            },
            write: CopyEstimate {
                queued: queued(Direction::DiskWrite),
                ..write
            },
            read: CopyEstimate {
                queued: queued(Direction::DiskRead),
                ..read
            },
        }
    }

    /// What the host has of the session is written to the disk, and then leaves the host if it is a demotion.
    pub(super) fn write_to_disk(&mut self, session: SessionId, action: Action) {
        let view = self.views.get(session.index());
        if !self.has_disk() || !view.is_some_and(is_settled_on_host) {
            return self.acted(session, action, Outcome::Void);
        }
        let wanted = self.ledger.kv(session).host.blocks();
        self.make_disk_room(session, wanted);
        let start = self.ledger.begin_write(session, action == Action::Demote);
        let there = Blocks(start.clean + start.written);
        let outcome = match start.refused {
            0 => Outcome::Done(there),
            _ => Outcome::Clipped(there),
        };
        self.acted(session, action, outcome);
        if start.left > 0 {
            self.left_host(session, start.left);
        }
        if start.written > 0 {
            let lane = &mut self.lanes[Direction::DiskWrite.index()];
            lane.push(session, CopyClass::WriteBack, start.written);
        }
        self.refresh(session);
    }

    /// Blocks have left the host because the disk has them, or had no room for them.
    fn left_host(&mut self, session: SessionId, blocks: u32) {
        self.refresh(session);
        self.acted(session, Action::DropHost, Outcome::Done(Blocks(blocks)));
    }

    /// The session is about to write up to `wanted` blocks: those that the policy names make room for what the disk lacks.
    fn make_disk_room(&mut self, session: SessionId, wanted: u32) {
        let free = self.ledger.pool(Tier::Disk).free();
        if wanted <= free {
            return;
        }
        let need = Blocks(wanted - free);
        for victim in self.ask(|policy, view| policy.disk_victims(view, need, session)) {
            if self.ledger.pool(Tier::Disk).free() >= wanted {
                break;
            }
            let view = self.views.get(victim.index());
            // A turn that may not read yet can still lose it.
            let unread = self.unread.contains(&victim);
            let rests = |view: &SessionView| {
                (unread || matches!(view.phase, Phase::Idle | Phase::Held | Phase::Ended))
                    && view.disk_copy.is_none()
                    && view.disk_blocks > Blocks::ZERO
            };
            if victim == session || !view.is_some_and(rests) {
                self.acted(victim, Action::DropDisk, Outcome::Void);
                continue;
            }
            self.drop_disk(victim);
        }
    }

    /// Gives up what the session has on the disk.
    pub(super) fn drop_disk(&mut self, session: SessionId) {
        let blocks = self.ledger.drop_disk(session);
        if blocks > 0 {
            self.acted(session, Action::DropDisk, Outcome::Done(Blocks(blocks)));
            self.refresh(session);
        }
    }

    /// What is being written of the session is not wanted any more.
    pub(super) fn stop_write(&mut self, session: SessionId) {
        if self.has_disk() {
            self.stop_disk_copy(session, Direction::DiskWrite);
        }
    }

    /// Whatever moves between host and disk for the session is not wanted any more.
    pub(super) fn stop_disk(&mut self, session: SessionId) {
        if self.has_disk() {
            self.stop_disk_copy(session, Direction::DiskWrite);
            self.stop_disk_copy(session, Direction::DiskRead);
        }
    }

    /// Takes back a copy of the disk. What has been handed to the lane still arrives, and is cache.
    fn stop_disk_copy(&mut self, session: SessionId, direction: Direction) {
        let transfer = self.ledger.kv(session).disk_transfer();
        let begun = transfer.filter(|transfer| transfer.direction == direction);
        let (begun, wanted, left) = (
            begun.is_some(),
            begun.is_none_or(|transfer| !transfer.dropped),
            begun.map_or(0, |transfer| transfer.blocks() - transfer.done),
        );
        if begun && wanted {
            self.ledger.drop_disk_transfer(session);
        }
        if self.lanes[direction.index()].remove(session) {
            if begun {
                self.ledger.end_disk_transfer(session);
            }
            self.acted(session, Action::StopDisk, Outcome::Done(Blocks(left)));
        } else if begun && wanted {
            self.cut_disk_copy(direction);
            self.acted(session, Action::StopDisk, Outcome::Deferred);
        }
        self.refresh(session);
    }

    /// The copy that has a lane of the disk ends as soon as it can.
    fn cut_disk_copy(&mut self, direction: Direction) {
        let current = self.lanes[direction.index()].current.as_mut();
        let current = current.expect("a transfer that does not wait has its lane");
        current.cancelled = true;
        let chunks = self.device.cut(current.op);
        current.run.block_count = current.run.blocks_in(chunks);
    }

    /// A write has left its lane for good.
    pub(super) fn end_write(&mut self, session: SessionId) {
        let left = self.ledger.end_disk_transfer(session);
        if left > 0 {
            self.left_host(session, left);
        }
        self.disk_settled(session);
    }

    /// A session's transfer of the disk is over.
    fn disk_settled(&mut self, session: SessionId) {
        self.refresh(session);
        self.note_change();
        let restores = self.ledger.kv(session).transfer.is_some()
            || self.lanes[Direction::H2d.index()].holds(session);
        if self.live[session.index()].parked && !restores {
            self.make_ready(session);
        }
    }
}

/// Whether KV of a session may move between host and disk: it rests on the host, and nothing of it is on the move.
pub(super) fn is_settled_on_host(view: &SessionView) -> bool {
    matches!(view.phase, Phase::Idle | Phase::Held)
        && matches!(view.residence, Residence::Hbm | Residence::Host)
        && view.host_blocks > Blocks::ZERO
        && view.disk_copy.is_none()
}
