//! What the policy sees, is asked and is told, and what is recorded of that.
use super::Driver;
use crate::device::Device;
use crate::memory::BlockPool;
use crate::record::{Decision, Sample, What};
use model::{
    Action, Direction, Event, Outcome, Phase, PoolLevel, Ranking, SessionId, Sessions, Tier,
    TurnIndex, View,
};
use policy::Policy;

impl<D: Device> Driver<'_, D> {
    /// What policies see.
    pub(super) fn view(&self) -> View<'_> {
        let level = |pool: &BlockPool| PoolLevel {
            capacity: model::Blocks(pool.capacity()),
            free: model::Blocks(pool.free()),
            cached: model::Blocks(pool.cached()),
        };
        let host = match &self.offload {
            Some(offload) => offload.level(),
            None => level(self.ledger.pool(Tier::Host)),
        };
        let mut link = self.config.link;
        for direction in Direction::LINK {
            let offload = self.offload.as_ref();
            let jobs = offload.map_or(0, |offload| offload.queued(direction));
            let blocks = self.lanes[direction.index()].left() + jobs;
            link[direction.index()].queued = self.bytes(blocks);
        }
        let mut view = View {
            now: self.now,
            hbm: level(self.ledger.pool(Tier::Hbm)),
            host,
            disk: None,
            block_bytes: self.config.block_bytes,
            block_tokens: self.config.memory.block_tokens,
            link,
            prefill: self.config.prefill,
            queued: self.batch.queued(),
            running: self.batch.running.len() as u32,
            running_max: self.config.batching.max_seqs,
            sessions: Sessions::new(&self.views),
            batch: &self.batch.running,
            batch_tokens: self.batch.running_tokens,
            queue: &self.batch.waiting,
            queue_tokens: self.batch.queue_tokens,
            held: &self.held,
            paused: &self.paused,
            idle_by_age: Ranking::new(&self.idle_by_age),
            idle_by_return: Ranking::new(&self.idle_by_return),
            idle_by_pin_end: Ranking::new(&self.idle_by_pin_end),
        };
        if self.has_disk() {
            view.disk = Some(self.disk_level());
        }
        view
    }

    /// Asks the policy.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&dyn Policy, &View<'_>) -> T) -> T {
        question(self.policy.as_deref().expect("not observing"), &self.view())
    }

    /// Tells the policy.
    pub(super) fn tell(&mut self, event: Event) {
        let mut policy = self.policy.take().expect("not observing");
        policy.observe(&self.view(), &event);
        self.policy = Some(policy);
        let change = event.is_change();
        let admitted = matches!(event, Event::Admitted { .. });
        self.changed |= change;
        // Whoever waits for leave to read has come closer to the head of the queue.
        self.advanced |= admitted && !self.unread.is_empty();
        if change || admitted || matches!(event, Event::Tick(_)) {
            self.budget = None;
        }
        let queued = |s: &SessionId| {
            let view = self.views.get(s.index());
            view.is_some_and(|view| view.phase == Phase::Queued)
        };
        self.reorder.extend(event.session().filter(queued));
    }

    pub(super) fn acted(&mut self, session: SessionId, action: Action, outcome: Outcome) {
        self.log(session, What::Acted(action, outcome));
        self.tell(Event::Acted(session, action, outcome));
    }

    pub(super) fn log(&mut self, session: SessionId, what: What) {
        if self.logs {
            let view = self.views.get(session.index());
            let turn = view.map_or(TurnIndex(0), |view| view.turn);
            self.recorder.decision(&Decision {
                at: self.now,
                session,
                turn,
                what,
            });
        }
    }

    pub(super) fn sample(&mut self) {
        let hbm = self.ledger.pool(Tier::Hbm);
        let host = self.view().host;
        let running: u32 = self
            .batch
            .running
            .iter()
            .map(|&s| self.ledger.kv(s))
            .map(|kv| kv.run.blocks() + kv.behind.blocks())
            .sum();
        // Blocks that several turns share are counted once in the pool and once in each of their tables.
        let held = hbm.capacity() - hbm.free();
        let running = running.min(held);
        let sample = Sample {
            time: self.now,
            hbm_running: running,
            hbm_idle: held - running,
            hbm_cached: hbm.cached(),
            hbm_capacity: hbm.capacity(),
            host_used: (host.capacity - host.free + host.cached).0,
            host_capacity: host.capacity.0,
            running: self.batch.running.len() as u32,
            queued: self.batch.queued(),
            idle: self.idle,
            held: self.held.len() as u32,
            moved: [self.lanes[0].moved, self.lanes[1].moved],
            busy: Direction::LINK.map(|direction| self.device.lane_busy(direction)),
        };
        self.recorder.sample(&sample);
    }
}
