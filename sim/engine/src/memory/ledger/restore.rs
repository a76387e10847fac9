//! From the host back to HBM, from the head up.

use super::{Ledger, Transfer};
use crate::device::BlockCopy;
use crate::memory::Table;
use model::{Direction, SessionId};

impl Ledger {
    /// Positions that a restore would bring back now: from the end of what HBM holds to the end of the host's part.
    /// `None` if there is nothing to bring, or a hole that no copy fills.
    pub fn restorable(&mut self, session: SessionId) -> Option<(u32, u32)> {
        let kv = &self.sessions[session.index()];
        let end = kv.host_base + kv.host.blocks();
        if kv.host.is_empty() {
            return None;
        }
        self.hbm.lookup(&kv.content, 0, end, &mut self.scratch);
        let held = self.scratch.blocks;
        (held >= kv.host_base && held < end).then_some((held, end))
    }

    /// Begins to bring a session's KV back; takes the destination.
    ///
    /// # Errors
    /// The number of free blocks that are missing; nothing has changed then.
    pub fn begin_restore(&mut self, session: SessionId) -> Result<(), u32> {
        let (lo, hi) = self
            .restorable(session)
            .expect("the caller asked `restorable`");
        let unheld = self.scratch.unheld;
        let needed = hi - lo + unheld;
        if needed > self.hbm.free() {
            return Err(needed - self.hbm.free());
        }
        let kv = &mut self.sessions[session.index()];
        // Hold everything that precedes it, once.
        let mut pin = Table::default();
        self.hbm.touch(&self.scratch, &mut pin);
        let old = std::mem::replace(&mut kv.pin, pin);
        self.hbm.release(old);
        self.hbm.take(hi - lo, &mut kv.pin);
        kv.transfer = Some(Transfer {
            direction: Direction::H2d,
            lo,
            hi,
            done: 0,
            target: Table::default(),
            clean: Table::default(),
        });
        Ok(())
    }

    /// So many blocks of a restore have arrived in all.
    pub fn restore_progress(&mut self, session: SessionId, done: u32) {
        let kv = &mut self.sessions[session.index()];
        let transfer = kv.transfer.as_mut().expect("a restore is in flight");
        debug_assert_eq!(transfer.direction, Direction::H2d);
        let news = done - transfer.done;
        transfer.done = done;
        if news > 0 {
            self.hbm.register(&mut kv.pin, &kv.content, 0, news);
        }
    }

    /// A restore is over, complete or cut short: what has arrived is held, the rest of the destination is free. A complete one
    /// gives up the host's copy, or leaves it there as cache.
    pub fn end_restore(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        let transfer = kv.transfer.take().expect("a restore is in flight");
        let empty = kv.pin.split_blank();
        self.hbm.release(empty);
        if transfer.done == transfer.blocks() {
            self.drop_host(session);
        }
    }

    /// Source, destination and content of the blocks of the transfer behind the first `from`, in copy order; empty unless blocks are placed.
    pub fn block_copies(&self, session: SessionId, from: u32) -> Vec<BlockCopy> {
        let kv = self.kv(session);
        let (Some(transfer), Some(_)) = (&kv.transfer, self.config.first_place) else {
            return Vec::new();
        };
        let content = |position| kv.content.at(position);
        match transfer.direction {
            Direction::D2h => (transfer.lo..transfer.hi - from)
                .rev()
                .map(|position| BlockCopy {
                    source: kv.pin.places()[position as usize],
                    destination: transfer.target.places()[(position - transfer.lo) as usize],
                    content: content(position),
                })
                .collect(),
            Direction::H2d => (transfer.lo + from..transfer.hi)
                .map(|position| BlockCopy {
                    source: kv.host.places()[(position - kv.host_base) as usize],
                    destination: kv.pin.places()[position as usize],
                    content: content(position),
                })
                .collect(),
        }
    }
}
