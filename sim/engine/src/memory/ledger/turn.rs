//! Blocks of a turn, from its admission to its end.

use super::Ledger;
use crate::memory::Hits;
use model::{ContentId, SessionId};

impl Ledger {
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
}
