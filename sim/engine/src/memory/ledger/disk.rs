//! Between the host and the disk behind it.
//!
//! ```text
//!   context   [ HBM | host              | disk ]      what HBM and host lack is read, and joins what the host has
//!             [ host, being written ────►      ]      a write leaves the host's copy where it is until it is over
//! ```
//!
//! What the disk has of a session is a contiguous part of its context (positions from `base`), whether or not the host has it too. A write
//! takes what the host has, from its first block up; what the disk has already (by content, any session's) is clean and not written. A read
//! brings what is missing between HBM, the host and the disk's end, from its first block up. What arrives and is not next to what is there
//! takes its place.
//!
//! A copy holds its source and its target by itself, and what they hold: the session may change, take its KV back to HBM, or end meanwhile.
//! The copy is then *dropped*: what it has brought by its end is nobody's, and cache.
//!
//! **Absent on purpose:** copies between the disk and HBM. What is read goes to the host, and from there over the link when it is there
//! as a whole.

use super::{Kv, Ledger};
use crate::device::BlockCopy;
use crate::memory::{BlockPool, Content, Table};
use model::{Direction, SessionId};
use std::ops::Range;

/// What the disk has of a session.
#[derive(Clone, Debug, Default)]
pub struct OnDisk {
    /// Its blocks.
    pub table: Table,
    /// Position of the first; 0 if there is none.
    pub base: u32,
    /// The one transfer from or to the disk that the session may have.
    pub transfer: Option<DiskTransfer>,
}

/// KV on its way between host and disk.
#[derive(Clone, Debug)]
pub struct DiskTransfer {
    /// Which way.
    pub direction: Direction,
    /// First position.
    pub lo: u32,
    /// One past the last position.
    pub hi: u32,
    /// Blocks that have arrived, from the first on.
    pub done: u32,
    /// Nobody wants what arrives any more.
    pub dropped: bool,
    /// Host blocks that leave when it is over.
    leaves: u32,
    content: Content,
    source: Table,
    target: Table,
}

/// What a write set in motion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteStart {
    /// Blocks that have to be written.
    pub written: u32,
    /// Blocks that were on the disk already.
    pub clean: u32,
    /// Blocks for which the disk had no room.
    pub refused: u32,
    /// Blocks that have left the host at once.
    pub left: u32,
}

impl DiskTransfer {
    /// One of which nothing has arrived, from the first table to the second.
    fn new(
        direction: Direction,
        positions: Range<u32>,
        content: &Content,
        [source, target]: [Table; 2],
    ) -> Self {
        Self {
            direction,
            lo: positions.start,
            hi: positions.end,
            done: 0,
            dropped: false,
            leaves: 0,
            content: content.clone(),
            source,
            target,
        }
    }

    /// Blocks to move in all.
    pub fn blocks(&self) -> u32 {
        self.hi - self.lo
    }
}

impl Kv {
    /// What the disk has: its first position, and how many blocks.
    pub fn disk_part(&self) -> (u32, u32) {
        let disk = self.disk.as_ref();
        disk.map_or((0, 0), |disk| (disk.base, disk.table.blocks()))
    }

    /// The transfer from or to the disk.
    pub fn disk_transfer(&self) -> Option<&DiskTransfer> {
        self.disk.as_ref()?.transfer.as_ref()
    }
}

impl Ledger {
    /// Host blocks that are free when what is being written is on the disk.
    pub fn host_leaving(&self) -> u32 {
        self.host_leaving
    }

    /// Begins to write to the disk what the host has of a session, as far as there is room from its beginning on. With `leaves`, it leaves
    /// the host when it is written: what is clean at once if that is all, what finds no room at once. There must be no transfer of the disk.
    pub fn begin_write(&mut self, session: SessionId, leaves: bool) -> WriteStart {
        let kv = &mut self.sessions[session.index()];
        let disk = kv.disk.get_or_insert_default();
        debug_assert!(disk.transfer.is_none(), "one transfer at a time");
        let (lo, hi) = (kv.host_base, kv.host_base + kv.host.blocks());
        let (old, base) = (std::mem::take(&mut disk.table), disk.base);
        let covers = !old.is_empty() && base <= lo && hi <= base + old.blocks();
        let mut start = WriteStart::default();
        if covers {
            disk.table = old;
            start.clean = hi - lo;
        } else {
            // What the disk has just behind it joins when all is written; what it has before it is joined now.
            let behind = base == hi;
            self.disk.lookup(&kv.content, lo, hi, &mut self.scratch);
            let mut clean = Table::default();
            self.disk.touch(&self.scratch, &mut clean);
            start.clean = clean.blocks();
            if behind && clean.is_empty() && !old.is_empty() {
                disk.table = old;
            } else {
                let mut before = old;
                let rest = before.split_off(lo.saturating_sub(base));
                let joins = !before.is_empty() && base + before.blocks() == lo;
                if !joins {
                    let stranded = std::mem::take(&mut before);
                    self.disk.release(stranded);
                }
                self.disk.release(rest);
                disk.base = if joins { base } else { lo };
                before.append(&clean);
                disk.table = before;
            }
        }
        let from = lo + start.clean;
        start.written = self.disk.free().min(hi - from);
        start.refused = hi - from - start.written;
        if start.written > 0 {
            let mut target = Table::default();
            self.disk.take(start.written, &mut target);
            let mut source = kv.host.clone().split_off(start.clean);
            source.split_off(start.written);
            self.host.hold(&source);
            let positions = from..from + start.written;
            disk.transfer = Some(DiskTransfer::new(
                Direction::DiskWrite,
                positions,
                &kv.content,
                [source, target],
            ));
        }
        self.settle_disk(session);
        if leaves {
            let gone = if start.written > 0 {
                start.refused
            } else {
                u32::MAX
            };
            start.left = self.trim_host(session, model::End::Back, gone);
            self.let_leave(session);
        }
        start
    }

