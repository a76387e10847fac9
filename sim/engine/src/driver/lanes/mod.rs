//! The copy queue of the link and of the disk: which transfer gets its lane next (see `lane`), and what its progress changes.
//!
//! A demand
//! restore cuts a prefetch that has the lane at a chunk boundary. One transfer per session, ever: a later wish joins it (a ready turn raises
//! its prefetch to demand) or cancels it (a ready turn stops its swap-out, and keeps what never left).

mod destination;
mod lane;
mod over;
mod progress;
mod requests;

pub(super) use lane::Lane;

use super::Driver;
use super::live::Prefetch;
use crate::device::{CopyClass, CopyRun, Device, Op};
use crate::record::What;
use lane::Current;
use model::{Bytes, Direction, OpId, Place, SessionId};

impl<D: Device> Driver<'_, D> {
    pub(super) fn bytes(&self, blocks: u32) -> Bytes {
        Bytes(u64::from(blocks) * self.config.block_bytes.0)
    }

    /// Gives each lane its next transfer, if it is free or should give way. Restores come first, for they may send others out.
    pub(super) fn pump_lanes(&mut self) {
        for direction in [Direction::H2d, Direction::D2h] {
            while self.lanes[direction.index()].has_waiting() && self.pump(direction) {}
        }
        if self.has_disk() {
            self.pump_disk();
        }
    }

    /// The same for the lanes of the disk, and again for those of the link: a turn that does not read from the disk may ask for them instead.
    fn pump_disk(&mut self) {
        use Direction::{D2h, DiskRead, DiskWrite, H2d};
        let mut news = true;
        while std::mem::take(&mut news) {
            for direction in [DiskRead, DiskWrite, H2d, D2h] {
                while self.pump(direction) {
                    news = true;
                }
            }
        }
    }

    /// Lanes in use: the first so many of [`Direction::ALL`].
    pub(super) fn lane_count(&self) -> usize {
        if self.has_disk() { 4 } else { 2 }
    }

    /// Returns whether there may be more to do.
    fn pump(&mut self, direction: Direction) -> bool {
        let lane = &self.lanes[direction.index()];
        let next = if lane.deferred {
            lane.resumable()
        } else {
            lane.head()
        };
        let Some((class, session)) = next else {
            return false;
        };
        if self.copy_allowance(direction) == 0 {
            return false;
        }
        let gives_way = |current: &Current| {
            class == CopyClass::Demand && current.class > class && !current.yields
        };
        if lane
            .current
            .as_ref()
            .is_some_and(|current| !gives_way(current))
        {
            return false;
        }
        // Plans of step runs know nothing of the blocks that a restore takes.
        self.settle_steps();
        if !self.is_placed(direction, session) && !self.take_place(direction, session, class) {
            // What has given way, or was rationed, has its destination and need not wait for that of the first in line.
            let lane = &self.lanes[direction.index()];
            return !lane.deferred || lane.resumable().is_some();
        }
        if let Some(current) = &mut self.lanes[direction.index()].current {
            current.yields = true;
            self.device.cut(current.op);
            return false;
        }
        self.start_copy(direction, session, class);
        true
    }

    /// Whether a transfer that waits for its lane has its destination.
    fn is_placed(&self, direction: Direction, session: SessionId) -> bool {
        let kv = self.ledger.kv(session);
        match direction {
            Direction::D2h | Direction::H2d => kv.transfer.is_some(),
            Direction::DiskWrite => true,
            Direction::DiskRead => {
                let transfer = kv.disk_transfer();
                transfer.is_some_and(|copy| copy.direction == direction && !copy.dropped)
            }
        }
    }

    /// Takes the destination of a transfer that is first in line. Returns whether it may start.
    fn take_place(&mut self, direction: Direction, session: SessionId, class: CopyClass) -> bool {
        match direction {
            Direction::H2d => self.take_destination(session, class),
            Direction::DiskRead => self.take_read_room(session, class),
            // They had their place when they were asked for.
            Direction::D2h | Direction::DiskWrite => true,
        }
    }

    /// How many blocks the session's transfer in this direction has, and how many of them have arrived.
    pub(super) fn transferred(&self, direction: Direction, session: SessionId) -> (u32, u32) {
        let kv = self.ledger.kv(session);
        if Direction::LINK.contains(&direction) {
            let transfer = kv.transfer.as_ref().expect("in flight");
            (transfer.blocks(), transfer.done)
        } else {
            let transfer = kv.disk_transfer().expect("in flight");
            (transfer.blocks(), transfer.done)
        }
    }

    /// Blocks that may begin to move now.
    fn copy_allowance(&self, direction: Direction) -> u32 {
        let limit = self.lanes[direction.index()].allowance;
        limit.filter(|_| self.steps_left() > 0).unwrap_or(u32::MAX)
    }

    /// A step begins: copies may move so many bytes while it runs.
    pub(super) fn allow_copies(&mut self, bytes: [Bytes; 2]) {
        for (lane, bytes) in self.lanes.iter_mut().zip(bytes) {
            let blocks = bytes.0 / self.config.block_bytes.0.max(1);
            lane.allowance =
                (bytes.0 < u64::MAX).then(|| u32::try_from(blocks).unwrap_or(u32::MAX));
        }
    }

    /// Whether a copy waits for the next step to allow it more.
    pub(super) fn copies_are_rationed(&self) -> bool {
        let rationed = |lane: &super::Lane| lane.allowance.is_some() && lane.has_waiting();
        self.lanes.iter().any(rationed)
    }

    fn start_copy(&mut self, direction: Direction, session: SessionId, class: CopyClass) {
        let (blocks, base) = self.transferred(direction, session);
        let left = (blocks - base).min(self.copy_allowance(direction));
        let mut blocks = if Direction::LINK.contains(&direction) {
            self.ledger.block_copies(session, base)
        } else {
            self.ledger.disk_copies(session, base)
        };
        blocks.truncate(left as usize);
        let op = self.new_op();
        let run = CopyRun {
            id: op,
            session,
            direction,
            class,
            block_count: left,
            chunk_blocks: self.config.chunk_blocks,
            block_bytes: self.config.block_bytes,
            blocks,
        };
        let kept = CopyRun {
            blocks: Vec::new(),
            ..run.clone()
        };
        self.device.submit(Op::Copy(run));
        let lane = &mut self.lanes[direction.index()];
        lane.remove(session);
        if let Some(allowance) = &mut lane.allowance {
            *allowance = allowance.saturating_sub(left);
        }
        lane.current = Some(Current {
            op,
            session,
            class,
            submitted: self.now,
            base,
            run: kept,
            counted: 0,
            cancelled: false,
            yields: false,
            over: None,
            repeat: false,
        });
        let restores = direction == Direction::H2d;
        let live = &mut self.live[session.index()];
        if restores && class == CopyClass::Prefetch && live.prefetch == Prefetch::Asked {
            live.prefetch = Prefetch::Moving;
            live.record.prefetches += 1;
        }
        self.log(session, What::CopyStart(direction, class, left));
        self.refresh(session);
        if restores && std::mem::take(&mut self.live[session.index()].overlaps) {
            self.unpark(session);
        }
    }

    pub(super) fn new_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op - 1)
    }

    /// Whether `op` is a step run.
    pub(super) fn is_step(&self, op: OpId) -> bool {
        self.in_flight.iter().any(|run| run.op() == Some(op))
    }

    /// Whether a ready turn that is first in line for the H2D lane waits for room and comes before `place`.
    pub(super) fn restore_lacks_room_before(&self, place: Place) -> bool {
        let lane = &self.lanes[Direction::H2d.index()];
        lane.deferred
            && lane.head().is_some_and(|(class, session)| {
                class == CopyClass::Demand && self.live[session.index()].request.place < place
            })
    }
}
