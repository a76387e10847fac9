//! Admission of sessions: turns that the policy withholds, and how they are let in.
//!
//! ```text
//!   COMPUTE ──► admit? ── Enter ──────────────────────────► queue
//!                  └──── Hold, or paused ──► held ── resume, admit at the cadence ──┘
//! ```
//!
//! A held turn is no request of the engine yet, as behind a proxy: it is not queued, waits for no copy, and its session's KV stays where it is
//! and may be chosen as a victim. Its time counts as [`Part::Hold`].
//!
//! **What must hold:** every held turn is let in at last. If nothing else can happen and the policy still lets nobody in, the engine
//! does, the longest held first, and reports it.

use super::Driver;
use super::live::Prefetch;
use crate::device::Device;
use crate::record::Part;
use model::{
    Action, Admission, Blocks, Cadence, OrderKey, Outcome, Phase, Place, Queueing, SessionId,
};

impl<D: Device> Driver<'_, D> {
    /// A turn has become ready: may it join the queue?
    pub(super) fn admit_session(&mut self, session: SessionId) {
        let paused = self.views[session.index()].paused;
        if paused || self.asks_to_hold(session) {
            self.hold(session);
        } else {
            self.let_in(session);
        }
    }

    fn asks_to_hold(&self, session: SessionId) -> bool {
        self.ask(|policy, view| policy.admit(view, session)) == Admission::Hold
    }

    fn hold(&mut self, session: SessionId) {
        let live = &mut self.live[session.index()];
        live.request.wake.turn_to(Part::Hold, self.now);
        if live.prefetch == Prefetch::Planned {
            live.prefetch = Prefetch::None;
        }
        let view = &mut self.views[session.index()];
        view.phase = Phase::Held;
        self.held.insert((self.now, session));
        if !view.paused {
            self.asking.insert((self.now, session));
        }
        live.held_up_since = self.now;
        self.refresh(session);
        self.acted_on_kv(session, Action::Hold);
        // A victim more, perhaps, for a turn that lacks memory.
        self.note_change();
    }

    /// The turn becomes a request of the engine.
    pub(super) fn let_in(&mut self, session: SessionId) {
        let view = &mut self.views[session.index()];
        view.phase = Phase::Queued;
        view.queued_since = self.now;
        self.live[session.index()].let_in = self.now;
        self.batch.queue_tokens += u64::from(view.prompt.0);
        self.refresh(session);
        let number = match self.ask(|policy, view| policy.queueing(view, session)) {
            Queueing::Back => self.batch.back(),
            Queueing::Front => self.batch.front(),
        };
        let key = self.order_key(session);
        self.live[session.index()].request.place = Place { key, number };
        self.park(session);
        self.make_ready(session);
    }

    /// A turn that was withheld is let in.
    fn release_held(&mut self, session: SessionId, action: Action) {
        let live = &mut self.live[session.index()];
        let since = live.held_up_since;
        live.request.wake.turn_to(Part::Queue, self.now);
        self.held.remove(&(since, session));
        self.asking.remove(&(since, session));
        self.acted_on_kv(session, action);
        self.let_in(session);
    }

    /// Asks again about turns that are withheld, the longest held first, until one still is.
    pub(super) fn reconsider_held(&mut self) {
        while let Some(&(_, session)) = self.asking.first() {
            if self.asks_to_hold(session) {
                return;
            }
            self.release_held(session, Action::Enter);
        }
    }

    /// The session's next turn is to be withheld.
    pub(super) fn pause(&mut self, session: SessionId) {
        let Some(view) = self.views.get_mut(session.index()) else {
            return self.acted(session, Action::Pause, Outcome::Void);
        };
        if view.paused || view.phase == Phase::Ended {
            return self.acted(session, Action::Pause, Outcome::Void);
        }
        view.paused = true;
        self.paused.insert(session);
        let since = self.live[session.index()].held_up_since;
        self.asking.remove(&(since, session));
        self.acted_on_kv(session, Action::Pause);
    }

    /// The session may proceed.
    pub(super) fn resume(&mut self, session: SessionId) {
        let held = self.views.get(session.index());
        let held = held.is_some_and(|view| view.phase == Phase::Held);
        if self.paused.remove(&session) {
            self.views[session.index()].paused = false;
        } else if !held {
            return self.acted(session, Action::Resume, Outcome::Void);
        }
        if held {
            self.release_held(session, Action::Resume);
        } else {
            self.acted_on_kv(session, Action::Resume);
        }
    }

    /// Turns are withheld, and nothing else can happen that the policy might wait for.
    fn becalmed(&self) -> bool {
        !self.held.is_empty()
            && self.next_session.is_none()
            && !self.has_requests()
            && self.in_flight.is_empty()
            && self.lanes.iter().all(super::Lane::is_quiet)
            && self.events.is_quiet()
    }

    /// The policy lets nobody in though nothing else can happen: the longest held enters. Returns whether it was so.
    pub(super) fn break_hold(&mut self) -> bool {
        let asked = !matches!(self.cadence, Cadence::Every(_)) || self.ticked == Some(self.now);
        if !asked || !self.becalmed() {
            return false;
        }
        let &(_, session) = self.held.first().expect("turns are withheld");
        if self.paused.remove(&session) {
            self.views[session.index()].paused = false;
        }
        self.summary.holds_broken += 1;
        self.release_held(session, Action::BreakHold);
        true
    }

    pub(super) fn order_key(&self, session: SessionId) -> OrderKey {
        self.ask(|policy, view| policy.order(view, session))
    }

    /// An action that moves no KV, with the blocks that the session holds.
    fn acted_on_kv(&mut self, session: SessionId, action: Action) {
        let blocks: Blocks = self.views[session.index()].hbm_blocks;
        self.acted(session, action, Outcome::Done(blocks));
    }
}
