//! Sessions that are over, and what becomes of their KV.
use super::super::Driver;
use crate::device::Device;
use crate::record::What;
use model::{Event, Phase, Retention, SessionId};

impl<D: Device> Driver<'_, D> {
    /// The session's end has become known.
    pub(in super::super) fn end_signalled(&mut self, session: SessionId) {
        let view = &mut self.views[session.index()];
        view.phase = Phase::Ended;
        view.hint = None;
        self.idle -= 1;
        self.log(session, What::End);
        self.tell(Event::Ended(session));
    }

    /// A turn was the last one and the scheduler knows: its blocks are still those of the run.
    pub(in super::super) fn retire(&mut self, session: SessionId) {
        self.ledger.pin_run(session);
        self.refresh(session);
        self.retire_pin(session);
        self.note_change();
    }

    /// The scheduler concludes that an idle session is over.
    pub(in super::super) fn end_session(&mut self, session: SessionId) {
        let view = &self.views[session.index()];
        if view.phase != Phase::Idle {
            return;
        }
        self.end_signalled(session);
        self.forget_restore(session);
        self.stop_disk(session);
        if self.ledger.kv(session).transfer.is_some() {
            // A swap-out on its way: settled, and then closed, when the copy ends.
            self.cancel_copy(session);
            return;
        }
        self.retire_pin(session);
        self.note_change();
    }

    /// Asks what becomes of the KV of a session that has ended.
    pub(in super::super) fn retire_pin(&mut self, session: SessionId) {
        let retention = self.ask(|policy, view| policy.on_end(view, session));
        self.retain_ended(session, retention);
    }

    /// Carries out what the policy wants for the pin of a session that has ended.
    pub(in super::super) fn retain_ended(&mut self, session: SessionId, retention: Retention) {
        match retention {
            Retention::Keep { until, then } if until > self.now => {
                self.set_pin_end(session, until, then);
            }
            retention => self.close_session(session, retention == Retention::Discard),
        }
    }

    /// The last turn is over: the session has no future, whatever the scheduler knows.
    pub(in super::super) fn finish_session(&mut self, session: SessionId) {
        self.live[session.index()].script = None;
        self.alive -= 1;
        if self.paused.remove(&session) {
            self.views[session.index()].paused = false;
        }
        self.summary.sessions += 1;
    }

    /// Nothing of the session is left.
    pub(in super::super) fn close_session(&mut self, session: SessionId, discard: bool) {
        self.account_idle(session);
        self.forget_restore(session);
        self.stop_disk(session);
        if !discard {
            self.ledger.release_pin(session);
            self.price(session);
        }
        self.ledger.close(session, discard);
        let live = &mut self.live[session.index()];
        live.epoch += 1;
        // Its context is forgotten, and what the prefix cache has of it keeps its price.
        live.prices = Vec::new();
        live.priced += 1;
        if live.closed {
            return;
        }
        live.closed = true;
        let record = std::mem::take(&mut live.record);
        self.recorder.session(&record);
        self.refresh(session);
    }

    /// The run is over: sessions whose end was never told are closed.
    pub(in super::super) fn close_all(&mut self) {
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
    pub(in super::super) fn leave_all(&mut self) {
        for id in 0..self.live.len() {
            if !self.live[id].closed {
                self.account_idle(SessionId(id as u32));
                self.recorder.unfinished(&self.live[id].record);
            }
        }
    }
}
