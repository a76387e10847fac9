//! Blocks of a turn, from its admission to its end.

use super::Ledger;
use crate::memory::Hits;
use model::{ContentId, SessionId};
use std::ops::Range;

impl Ledger {
    /// Finds how many of the first `blocks` blocks are in HBM, into `hits`.
    ///
    /// Where KV is held, or on its way, behind a hole, some of the hole is always left to compute.
    pub fn lookup(&self, session: SessionId, blocks: u32, hits: &mut Hits) {
        let kv = self.kv(session);
        let blocks = if kv.behind.is_empty() {
            blocks
        } else {
            blocks.min(kv.behind_base - 1)
        };
        if self.config.caching {
            self.hbm.lookup(&kv.content, 0, blocks, hits);
        } else {
            *hits = Hits::default();
        }
    }

    /// Positions before `limit` that the session holds behind a hole, and can use if what is missing between `hits` and them is computed.
    pub fn behind(&self, session: SessionId, hits: &Hits, limit: u32) -> Range<u32> {
        let kv = self.kv(session);
        if !kv.behind.is_empty() {
            return kv.behind_base..kv.behind_base + kv.behind.blocks();
        }
        let (from, to) = (kv.pin_base, kv.pin_end().min(limit));
        if self.mid_sequence && hits.blocks < from && from < to {
            from..to
        } else {
            0..0
        }
    }

    /// A turn enters the batch with `hits` and `blank` further blocks, and keeps what it holds at the positions `behind`. The rest of its pin
    /// has done its work.
    pub fn admit(&mut self, session: SessionId, hits: &Hits, blank: u32, behind: &Range<u32>) {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.run.is_empty());
        debug_assert!(kv.transfer.is_none() || !kv.behind.is_empty());
        self.hbm.touch(hits, &mut kv.run);
        self.hbm.take(blank, &mut kv.run);
        if !behind.is_empty() && kv.behind.is_empty() {
            debug_assert_eq!(kv.pin_base, behind.start, "what is kept is the pin's");
            let beyond = kv.split_pin_from(behind.end);
            self.hbm.release(beyond);
            kv.behind = kv.split_pin_from(0);
            kv.behind_base = behind.start;
        }
        let pin = kv.split_pin_from(0);
        self.hbm.release(pin);
    }

    /// The hole of a running turn is filled: what it holds behind joins the rest.
    pub fn join(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        debug_assert_eq!(kv.run.blocks(), kv.behind_base, "the hole is filled");
        let behind = std::mem::take(&mut kv.behind);
        kv.run.append(&behind);
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

    /// The first `blocks` blocks of a running turn are full: from now on they can be hit. Calls `wrote`, if
    /// anybody wants to know, for each physical block that this is news for.
    pub fn register(
        &mut self,
        session: SessionId,
        blocks: u32,
        wrote: Option<&mut dyn FnMut(u32, ContentId)>,
    ) {
        let kv = &mut self.sessions[session.index()];
        let known = kv.run.registered();
        if blocks <= known || !self.config.caching {
            return;
        }
        self.hbm
            .register(&mut kv.run, &kv.content, 0, blocks - known);
        if let Some(wrote) = wrote {
            let places = &kv.run.places()[known as usize..];
            for (&place, content) in places.iter().zip(kv.content.blocks(known, blocks)) {
                wrote(place, content);
            }
        }
    }

    /// A running turn gives up its blocks: registered ones stay hits while they survive, except from block `keep` on: what was to be
    /// written there never was, but for the positions `written`.
    pub fn release_run(&mut self, session: SessionId, keep: u32, written: Range<u32>) {
        let kv = &mut self.sessions[session.index()];
        let behind = std::mem::take(&mut kv.behind);
        let mut run = std::mem::take(&mut kv.run);
        self.hbm.release(behind);
        if keep < run.registered() {
            let partial = run.split_all_blank();
            self.hbm.release(partial);
            let mut unwritten = run.split_off(keep);
            if !written.is_empty() {
                let mut behind = unwritten.split_off(written.start - keep);
                let beyond = behind.split_off(written.end - written.start);
                self.hbm.discard(beyond);
                self.hbm.release(behind);
            }
            self.hbm.discard(unwritten);
        }
        self.hbm.release(run);
    }

    /// A finished turn's registered blocks are held for the session; a partial last block is given up.
    pub fn pin_run(&mut self, session: SessionId) {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.pin.is_empty(), "a running session has no pin");
        let mut run = std::mem::take(&mut kv.run);
        let partial = run.split_all_blank();
        self.hbm.release(partial);
        kv.pin = run;
    }
}
