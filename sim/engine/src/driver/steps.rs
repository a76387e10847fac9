//! Step runs in flight: what is committed, what is complete, and what that changes.
//!
//! A run's first step has its effects when it is scheduled. Those of its further steps are applied when they are *committed*: blocks taken from
//! the front of the free queue by step and then by running order, filled blocks registered. Single steps would do the same, one by one;
//! that is the test (`stepwise`).

use super::offload::Launch;
use super::{Driver, RunError, Sleep};
use crate::device::{Completion, Device, PrefillChunk, StepPhase, StepRun, StepShape};
use crate::memory::Orders;
use crate::record::{HostLoads, OpKind, OpRecord, StepRecord, TurnRecord};
use model::{ContentId, OpId, SessionId, Time, Tokens, TurnIndex};

/// One turn's share of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub session: SessionId,
    /// Tokens computed.
    pub tokens: u32,
    /// Tokens computed before.
    pub context: u32,
    /// Of `tokens`: computed before, in another life.
    pub again: u32,
    /// Yields a token.
    pub emits: bool,
    /// One token beyond the prompt.
    pub decode: bool,
    /// First step after a preemption.
    pub resumed: bool,
    /// Blocks of the turn that were registered before.
    pub registered: u32,
}

/// A run that is not over.
#[derive(Debug)]
pub(super) struct InFlight {
    /// `None` for a scheduling that ran nothing and is only to be recorded in its turn.
    op: Option<OpId>,
    items: Vec<Item>,
    /// Steps it will have: as planned, or as cut.
    steps: u32,
    /// Steps whose scheduling has had its effects.
    applied: u32,
    /// Steps whose completion has had its effects.
    completed: u32,
    pub submitted: Time,
    /// When its step could begin, as far as copies are concerned.
    pub launched: Time,
    kind: OpKind,
    record: Option<StepRecord>,
    /// What the host tier has to do with it.
    pub launch: Launch,
}

/// What `schedule` has put together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub items: Vec<Item>,
    /// Equal steps that may follow one another.
    pub steps: u32,
    pub preempted: u32,
    pub record: Option<StepRecord>,
    /// What the host tier wants moved.
    pub orders: Orders,
}

