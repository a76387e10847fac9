//! From HBM to the host, from the tail down.

use super::{Ledger, SwapStart, Transfer};
use crate::memory::Table;
use model::{Direction, SessionId, SwapOut};

impl Ledger {
    /// Begins to move the pin to the host. What must be copied is in `transfer`; without anything to copy, the pin is free at once.
    pub fn swap_out(&mut self, session: SessionId, mode: SwapOut) -> SwapStart {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.transfer.is_none() && kv.pin.blank() == 0);
        let mut start = SwapStart::default();
        let mut end = kv.pin.blocks();
        if kv.host_base + kv.host.blocks() >= end && kv.host_base < end && !kv.host.is_empty() {
            // An interrupted restore: its source is still there.
            start.clean = end - kv.host_base;
            end = kv.host_base;
            let back = kv.pin.split_off(end);
            self.hbm.release(back);
        }
        self.host.lookup(&kv.content, 0, end, &mut self.scratch);
        let mut clean = Table::default();
        self.host.touch(&self.scratch, &mut clean);
        let (lo, dirty) = (clean.blocks(), end - clean.blocks());
        let room = self.host.free().min(dirty);
        start.refused = dirty - room;
        start.copied = room;
        if start.refused == 0 || mode == SwapOut::OrDiscard {
            start.clean += lo;
        }
        let (lo, hi) = match mode {
            // What does not fit stays: the tail leaves, as far as there is room.
            SwapOut::IfRoom => (end - room, end),
            SwapOut::OrDiscard => {
                let lost = kv.pin.split_off(lo + room);
                self.hbm.discard(lost);
                (lo, lo + room)
            }
        };
        let mut target = Table::default();
        self.host.take(room, &mut target);
        kv.transfer = Some(Transfer {
            direction: Direction::D2h,
            lo,
            hi,
            done: 0,
            target,
            clean,
        });
        if room == 0 {
            self.end_swap_out(session);
        }
        start
    }

    /// Begins to move the last `blocks` blocks of the pin to the host, as far as it has room. What an interrupted restore has left there is
    /// clean; the rest is copied.
    pub fn swap_out_back(&mut self, session: SessionId, blocks: u32) -> SwapStart {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.transfer.is_none() && kv.pin.blank() == 0);
        let mut end = kv.pin.blocks();
        let floor = end.saturating_sub(blocks);
        let mut start = SwapStart::default();
        if kv.host_base + kv.host.blocks() >= end && kv.host_base < end {
            let clean = kv.host_base.max(floor);
            start.clean = end - clean;
            end = clean;
            let back = kv.pin.split_off(end);
            self.hbm.release(back);
        }
        start.copied = self.host.free().min(end - floor);
        start.refused = end - floor - start.copied;
        if start.copied > 0 {
            let mut target = Table::default();
            self.host.take(start.copied, &mut target);
            kv.transfer = Some(Transfer {
                direction: Direction::D2h,
                lo: end - start.copied,
                hi: end,
                done: 0,
                target,
                clean: Table::default(),
            });
        }
        start
    }

    /// So many blocks of a swap-out have arrived in all: they leave HBM.
    pub fn swap_out_progress(&mut self, session: SessionId, done: u32) {
        let kv = &mut self.sessions[session.index()];
        let transfer = kv.transfer.as_mut().expect("a swap-out is in flight");
        debug_assert_eq!(transfer.direction, Direction::D2h);
        let news = done - transfer.done;
        if news == 0 {
            return;
        }
        let top = transfer.hi - transfer.done;
        transfer.done = done;
        let base = top - news;
        let mut arrived = transfer.target.split_blank_tail(news);
        self.host.register(&mut arrived, &kv.content, base, news);
        if kv.host.is_empty() || kv.host_base != top {
            let stranded = std::mem::take(&mut kv.host);
            self.host.release(stranded);
        } else {
            arrived.append(&kv.host);
        }
        kv.host = arrived;
        kv.host_base = base;
        let left = kv.pin.split_off(base);
        if self.config.leak_on_swap_out {
            kv.leaked.push(left);
        } else if self.config.inclusive {
            self.hbm.release(left);
        } else {
            self.hbm.discard(left);
        }
    }

    /// A swap-out is over, complete or cut short: what has not arrived stays in HBM.
    pub fn end_swap_out(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        let transfer = kv.transfer.take().expect("a swap-out is in flight");
        self.host.release(transfer.target);
        let complete = transfer.done == transfer.hi - transfer.lo;
        let clean = transfer.clean;
        if complete && clean.blocks() == transfer.lo && kv.pin.blocks() <= clean.blocks() {
            // The clean head need not stay in HBM either.
            let head = std::mem::take(&mut kv.pin);
            self.hbm.release(head);
            if kv.host.is_empty() {
                kv.host = clean;
                kv.host_base = 0;
            } else if kv.host_base == clean.blocks() {
                let mut joined = clean;
                joined.append(&kv.host);
                kv.host = joined;
                kv.host_base = 0;
            } else {
                self.host.release(clean);
            }
        } else {
            self.host.release(clean);
        }
    }

    /// The host keeps what precedes position `end`; what is there beyond may stay as cache. Returns how many blocks the session gave up.
    pub fn trim_host(&mut self, session: SessionId, end: u32) -> u32 {
        let kv = &mut self.sessions[session.index()];
        let beyond = kv.host.split_off(end.saturating_sub(kv.host_base));
        let blocks = beyond.blocks();
        if self.config.inclusive {
            self.host.release(beyond);
        } else {
            self.host.discard(beyond);
        }
        blocks
    }

    /// The session gives up its place on the host; what is there may stay as cache.
    pub fn drop_host(&mut self, session: SessionId) -> u32 {
        let kv = &mut self.sessions[session.index()];
        let host = std::mem::take(&mut kv.host);
        let blocks = host.blocks();
        kv.host_base = 0;
        if self.config.inclusive {
            self.host.release(host);
        } else {
            self.host.discard(host);
        }
        blocks
    }
}
