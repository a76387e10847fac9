//! The only thing that changes who holds what.
//!
//! ```text
//!             admit / grow             idle: pin                swap out (tail first)
//!   free ──────────────────► run ─────────────────► pin ───────────────────────────► host
//!    ▲      register fills ──┘  └─ release, preempt    ▲                               │
//!    └──────────────────────────── release, discard ───┴──── restore (head first) ◄────┘
//! ```
//!
//! A session's idle KV is always a prefix of its context in HBM (`pin`, positions from 0) and a contiguous part of it on the
//! host (`host`, positions from `host_base`). A swap-out copies from the tail down and a restore from the head up, so that this
//! holds at every instant, whatever is cancelled. What is on the host already (by content, any session's) is clean and not copied.
//!
//! A restore takes its destination whole when it enters the lane: half a destination helps nobody, and two restores that hold
//! half each would block one another. A partial last block is given up with the turn, as in vLLM.
//!
//! **Invariant:** per tier, free + held = capacity; every block of a table is referenced.

use super::{BlockPool, Content, Hits, Lineages, Table};
use crate::device::BlockCopy;
use model::{ContentId, ContentRun, Direction, SessionId, SharedPrefix, SwapOut, Tier};

/// Sizes and rules of the two tiers.
#[derive(Clone, Copy, Debug)]
pub struct LedgerConfig {
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Usable blocks of HBM.
    pub hbm_blocks: u32,
    /// Blocks of host memory.
    pub host_blocks: u32,
    /// Whether the host keeps its copy after a restore (as cache) or gives it up.
    pub inclusive: bool,
    /// Whether finished blocks can be hit (prefix caching).
    pub caching: bool,
    /// Fault: a swap-out leaves its blocks in HBM until the session's next turn.
    pub leak_on_swap_out: bool,
    /// Number physical blocks: HBM from this number on, the host from 0.
    pub first_place: Option<u32>,
}

/// The KV of one session.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    /// What its context holds.
    pub content: Content,
    /// Blocks of the running turn.
    pub run: Table,
    /// Blocks held while idle; blank ones are the destination of a restore.
    pub pin: Table,
    /// Blocks on the host.
    pub host: Table,
    /// Position of the first block of `host`.
    pub host_base: u32,
    /// The one transfer it may have.
    pub transfer: Option<Transfer>,
    /// Fault: blocks that a swap-out should have freed.
    leaked: Vec<Table>,
}

/// KV on its way. Positions `lo..hi`; a swap-out goes down from `hi`, a restore up from `lo`.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// First position.
    pub lo: u32,
    /// One past the last position.
    pub hi: u32,
    /// Blocks that have arrived.
    pub done: u32,
    /// Host blocks to be filled (swap-out).
    target: Table,
    /// Host blocks that are clean and held so that they stay (swap-out): positions from 0.
    clean: Table,
}

impl Transfer {
    /// Blocks to move in all.
    pub fn blocks(&self) -> u32 {
        self.hi - self.lo
    }
}

/// What a swap-out set in motion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwapStart {
    /// Blocks that have to be copied.
    pub copied: u32,
    /// Blocks that were on the host already.
    pub clean: u32,
    /// Blocks for which the host had no room.
    pub refused: u32,
}

/// Both tiers and every session's place in them.
#[derive(Clone, Debug)]
pub struct Ledger {
    config: LedgerConfig,
    hbm: BlockPool,
    host: BlockPool,
    lineages: Lineages,
    sessions: Vec<Kv>,
    scratch: Hits,
}

impl Ledger {
    /// Empty tiers.
    pub fn new(config: LedgerConfig) -> Self {
        let placed = config.first_place.is_some();
        Self {
            hbm: BlockPool::new(config.hbm_blocks, placed, config.first_place.unwrap_or(0)),
            host: BlockPool::new(config.host_blocks, placed, 0),
            lineages: Lineages::default(),
            sessions: Vec::new(),
            scratch: Hits::default(),
            config,
        }
    }