impl<D: Device> Driver<'_, D> {
    /// Steps submitted and not complete.
    pub(super) fn steps_left(&self) -> u32 {
        self.in_flight
            .iter()
            .map(|run| run.steps - run.completed)
            .sum()
    }

    /// Whether a step could be scheduled now, as far as the GPU is concerned.
    pub(super) fn may_schedule(&self) -> bool {
        let ahead = u32::from(self.config.batching.ahead);
        !self.ran_nothing && self.steps_left() <= ahead && self.has_requests()
    }

    /// Whether it is time to schedule.
    pub(super) fn due(&mut self) -> bool {
        self.catch_up();
        if !self.may_schedule() {
            return false;
        }
        match self.sleep {
            Some(sleep) if sleep.idle || sleep.until > self.now => false,
            _ => {
                self.sleep = None;
                true
            }
        }
    }

    /// Gives a plan to the device.
    pub(super) fn submit_plan(&mut self, plan: Plan) {
        let Plan {
            items,
            steps,
            preempted,
            record,
            orders,
        } = plan;
        let launch = self.launch(orders, !items.is_empty());
        if items.is_empty() {
            let queues = self.offload.is_some();
            if preempted > 0 || queues {
                self.in_flight.push_back(InFlight {
                    // It has its turn among the others if it has copies to poll for.
                    steps: u32::from(queues),
                    submitted: self.now,
                    launched: self.now,
                    record: record.filter(|_| preempted > 0),
                    launch,
                    ..InFlight::placeholder()
                });
                self.flush_empty();
            }
            return;
        }
        let mut shape = StepShape::default();
        for item in &items {
            if item.decode {
                shape.decode_seqs += 1;
                shape.decode_kv_tokens += u64::from(item.context + 1);
            } else {
                shape.prefill.push(PrefillChunk {
                    tokens: item.tokens,
                    context: item.context,
                });
            }
        }
        let kind = OpKind::Steps {
            steps,
            prefill_tokens: shape.prefill_tokens(),
            decode_seqs: shape.decode_seqs,
            kv_tokens: shape.kv_tokens(),
            prefill_kv_tokens: shape.kv_tokens() - shape.decode_kv_tokens,
            prefill_pairs: shape.prefill_pairs(),
        };
        self.summary.prefill_tokens += u64::from(shape.prefill_tokens());
        self.report.prefill += u64::from(shape.prefill_tokens());
        let op = self.new_op();
        self.in_flight.push_back(InFlight {
            op: Some(op),
            items,
            steps,
            applied: 1,
            completed: 0,
            submitted: self.now,
            launched: self.now,
            kind,
            record,
            launch,
        });
        self.hand_over(StepRun {
            id: op,
            phases: vec![StepPhase { shape, steps }],
            cuttable: !self.config.batching.serial,
        });
    }

    /// Brings the accounts up to the present without changing any plan.
    pub(super) fn catch_up(&mut self) {
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
    pub(super) fn settle_steps(&mut self) {
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
    fn commit(&mut self, at: usize, done: u32) {
        let ahead = u32::from(self.config.batching.ahead);
        let run = &self.in_flight[at];
        let scheduled = (done + 1 + ahead).min(run.steps);
        self.apply(at, scheduled);
        self.complete(at, done, None);
    }

    /// The effects of scheduling steps up to `upto`.
    fn apply(&mut self, at: usize, upto: u32) {
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
        self.note_computed(session, steps);
        if !ahead {
            self.register(session, computed / block);
        }
    }

    /// The first `blocks` blocks of a running turn are full.
    pub(super) fn register(&mut self, session: SessionId, blocks: u32) {
        let (device, offload) = (&mut *self.device, &mut self.offload);
        let mut wrote = |block: u32, content: ContentId| {
            let deferred = offload
                .as_mut()
                .is_some_and(|offload| offload.defers_write(block, content));
            if !deferred {
                device.wrote(block, content);
            }
        };
        self.ledger.register(session, blocks, &mut wrote);
    }

    /// The effects of completing steps up to `upto`; with `ended`, the last of them is over and all of its run.
    fn complete(&mut self, at: usize, upto: u32, ended: Option<(Time, Time)>) {
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

    /// Takes in what the device has completed.
    pub(super) fn take_completions(&mut self, done: &mut Vec<Completion>) -> Result<(), RunError> {
        self.note_over(done);
        if done.iter().any(|completion| !self.is_step(completion.op)) {
            // In this order: steps took their blocks before the copies gave theirs.
            self.settle_steps();
            self.settle_copies();
            self.take_jobs(done)?;
        }
        for completion in done.drain(..) {
            let at = self
                .in_flight
                .iter()
                .position(|run| run.op == Some(completion.op));
            match at {
                None => {
                    self.settle_steps();
                    self.copy_done(&completion)?;
                }
                Some(at) if self.is_next_over(at, &completion) => self.run_done(at, &completion)?,
                Some(_) => {}
            }
        }
        self.settle_launches()
    }

    pub(super) fn run_done(&mut self, at: usize, completion: &Completion) -> Result<(), RunError> {
        completion.status.clone()?;
        if at != 0 {
            return Err(self.broken("step order", "a step run has overtaken another".to_owned()));
        }
        if completion.units == 0 || completion.units > self.in_flight[0].steps {
            let (done, planned) = (completion.units, self.in_flight[0].steps);
            let what = format!("run {}: {done} of {planned} steps", completion.op);
            return Err(self.broken("completions", what));
        }
        self.in_flight[0].steps = completion.units;
        let last = completion.units - 1;
        if last > 0 {
            self.commit(0, last);
        }
        self.apply(0, completion.units);
        // Times of a run's last step are not told apart from the run's; only single steps can begin a turn.
        let ended = (completion.start, completion.end);
        self.complete(0, completion.units, Some(ended));
        let mut run = self.in_flight.pop_front().expect("there is one");
        if let OpKind::Steps { steps, .. } = &mut run.kind {
            *steps = completion.units;
        }
        self.recorder.op(&OpRecord {
            op: completion.op,
            submit: run.submitted,
            start: completion.start,
            end: completion.end,
            kind: run.kind,
        });
        if let Some(mut record) = run.record {
            (record.start, record.end) = (completion.start, completion.end);
            self.recorder.step(&record);
        }
        self.take_in(&run.launch.ended);
        if let Some(offload) = &mut self.offload {
            offload.stir();
        }
        self.flush_empty();
        if self.offload.is_none() && self.ran_nothing && self.in_flight.is_empty() {
            self.ran_nothing = false;
            self.nap(self.now, false);
        }
        Ok(())
    }

    /// Records schedulings that ran nothing once their predecessors are over. Those that poll for copies are settled elsewhere.
    fn flush_empty(&mut self) {
        while self.offload.is_none() && self.in_flight.front().is_some_and(InFlight::is_empty) {
            let run = self.in_flight.pop_front().expect("just seen");
            self.record_empty(&run);
        }
    }

    /// Records a scheduling that ran nothing.
    pub(super) fn record_empty(&mut self, run: &InFlight) {
        if let Some(mut record) = run.record.clone() {
            (record.start, record.end) = (run.launched, run.launched);
            self.recorder.step(&record);
        }
    }

    /// A scheduling ran nothing though there are requests: the engine core polls.
    pub(super) fn nap(&mut self, from: Time, idle: bool) {
        let poll = self.config.batching.idle_poll;
        if poll.0 > 0 && self.has_requests() {
            self.sleep = Some(Sleep {
                until: from + poll,
                idle,
            });
        }
    }
}

impl InFlight {
    fn placeholder() -> Self {
        Self {
            op: None,
            items: Vec::new(),
            steps: 0,
            applied: 0,
            completed: 0,
            submitted: Time::ZERO,
            launched: Time::ZERO,
            kind: OpKind::Steps {
                steps: 0,
                prefill_tokens: 0,
                decode_seqs: 0,
                kv_tokens: 0,
                prefill_kv_tokens: 0,
                prefill_pairs: 0,
            },
            record: None,
            launch: Launch::default(),
        }
    }

    /// A scheduling that ran nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.op.is_none()
    }

    /// Its number on the device.
    pub(super) fn op(&self) -> Option<OpId> {
        self.op
    }

    /// Items of the run, and whether one of its turns ends with it.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }
}
