//! From HBM to the host: what remains is contiguous at every instant, so that a part that leaves from the back is copied from its last
//! block down, and one that leaves from the front from its first block up.

use super::{Ledger, SwapStart, Transfer};
use crate::memory::Table;
use model::{Direction, End, SessionId, SwapOut};

impl Ledger {
    /// Begins to move the pin to the host. What must be copied is in `transfer`; without anything to copy, the pin is free at once.
    pub fn swap_out(&mut self, session: SessionId, mode: SwapOut) -> SwapStart {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.transfer.is_none() && kv.pin.blank() == 0);
        if kv.pin_base > 0 && kv.host_end() == kv.pin_base && !kv.host.is_empty() {
            // The host has what comes before: the rest joins it.
            return self.swap_out_behind(session, mode);
        }
        let mut start = SwapStart::default();
        let (base, mut end) = (kv.pin_base, kv.pin_end());
        if kv.host_end() >= end && (base..end).contains(&kv.host_base) {
            // An interrupted restore: its source is still there.
            start.clean = end - kv.host_base;
            end = kv.host_base;
            let back = kv.split_pin_from(end);
            self.hbm.release(back);
        }
        self.host.lookup(&kv.content, base, end, &mut self.scratch);
        let mut clean = Table::default();
        self.host.touch(&self.scratch, &mut clean);
        let (lo, dirty) = (base + clean.blocks(), end - base - clean.blocks());
        let room = self.host.free().min(dirty);
        start.refused = dirty - room;
        start.copied = room;
        if start.refused == 0 || mode == SwapOut::OrDiscard {
            start.clean += clean.blocks();
        }
        let (lo, hi) = match mode {
            // What does not fit stays: the tail leaves, as far as there is room.
            SwapOut::IfRoom => (end - room, end),
            SwapOut::OrDiscard => {
                let lost = kv.split_pin_from(lo + room);
                self.hbm.discard(lost);
                (lo, lo + room)
            }
        };
        let mut target = Table::default();
        self.host.take(room, &mut target);
        kv.transfer = Some(Transfer {
            direction: Direction::D2h,
            end: End::Back,
            lo,
            hi,
            done: 0,
            target,
            clean,
            clean_base: base,
        });
        if room == 0 {
            self.end_swap_out(session);
        }
        start
    }

    fn swap_out_behind(&mut self, session: SessionId, mode: SwapOut) -> SwapStart {
        let start = self.swap_out_part(session, End::Front, u32::MAX);
        if mode == SwapOut::OrDiscard {
            let kv = &mut self.sessions[session.index()];
            let (lost, _) = kv.split_pin(End::Back, start.refused);
            self.hbm.discard(lost);
        }
        start
    }

    /// Begins to move the first or last `blocks` blocks of the pin to the host, as far as it has room. What an interrupted restore has left
    /// there is clean; the rest is copied. What the host has elsewhere and not next to it is given up when the first block arrives.
    pub fn swap_out_part(&mut self, session: SessionId, end: End, blocks: u32) -> SwapStart {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.transfer.is_none() && kv.pin.blank() == 0);
        let blocks = blocks.min(kv.pin.blocks());
        let clean = match end {
            End::Back if kv.host_end() >= kv.pin_end() => kv.pin_end().saturating_sub(kv.host_base),
            End::Front if kv.host_base <= kv.pin_base => kv.host_end().saturating_sub(kv.pin_base),
            _ => 0,
        };
        let clean = clean.min(blocks);
        let (part, _) = kv.split_pin(end, clean);
        self.hbm.release(part);
        let dirty = blocks - clean;
        let copied = self.host.free().min(dirty);
        if copied > 0 {
            let mut target = Table::default();
            self.host.take(copied, &mut target);
            let lo = match end {
                End::Back => kv.pin_end() - copied,
                End::Front => kv.pin_base,
            };
            kv.transfer = Some(Transfer {
                direction: Direction::D2h,
                end,
                lo,
                hi: lo + copied,
                done: 0,
                target,
                clean: Table::default(),
                clean_base: 0,
            });
        }
        SwapStart {
            copied,
            clean,
            refused: dirty - copied,
        }
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
        let (end, (lo, hi)) = (transfer.end, transfer.left());
        transfer.done = done;
        let mut arrived = transfer.target.split_blank(end, news);
        let base = match end {
            End::Back => hi - news,
            End::Front => lo,
        };
        self.host.register(&mut arrived, &kv.content, base, news);
        let next_to_it = match end {
            End::Back => kv.host_base == hi,
            End::Front => kv.host_end() == lo,
        };
        if kv.host.is_empty() || !next_to_it {
            let stranded = std::mem::replace(&mut kv.host, arrived);
            self.host.release(stranded);
            kv.host_base = base;
        } else if end == End::Back {
            arrived.append(&kv.host);
            (kv.host, kv.host_base) = (arrived, base);
        } else {
            kv.host.append(&arrived);
        }
        let (left, _) = kv.split_pin(end, news);
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
        let (clean, base) = (transfer.clean, transfer.clean_base);
        let end = base + clean.blocks();
        if complete && !clean.is_empty() && end == transfer.lo && kv.pin.blocks() <= clean.blocks()
        {
            // The clean head need not stay in HBM either.
            let head = kv.split_pin_from(0);
            self.hbm.release(head);
            if kv.host.is_empty() {
                kv.host = clean;
                kv.host_base = base;
            } else if kv.host_base == end {
                let mut joined = clean;
                joined.append(&kv.host);
                kv.host = joined;
                kv.host_base = base;
            } else {
                self.host.release(clean);
            }
        } else {
            self.host.release(clean);
        }
    }

    /// The session gives up the first or last `blocks` blocks that it has on the host; they may stay there as cache. Returns how many it
    /// gave up.
    pub fn trim_host(&mut self, session: SessionId, end: End, blocks: u32) -> u32 {
        let kv = &mut self.sessions[session.index()];
        let blocks = blocks.min(kv.host.blocks());
        let part = match end {
            End::Back => kv.host.split_off(kv.host.blocks() - blocks),
            End::Front => {
                let rest = kv.host.split_off(blocks);
                kv.host_base += blocks;
                std::mem::replace(&mut kv.host, rest)
            }
        };
        if kv.host.is_empty() {
            kv.host_base = 0;
        }
        if self.config.inclusive {
            self.host.release(part);
        } else {
            self.host.discard(part);
        }
        blocks
    }

    /// The session gives up its place on the host; what is there may stay as cache.
    pub fn drop_host(&mut self, session: SessionId) -> u32 {
        self.trim_host(session, End::Back, u32::MAX)
    }
}
