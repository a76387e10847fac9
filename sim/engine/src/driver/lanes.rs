//! The copy queue: which transfer gets its lane next (see `lane`), and what its progress changes.
//!
//! A demand
//! restore cuts a prefetch that has the lane at a chunk boundary. One transfer per session, ever: a later wish joins it (a ready turn raises
//! its prefetch to demand) or cancels it (a ready turn stops its swap-out, and keeps what never left).

use super::idle::Room;
use super::lane::Current;
use super::live::Prefetch;
use super::{Driver, RunError};
use crate::device::{Completion, CopyClass, CopyRun, Device, Op};
use crate::record::{OpKind, OpRecord, What};
use model::{
    Action, Blocks, Bytes, Direction, Event, Need, OpId, Outcome, Phase, Place, SessionId,
};

impl<D: Device> Driver<'_, D> {
    pub(super) fn bytes(&self, blocks: u32) -> Bytes {
        Bytes(u64::from(blocks) * self.config.block_bytes.0)
    }

    /// A swap-out asks for its lane.
    pub(super) fn queue_swap_out(&mut self, session: SessionId, blocks: u32) {
        self.lanes[Direction::D2h.index()].push(session, CopyClass::WriteBack, blocks);
    }

    /// A restore asks for its lane.
    pub(super) fn request_restore(&mut self, session: SessionId, class: CopyClass) {
        let (lo, hi) = self.ledger.restorable(session).expect("the caller asked");
        let live = &mut self.live[session.index()];
        if class == CopyClass::Prefetch {
            live.prefetch = Prefetch::Asked;
        }
        self.lanes[Direction::H2d.index()].push(session, class, hi - lo);
        self.refresh(session);
    }

    /// The timer of a prefetch, unless a plan has been faster.
    pub(super) fn planned_prefetch(&mut self, session: SessionId) {
        if self.live[session.index()].prefetch == Prefetch::Planned {
            self.live[session.index()].fetched_by_plan = false;
            self.prefetch(session);
        }
    }

    /// KV of a session between turns is to come back.
    pub(super) fn prefetch(&mut self, session: SessionId) {
        if !matches!(self.views[session.index()].phase, Phase::Idle | Phase::Held) {
            return;
        }
        if self.ledger.kv(session).transfer.is_some() {
            // Its swap-out is not over: asked again when it is.
            self.live[session.index()].prefetch = Prefetch::Asked;
        } else if self.ledger.restorable(session).is_some() {
            self.request_restore(session, CopyClass::Prefetch);
        } else {
            self.live[session.index()].prefetch = Prefetch::None;
            self.refresh(session);
            self.acted(session, Action::Prefetch, Outcome::Void);
        }
    }

    /// Whether KV of the session is being brought back, or waits for that.
    pub(super) fn prefetch_under_way(&self, session: SessionId) -> bool {
        let live = &self.live[session.index()];
        matches!(live.prefetch, Prefetch::Asked | Prefetch::Moving)
    }

    /// A ready turn waits for the prefetch that is under way.
    pub(super) fn promote_copy(&mut self, session: SessionId) {
        if self.config.faults.prefetch_races_compute {
            self.live[session.index()].copy_again = true;
        }
        let lane = &mut self.lanes[Direction::H2d.index()];
        if let Some(current) = &mut lane.current
            && current.session == session
        {
            current.class = CopyClass::Demand;
        } else if lane.remove(session) {
            let transfer = self
                .ledger
                .kv(session)
                .transfer
                .as_ref()
                .expect("it gave way");
            lane.push(
                session,
                CopyClass::Demand,
                transfer.blocks() - transfer.done,
            );
        }
    }

    /// A swap-out is no longer wanted: what never left stays.
    pub(super) fn cancel_copy(&mut self, session: SessionId) {
        let lane = &mut self.lanes[Direction::D2h.index()];
        if let Some(current) = &mut lane.current
            && current.session == session
        {
            current.cancelled = true;
            let chunks = self.device.cut(current.op);
            current.run.block_count = current.run.blocks_in(chunks);
            self.acted(session, Action::Cancel, Outcome::Deferred);
            return;
        }
        if lane.remove(session) {
            let transfer = self
                .ledger
                .kv(session)
                .transfer
                .as_ref()
                .expect("it was queued");
            let left = transfer.blocks() - transfer.done;
            self.acted(session, Action::Cancel, Outcome::Done(Blocks(left)));
            self.ledger.end_swap_out(session);
            self.settled(session);
        }
    }

    /// A restore that has not begun, or has given way, is no longer wanted: what has arrived stays.
    pub(super) fn forget_restore(&mut self, session: SessionId) {
        if self.unqueue_restore(session) && self.ledger.kv(session).transfer.is_some() {
            self.ledger.end_restore(session);
        }
    }

    /// A restore that waits for the lane no longer does. Returns whether it did.
    pub(super) fn unqueue_restore(&mut self, session: SessionId) -> bool {
        let waited = self.lanes[Direction::H2d.index()].remove(session);
        let live = &mut self.live[session.index()];
        if waited && live.prefetch == Prefetch::Asked {
            live.prefetch = Prefetch::None;
        }
        waited
    }

    /// Gives each lane its next transfer, if it is free or should give way. Restores come first, for they may send others out.
    pub(super) fn pump_lanes(&mut self) {
        for direction in [Direction::H2d, Direction::D2h] {
            while self.pump(direction) {}
        }
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
        let placed = self.ledger.kv(session).transfer.is_some();
        if direction == Direction::H2d && !placed && !self.take_destination(session, class) {
            return !self.lanes[direction.index()].deferred;
        }
        if let Some(current) = &mut self.lanes[direction.index()].current {
            current.yields = true;
            self.device.cut(current.op);
            return false;
        }
        self.start_copy(direction, session, class);
        true
    }

    /// Takes the destination of a restore that is first in line. Returns whether it may start.
    fn take_destination(&mut self, session: SessionId, class: CopyClass) -> bool {
        // A plan could go on for ever that fetches what its victims have sent out for a turn that waits for memory.
        let by_plan = self.live[session.index()].fetched_by_plan;
        if class == CopyClass::Prefetch && by_plan && self.starved {
            self.lanes[Direction::H2d.index()].deferred = true;
            return false;
        }
        loop {
            if self.ledger.restorable(session).is_none() {
                // What it would have brought has become useless meanwhile.
                self.abandon_restore(session);
                return false;
            }
            let Err(missing) = self.ledger.begin_restore(session) else {
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
        let transfer = self
            .ledger
            .kv(session)
            .transfer
            .as_ref()
            .expect("taken above");
        let (base, left) = (transfer.done, transfer.blocks() - transfer.done);
        let left = left.min(self.copy_allowance(direction));
        let mut blocks = self.ledger.block_copies(session, base);
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
        let live = &mut self.live[session.index()];
        if class == CopyClass::Prefetch && live.prefetch == Prefetch::Asked {
            live.prefetch = Prefetch::Moving;
            live.record.prefetches += 1;
        }
        self.log(session, What::CopyStart(direction, class, left));
        self.refresh(session);
    }

    /// Notes which copies are over, before any completion is taken in: the device need not know them any more.
    pub(super) fn note_over(&mut self, done: &[Completion]) {
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
    pub(super) fn settle_copies(&mut self) {
        for direction in Direction::ALL {
            self.settle_copy(direction);
        }
    }

    /// The same, for one direction. Returns whether anything has arrived.
    pub(super) fn settle_copy(&mut self, direction: Direction) -> bool {
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

    fn copy_progress(&mut self, direction: Direction, done: u32) {
        let Some(current) = &mut self.lanes[direction.index()].current else {
            return;
        };
        let news = done - current.counted;
        if news == 0 {
            return;
        }
        let (session, total, repeat) = (current.session, current.base + done, current.repeat);
        current.counted = done;
        let bytes = self.bytes(news);
        self.lanes[direction.index()].moved += bytes;
        self.live[session.index()].record.moved[direction.index()] += bytes;
        if repeat {
            return;
        }
        match direction {
            Direction::D2h => self.ledger.swap_out_progress(session, total),
            Direction::H2d => self.ledger.restore_progress(session, total),
        }
        self.refresh(session);
        self.note_change();
    }

    /// A copy has left its lane.
    pub(super) fn copy_done(&mut self, completion: &Completion) -> Result<(), RunError> {
        completion.status.clone()?;
        let lane_of = |direction: &Direction| {
            let current = self.lanes[direction.index()].current.as_ref();
            current.is_some_and(|current| current.op == completion.op)
        };
        let Some(direction) = Direction::ALL.into_iter().find(lane_of) else {
            let what = format!("operation {} is not in flight", completion.op);
            return Err(self.broken("completions", what));
        };
        let current = self.lanes[direction.index()].current.as_ref();
        let done = current.expect("just found").run.blocks_in(completion.units);
        if completion.end <= completion.start {
            let what = format!("copy {} of {done} blocks took no time", completion.op);
            return Err(self.broken("moved bytes cost time", what));
        }
        self.copy_progress(direction, done);
        let current = self.lanes[direction.index()].current.take().expect("found");
        self.recorder.op(&OpRecord {
            op: completion.op,
            submit: current.submitted,
            start: completion.start,
            end: completion.end,
            kind: OpKind::Copy {
                direction,
                session: current.session,
                class: current.class,
                bytes: self.bytes(done),
                chunks: completion.units,
            },
        });
        let session = current.session;
        self.log(session, What::CopyEnd(direction, done));
        let asked = current.submitted;
        self.tell(Event::Copied {
            session,
            direction,
            blocks: Blocks(done),
            asked,
        });
        if direction == Direction::H2d && !current.repeat {
            self.count_restored(session, done, completion);
        }
        let transfer = self
            .ledger
            .kv(session)
            .transfer
            .as_ref()
            .expect("in flight");
        let left = transfer.blocks() - transfer.done;
        if left > 0 && !current.cancelled {
            // It gave way: back in line, behind what made it yield.
            self.lanes[direction.index()].push_at(session, (current.class, 0), left);
            return Ok(());
        }
        if std::mem::take(&mut self.live[session.index()].copy_again) {
            self.copy_again(current);
            return Ok(());
        }
        match direction {
            Direction::D2h => self.ledger.end_swap_out(session),
            Direction::H2d => self.end_restore(session),
        }
        self.settled(session);
        Ok(())
    }

    /// Fault: `COMPUTE` has started the same restore a second time.
    fn copy_again(&mut self, current: Current) {
        let op = self.new_op();
        let run = CopyRun {
            id: op,
            ..current.run
        };
        let mut blocks = self.ledger.block_copies(current.session, current.base);
        blocks.truncate(run.block_count as usize);
        self.device.submit(Op::Copy(CopyRun {
            blocks,
            ..run.clone()
        }));
        let direction = run.direction;
        let again = Current {
            op,
            run,
            counted: 0,
            repeat: true,
            over: None,
            submitted: self.now,
            ..current
        };
        self.lanes[direction.index()].current = Some(again);
    }

    fn count_restored(&mut self, session: SessionId, blocks: u32, completion: &Completion) {
        let live = &mut self.live[session.index()];
        live.restored += Blocks(blocks);
        if live.script.is_some() {
            let hidden_until = completion.end.min(live.ready);
            live.hidden += hidden_until.since(completion.start);
        }
    }

    fn end_restore(&mut self, session: SessionId) {
        self.ledger.end_restore(session);
        let live = &mut self.live[session.index()];
        live.record.restores += 1;
        let between = matches!(self.views[session.index()].phase, Phase::Idle | Phase::Held);
        if live.prefetch == Prefetch::Moving && between {
            live.prefetch = Prefetch::Complete;
        }
        if self.config.faults.restore_drops_copy {
            self.ledger.discard_pin(session);
        }
    }

    /// A session's transfer is over.
    fn settled(&mut self, session: SessionId) {
        self.refresh(session);
        self.note_change();
        let view = &self.views[session.index()];
        match view.phase {
            Phase::Queued if self.live[session.index()].parked => self.make_ready(session),
            Phase::Idle | Phase::Held if self.live[session.index()].prefetch == Prefetch::Asked => {
                self.prefetch(session);
            }
            Phase::Idle if self.live[session.index()].prefetch == Prefetch::None => {
                self.plan_prefetch(session);
            }
            Phase::Ended => {
                self.retire_pin(session);
            }
            _ => {}
        }
    }

    /// Whether `op` is a step run.
    pub(super) fn is_step(&self, op: OpId) -> bool {
        self.in_flight.iter().any(|run| run.op() == Some(op))
    }

    pub(super) fn new_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op - 1)
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
