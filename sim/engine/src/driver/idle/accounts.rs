//! Changes of what sessions hold, as the view, the accounts and sleeping parts of the driver need to know them.
use super::super::live::{Listed, is_victim};
use super::super::{Driver, Sleep};
use crate::device::Device;
use model::{Blocks, Direction, Nanos, Residence, SessionId, Time};

impl<D: Device> Driver<'_, D> {
    /// Adds the time since the last change of idle blocks to the session's account.
    pub(super) fn account_idle(&mut self, session: SessionId) {
        let live = &mut self.live[session.index()];
        let span = self.now.since(live.held_since).0;
        live.record.idle_block_ns += u128::from(live.held) * u128::from(span);
        live.held_since = self.now;
    }

    /// Brings the view of a session, and the sets that it is in, up to date.
    pub(in super::super) fn refresh(&mut self, session: SessionId) {
        self.account_idle(session);
        let kv = self.ledger.kv(session);
        let residence = match &kv.transfer {
            Some(transfer) if transfer.direction == Direction::D2h => Residence::SwappingOut,
            Some(_) => Residence::SwappingIn,
            None if kv.pin.registered() > 0 => Residence::Hbm,
            None if kv.host.blocks() > 0 => Residence::Host,
            None if kv.disk_part().1 > 0 => Residence::Disk,
            None => Residence::None,
        };
        let waits = kv.run.is_empty() && !kv.behind.is_empty() && kv.transfer.is_none();
        let pinned = !kv.pin.is_empty() || waits;
        let live = &mut self.live[session.index()];
        live.held = kv.held();
        let pin_until = live.pin_until;
        let view = &mut self.views[session.index()];
        view.hbm_blocks = Blocks(kv.pin.registered());
        view.hbm_from = Blocks(kv.pin_base);
        view.host_blocks = Blocks(kv.host.blocks());
        view.host_from = Blocks(kv.host_base);
        view.residence = residence;
        view.pin_until = pin_until;
        view.prefetching = live.prefetch.is_pending();
        let back = view.hint.map_or(Time::NEVER, |hint| hint.returns_at);
        if self.config.memory.disk_blocks > 0 {
            let (from, blocks) = kv.disk_part();
            (view.disk_from, view.disk_blocks) = (Blocks(from), Blocks(blocks));
            let begun = kv.disk_transfer().map(|copy| copy.direction);
            let waits = self.lanes[Direction::DiskRead.index()].holds(session);
            view.disk_copy = begun.or(waits.then_some(Direction::DiskRead));
        }
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
    pub(in super::super) fn note_change(&mut self) {
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
            self.sleep = Some(Sleep { until, idle: false });
        }
    }
}
