//! vLLM v1's scheduler: running turns first, then admissions, under one token budget.
//!
//! Rules 7–15 of vLLM 0.32, one function each where they are one thought. Where the policy can find memory, it is asked before a turn is
//! preempted or left waiting; vLLM's own policies never give any, so that nothing differs.

use super::Driver;
use super::idle::Room;
use super::offload::Entry;
use super::steps::{InFlight, Item, Plan};
use crate::device::Device;
use crate::memory::{Found, Hits};
use crate::record::{Part, StepRecord, What};
use model::{
    Action, Blocks, Direction, Event, Need, Outcome, Place, SessionId, StepBudget, Tier, Time,
    Tokens,
};
use std::ops::Bound;

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
    /// Puts the next step together and submits it.
    pub(super) fn schedule(&mut self) {
        self.catch_up();
        self.summary.schedules += 1;
        self.short = false;
        if let Some(offload) = &mut self.offload {
            offload.begin_scheduling();
        }
        let mut plan = Plan {
            steps: 1,
            ..Plan::default()
        };
        self.reorder_queue();
        let limits = self.step_budget();
        let mut budget = self.config.batching.max_batched_tokens;
        budget = budget.min(limits.tokens.0.max(1));
        let crowded = self.batch.running.len() as u32 + self.batch.queued() > 1;
        let chunk_max = match self.config.batching.long_prefill_tokens {
            0 => u32::MAX,
            _ if !crowded => u32::MAX,
            limit => limit,
        };
        let chunk_max = chunk_max.min(limits.chunk.0.max(1));
        let stalled = self.schedule_running(&mut plan, &mut budget, chunk_max);
        // A preempted turn that computes its last token again, alone for want of budget, yields nothing yet.
        let decodes = |item: &Item| item.decode && item.emits && !item.resumed;
        let steady = plan.items.iter().all(decodes) && !stalled && plan.preempted == 0;
        let before = plan.items.len();
        let passed = self.admit(&mut plan, &mut budget, chunk_max);
        self.batch.just_finished = false;
        self.starved = self.short && !self.batch.waiting.is_empty();
        let seen = self.batch.running.len() as u32;
        self.summary.running_max = self.summary.running_max.max(seen);
        self.summary.queued_max = self.summary.queued_max.max(self.batch.queued());
        let hbm = self.ledger.pool(Tier::Hbm);
        let held = hbm.capacity() - hbm.free();
        self.summary.hbm_held_max = self.summary.hbm_held_max.max(held);
        plan.orders = self.offer(plan.items.iter().map(|item| item.session));
        if !plan.items.is_empty() {
            self.allow_copies(limits.copy);
        }
        let rationed = self.copies_are_rationed();
        if steady && !passed && !rationed && before > 0 && plan.items.len() == before {
            let sessions = plan.items.iter().map(|item| item.session);
            let most = self.offload_horizon(sessions, &plan.orders);
            let most = most.min(self.steps_to_tick());
            plan.steps = self.steady_steps(&plan.items).min(most);
        }
        let emits = plan.items.iter().filter(|item| item.emits);
        self.note_emits(emits.map(|item| item.session));
        if self.config.batching.ahead {
            for item in plan.items.iter().filter(|item| item.emits) {
                self.live[item.session.index()].request.placeholders += 1;
            }
        }
        if self.config.stepwise {
            plan.record = Some(self.describe(&plan));
        }
        let nothing = plan.items.is_empty();
        let flying = self.steps_left() > 0;
        self.submit_plan(plan);
        if nothing {
            if flying || self.offload.is_some() {
                self.ran_nothing = true;
            } else {
                let idle = self.leaving() == 0 && !passed;
                self.nap(self.now, idle);
            }
        }
    }

    /// Running turns, in order of admission. Returns whether one was left out for want of a block.
    fn schedule_running(&mut self, plan: &mut Plan, budget: &mut u32, chunk_max: u32) -> bool {
        let block = self.config.memory.block_tokens;
        let mut stalled = false;
        let mut at = 0;
        while at < self.batch.running.len() && *budget > 0 {
            let session = self.batch.running[at];
            let request = &self.live[session.index()].request;
            let last_in_flight = request.placeholders > 0
                && request.computed + 2 - request.placeholders
                    >= request.prompt + request.output_max;
            let wanted = request.tokens() + request.placeholders - request.computed;
            if last_in_flight || wanted == 0 {
                at += 1;
                continue;
            }
            let tokens = wanted
                .min(self.chunk(session, wanted, chunk_max))
                .min(*budget);
            let held = self.ledger.kv(session).run.blocks();
            let need = (request.computed + tokens)
                .div_ceil(block)
                .saturating_sub(held);
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
            self.ledger.grow(session, need);
            self.note_allocated(session, held);
            self.put(session, tokens, plan);
            *budget -= tokens;
            at += 1;
        }
        stalled
    }

    /// Where `session` is in the batch now; it was at `at`, and turns before it may have left.
    fn position(&self, session: SessionId, at: usize) -> usize {
        let before = &self.batch.running[..self.batch.running.len().min(at + 1)];
        let found = before.iter().rposition(|&s| s == session);
        found.expect("a turn that grows runs")
    }

    /// The longest chunk of a turn's prompt in the next step.
    fn chunk(&self, session: SessionId, wanted: u32, chunk_max: u32) -> u32 {
        if wanted == 1 {
            return 1;
        }
        let own = self.ask(|policy, view| policy.chunk(view, session));
        chunk_max.min(own.0.max(1))
    }

    /// The policy's limits of a step: asked when something has happened.
    fn step_budget(&mut self) -> StepBudget {
        if self.budget.is_none() {
            self.budget = Some(self.ask(|policy, view| policy.step_budget(view)));
        }
        self.budget.expect("just asked")
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
            if self
                .batch
                .running
                .last()
                .is_some_and(|&last| self.must_stay(last))
            {
                return Growth::Waits;
            }
            let victim = self.preempted_for(session);
            let keep = self.take_out(victim, plan, budget);
            self.preempt(victim, keep);
            plan.preempted += 1;
            if victim == session {
                // Alone, it would come back to find no more than now: pins are in its way.
                self.short |= self.batch.running.is_empty();
                return Growth::Preempted;
            }
        }
    }

    /// Takes the turn that gives way out of the batch.
    fn preempted_for(&mut self, session: SessionId) -> SessionId {
        let named = self.ask(|policy, view| policy.preempt(view, session));
        let at = named.and_then(|named| self.batch.running.iter().position(|&s| s == named));
        match at {
            Some(at) => self.batch.running.remove(at),
            None => self.batch.running.pop().expect("the turn itself runs"),
        }
    }

    /// Takes a turn out of the step that is being put together, if it is in it: it gives way after all. Returns how many of its blocks hold
    /// what has been computed.
    fn take_out(&mut self, session: SessionId, plan: &mut Plan, budget: &mut u32) -> u32 {
        let Some(at) = plan.items.iter().position(|item| item.session == session) else {
            return u32::MAX;
        };
        let item = plan.items.remove(at);
        let request = &mut self.live[session.index()].request;
        request.computed -= item.tokens;
        request.in_flight -= item.tokens;
        request.recomputed -= item.again;
        if item.resumed && request.scheduled.is_some() {
            request.resumed_tokens -= item.context;
        }
        *budget += item.tokens;
        self.batch.running_tokens -= u64::from(item.tokens);
        let view = &mut self.views[session.index()];
        view.computed -= Tokens(item.tokens);
        view.service -= Tokens(item.tokens);
        item.registered
    }

    /// `tokens` more of a running turn get KV.
    pub(super) fn note_computed(&mut self, session: SessionId, tokens: u32) {
        self.batch.running_tokens += u64::from(tokens);
        let view = &mut self.views[session.index()];
        view.computed += Tokens(tokens);
        view.service += Tokens(tokens);
    }

    /// A turn runs no more.
    pub(super) fn leave_batch(&mut self, session: SessionId) {
        let request = &mut self.live[session.index()].request;
        request.running = false;
        self.batch.running_tokens -= u64::from(request.computed);
        self.views[session.index()].computed = Tokens::ZERO;
    }

    /// Back to the front of the queue; what it had stays a hit while it survives, except what was never computed, from block `keep` on.
    fn preempt(&mut self, session: SessionId, keep: u32) {
        let blocks = Blocks(self.ledger.kv(session).run.blocks());
        self.note_preempted(session);
        self.ledger.release_run(session, keep);
        self.leave_batch(session);
        let number = self.batch.front();
        let request = &mut self.live[session.index()].request;
        request.existed = request.existed.max(request.computed);
        request.computed = 0;
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
        self.note_change();
    }

    /// Adds a turn's share to the step.
    fn put(&mut self, session: SessionId, tokens: u32, plan: &mut Plan) {
        let block = self.config.memory.block_tokens;
        let registered = self.ledger.kv(session).run.registered();
        self.note_computed(session, tokens);
        let request = &mut self.live[session.index()].request;
        let context = request.computed;
        request.computed += tokens;
        request.in_flight += tokens;
        let computed = request.computed;
        let emits = computed >= request.tokens() + request.placeholders;
        let decode = tokens == 1 && context >= request.prompt;
        let mut again = 0;
        if !decode {
            again = request.existed.min(computed) - request.existed.min(context);
            request.recomputed += again;
        }
        request.waits(Part::Queue, self.now);
        let resumed = std::mem::replace(&mut request.resumed, false);
        if resumed && request.scheduled.is_some() {
            request.resumed_tokens += context;
        }
        let full = computed.min(request.tokens()) / block;
        plan.items.push(Item {
            session,
            tokens,
            context,
            again,
            emits,
            decode,
            resumed,
            registered,
        });
        self.register(session, full);
    }

    /// Admissions from the head of the queue; none in a step that preempted. Returns whether the queue must be looked at
    /// again after a single step.
    fn admit(&mut self, plan: &mut Plan, budget: &mut u32, chunk_max: u32) -> bool {
        if plan.preempted > 0 || (*budget == 0 && !self.batch.waiting.is_empty()) {
            return true;
        }
        let mut passed = false;
        let mut after = Bound::Unbounded;
        while *budget > 0 && (self.batch.running.len() as u32) < self.config.batching.max_seqs {
            let next = self.batch.waiting.range((after, Bound::Unbounded)).next();
            let Some((&place, &session)) = next else {
                break;
            };
            if self.is_loading(session) {
                // Its load ends no run of steps unnoticed: there is no need to look again.
                after = Bound::Excluded(place);
                continue;
            }
            if self.live[session.index()].request.stale > 0 {
                // Tokens of its former life are in flight: looked at again next step, others may pass.
                after = Bound::Excluded(place);
                passed = true;
                continue;
            }
            if self.restore_lacks_room_before(place) {
                // Memory is handed out in order: nobody overtakes a turn whose restore waits for room.
                self.short = true;
                break;
            }
            let mut hits = std::mem::take(&mut self.hits);
            let entry = self.find_room(session, &mut hits, *budget, chunk_max);
            match entry {
                Entry::Runs(tokens) => {
                    self.enter(session, place, &hits, tokens, plan);
                    *budget -= tokens;
                }
                Entry::Loads(blocks) => self.start_load(session, place, &hits, blocks),
                Entry::Later => {
                    after = Bound::Excluded(place);
                    passed = true;
                }
                Entry::Blocked { retry } => {
                    self.short = true;
                    // Copies that leave will make room: look again after each step.
                    passed |= retry || self.leaving() > 0;
                }
            }
            self.hits = hits;
            if matches!(entry, Entry::Blocked { .. }) {
                break;
            }
        }
        passed
    }

    /// Whether the turn fits, and what it does next. `hits` is what the prefix cache has of it, unless it has its blocks already.
    fn find_room(
        &mut self,
        session: SessionId,
        hits: &mut Hits,
        budget: u32,
        chunk_max: u32,
    ) -> Entry {
        let block = self.config.memory.block_tokens;
        let batching = self.config.batching;
        loop {
            let request = &self.live[session.index()].request;
            let tokens = request.tokens();
            // Blocks of a load that has ended.
            let held = self.ledger.kv(session).run.blocks();
            let (mut cached, mut found) = (request.computed, 0);
            if held > 0 {
                *hits = Hits::default();
            } else {
                self.ledger.lookup(session, (tokens - 1) / block, hits);
                match self.find_on_host(session, hits) {
                    Found::Blocks(blocks) => found = blocks,
                    Found::Later => return Entry::Later,
                }
                cached = (hits.blocks + found) * block;
            }
            let (mut now, mut reserved) = (0, 0);
            if found > 0 {
                reserved = self.promised_to_prefills();
            } else {
                let missing = tokens - cached;
                now = missing
                    .min(self.chunk(session, missing, chunk_max))
                    .min(budget);
            }
            let held = held + hits.blocks;
            let watermark = if self.batch.running.is_empty() {
                0
            } else {
                batching.watermark_blocks
            };
            let extra = hits.unheld + watermark;
            let gate = if batching.reserve_full {
                tokens.div_ceil(block).saturating_sub(held)
            } else {
                0
            };
            let entering = self.blocks_to_enter(session, cached + now, held);
            let need = gate.max(entering + reserved) + extra;
            let free = self.ledger.pool(Tier::Hbm).free();
            if need <= free {
                return match found {
                    0 => Entry::Runs(now),
                    _ => Entry::Loads(found),
                };
            }
            // What the host adds shrinks with what the GPU has, so that a step can make a load smaller.
            let retry = found > 0 && gate + extra <= free;
            let blocked = Entry::Blocked { retry };
            if self.refused == Some(session) && !self.settle_copy(Direction::D2h) {
                return blocked;
            }
            match self.make_room(need - free, Need::Admission(session)) {
                Room::Freed => {}
                Room::Leaving => return blocked,
                Room::None => {
                    self.refused = Some(session);
                    return blocked;
                }
            }
        }
    }

    /// Blocks beyond `held` that a turn takes when it enters with KV of `tokens` after its first step.
    fn blocks_to_enter(&self, session: SessionId, tokens: u32, held: u32) -> u32 {
        let block = self.config.memory.block_tokens;
        let request = &self.live[session.index()].request;
        // A serial run is not interrupted, so it cannot wait for blocks half-way: it takes all of them at once.
        let upto = if self.config.batching.serial {
            request.prompt + request.output_max
        } else {
            tokens
        };
        upto.div_ceil(block).saturating_sub(held)
    }

    /// The turn joins the batch.
    fn enter(
        &mut self,
        session: SessionId,
        place: Place,
        hits: &Hits,
        tokens: u32,
        plan: &mut Plan,
    ) {
        let block = self.config.memory.block_tokens;
        self.batch.waiting.remove(&place);
        self.batch.running.push(session);
        self.note_hit(session, Tokens(hits.blocks * block));
        let held = self.ledger.kv(session).run.blocks();
        let live = &mut self.live[session.index()];
        let request = &mut live.request;
        let cached = if held > 0 {
            request.computed
        } else {
            hits.blocks * block
        };
        if request.preemptions == 0 {
            request.hit = cached;
        }
        request.computed = cached;
        request.running = true;
        let compute = Tokens(request.tokens() - cached);
        self.batch.queue_tokens -= u64::from(request.prompt);
        self.batch.running_tokens += u64::from(cached);
        self.report.admissions += 1;
        self.report.asked += u64::from(request.tokens());
        self.report.hit += u64::from(cached);
        let view = &mut self.views[session.index()];
        view.phase = model::Phase::Running;
        view.preempted = false;
        view.computed = Tokens(cached);
        let waited = self.now.since(view.queued_since);
        let need = self.blocks_to_enter(session, cached + tokens, held + hits.blocks);
        if held > 0 {
            self.ledger.grow(session, need);
        } else {
            self.ledger.admit(session, hits, need);
        }
        self.note_allocated(session, 0);
        self.note_prefill(session, tokens);
        self.refresh(session);
        self.log(
            session,
            What::Admit {
                hit: Tokens(cached),
                compute,
            },
        );
        self.tell(Event::Admitted {
            session,
            hit: Tokens(cached),
            compute,
            waited,
        });
        self.put(session, tokens, plan);
    }

    /// How many equal steps may follow one another: until a turn ends, or the free queue is empty.
    fn steady_steps(&self, items: &[Item]) -> u32 {
        if self.config.stepwise {
            return 1;
        }
        // A turn that ends with a step in flight frees its blocks within the run.
        let ending = self.in_flight.iter().flat_map(InFlight::items).any(|item| {
            let request = &self.live[item.session.index()].request;
            request.output + 1 >= request.output_max
        });
        if ending {
            return 1;
        }
        let left = items.iter().map(|item| {
            let request = &self.live[item.session.index()].request;
            request.output_max - request.output - request.placeholders
        });
        let longest = left.min().expect("a step has items");
        self.steps_that_fit(items, longest)
    }

    /// The largest number of steps, up to `longest`, for which the free queue holds the blocks.
    fn steps_that_fit(&self, items: &[Item], longest: u32) -> u32 {
        let block = self.config.memory.block_tokens;
        let free = u64::from(self.ledger.pool(Tier::Hbm).free());
        let needed = |steps: u32| -> u64 {
            let of = |item: &Item| {
                let computed = self.live[item.session.index()].request.computed;
                u64::from((computed + steps - 1).div_ceil(block) - computed.div_ceil(block))
            };
            items.iter().map(of).sum()
        };
        if needed(longest) <= free {
            return longest;
        }
        let (mut fits, mut fails) = (1, longest);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if needed(middle) <= free {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        fits
    }

    fn describe(&self, plan: &Plan) -> StepRecord {
        let items = &plan.items;
        let pool = self.ledger.pool(Tier::Hbm);
        StepRecord {
            start: Time::ZERO,
            end: Time::ZERO,
            running: self.batch.running.len() as u32,
            waiting: self.batch.queued(),
            free: pool.free(),
            tokens: items.iter().map(|item| item.tokens).sum(),
            prefill_tokens: items
                .iter()
                .filter(|i| !i.decode)
                .map(|item| item.tokens)
                .sum(),
            decode_seqs: items.iter().filter(|item| item.decode).count() as u32,
            kv_tokens: items
                .iter()
                .map(|i| u64::from(i.context) + u64::from(i.tokens))
                .sum(),
            preempted: plan.preempted,
            finished: 0,
            queue: self.recorder.wants_queue().then(|| pool.queue_places()),
        }
    }
}
