//! Turns that run already, in order of admission: each gets its tokens, and the blocks for them.
use super::super::Driver;
use super::super::idle::Room;
use super::super::steps::Plan;
use crate::device::Device;
use crate::record::Part;
use model::{Need, SessionId, Tier};

/// Why the scan of running turns goes on or ends.
enum Growth {
    Fits,
    /// Left out of this step; its blocks are on their way.
    Stalls,
    /// Left out of this step with all behind it: who would be preempted is in a step in flight.
    Waits,
    /// Preempted itself.
    Preempted,
}

impl<D: Device> Driver<'_, D> {
    /// Running turns, in order of admission. Returns whether one was left out for want of a block.
    pub(super) fn schedule_running(
        &mut self,
        plan: &mut Plan,
        budget: &mut u32,
        chunk_max: u32,
    ) -> bool {
        let block = self.config.memory.block_tokens;
        let mut stalled = false;
        let mut at = 0;
        while at < self.batch.running.len() && *budget > 0 {
            let session = self.batch.running[at];
            let request = &self.live[session.index()].request;
            let last_in_flight = request.placeholders > 0
                && request.computed + 2 - request.placeholders
                    >= request.prompt + request.output_max;
            let mut wanted = request.left();
            if self.is_arriving(session) {
                wanted = wanted.min(request.left_beside_copy());
                if wanted == 0 {
                    let request = &mut self.live[session.index()].request;
                    request.waits(Part::Copy, self.now);
                }
            }
            if last_in_flight || wanted == 0 {
                at += 1;
                continue;
            }
            let request = &self.live[session.index()].request;
            let tokens = wanted
                .min(self.chunk(session, wanted, chunk_max))
                .min(*budget);
            let held = self.ledger.kv(session).run.blocks();
            // What it holds behind a hole joins it when that is filled: no block is taken for it.
            let filled = request.fills(tokens);
            let joins = filled.map_or(0, |hole| hole.kept / block);
            let need = request
                .after(tokens)
                .div_ceil(block)
                .saturating_sub(held + joins);
            let behind = filled.map_or(0, |hole| need - (hole.end / block - held));
            match self.room_to_grow(session, need, plan, budget) {
                Growth::Fits => at = self.position(session, at),
                Growth::Stalls => {
                    stalled = true;
                    self.short = true;
                    self.summary.stalls += 1;
                    let request = &mut self.live[session.index()].request;
                    request.waits(Part::Stall, self.now);
                    at = self.position(session, at) + 1;
                    continue;
                }
                Growth::Waits => {
                    stalled = true;
                    break;
                }
                Growth::Preempted => break,
            }
            let held = self.ledger.kv(session).run.blocks();
            self.ledger.grow(session, need - behind);
            self.note_allocated(session, held);
            self.put(session, tokens, behind, plan);
            *budget -= tokens;
            at += 1;
        }
        stalled
    }

    /// Where `session` is in the batch now; it was at `at`, and turns before it may have left.
    pub(super) fn position(&self, session: SessionId, at: usize) -> usize {
        let before = &self.batch.running[..self.batch.running.len().min(at + 1)];
        let found = before.iter().rposition(|&s| s == session);
        found.expect("a turn that grows runs")
    }

    /// Finds `need` blocks for a running turn: the policy's, then by preempting the turn that it names, or the last admitted.
    fn room_to_grow(
        &mut self,
        session: SessionId,
        need: u32,
        plan: &mut Plan,
        budget: &mut u32,
    ) -> Growth {
        loop {
            let free = self.ledger.pool(Tier::Hbm).free();
            if need <= free {
                return Growth::Fits;
            }
            match self.make_room(need - free, Need::Growth(session)) {
                Room::Freed => continue,
                Room::Leaving => return Growth::Stalls,
                Room::None => {}
            }
            let last = self.batch.running.last();
            if last.is_some_and(|&last| self.must_stay(last) || self.is_arriving(last)) {
                return Growth::Waits;
            }
            let victim = self.preempted_for(session);
            let (keep, written) = self.take_out(victim, plan, budget);
            self.preempt(victim, keep, written);
            plan.preempted += 1;
            if victim == session {
                // Alone, it would come back to find no more than now: pins are in its way.
                self.short |= self.batch.running.is_empty();
                return Growth::Preempted;
            }
        }
    }
}