    /// What the host has of the session leaves it when the write is over.
    fn let_leave(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        let transfer = kv.disk.as_mut().and_then(|disk| disk.transfer.as_mut());
        if let Some(transfer) = transfer {
            transfer.leaves = kv.host.blocks();
            self.host_leaving += transfer.leaves;
        }
    }

    /// The positions that a read would bring to where they are of use: those that HBM and then the host lack, and the disk has. `None` if
    /// there are none, or a hole before them that nothing fills.
    pub fn fetchable(&mut self, session: SessionId) -> Option<Range<u32>> {
        let kv = &self.sessions[session.index()];
        let (from, blocks) = kv.disk_part();
        if blocks == 0 {
            return None;
        }
        let (to, host) = (from + blocks, kv.host_base..kv.host_end());
        let end = to.max(host.end);
        self.hbm.lookup(&kv.content, 0, end, &mut self.scratch);
        let mut next = self.scratch.blocks;
        if host.contains(&next) {
            next = host.end;
        }
        let ahead = !host.is_empty() && next < host.start;
        let to = if ahead { to.min(host.start) } else { to };
        (from <= next && next < to).then_some(next..to)
    }

    /// Begins to read the first `limit` blocks of what [`Ledger::fetchable`] names; takes their place on the host. There must be no
    /// transfer of the disk. Returns how many blocks it will bring.
    ///
    /// # Errors
    /// The number of free blocks of the host that are missing; nothing has changed then.
    pub fn begin_read(&mut self, session: SessionId, limit: u32) -> Result<u32, u32> {
        let found = self.fetchable(session);
        let Range { start: lo, end } = found.expect("the caller asked `fetchable`");
        let hi = end.min(lo.saturating_add(limit));
        let missing = (hi - lo).saturating_sub(self.host.free());
        if missing > 0 {
            return Err(missing);
        }
        let kv = &mut self.sessions[session.index()];
        let disk = kv.disk.as_mut().expect("it has what is read");
        debug_assert!(disk.transfer.is_none() && lo < hi, "one transfer at a time");
        let mut target = Table::default();
        self.host.take(hi - lo, &mut target);
        let mut source = disk.table.clone().split_off(lo - disk.base);
        source.split_off(hi - lo);
        self.disk.hold(&source);
        disk.transfer = Some(DiskTransfer::new(
            Direction::DiskRead,
            lo..hi,
            &kv.content,
            [source, target],
        ));
        Ok(hi - lo)
    }

    /// So many blocks of a read or write have arrived in all.
    pub fn disk_progress(&mut self, session: SessionId, done: u32) {
        let kv = &mut self.sessions[session.index()];
        let disk = kv.disk.as_mut().expect("a transfer is in flight");
        let transfer = disk.transfer.as_mut().expect("a transfer is in flight");
        let news = done - transfer.done;
        transfer.done = done;
        let pool = match transfer.direction {
            Direction::DiskWrite => &mut self.disk,
            _ => &mut self.host,
        };
        pool.register(&mut transfer.target, &transfer.content, transfer.lo, news);
    }

    /// The session does not want any more what a read or write brings, whatever it has brought by its end.
    pub fn drop_disk_transfer(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        let disk = kv.disk.as_mut().expect("a transfer is in flight");
        let transfer = disk.transfer.as_mut().expect("a transfer is in flight");
        transfer.dropped = true;
        self.host_leaving -= std::mem::take(&mut transfer.leaves);
    }

