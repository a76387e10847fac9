//! When the policy looks at everything: changes, ticks, and what its plan sets in motion.
//!
//! The policy is consulted once per wake, after all that has happened is taken in and before the next step is put together. Runs of steps
//! are settled first, so that what it sees does not depend on how many steps the device was given at once.

use super::Driver;
use super::live::is_victim;
use crate::device::Device;
use model::{
    Action, Cadence, DiskMove, Event, Outcome, Phase, Place, Residence, Retention, SessionId, Time,
};

impl<D: Device> Driver<'_, D> {
    /// Consults the policy if its cadence has come round.
    pub(super) fn consult(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        match self.cadence {
            Cadence::OnChange if changed => {}
            Cadence::Steps(n) if self.summary.steps / u64::from(n.get()) > self.step_ticks => {
                self.step_ticks = self.summary.steps / u64::from(n.get());
                self.tick();
            }
            Cadence::Every(_) if self.tick_at.is_some_and(|at| at <= self.now) => {
                self.set_next_tick();
                self.ticked = Some(self.now);
                self.tick();
            }
            _ => return,
        }
        self.settle_steps();
        self.settle_copies();
        self.reconsider_held();
        let plan = self.ask(|policy, view| policy.plan(view));
        for session in plan.pause {
            self.pause(session);
        }
        for session in plan.resume {
            self.resume(session);
        }
        for (session, retention) in plan.retain {
            self.retain_as_planned(session, retention);
        }
        for session in plan.prefetch {
            self.prefetch_as_planned(session);
        }
        for (session, wish) in plan.disk {
            match wish {
                DiskMove::Store => self.write_to_disk(session, Action::Store),
                DiskMove::Demote => self.write_to_disk(session, Action::Demote),
                DiskMove::Promote => self.promote(session),
                DiskMove::Stop => self.stop_fetch(session),
            }
        }
        if !self.unread.is_empty() {
            self.reconsider_reads();
        }
        // What the plan itself has changed is no cause to plan again.
        self.changed = false;
    }

    fn tick(&mut self) {
        self.settle_steps();
        self.settle_copies();
        let mut report = std::mem::take(&mut self.report);
        report.span = self.now.since(self.reported);
        report.steps = self.summary.steps - self.reported_steps;
        (self.reported, self.reported_steps) = (self.now, self.summary.steps);
        self.tell(Event::Tick(report));
        self.reorder.extend(self.batch.waiting.values());
        // A tick is a reason to look again, and frees no memory.
        let short = self.short;
        self.note_change();
        self.short = short;
    }

    /// The next tick of a policy that is consulted periodically: the first multiple of its period from now on, while there are sessions.
    pub(super) fn set_next_tick(&mut self) {
        if let Cadence::Every(period) = self.cadence {
            let period = period.0.max(1);
            let next = Time((self.now.0 / period + 1).saturating_mul(period));
            self.tick_at = (self.alive > 0).then_some(next);
        }
    }

    /// How many steps may follow one another before the policy is to be consulted.
    pub(super) fn steps_to_tick(&self) -> u32 {
        match self.cadence {
            Cadence::Steps(n) => {
                let scheduled = self.summary.steps + u64::from(self.steps_left());
                n.get() - (scheduled % u64::from(n.get())) as u32
            }
            _ => u32::MAX,
        }
    }

    /// Asks for the order of those queued turns that something has happened to.
    pub(super) fn reorder_queue(&mut self) {
        if self.reorder.is_empty() {
            return;
        }
        let mut sessions = std::mem::take(&mut self.reorder);
        sessions.sort_unstable();
        sessions.dedup();
        for session in sessions.drain(..) {
            let live = &self.live[session.index()];
            let old = live.request.place;
            if !live.parked && self.batch.waiting.get(&old) != Some(&session) {
                continue;
            }
            let key = self.order_key(session);
            if key == old.key {
                continue;
            }
            let place = Place { key, ..old };
            self.live[session.index()].request.place = place;
            if self.batch.waiting.remove(&old).is_some() {
                self.batch.waiting.insert(place, session);
                self.refused = None;
            }
        }
        self.reorder = sessions;
    }

    fn retain_as_planned(&mut self, session: SessionId, retention: Retention) {
        let view = self.views.get(session.index());
        let place = view.map(|view| (view.phase, view.residence));
        match place {
            Some((phase, residence)) if is_victim(phase, residence) => {
                if phase == Phase::Ended {
                    self.retain_ended(session, retention);
                } else {
                    self.retain(session, retention);
                }
            }
            Some((Phase::Idle | Phase::Held, Residence::Host | Residence::Disk))
                if retention == Retention::Discard =>
            {
                self.forget_restore(session);
                self.drop_host(session);
                self.stop_disk(session);
                self.drop_disk(session);
            }
            _ => return self.acted(session, Action::Release, Outcome::Void),
        }
        self.refresh(session);
        self.note_change();
    }

    fn prefetch_as_planned(&mut self, session: SessionId) {
        let view = self.views.get(session.index());
        let between = |phase| matches!(phase, Phase::Idle | Phase::Held);
        let idle = view.is_some_and(|view| between(view.phase));
        if idle && !self.starved && !self.prefetch_under_way(session) {
            self.live[session.index()].fetched_by_plan = true;
            self.prefetch(session);
        } else {
            self.acted(session, Action::Prefetch, Outcome::Void);
        }
    }
}
