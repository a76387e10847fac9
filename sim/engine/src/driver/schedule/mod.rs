//! vLLM v1's scheduler: running turns first, then admissions, under one token budget.
//!
//! Rules 7–15 of vLLM 0.32, one function each where they are one thought. Where the policy can find memory, it is asked before a turn is
//! preempted or left waiting; vLLM's own policies never give any, so that nothing differs.
//!
//! | file | what |
//! |---|---|
//! | `running` | turns that run, in order of admission |
//! | `preemption` | one of them gives way |
//! | `admission` | turns that enter, from the head of the queue |
//! | `horizon` | how many equal steps may follow |

mod admission;
mod horizon;
mod preemption;
mod running;

use super::Driver;
use super::steps::{Item, Plan};
use crate::batch::Hole;
use crate::device::Device;
use crate::record::{Part, StepRecord};
use model::{SessionId, StepBudget, Tier, Time, Tokens};

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

    /// The policy's limits of a step: asked when something has happened.
    fn step_budget(&mut self) -> StepBudget {
        if self.budget.is_none() {
            self.budget = Some(self.ask(|policy, view| policy.step_budget(view)));
        }
        self.budget.expect("just asked")
    }

    /// The longest chunk of a turn's prompt in the next step.
    fn chunk(&self, session: SessionId, wanted: u32, chunk_max: u32) -> u32 {
        if wanted == 1 {
            return 1;
        }
        let own = self.ask(|policy, view| policy.chunk(view, session));
        chunk_max.min(own.0.max(1))
    }

    /// Adds a turn's share to the step. It has its blocks, but for `behind` blocks beyond what it holds behind a hole that is filled now.
    fn put(&mut self, session: SessionId, tokens: u32, behind: u32, plan: &mut Plan) {
        let block = self.config.memory.block_tokens;
        let registered = self.ledger.kv(session).run.registered();
        let request = &mut self.live[session.index()].request;
        let context = request.computed;
        let filled = request.fills(tokens);
        request.computed = request.after(tokens);
        request.in_flight += tokens;
        if let Some(hole) = filled {
            request.hole = None;
            self.register(session, hole.end / block);
            self.ledger.join(session);
            self.ledger.grow(session, behind);
        }
        let kept = filled.map_or(0, |hole| hole.kept);
        self.note_computed(session, tokens, kept);
        let request = &mut self.live[session.index()].request;
        let computed = request.computed;
        let emits = computed >= request.tokens() + request.placeholders;
        let decode = tokens == 1 && context >= request.prompt;
        let mut again = 0;
        if !decode {
            again = request.existed.min(computed) - request.existed.min(context);
            let behind = |hole: Hole| {
                request.existed.min(hole.end + hole.kept) - request.existed.min(hole.end)
            };
            again -= filled.map_or(0, behind);
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
            filled,
        });
        self.register(session, full);
    }

    /// `tokens` more of a running turn get KV, and `kept` behind them have it.
    pub(super) fn note_computed(&mut self, session: SessionId, tokens: u32, kept: u32) {
        self.batch.running_tokens += u64::from(tokens + kept);
        let view = &mut self.views[session.index()];
        view.computed += Tokens(tokens + kept);
        view.service += Tokens(tokens);
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
                .flat_map(Item::chunks)
                .map(|chunk| u64::from(chunk.context) + u64::from(chunk.tokens))
                .sum(),
            preempted: plan.preempted,
            finished: 0,
            queue: self.recorder.wants_queue().then(|| pool.queue_places()),
        }
    }
}
