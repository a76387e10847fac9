//! From the host back to HBM: what follows the pin from its first block up, what precedes it from its last block down.

use super::{Ledger, Transfer};
use crate::device::BlockCopy;
use crate::memory::Table;
use model::{Direction, End, SessionId};

/// What a restore would bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restorable {
    /// First position.
    pub lo: u32,
    /// One past the last position.
    pub hi: u32,
    /// Next to which end of what HBM holds it belongs.
    pub end: End,
}

impl Restorable {
    /// How many blocks.
    pub fn blocks(self) -> u32 {
        self.hi - self.lo
    }
}

impl Ledger {
    /// What a restore would bring back now: what is missing between what HBM holds and the far end of the host's part. `None` if there is
    /// nothing to bring, or a hole that nothing fills.
    pub fn restorable(&mut self, session: SessionId) -> Option<Restorable> {
        let kv = &self.sessions[session.index()];
        if kv.host.is_empty() {
            return None;
        }
        let (lo, hi) = (kv.host_base, kv.host_end());
        self.hbm.lookup(&kv.content, 0, hi, &mut self.scratch);
        let cached = self.scratch.blocks;
        if kv.pin_base == 0 || cached > kv.pin_base {
            let from = if cached < lo && self.mid_sequence && kv.pin.is_empty() {
                lo
            } else {
                cached
            };
            let found = Restorable {
                lo: from,
                hi,
                end: End::Back,
            };
            return (from >= lo && from < hi).then_some(found);
        }
        // What is held begins later, and counts if nothing will be missing before it, or what is will be computed.
        let (base, end) = (kv.pin_base, kv.pin_end());
        let of_use = |from: u32| self.mid_sequence || cached >= from;
        if lo < base && base <= hi && of_use(lo) {
            Some(Restorable {
                lo,
                hi: base,
                end: End::Front,
            })
        } else if lo <= end && end < hi && of_use(base) {
            Some(Restorable {
                lo: end,
                hi,
                end: End::Back,
            })
        } else {
            None
        }
    }

    /// Begins to bring a session's KV back; takes the destination.
    ///
    /// # Errors
    /// The number of free blocks that are missing; nothing has changed then.
    pub fn begin_restore(&mut self, session: SessionId) -> Result<(), u32> {
        let found = self
            .restorable(session)
            .expect("the caller asked `restorable`");
        let Restorable { lo, hi, end } = found;
        let kv = &mut self.sessions[session.index()];
        // Everything that precedes it in HBM is held, once; unless it is behind a hole.
        let prefix = end == End::Back && self.scratch.blocks == lo;
        let unheld = if prefix { self.scratch.unheld } else { 0 };
        let needed = hi - lo + unheld;
        if needed > self.hbm.free() {
            return Err(needed - self.hbm.free());
        }
        let mut target = Table::default();
        if prefix {
            let mut pin = Table::default();
            self.hbm.touch(&self.scratch, &mut pin);
            let old = std::mem::replace(&mut kv.pin, pin);
            self.hbm.release(old);
            kv.pin_base = 0;
        } else if kv.pin.is_empty() {
            kv.pin_base = lo;
        }
        match end {
            End::Back => self.hbm.take(hi - lo, &mut kv.pin),
            End::Front => self.hbm.take(hi - lo, &mut target),
        }
        kv.transfer = Some(Transfer {
            direction: Direction::H2d,
            end,
            lo,
            hi,
            done: 0,
            target,
            clean: Table::default(),
            clean_base: 0,
        });
        Ok(())
    }

    /// Begins to bring everything that the host has of a session to where it leaves a hole behind what HBM holds; takes the destination. The
    /// turn may enter meanwhile, and fill the hole.
    ///
    /// # Errors
    /// The number of free blocks that are missing; nothing has changed then.
    pub fn begin_overlap(&mut self, session: SessionId) -> Result<(), u32> {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(self.mid_sequence && kv.behind.is_empty() && kv.transfer.is_none());
        let blocks = kv.host.blocks();
        if blocks > self.hbm.free() {
            return Err(blocks - self.hbm.free());
        }
        self.hbm.take(blocks, &mut kv.behind);
        kv.behind_base = kv.host_base;
        kv.transfer = Some(Transfer {
            direction: Direction::H2d,
            end: End::Back,
            lo: kv.host_base,
            hi: kv.host_end(),
            done: 0,
            target: Table::default(),
            clean: Table::default(),
            clean_base: 0,
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
        if news == 0 {
            return;
        }
        match transfer.end {
            End::Back if !kv.behind.is_empty() => {
                let base = kv.behind_base;
                self.hbm.register(&mut kv.behind, &kv.content, base, news);
            }
            End::Back => self
                .hbm
                .register(&mut kv.pin, &kv.content, kv.pin_base, news),
            End::Front => {
                let (_, base) = transfer.left();
                let mut arrived = transfer.target.split_blank(End::Back, news);
                self.hbm.register(&mut arrived, &kv.content, base, news);
                arrived.append(&kv.pin);
                (kv.pin, kv.pin_base) = (arrived, base);
            }
        }
    }

    /// A restore is over, complete or cut short: what has arrived is held, the rest of the destination is free. A complete one
    /// gives up the host's copy, or leaves it there as cache.
    pub fn end_restore(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        let transfer = kv.transfer.take().expect("a restore is in flight");
        let empty = kv.pin.split_all_blank();
        if kv.pin.is_empty() {
            kv.pin_base = 0;
        }
        let complete = transfer.done == transfer.blocks();
        self.hbm.release(empty);
        self.hbm.release(transfer.target);
        if complete {
            self.drop_host(session);
        }
    }

    /// Source, destination and content of the blocks of the transfer behind the first `from`, in copy order; empty unless blocks are placed.
    pub fn block_copies(&self, session: SessionId, from: u32) -> Vec<BlockCopy> {
        let kv = self.kv(session);
        let (Some(transfer), Some(_)) = (&kv.transfer, self.config.first_place) else {
            return Vec::new();
        };
        let at =
            |table: &Table, base: u32, position: u32| table.places()[(position - base) as usize];
        let copy = |position: u32| {
            let target = || at(&transfer.target, transfer.lo, position);
            let (source, destination) = match transfer.direction {
                Direction::D2h => {
                    let first = match transfer.end {
                        End::Back => transfer.lo,
                        // Its first blocks have been filled, and are the host's.
                        End::Front => transfer.lo + transfer.done,
                    };
                    let target = at(&transfer.target, first, position);
                    (at(&kv.pin, kv.pin_base, position), target)
                }
                _ if !kv.behind.is_empty() => {
                    let target = at(&kv.behind, kv.behind_base, position);
                    (at(&kv.host, kv.host_base, position), target)
                }
                _ => {
                    let arrives = transfer.end == End::Front && position < kv.pin_base;
                    let target = if arrives {
                        target()
                    } else {
                        at(&kv.pin, kv.pin_base, position)
                    };
                    (at(&kv.host, kv.host_base, position), target)
                }
            };
            BlockCopy {
                source,
                destination,
                content: kv.content.at(position),
            }
        };
        if transfer.descends() {
            (transfer.lo..transfer.hi - from).rev().map(copy).collect()
        } else {
            (transfer.lo + from..transfer.hi).map(copy).collect()
        }
    }
}
