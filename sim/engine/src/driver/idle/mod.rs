//! What becomes of idle KV: the policy's answers, and how memory is found when it is short.
//!
//! | file | what |
//! |---|---|
//! | `shortage` | blocks are found |
//! | `ended` | sessions that are over |
//! | `price` | what the prefix cache keeps is worth |
//! | `accounts` | what all this changes in the view and in the accounts |

mod accounts;
mod ended;
mod price;
mod shortage;

pub(super) use shortage::Room;

use super::Driver;
use super::live::{Prefetch, is_victim};
use crate::device::Device;
use crate::events::Due;
use crate::memory::{Ledger, SwapStart};
use crate::record::What;
use model::{
    Action, Blocks, End, HostRelease, Outcome, Part, Phase, Residence, Retention, SessionId,
    SessionView, SwapOut, Then, Tier, Time, Way,
};

impl<D: Device> Driver<'_, D> {
    /// Asks what becomes of the KV of a turn that has just ended, and sees to it.
    pub(super) fn retain_finished(&mut self, session: SessionId) {
        match self.ask(|policy, view| policy.on_idle(view, session)) {
            Retention::Release => {
                let blocks = Blocks(self.ledger.kv(session).run.blocks());
                self.ledger.release_run(session, u32::MAX, 0..0);
                self.acted(session, Action::Release, Outcome::Done(blocks));
                self.price(session);
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
                self.stop_disk(session);
                self.drop_disk(session);
                self.live[session.index()].lose_prefetch();
                (Action::Discard, freed)
            }
        };
        self.acted(session, action, Outcome::Done(Blocks(blocks)));
        if then == Then::Release {
            self.price(session);
        }
    }

    /// A part of a pinned session's KV leaves; the rest stays pinned.
    fn end_part(&mut self, session: SessionId, part: Part) {
        let blocks = part.blocks.0;
        let (action, freed) = match part.how {
            Way::SwapOut => {
                self.make_swap_room(session, blocks);
                let start = self.ledger.swap_out_part(session, part.end, blocks);
                return self.swap_out_started(session, start);
            }
            Way::Release => {
                let freed = self.ledger.release_part(session, part.end, blocks);
                (Action::Release, freed)
            }
            Way::Discard => {
                let freed = self.ledger.discard_part(session, part.end, blocks);
                (Action::Discard, freed)
            }
        };
        let live = &mut self.live[session.index()];
        live.pin_until = Time::NEVER;
        live.lose_prefetch();
        self.acted(session, action, Outcome::Done(Blocks(freed)));
        if part.how == Way::Release {
            self.price(session);
        }
    }

    fn swap_out(&mut self, session: SessionId, mode: SwapOut) {
        self.make_swap_room(session, u32::MAX);
        let start = self.ledger.swap_out(session, mode);
        self.swap_out_started(session, start);
    }

    /// The session is about to move up to `blocks` blocks of its pin to the host.
    fn make_swap_room(&mut self, session: SessionId, blocks: u32) {
        self.stop_write(session);
        let wanted = self.ledger.kv(session).pin.blocks().min(blocks);
        self.make_host_room(session, wanted);
    }

    /// The session is about to take `wanted` blocks of the host: those that the policy names make room for what it lacks. What is on its way to
    /// the disk already counts as room, and is not there yet.
    pub(super) fn make_host_room(&mut self, session: SessionId, wanted: u32) {
        let room = |ledger: &Ledger| ledger.pool(Tier::Host).free() + ledger.host_leaving();
        let free = room(&self.ledger);
        if wanted <= free {
            return;
        }
        let need = Blocks(wanted - free);
        for release in self.ask(|policy, view| policy.host_victims(view, need, session)) {
            let victim = release.session();
            if room(&self.ledger) >= wanted {
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
            match release {
                HostRelease::GiveUp { end, blocks, .. } => {
                    self.forget_restore(victim);
                    self.trim_host(victim, end, blocks.0);
                }
                HostRelease::Demote(_) => {
                    self.forget_restore(victim);
                    self.write_to_disk(victim, Action::Demote);
                }
            }
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
        let away = view.host_blocks + view.disk_blocks;
        if planned || view.phase != Phase::Idle || away == Blocks::ZERO {
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

    /// Gives up what the session has on the host.
    pub(super) fn drop_host(&mut self, session: SessionId) {
        self.trim_host(session, End::Back, u32::MAX);
    }

    /// Gives up the first or last `blocks` blocks that the session has on the host.
    pub(super) fn trim_host(&mut self, session: SessionId, end: End, blocks: u32) {
        self.stop_write(session);
        let blocks = self.ledger.trim_host(session, end, blocks);
        if blocks > 0 {
            self.acted(session, Action::DropHost, Outcome::Done(Blocks(blocks)));
            self.refresh(session);
        }
    }
}