    /// A read or write is over, complete or cut short. What has arrived joins what the session has there, unless it was dropped; the host
    /// gives up what was to leave it, if all of it is on the disk now. Returns how many blocks that is.
    pub fn end_disk_transfer(&mut self, session: SessionId) -> u32 {
        let kv = &mut self.sessions[session.index()];
        let disk = kv.disk.as_mut().expect("a transfer is in flight");
        let mut transfer = disk.transfer.take().expect("a transfer is in flight");
        self.host_leaving -= transfer.leaves;
        let complete = transfer.done == transfer.blocks();
        let empty = transfer.target.split_all_blank();
        let (source, target) = match transfer.direction {
            Direction::DiskWrite => (&mut self.host, &mut self.disk),
            _ => (&mut self.disk, &mut self.host),
        };
        target.release(empty);
        source.release(transfer.source);
        if transfer.dropped {
            target.release(transfer.target);
        } else {
            let there = match transfer.direction {
                Direction::DiskWrite => (&mut disk.table, &mut disk.base),
                _ => (&mut kv.host, &mut kv.host_base),
            };
            join(target, there, transfer.target, transfer.lo);
        }
        self.settle_disk(session);
        if complete && transfer.leaves > 0 {
            self.drop_host(session)
        } else {
            0
        }
    }

    /// Source, destination and content of the blocks behind the first `from` of a read or write, in copy order; empty unless blocks are placed.
    pub fn disk_copies(&self, session: SessionId, from: u32) -> Vec<BlockCopy> {
        let transfer = self.kv(session).disk_transfer();
        let (Some(transfer), Some(_)) = (transfer, self.config.first_place) else {
            return Vec::new();
        };
        let copy = |i: u32| BlockCopy {
            source: transfer.source.places()[i as usize],
            destination: transfer.target.places()[i as usize],
            content: transfer.content.at(transfer.lo + i),
        };
        (from..transfer.blocks()).map(copy).collect()
    }

    /// The session gives up its place on the disk; what is there may stay as cache. Returns how many blocks that were.
    pub fn drop_disk(&mut self, session: SessionId) -> u32 {
        let Some(disk) = &mut self.sessions[session.index()].disk else {
            return 0;
        };
        let table = std::mem::take(&mut disk.table);
        let blocks = table.blocks();
        if self.config.inclusive {
            self.disk.release(table);
        } else {
            self.disk.discard(table);
        }
        self.settle_disk(session);
        blocks
    }

    /// From position `kept` on the context is another one: what the disk has of the rest is given up.
    pub(super) fn truncate_disk(&mut self, session: SessionId, kept: u32) {
        let Some(disk) = &mut self.sessions[session.index()].disk else {
            return;
        };
        let transfer = disk.transfer.as_ref();
        debug_assert!(
            transfer.is_none_or(|transfer| transfer.dropped),
            "a transfer is settled before the content changes"
        );
        let dead = disk.table.split_off(kept.saturating_sub(disk.base));
        self.disk.release(dead);
        self.settle_disk(session);
    }

    /// Whoever has nothing on the disk has no place there.
    fn settle_disk(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        let Some(disk) = &mut kv.disk else { return };
        if disk.table.is_empty() {
            disk.base = 0;
            if disk.transfer.is_none() {
                kv.disk = None;
            }
        }
    }

    /// Counts the disk and what moves there the slow way.
    pub(super) fn check_disk(&self) -> Result<(), String> {
        self.disk.check().map_err(|e| format!("disk: {e}"))?;
        let mut leaving = 0;
        for (id, kv) in self.sessions.iter().enumerate() {
            let Some(disk) = &kv.disk else { continue };
            if disk.table.blank() > 0 || (disk.table.is_empty() && disk.base > 0) {
                return Err(format!(
                    "session {id} holds nothing on the disk, at some place"
                ));
            }
            let Some(transfer) = &disk.transfer else {
                continue;
            };
            leaving += transfer.leaves;
            let (target, blocks) = (&transfer.target, transfer.blocks());
            let sizes = (transfer.source.blocks(), target.blocks());
            if sizes != (blocks, blocks) || target.registered() != transfer.done {
                return Err(format!(
                    "session {id} moves {blocks} blocks from {} to {}, of which {} are filled and {} have arrived",
                    sizes.0,
                    sizes.1,
                    target.registered(),
                    transfer.done
                ));
            }
            if transfer.leaves > 0 && (transfer.dropped || kv.host.blocks() != transfer.leaves) {
                return Err(format!(
                    "{} blocks of session {id} are to leave the host, which has {}",
                    transfer.leaves,
                    kv.host.blocks()
                ));
            }
        }
        if leaving != self.host_leaving {
            return Err(format!(
                "{leaving} blocks are to leave the host, {} are counted",
                self.host_leaving
            ));
        }
        Ok(())
    }
}

/// `blocks`, whose first position is `lo`, join what is `there` (a table and its first position) if they are next to it, and take its
/// place otherwise.
fn join(pool: &mut BlockPool, there: (&mut Table, &mut u32), mut blocks: Table, lo: u32) {
    let (table, base) = there;
    if blocks.is_empty() {
        return;
    }
    if !table.is_empty() && *base + table.blocks() == lo {
        table.append(&blocks);
        return;
    }
    if *base == lo + blocks.blocks() {
        blocks.append(table);
        *table = blocks;
    } else {
        let stranded = std::mem::replace(table, blocks);
        pool.release(stranded);
    }
    *base = lo;
}
