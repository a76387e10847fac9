//! The effects of completed steps: tokens, and turns that end.
use super::super::Driver;
use super::Item;
use crate::device::Device;
use crate::record::{HostLoads, TurnRecord};
use model::{SessionId, Time, Tokens, TurnIndex};

impl<D: Device> Driver<'_, D> {
    /// The effects of completing steps up to `upto`; with `ended`, the last of them is over and all of its run.
    pub(super) fn complete(&mut self, at: usize, upto: u32, ended: Option<(Time, Time)>) {
        let run = &mut self.in_flight[at];
        let steps = upto.saturating_sub(run.completed);
        if steps == 0 {
            return;
        }
        run.completed = upto;
        self.summary.steps += u64::from(steps);
        let lead = run.applied - run.completed;
        let items = std::mem::take(&mut run.items);
        let mut finished = 0;
        for item in &items {
            finished += u32::from(self.complete_item(item, steps, lead, ended));
        }
        if finished > 0 {
            let live = &self.live;
            self.batch
                .running
                .retain(|s| live[s.index()].request.running);
            self.batch.just_finished = true;
        }
        let run = &mut self.in_flight[at];
        run.items = items;
        if let Some(record) = &mut run.record {
            record.finished = finished;
        }
    }

    /// Returns whether the turn is over.
    fn complete_item(
        &mut self,
        item: &Item,
        steps: u32,
        lead: u32,
        ended: Option<(Time, Time)>,
    ) -> bool {
        let block = self.config.memory.block_tokens;
        let ahead = self.config.batching.ahead;
        let session = item.session;
        let request = &mut self.live[session.index()].request;
        request.in_flight -= steps * item.tokens;
        let stale = request.stale > 0;
        if stale {
            request.stale -= item.tokens;
        }
        if let Some((start, end)) = ended {
            if request.first_token.is_none() {
                request.wake.step(start, end, item.tokens, item.again);
            }
            if request.scheduled.is_none() {
                request.scheduled = Some(start);
            }
        }
        if !item.emits {
            return false;
        }
        request.output += steps;
        if ahead {
            if !stale {
                request.placeholders -= steps;
            }
            if request.running {
                let known = (request.computed - request.placeholders).min(request.tokens());
                // A step scheduled since has made the newest full block visible.
                let seen = if lead >= 2 {
                    request.computed.min(request.tokens())
                } else {
                    known
                };
                let full = known.max(seen) / block;
                self.register(session, full);
            }
        }
        let request = &mut self.live[session.index()].request;
        let Some((_, end)) = ended else { return false };
        request.first_token.get_or_insert(end);
        if request.output < request.output_max {
            return false;
        }
        if request.running {
            self.leave_batch(session);
        } else {
            let (place, prompt) = (request.place, request.prompt);
            self.batch.waiting.remove(&place);
            self.batch.queue_tokens -= u64::from(prompt);
        }
        self.offer_last(session);
        self.record_turn(session, end);
        self.turn_done(session, end);
        true
    }

    fn record_turn(&mut self, session: SessionId, end: Time) {
        let block = self.config.memory.block_tokens;
        let live = &self.live[session.index()];
        let request = &live.request;
        let turn = TurnIndex(live.record.turns);
        let first_token = request
            .first_token
            .expect("a finished turn has its first token");
        let wait = (turn.0 > 0).then_some(live.waited);
        let record = TurnRecord {
            session,
            turn,
            wait,
            ready: live.ready,
            signal: live.signal,
            scheduled: request.scheduled.expect("a finished turn was scheduled"),
            first_token,
            end,
            input: Tokens(request.prompt),
            output: Tokens(request.output_max),
            hit: Tokens(request.hit),
            resumed: Tokens(request.resumed_tokens),
            restored: Tokens((live.restored.0 * block + request.hit_host).min(request.hit)),
            hit_hbm: Tokens(request.hit_hbm),
            host_loads: HostLoads {
                hit: Tokens(request.hit_host),
                count: request.loads,
                tokens: Tokens(request.loaded),
            },
            recomputed: Tokens(request.recomputed),
            preemptions: request.preemptions,
            parts: request.wake.spent(),
            hidden_copy: live.hidden,
            prefetch: live.prefetch_outcome(Tokens(request.hit), block),
        };
        self.recorder.turn(&record);
    }
}
