//! The effects of scheduling the further steps of a run.
use super::super::Driver;
use super::InFlight;
use crate::device::Device;
use model::{ContentId, SessionId};

impl<D: Device> Driver<'_, D> {
    /// Brings the accounts up to the present without changing any plan.
    pub(in super::super) fn catch_up(&mut self) {
        let last = self.in_flight.len().saturating_sub(1);
        for at in 0..self.in_flight.len() {
            let run = &self.in_flight[at];
            let Some(op) = run.op else { continue };
            if run.steps == 1 {
                continue;
            }
            // The last step is complete when its completion says so.
            let done = self.device.progress(op).min(run.steps - 1);
            if done == run.steps - 1 && at == last || done > run.completed {
                self.commit(at, done);
            }
        }
    }

    /// Something happens that plans did not foresee: runs end with what is committed.
    pub(in super::super) fn settle_steps(&mut self) {
        for at in 0..self.in_flight.len() {
            let run = &self.in_flight[at];
            let Some(op) = run.op.filter(|_| run.steps > 1) else {
                continue;
            };
            let done = self.device.progress(op).min(run.steps - 1);
            let committed = self.device.cut(op);
            let run = &mut self.in_flight[at];
            run.steps = committed;
            let done = done.min(committed - 1);
            self.commit(at, done);
            self.apply(at, committed);
        }
    }

    /// Makes `done` steps of a run complete, and those scheduled that must have been for that.
    pub(super) fn commit(&mut self, at: usize, done: u32) {
        let ahead = u32::from(self.config.batching.ahead);
        let run = &self.in_flight[at];
        let scheduled = (done + 1 + ahead).min(run.steps);
        self.apply(at, scheduled);
        self.complete(at, done, None);
    }

    /// The effects of scheduling steps up to `upto`.
    pub(super) fn apply(&mut self, at: usize, upto: u32) {
        let mut run = std::mem::replace(&mut self.in_flight[at], InFlight::placeholder());
        let news = upto.saturating_sub(run.applied);
        if news > 0 {
            run.applied = upto;
            let ahead = self.config.batching.ahead;
            let placed = self.config.memory.first_place.is_some();
            // By step and then by running order where it matters which block is taken, else at once.
            let (rounds, each) = if placed { (news, 1) } else { (1, news) };
            for _ in 0..rounds {
                for item in &run.items {
                    self.grow_decode(item.session, each, ahead);
                }
            }
            self.summary.schedules += u64::from(news);
        }
        self.in_flight[at] = run;
    }

    fn grow_decode(&mut self, session: SessionId, steps: u32, ahead: bool) {
        let block = self.config.memory.block_tokens;
        let request = &mut self.live[session.index()].request;
        request.computed += steps;
        request.in_flight += steps;
        let computed = request.computed;
        if ahead {
            request.placeholders += steps;
        }
        let need = computed
            .div_ceil(block)
            .saturating_sub(self.ledger.kv(session).run.blocks());
        if need > 0 {
            self.ledger.grow(session, need);
        }
        self.note_computed(session, steps, 0);
        if !ahead {
            self.register(session, computed / block);
        }
    }

    /// The first `blocks` blocks of a running turn are full.
    pub(in super::super) fn register(&mut self, session: SessionId, blocks: u32) {
        if !self.device.places_blocks() {
            return self.ledger.register(session, blocks, None);
        }
        let (device, offload) = (&mut *self.device, &mut self.offload);
        let mut wrote = |block: u32, content: ContentId| {
            let deferred = offload
                .as_mut()
                .is_some_and(|offload| offload.defers_write(block, content));
            if !deferred {
                device.wrote(block, content);
            }
        };
        self.ledger.register(session, blocks, Some(&mut wrote));
    }
}
