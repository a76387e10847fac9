//! What becomes of idle KV: the policy's answers, and how memory is found when it is short.

use super::Driver;
use super::live::{Listed, Prefetch, is_victim};
use crate::device::Device;
use crate::events::Due;
use crate::memory::SwapStart;
use crate::record::What;
use model::{
    Action, Blocks, Direction, Event, Nanos, Need, Outcome, Part, Phase, Release, Residence,
    Retention, SessionId, SessionView, SwapOut, Then, Tier, Time, Way,
};

/// What a search for memory came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Blocks have become free.
    Freed,
    /// Blocks will be free when copies have left.
    Leaving,
    /// Nobody gives any.
    None,
}

impl<D: Device> Driver<'_, D> {
    /// Asks what becomes of the KV of a turn that has just ended, and sees to it.
    pub(super) fn retain_finished(&mut self, session: SessionId) {
        match self.ask(|policy, view| policy.on_idle(view, session)) {
            Retention::Release => {
                let blocks = Blocks(self.ledger.kv(session).run.blocks());
                self.ledger.release_run(session, u32::MAX);
                self.acted(session, Action::Release, Outcome::Done(blocks));
            }
            retention => {
                self.ledger.pin_run(session);
                self.refresh(session);
                self.retain(session, retention);
            }
        }
        self.refresh(session);
        self.note_change();
    }

    /// Asks again, because `IO_WAIT` has arrived.
    pub(super) fn retain_again(&mut self, session: SessionId) {
        let retention = self.ask(|policy, view| policy.on_idle(view, session));
        self.retain(session, retention);
        self.refresh(session);
        self.note_change();
    }

    /// Carries out what the policy wants for a pin.
    pub(super) fn retain(&mut self, session: SessionId, retention: Retention) {
        match retention {
            Retention::Release => self.end_pin(session, Then::Release),
            Retention::Discard => self.end_pin(session, Then::Discard),
            Retention::SwapOut(mode) => self.swap_out(session, mode),
            Retention::Part(part) => self.end_part(session, part),
            Retention::Keep { until, then } => {
                self.set_pin_end(session, until, then);
                let blocks = Blocks(self.ledger.kv(session).pin.blocks());
                self.acted(session, Action::Keep, Outcome::Done(blocks));
            }
        }
    }

    fn set_pin_end(&mut self, session: SessionId, until: Time, then: Then) {
        let live = &mut self.live[session.index()];
        live.pin_until = until;
        live.pin_then = then;
        let epoch = live.epoch;
        self.events.push(until, Due::PinEnds, session, epoch);
        self.refresh(session);
    }

    /// A soft pin has reached its end, unless it was moved since.
    pub(super) fn pin_ends(&mut self, session: SessionId) {
        let view = &self.views[session.index()];
        let due = self.live[session.index()].pin_until <= self.now;
        if due && is_victim(view.phase, view.residence) {
            let then = self.live[session.index()].pin_then;
            if view.phase == Phase::Ended {
                self.close_session(session, then == Then::Discard);
            } else {
                self.end_pin(session, then);
            }
            self.refresh(session);
            self.note_change();
        }
    }

    /// Ends a pin as told.
    fn end_pin(&mut self, session: SessionId, then: Then) {
        self.live[session.index()].pin_until = Time::NEVER;
        let (action, blocks) = match then {
            Then::SwapOut => return self.swap_out(session, SwapOut::IfRoom),
            Then::Part(part) => return self.end_part(session, part),
            Then::Release => (Action::Release, self.ledger.release_pin(session)),
            Then::Discard => {
                let freed = self.ledger.discard_pin(session);
                self.drop_host(session);
                self.live[session.index()].lose_prefetch();
                (Action::Discard, freed)
            }
        };
        self.acted(session, action, Outcome::Done(Blocks(blocks)));
    }

    /// The end of a pinned session's KV leaves; the rest stays pinned.
    fn end_part(&mut self, session: SessionId, part: Part) {
        let blocks = part.blocks.0;
        let (action, freed) = match part.how {
            Way::SwapOut => {
                self.make_host_room(session, blocks);
                let start = self.ledger.swap_out_back(session, blocks);
                return self.swap_out_started(session, start);
            }
            Way::Release => (Action::Release, self.ledger.release_back(session, blocks)),
            Way::Discard => {
                let freed = self.ledger.discard_back(session, blocks);
                (Action::Discard, freed)
            }
        };
        let live = &mut self.live[session.index()];
        live.pin_until = Time::NEVER;
        live.lose_prefetch();
        self.acted(session, action, Outcome::Done(Blocks(freed)));
    }

    fn swap_out(&mut self, session: SessionId, mode: SwapOut) {
        self.make_host_room(session, u32::MAX);
        let start = self.ledger.swap_out(session, mode);
        self.swap_out_started(session, start);
    }

    /// The session is about to move up to `blocks` blocks to the host: those that the policy names make room for what it lacks.
    fn make_host_room(&mut self, session: SessionId, blocks: u32) {
        let wanted = self.ledger.kv(session).pin.blocks().min(blocks);
        let free = self.ledger.pool(Tier::Host).free();
        if wanted <= free {
            return;
        }
        let need = Blocks(wanted - free);
        for victim in self.ask(|policy, view| policy.host_victims(view, need, session)) {
            if self.ledger.pool(Tier::Host).free() >= wanted {
                break;
            }
            let view = self.views.get(victim.index());
            let between = |view: &SessionView| {
                matches!(view.phase, Phase::Idle | Phase::Held | Phase::Ended)
                    && matches!(view.residence, Residence::Hbm | Residence::Host)
                    && view.host_blocks > Blocks::ZERO
            };
            if victim == session || !view.is_some_and(between) {
                self.acted(victim, Action::DropHost, Outcome::Void);
                continue;
            }
            self.forget_restore(victim);
            self.drop_host(victim);
        }
    }

    fn swap_out_started(&mut self, session: SessionId, start: SwapStart) {
        let leaves = start.copied + start.clean;
        if leaves > 0 {
            self.unqueue_restore(session);
            let live = &mut self.live[session.index()];
            live.record.swaps += 1;
            live.lose_prefetch();
        }
        self.live[session.index()].pin_until = Time::NEVER;
        let outcome = match start.refused {
            0 => Outcome::Done(Blocks(leaves)),
            _ => Outcome::Clipped(Blocks(leaves)),
        };
        self.acted(session, Action::SwapOut, outcome);
        if start.copied > 0 {
            self.queue_swap_out(session, start.copied);
        }
        self.refresh(session);
        if start.copied == 0 && leaves > 0 {
            self.plan_prefetch(session);
        }
    }

    /// Asks when the KV that is on the host should begin to come back.
    pub(super) fn plan_prefetch(&mut self, session: SessionId) {
        let view = &self.views[session.index()];
        let planned = self.live[session.index()].prefetch != Prefetch::None;
        if planned || view.phase != Phase::Idle || view.host_blocks == Blocks::ZERO {
            return;
        }
        let at = self.ask(|policy, view| policy.prefetch_at(view, session));
        let Some(at) = at.filter(|&at| at != Time::NEVER) else {
            return;
        };
        let at = at.max(self.now);
        let live = &mut self.live[session.index()];
        live.prefetch = Prefetch::Planned;
        let epoch = live.epoch;
        self.events.push(at, Due::Prefetch, session, epoch);
        self.log(session, What::PrefetchAt(at));
        self.refresh(session);
    }

    /// The session's end has become known.
    pub(super) fn end_signalled(&mut self, session: SessionId) {
        let view = &mut self.views[session.index()];
        view.phase = Phase::Ended;
        view.hint = None;
        self.idle -= 1;
        self.log(session, What::End);
        self.tell(Event::Ended(session));
    }

    /// A turn was the last one and the scheduler knows: its blocks are still those of the run.
    pub(super) fn retire(&mut self, session: SessionId) {
        self.ledger.pin_run(session);
        self.refresh(session);
        self.retire_pin(session);
        self.note_change();
    }

    /// The scheduler concludes that an idle session is over.
    pub(super) fn end_session(&mut self, session: SessionId) {
        let view = &self.views[session.index()];
        if view.phase != Phase::Idle {
            return;
        }
        self.end_signalled(session);
        self.forget_restore(session);
        if self.ledger.kv(session).transfer.is_some() {
            // A swap-out on its way: settled, and then closed, when the copy ends.
            self.cancel_copy(session);
            return;
        }
        self.retire_pin(session);
        self.note_change();
    }

    /// Asks what becomes of the KV of a session that has ended.
    pub(super) fn retire_pin(&mut self, session: SessionId) {
        let retention = self.ask(|policy, view| policy.on_end(view, session));
        self.retain_ended(session, retention);
    }

    /// Carries out what the policy wants for the pin of a session that has ended.
    pub(super) fn retain_ended(&mut self, session: SessionId, retention: Retention) {
        match retention {
            Retention::Keep { until, then } if until > self.now => {
                self.set_pin_end(session, until, then);
            }
            retention => self.close_session(session, retention == Retention::Discard),
        }
    }

    /// Finds `need` blocks: what copies will free, then what the policy gives.
    pub(super) fn make_room(&mut self, need: u32, why: Need) -> Room {
        if self.settle_copy(Direction::D2h) {
            return Room::Freed;
        }
        let leaving = self.leaving();
        if need <= leaving {
            return Room::Leaving;
        }
        let missing = Blocks(need - leaving);
        self.tell(Event::Short(why, missing));
        let victims = self.ask(|policy, view| policy.victims(view, missing, why));
        if victims.is_empty() {
            return if leaving > 0 {
                Room::Leaving
            } else {
                Room::None
            };
        }
        let before = self.ledger.pool(Tier::Hbm).free();
        let asker = match why {
            Need::Admission(s) | Need::Growth(s) | Need::Restore(s) | Need::Prefetch(s) => s,
        };
        for Release { session, how } in victims {
            let view = self.views.get(session.index());
            let legal =
                |view: &&SessionView| is_victim(view.phase, view.residence) && session != asker;
            let Some(view) = view.filter(legal) else {
                self.acted(session, Action::Release, Outcome::Void);
                continue;
            };
            if view.phase == Phase::Ended {
                self.close_session(session, how == Then::Discard);
            } else {
                self.end_pin(session, how);
            }
            self.refresh(session);
        }
        if self.ledger.pool(Tier::Hbm).free() > before {
            self.note_change();
            Room::Freed
        } else if self.leaving() > leaving || leaving > 0 {
            Room::Leaving
        } else {
            Room::None
        }
    }

    /// Blocks that copies to the host will free.
    pub(super) fn leaving(&self) -> u32 {
        self.lanes[Direction::D2h.index()].left()
    }

    /// Nothing runs, nothing is on its way, and ready turns lack memory: a pin is broken: the one that the policy names, or that of the
    /// session that arrived last. Returns whether there was one.
    pub(super) fn break_pin(&mut self) -> bool {
        // The turn that is first in line keeps what it has as long as there are others. Its own pin can be in its way as well: a block
        // that was computed twice is held in one copy and found in the other.
        let first = self.batch.waiting.values().next();
        let mut latest = self.pinned.iter().rev();
        let victim = latest.find(|&session| Some(session) != first);
        let Some(&latest) = victim.or(self.pinned.last()) else {
            return false;
        };
        let named = self.ask(|policy, view| policy.break_pin(view));
        let named = named.filter(|session| self.pinned.contains(session));
        let session = named.unwrap_or(latest);
        let blocks = self.ledger.release_pin(session);
        self.summary.pins_broken += 1;
        self.acted(session, Action::BreakPin, Outcome::Done(Blocks(blocks)));
        if self.views[session.index()].phase == Phase::Ended {
            self.close_session(session, false);
        }
        self.refresh(session);
        self.note_change();
        true
    }

    /// Gives up what the session has on the host.
    pub(super) fn drop_host(&mut self, session: SessionId) {
        let blocks = self.ledger.drop_host(session);
        if blocks > 0 {
            self.acted(session, Action::DropHost, Outcome::Done(Blocks(blocks)));
            self.refresh(session);
        }
    }

    /// The last turn is over: the session has no future, whatever the scheduler knows.
    pub(super) fn finish_session(&mut self, session: SessionId) {
        self.live[session.index()].script = None;
        self.alive -= 1;
        if self.paused.remove(&session) {
            self.views[session.index()].paused = false;
        }
        self.summary.sessions += 1;
    }

    /// Nothing of the session is left.
    pub(super) fn close_session(&mut self, session: SessionId, discard: bool) {
        self.account_idle(session);
        self.forget_restore(session);
        self.ledger.close(session, discard);
        let live = &mut self.live[session.index()];
        live.epoch += 1;
        if live.closed {
            return;
        }
        live.closed = true;
        let record = std::mem::take(&mut live.record);
        self.recorder.session(&record);
        self.refresh(session);
    }

    /// The run is over: sessions whose end was never told are closed.
    pub(super) fn close_all(&mut self) {
        for id in 0..self.live.len() {
            if !self.live[id].closed {
                self.close_session(SessionId(id as u32), false);
            }
        }
        if self.config.sample_every.is_some() {
            self.sample();
        }
    }

    /// The run is stopped: sessions that are not over are reported as they are.
    pub(super) fn leave_all(&mut self) {
        for id in 0..self.live.len() {
            if !self.live[id].closed {
                self.account_idle(SessionId(id as u32));
                self.recorder.unfinished(&self.live[id].record);
            }
        }
    }

    /// Adds the time since the last change of idle blocks to the session's account.
    fn account_idle(&mut self, session: SessionId) {
        let live = &mut self.live[session.index()];
        let span = self.now.since(live.held_since).0;
        live.record.idle_block_ns += u128::from(live.held) * u128::from(span);
        live.held_since = self.now;
    }

    /// Brings the view of a session, and the sets that it is in, up to date.
    pub(super) fn refresh(&mut self, session: SessionId) {
        self.account_idle(session);
        let kv = self.ledger.kv(session);
        let residence = match &kv.transfer {
            Some(transfer) if transfer.direction == Direction::D2h => Residence::SwappingOut,
            Some(_) => Residence::SwappingIn,
            None if kv.pin.registered() > 0 => Residence::Hbm,
            None if kv.host.blocks() > 0 => Residence::Host,
            None => Residence::None,
        };
        let pinned = !kv.pin.is_empty();
        let live = &mut self.live[session.index()];
        live.held = kv.pin.blocks();
        let pin_until = live.pin_until;
        let view = &mut self.views[session.index()];
        view.hbm_blocks = Blocks(kv.pin.registered());
        view.host_blocks = Blocks(kv.host.blocks());
        view.residence = residence;
        view.pin_until = pin_until;
        view.prefetching = live.prefetch.is_pending();
        let back = view.hint.map_or(Time::NEVER, |hint| hint.returns_at);
        let listed = is_victim(view.phase, residence).then_some(Listed {
            idle_since: view.idle_since,
            returns_at: back,
            pin_until,
        });
        if listed != live.listed {
            if let Some(old) = live.listed {
                self.idle_by_age.remove(&(old.idle_since, session));
                self.idle_by_return.remove(&(old.returns_at, session));
                self.idle_by_pin_end.remove(&(old.pin_until, session));
            }
            if let Some(new) = listed {
                self.idle_by_age.insert((new.idle_since, session));
                self.idle_by_return.insert((new.returns_at, session));
                self.idle_by_pin_end.insert((new.pin_until, session));
            }
            live.listed = listed;
        }
        if pinned != live.pinned {
            live.pinned = pinned;
            if pinned {
                self.pinned.insert(session);
            } else {
                self.pinned.remove(&session);
            }
        }
    }

    /// Something has changed that scheduling or a deferred copy may depend on.
    pub(super) fn note_change(&mut self) {
        self.short = false;
        self.refused = None;
        for lane in &mut self.lanes {
            lane.deferred = false;
        }
        if let Some(offload) = &mut self.offload {
            offload.stir();
        }
        if let Some(sleep) = &mut self.sleep
            && sleep.idle
        {
            // vLLM would have polled every so often in vain; the next poll is the first that sees the change.
            let period = self.config.batching.idle_poll.0.max(1);
            let vain = self.now.since(sleep.until).0.div_ceil(period);
            if self.config.batching.idle_poll > Nanos::ZERO {
                self.summary.schedules += vain;
            }
            let until = Time(sleep.until.0 + vain * period);
            self.sleep = Some(super::Sleep { until, idle: false });
        }
    }
}