    /// Its sizes and rules.
    pub fn config(&self) -> &LedgerConfig {
        &self.config
    }

    /// One of the tiers.
    pub fn pool(&self, tier: Tier) -> &BlockPool {
        match tier {
            Tier::Hbm => &self.hbm,
            Tier::Host => &self.host,
        }
    }

    /// The KV of `session`.
    pub fn kv(&self, session: SessionId) -> &Kv {
        &self.sessions[session.index()]
    }

    /// A session enters. Ids are dense.
    pub fn open(&mut self, session: SessionId, shared: Option<SharedPrefix>) {
        debug_assert_eq!(
            session.index(),
            self.sessions.len(),
            "sessions enter in order"
        );
        let content = Content::new(&mut self.lineages, shared, self.config.block_tokens);
        self.sessions.push(Kv {
            content,
            ..Kv::default()
        });
    }

    /// The prompt of the next turn is known: from block `kept` on, it differs from the context so far. What is held of the
    /// rest is dropped. There must be no transfer.
    pub fn rewrite_from(&mut self, session: SessionId, kept: u32) {
        let kv = &mut self.sessions[session.index()];
        kv.content.rewrite_from(&mut self.lineages, kept);
        self.truncate(session, kept);
    }

    /// The trace names the content of the next prompt. What is held beyond the blocks that agree with the context so far is dropped.
    /// There must be no transfer.
    pub fn replace_content(&mut self, session: SessionId, runs: &[ContentRun]) {
        let kv = &mut self.sessions[session.index()];
        let before = kv.content.clone();
        kv.content.replace(&mut self.lineages, runs);
        let kept = kv.content.common_blocks(&before);
        self.truncate(session, kept);
    }

    /// Gives up what is held from position `kept` on, which is the context's no more.
    fn truncate(&mut self, session: SessionId, kept: u32) {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(
            kv.transfer.is_none(),
            "a transfer is settled before the content changes"
        );
        let dead = kv.pin.split_off(kept);
        self.hbm.release(dead);
        let dead = kv.host.split_off(kept.saturating_sub(kv.host_base));
        self.host.release(dead);
    }

    /// Finds how many of the first `blocks` blocks are in HBM, into `hits`.
    pub fn lookup(&self, session: SessionId, blocks: u32, hits: &mut Hits) {
        if self.config.caching {
            self.hbm.lookup(&self.kv(session).content, 0, blocks, hits);
        } else {
            *hits = Hits::default();
        }
    }

