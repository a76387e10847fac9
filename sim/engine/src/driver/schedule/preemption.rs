//! A running turn gives way: back to the front of the queue.
use super::super::Driver;
use super::super::steps::Plan;
use crate::device::Device;
use crate::record::Part;
use model::{Action, Blocks, Outcome, Place, SessionId, Tokens};
use std::ops::Range;

impl<D: Device> Driver<'_, D> {
    /// Takes the turn that gives way out of the batch.
    pub(super) fn preempted_for(&mut self, session: SessionId) -> SessionId {
        let named = self.ask(|policy, view| policy.preempt(view, session));
        let at = named.and_then(|named| self.batch.running.iter().position(|&s| s == named));
        let at = at.filter(|&at| !self.is_arriving(self.batch.running[at]));
        match at {
            Some(at) => self.batch.running.remove(at),
            None => self.batch.running.pop().expect("the turn itself runs"),
        }
    }

    /// KV that the turn has behind a hole is on its way: it runs beside its copy, does not come to its end before that, and is not preempted.
    pub(super) fn is_arriving(&self, session: SessionId) -> bool {
        if !self.ledger.computes_mid_sequence() {
            return false;
        }
        let kv = self.ledger.kv(session);
        !kv.behind.is_empty() && kv.transfer.is_some()
    }

    /// Takes a turn out of the step that is being put together, if it is in it: it gives way after all. Returns how many of its blocks hold
    /// what has been computed, and which of those behind do.
    pub(super) fn take_out(
        &mut self,
        session: SessionId,
        plan: &mut Plan,
        budget: &mut u32,
    ) -> (u32, Range<u32>) {
        let Some(at) = plan.items.iter().position(|item| item.session == session) else {
            return (u32::MAX, 0..0);
        };
        let block = self.config.memory.block_tokens;
        let item = plan.items.remove(at);
        let request = &mut self.live[session.index()].request;
        let kept = item.filled.map_or(0, |hole| hole.kept);
        request.computed -= item.tokens + kept;
        request.in_flight -= item.tokens;
        request.recomputed -= item.again;
        if item.resumed && request.scheduled.is_some() {
            request.resumed_tokens -= item.context;
        }
        *budget += item.tokens;
        self.batch.running_tokens -= u64::from(item.tokens + kept);
        let view = &mut self.views[session.index()];
        view.computed -= Tokens(item.tokens + kept);
        view.service -= Tokens(item.tokens);
        let behind = item.filled.map_or(0..0, |hole| hole.blocks(block));
        (item.registered, behind)
    }

    /// A turn runs no more.
    pub(in super::super) fn leave_batch(&mut self, session: SessionId) {
        let request = &mut self.live[session.index()].request;
        request.running = false;
        self.batch.running_tokens -= u64::from(request.computed);
        self.views[session.index()].computed = Tokens::ZERO;
    }

    /// Back to the front of the queue; what it had stays a hit while it survives, except what was never computed: from block `keep` on, but
    /// for the blocks `written`.
    pub(super) fn preempt(&mut self, session: SessionId, keep: u32, written: Range<u32>) {
        let kv = self.ledger.kv(session);
        let blocks = Blocks(kv.run.blocks() + kv.behind.blocks());
        self.note_preempted(session);
        self.ledger.release_run(session, keep, written);
        self.leave_batch(session);
        let number = self.batch.front();
        let request = &mut self.live[session.index()].request;
        request.existed = request.existed.max(request.computed);
        request.computed = 0;
        request.hole = None;
        request.placeholders = 0;
        request.stale = request.in_flight;
        request.resumed = true;
        request.preemptions += 1;
        request.waits(Part::Queue, self.now);
        let prompt = request.prompt;
        let view = &mut self.views[session.index()];
        view.phase = model::Phase::Queued;
        view.preempted = true;
        view.queued_since = self.now;
        let key = self.order_key(session);
        let place = Place { key, number };
        self.live[session.index()].request.place = place;
        self.batch.waiting.insert(place, session);
        self.batch.queue_tokens += u64::from(prompt);
        self.summary.preemptions += 1;
        self.report.preemptions += 1;
        self.acted(session, Action::Preempt, Outcome::Done(blocks));
        self.price(session);
        self.note_change();
    }
}
