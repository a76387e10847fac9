//! Transfers are asked for, become urgent, or are not wanted any more.
use super::super::Driver;
use super::super::live::Prefetch;
use crate::device::{CopyClass, Device};
use model::{Action, Blocks, Direction, Outcome, Phase, SessionId};

impl<D: Device> Driver<'_, D> {
    /// A swap-out asks for its lane.
    pub(in super::super) fn queue_swap_out(&mut self, session: SessionId, blocks: u32) {
        self.lanes[Direction::D2h.index()].push(session, CopyClass::WriteBack, blocks);
    }

    /// A restore asks for its lane.
    pub(in super::super) fn request_restore(&mut self, session: SessionId, class: CopyClass) {
        let found = self.ledger.restorable(session).expect("the caller asked");
        let live = &mut self.live[session.index()];
        if class == CopyClass::Prefetch {
            live.prefetch = Prefetch::Asked;
        }
        self.lanes[Direction::H2d.index()].push(session, class, found.blocks());
        self.refresh(session);
    }

    /// The timer of a prefetch, unless a plan has been faster.
    pub(in super::super) fn planned_prefetch(&mut self, session: SessionId) {
        if self.live[session.index()].prefetch == Prefetch::Planned {
            self.live[session.index()].fetched_by_plan = false;
            self.prefetch(session);
        }
    }

    /// KV of a session between turns is to come back.
    pub(in super::super) fn prefetch(&mut self, session: SessionId) {
        if !matches!(self.views[session.index()].phase, Phase::Idle | Phase::Held) {
            return;
        }
        if self.ledger.kv(session).transfer.is_some() {
            // Its swap-out is not over: asked again when it is.
            self.live[session.index()].prefetch = Prefetch::Asked;
        } else if self.reads_first(session) {
            // By way of the host: asked again when it is there.
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
    pub(in super::super) fn prefetch_under_way(&self, session: SessionId) -> bool {
        let live = &self.live[session.index()];
        matches!(live.prefetch, Prefetch::Asked | Prefetch::Moving)
    }

    /// A ready turn waits for the prefetch that is under way.
    pub(in super::super) fn promote_copy(&mut self, session: SessionId) {
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
    pub(in super::super) fn cancel_copy(&mut self, session: SessionId) {
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
    pub(in super::super) fn forget_restore(&mut self, session: SessionId) {
        if self.unqueue_restore(session) && self.ledger.kv(session).transfer.is_some() {
            self.ledger.end_restore(session);
        }
    }

    /// A restore that waits for the lane no longer does. Returns whether it did.
    pub(in super::super) fn unqueue_restore(&mut self, session: SessionId) -> bool {
        let waited = self.lanes[Direction::H2d.index()].remove(session);
        let live = &mut self.live[session.index()];
        if waited && live.prefetch == Prefetch::Asked {
            live.prefetch = Prefetch::None;
        }
        waited
    }
}
