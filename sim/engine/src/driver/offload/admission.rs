//! Admission with a host tier: what the host has of a prompt is loaded first, and the turn waits outside the batch.
//!
//! A load takes its GPU blocks at once. Two turns that both hold some and want more would block one another, so that a load must leave
//! room for what prefills in progress still need.

use super::super::Driver;
use crate::device::Device;
use crate::memory::{Found, Hits};
use crate::record::Part;
use model::{Place, SessionId, Tokens};

/// What becomes of the turn at the head of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Entry {
    /// It joins the batch, with so many tokens in this step.
    Runs(u32),
    /// So many blocks are loaded for it first.
    Loads(u32),
    /// The host cannot say yet what it has: others may pass.
    Later,
    /// It lacks memory.
    Blocked {
        /// Whether a step, which only ever takes memory, may change that.
        retry: bool,
    },
}

impl<D: Device> Driver<'_, D> {
    /// Blocks that the host adds to `hits` of a prompt. A turn that has its blocks already, for a load has ended, asks for none.
    pub(in super::super) fn find_on_host(&self, session: SessionId, hits: &Hits) -> Found {
        let Some(offload) = &self.offload else {
            return Found::Blocks(0);
        };
        let request = &self.live[session.index()].request;
        let full = request.tokens() / self.config.memory.block_tokens;
        let content = &self.ledger.kv(session).content;
        offload.tier.find(session, content, hits.blocks, full)
    }

    /// Blocks that prefills in progress still need.
    pub(in super::super) fn promised_to_prefills(&self) -> u32 {
        let Some(offload) = &self.offload else {
            return 0;
        };
        let block = self.config.memory.block_tokens;
        let needs = offload.prefilling.iter().map(|&session| {
            let request = &self.live[session.index()].request;
            let tokens = if self.config.batching.serial {
                request.prompt + request.output_max
            } else {
                request.tokens()
            };
            let held = self.ledger.kv(session).run.blocks();
            tokens.div_ceil(block).saturating_sub(held)
        });
        needs.sum()
    }

    /// The turn takes its GPU blocks, and what the host has of it is copied there.
    pub(in super::super) fn start_load(
        &mut self,
        session: SessionId,
        place: Place,
        hits: &Hits,
        blocks: u32,
    ) {
        let block = self.config.memory.block_tokens;
        self.ledger.admit(session, hits, blocks, &(0..0));
        let request = &mut self.live[session.index()].request;
        let (cached, found) = (hits.blocks * block, blocks * block);
        if request.preemptions == 0 {
            (request.hit_hbm, request.hit_host) = (cached, found);
        }
        request.computed = cached + found;
        request.loads += 1;
        request.loaded += found;
        request.waits(Part::Copy, self.now);
        // Ahead of all that own no blocks, in order of their loads.
        self.batch.waiting.remove(&place);
        request.place.number = self.batch.foremost();
        self.batch.waiting.insert(request.place, session);
        let kv = self.ledger.kv(session);
        let offload = self.offload.as_mut().expect("only a host tier loads");
        let (from, to) = (hits.blocks, hits.blocks + blocks);
        offload
            .tier
            .load(session, &kv.content, from, to, kv.run.places());
        offload.loading.insert(session);
        offload.prefilling.insert(session);
        self.refresh(session);
    }

    /// Whether a waiting turn is being loaded; looks after one whose load has been taken in since.
    pub(in super::super) fn is_loading(&mut self, session: SessionId) -> bool {
        let Some(offload) = &mut self.offload else {
            return false;
        };
        if !offload.loading.contains(&session) {
            return false;
        }
        if !offload.arrived.remove(&session) {
            return true;
        }
        offload.loading.remove(&session);
        offload.stirred = true;
        let request = &mut self.live[session.index()].request;
        let full = request.computed / self.config.memory.block_tokens;
        // The copy has written them.
        self.ledger.register(session, full, None);
        if request.computed == request.tokens() {
            // Its KV is complete, and still a step is needed to sample from.
            request.computed -= 1;
        }
        false
    }

    /// A turn has joined the batch with `tokens` of its prompt in this step.
    pub(in super::super) fn note_prefill(&mut self, session: SessionId, tokens: u32) {
        if let Some(offload) = &mut self.offload {
            let request = &self.live[session.index()].request;
            if request.computed + tokens < request.tokens() {
                offload.prefilling.insert(session);
            }
        }
    }

    /// The step of the scheduling yields these turns' next tokens.
    pub(in super::super) fn note_emits(&mut self, sessions: impl Iterator<Item = SessionId>) {
        if let Some(offload) = &mut self.offload {
            for session in sessions {
                offload.prefilling.remove(&session);
            }
        }
    }

    /// With a host tier, GPU blocks that a step in flight may write are not given up.
    pub(in super::super) fn must_stay(&self, session: SessionId) -> bool {
        let fenced = self.offload.is_some() && self.config.batching.ahead;
        fenced && self.live[session.index()].request.in_flight > 0
    }

    /// A running turn is preempted, and still has its blocks.
    pub(in super::super) fn note_preempted(&mut self, session: SessionId) {
        if let Some(offload) = &mut self.offload {
            offload.tier.preempted(session);
            offload.prefilling.remove(&session);
        }
    }

    /// A turn has been given the blocks of its table from position `from` on.
    pub(in super::super) fn note_allocated(&mut self, session: SessionId, from: u32) {
        if let Some(offload) = &mut self.offload {
            let places = self.ledger.kv(session).run.places();
            offload.tier.allocated(&places[from as usize..]);
        }
    }

    /// Prompt tokens of a turn that the prefix cache has of it, when it enters the batch for the first time.
    pub(in super::super) fn note_hit(&mut self, session: SessionId, cached: Tokens) {
        let request = &mut self.live[session.index()].request;
        if request.preemptions == 0 && request.loads == 0 {
            (request.hit_hbm, request.hit_host) = (cached.0, 0);
        }
    }
}