    /// A turn enters the batch with `hits` and `blank` further blocks. Its pin has done its work.
    pub fn admit(&mut self, session: SessionId, hits: &Hits, blank: u32) {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.run.is_empty() && kv.transfer.is_none());
        self.hbm.touch(hits, &mut kv.run);
        self.hbm.take(blank, &mut kv.run);
        let pin = std::mem::take(&mut kv.pin);
        self.hbm.release(pin);
    }

    /// What swap-outs should have freed goes to the prefix cache after all: the session has returned, or is over.
    pub fn stop_leak(&mut self, session: SessionId) {
        for table in std::mem::take(&mut self.sessions[session.index()].leaked) {
            self.hbm.release(table);
        }
    }

    /// A running turn takes `blocks` more.
    pub fn grow(&mut self, session: SessionId, blocks: u32) {
        let kv = &mut self.sessions[session.index()];
        self.hbm.take(blocks, &mut kv.run);
    }

    /// The first `blocks` blocks of a running turn are full: from now on they can be hit. Calls `wrote` for each
    /// physical block that this is news for.
    pub fn register(
        &mut self,
        session: SessionId,
        blocks: u32,
        wrote: &mut dyn FnMut(u32, ContentId),
    ) {
        let kv = &mut self.sessions[session.index()];
        let known = kv.run.registered();
        if blocks <= known || !self.config.caching {
            return;
        }
        self.hbm
            .register(&mut kv.run, &kv.content, 0, blocks - known);
        if self.config.first_place.is_some() {
            let places = &kv.run.places()[known as usize..];
            for (&place, content) in places.iter().zip(kv.content.blocks(known, blocks)) {
                wrote(place, content);
            }
        }
    }

    /// A running turn gives up its blocks: registered ones stay hits while they survive, except from block `keep` on: what was to be
    /// written there never was.
    pub fn release_run(&mut self, session: SessionId, keep: u32) {
        let mut run = std::mem::take(&mut self.sessions[session.index()].run);
        if keep < run.registered() {
            let partial = run.split_blank();
            self.hbm.release(partial);
            let unwritten = run.split_off(keep);
            self.hbm.discard(unwritten);
        }
        self.hbm.release(run);
    }

    /// A finished turn's registered blocks are held for the session; a partial last block is given up.
    pub fn pin_run(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.pin.is_empty(), "a running session has no pin");
        let mut run = std::mem::take(&mut kv.run);
        let partial = run.split_blank();
        self.hbm.release(partial);
        kv.pin = run;
    }

    /// The pin ends: blocks go to the prefix cache.
    pub fn release_pin(&mut self, session: SessionId) -> u32 {
        let pin = std::mem::take(&mut self.sessions[session.index()].pin);
        let before = self.hbm.free();
        self.hbm.release(pin);
        self.hbm.free() - before
    }

    /// The pin ends and what only this session can have is dropped; what others may share goes to the prefix cache.
    /// Returns how many blocks became free.
    pub fn discard_pin(&mut self, session: SessionId) -> u32 {
        let kv = &mut self.sessions[session.index()];
        let before = self.hbm.free();
        let mut pin = std::mem::take(&mut kv.pin);
        let own = pin.split_off(kv.content.shared_blocks());
        self.hbm.discard(own);
        self.hbm.release(pin);
        self.hbm.free() - before
    }

    /// The last `blocks` blocks of the pin go to the prefix cache. Returns how many became free.
    pub fn release_back(&mut self, session: SessionId, blocks: u32) -> u32 {
        let before = self.hbm.free();
        let back = self.split_back(session, blocks);
        self.hbm.release(back);
        self.hbm.free() - before
    }

    /// The last `blocks` blocks of the pin are dropped, those that others may share go to the prefix cache. Returns how many became free.
    pub fn discard_back(&mut self, session: SessionId, blocks: u32) -> u32 {
        let before = self.hbm.free();
        let mut back = self.split_back(session, blocks);
        let kv = &self.sessions[session.index()];
        let own = kv.content.shared_blocks().saturating_sub(kv.pin.blocks());
        let own = back.split_off(own);
        self.hbm.discard(own);
        self.hbm.release(back);
        self.hbm.free() - before
    }

    fn split_back(&mut self, session: SessionId, blocks: u32) -> Table {
        let pin = &mut self.sessions[session.index()].pin;
        pin.split_off(pin.blocks().saturating_sub(blocks))
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

    /// A session leaves; its KV is handed to the caches, or dropped where nobody else can have it. There must be no transfer.
    pub fn close(&mut self, session: SessionId, discard: bool) {
        if discard {
            self.discard_pin(session);
        } else {
            self.release_pin(session);
        }
        self.drop_host(session);
        self.stop_leak(session);
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.run.is_empty() && kv.transfer.is_none());
        *kv = Kv::default();
    }

    /// Counts both tiers the slow way.
    ///
    /// # Errors
    /// What does not add up, and where.
    pub fn check(&self) -> Result<(), String> {
        self.hbm.check().map_err(|e| format!("HBM: {e}"))?;
        self.host.check().map_err(|e| format!("host: {e}"))?;
        for (id, kv) in self.sessions.iter().enumerate() {
            let in_flight = kv.transfer.as_ref().map(|t| t.direction);
            if kv.pin.blank() > 0 && in_flight != Some(Direction::H2d) {
                return Err(format!("session {id} holds blank blocks without a restore"));
            }
            if !kv.run.is_empty() && (!kv.pin.is_empty() || in_flight.is_some()) {
                return Err(format!("session {id} runs and is idle at once"));
            }
        }
        Ok(())
    }
}
