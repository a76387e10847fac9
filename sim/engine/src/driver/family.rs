//! Sub-agents: sessions that begin when a turn of their parent ends, and that a later turn of it may wait for.
//!
//! A family is numbered when its first ancestor enters, so that ids, and the random numbers addressed by them, are the same under every
//! policy, however late a sub-agent begins. Until then it has arrived at [`Time::NEVER`] and nobody has heard of it.
//!
//! A turn that joins sub-agents is ready `gap` after the last of them and the turn before have ended.

use super::Driver;
use super::live::Live;
use crate::device::Device;
use crate::events::Due;
use crate::record::What;
use model::{Event, Nanos, Phase, Session, SessionId, SessionView, Spawn, Time, TurnIndex};

/// What ties a session to others.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    /// Who started it.
    pub parent: Option<SessionId>,
    /// Whom it starts, in order of the turns that do.
    pub children: Vec<Child>,
}

/// A sub-agent, as its parent knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    /// Its number.
    pub id: SessionId,
    /// The turn that starts it.
    pub spawner: TurnIndex,
    /// From the end of that turn to its first arrival.
    pub after: Nanos,
    /// The same from the start of the parent, if that is later.
    pub at: Option<Nanos>,
    /// The turn that waits for it.
    pub join: Option<TurnIndex>,
}

impl<D: Device> Driver<'_, D> {
    /// Numbers a session and its sub-agents. Each is known by its script and nothing else.
    pub(super) fn adopt(&mut self, mut script: Session, parent: Option<SessionId>) -> SessionId {
        let id = SessionId(self.live.len() as u32);
        self.ledger.open(id, &script.shared_prefixes);
        if let Some(truth) = &self.truth {
            truth.enter(&script);
        }
        self.views.push(SessionView {
            arrived: Time::NEVER,
            shared_prefix: script.shared_prefixes.last().copied(),
            parent,
            steps_to_execution: self.hints.are_exact().then_some(0),
            ..SessionView::default()
        });
        self.alive += 1;
        let mut live = Live {
            ready: Time::NEVER,
            ..Live::default()
        };
        live.record.session = id;
        live.record.name = std::mem::take(&mut script.name);
        let mut spawns: Vec<(TurnIndex, Spawn)> = Vec::new();
        for (turn, spec) in script.turns.iter_mut().enumerate() {
            let turn = TurnIndex(turn as u32);
            spawns.extend(spec.spawns.drain(..).map(|spawn| (turn, spawn)));
        }
        live.script = Some(Box::new(script));
        self.live.push(live);
        let children = spawns.into_iter().map(|(spawner, spawn)| Child {
            id: self.adopt(spawn.session, Some(id)),
            spawner,
            after: spawn.after,
            at: spawn.at,
            join: spawn.join,
        });
        let family = Family {
            children: children.collect(),
            parent,
        };
        if parent.is_some() || !family.children.is_empty() {
            self.live[id.index()].family = Some(Box::new(family));
        }
        id
    }

    /// A session enters the system; its first turn arrives.
    pub(super) fn begin(&mut self, session: SessionId, start: Time) {
        let view = &mut self.views[session.index()];
        view.arrived = start;
        if let Some(parent) = view.parent {
            self.views[parent.index()].children.push(session);
        }
        let live = &mut self.live[session.index()];
        live.ready = start;
        live.record.start = start;
        if self.tick_at.is_none() {
            self.set_next_tick();
        }
        self.events
            .push(start + self.hints.delay(), Due::Arrive, session, 0);
        self.log(session, What::Start);
        self.tell(Event::Started(session));
    }

    /// The turn has ended: its sub-agents are on their way.
    pub(super) fn spawn(&mut self, session: SessionId, turn: TurnIndex, end: Time) {
        let live = &self.live[session.index()];
        let Some(family) = &live.family else {
            return;
        };
        for child in family.children.iter().filter(|c| c.spawner == turn) {
            let start = match child.at {
                Some(at) => end.max(live.record.start + at),
                None => end + child.after,
            };
            self.events.push(start, Due::Begin, child.id, 0);
        }
    }

    /// When the next turn of a session is ready whose last one ended at `end`; never, as long as a sub-agent that it joins has not ended.
    pub(super) fn next_ready(&self, session: SessionId, end: Time) -> Time {
        let live = &self.live[session.index()];
        let turn = TurnIndex(live.record.turns);
        let spec = &live.script().turns[turn.index()];
        let mut base = end;
        for child in live.family.iter().flat_map(|family| &family.children) {
            let child_live = &self.live[child.id.index()];
            if child.join == Some(turn) {
                if child_live.script.is_some() {
                    return Time::NEVER;
                }
                base = base.max(child_live.record.end);
            }
        }
        match spec.at {
            Some(at) => base.max(live.record.start + at),
            None => base + spec.gap,
        }
    }

    /// A session's last turn has ended: its parent may have waited for that.
    pub(super) fn tell_parent(&mut self, session: SessionId) {
        let family = self.live[session.index()].family.as_ref();
        let Some(parent) = family.and_then(|family| family.parent) else {
            return;
        };
        let waits = self.live[parent.index()].ready == Time::NEVER
            && self.views[parent.index()].phase == Phase::Idle;
        if waits && self.live[parent.index()].script.is_some() {
            let ready = self.next_ready(parent, self.views[parent.index()].idle_since);
            self.await_turn(parent, ready);
        }
    }

    /// The next turn of an idle session arrives at `ready`, as far as that is known.
    pub(super) fn await_turn(&mut self, session: SessionId, ready: Time) {
        let live = &mut self.live[session.index()];
        live.ready = ready;
        let epoch = live.epoch;
        if ready == Time::NEVER {
            return;
        }
        self.events
            .push(ready + self.hints.delay(), Due::Arrive, session, epoch);
        if let Some(truth) = &self.truth {
            truth.set_return(session, Some(ready));
        }
    }

    /// A turn of the session is over: how many calls are left before it, and its parent, run again.
    pub(super) fn declare_steps(&mut self, session: SessionId) {
        if !self.hints.are_exact() {
            return;
        }
        self.views[session.index()].steps_to_execution = self.steps_to_execution(session);
        let parent = self.views[session.index()].parent;
        if let Some(parent) = parent.filter(|p| self.views[p.index()].phase == Phase::Idle) {
            self.views[parent.index()].steps_to_execution = self.steps_to_execution(parent);
        }
    }

    /// One for the session's own next call, and the turns left to the sub-agent that holds it up longest. `None` after the last turn.
    fn steps_to_execution(&self, session: SessionId) -> Option<u32> {
        let live = &self.live[session.index()];
        let next = live.record.turns;
        live.script.as_ref()?.turns.get(next as usize)?;
        let children = live.family.iter().flat_map(|family| &family.children);
        let joined = children.filter(|child| child.join == Some(TurnIndex(next)));
        let left = joined.map(|child| {
            let live = &self.live[child.id.index()];
            let turns = live.script.as_ref().map_or(0, |script| script.turns.len());
            (turns as u32).saturating_sub(live.record.turns)
        });
        Some(1 + left.max().unwrap_or(0))
    }

    /// How long the client expects the present wait to last.
    pub(super) fn expected_wait(&self, session: SessionId) -> Option<Nanos> {
        let live = &self.live[session.index()];
        if live.ready == Time::NEVER {
            let next = &live.script().turns[live.record.turns as usize];
            return next.expected;
        }
        Some(live.ready.since(self.views[session.index()].idle_since))
    }
}
