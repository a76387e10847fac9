//! Turns that enter the batch, from the head of the queue.
use super::super::Driver;
use super::super::idle::Room;
use super::super::offload::Entry;
use super::super::steps::Plan;
use crate::batch::Hole;
use crate::device::Device;
use crate::memory::{Found, Hits};
use crate::record::What;
use model::{Direction, Event, Need, Place, SessionId, Tier, Tokens};
use std::ops::Bound;

impl<D: Device> Driver<'_, D> {
    /// Admissions from the head of the queue; none in a step that preempted. Returns whether the queue must be looked at
    /// again after a single step.
    pub(super) fn admit(&mut self, plan: &mut Plan, budget: &mut u32, chunk_max: u32) -> bool {
        if plan.preempted > 0 || (*budget == 0 && !self.batch.waiting.is_empty()) {
            return true;
        }
        let mut passed = false;
        let mut after = Bound::Unbounded;
        while *budget > 0 && (self.batch.running.len() as u32) < self.config.batching.max_seqs {
            let next = self.batch.waiting.range((after, Bound::Unbounded)).next();
            let Some((&place, &session)) = next else {
                break;
            };
            if self.is_loading(session) {
                // Its load ends no run of steps unnoticed: there is no need to look again.
                after = Bound::Excluded(place);
                continue;
            }
            if self.live[session.index()].request.stale > 0 {
                // Tokens of its former life are in flight: looked at again next step, others may pass.
                after = Bound::Excluded(place);
                passed = true;
                continue;
            }
            if self.restore_lacks_room_before(place) {
                // Memory is handed out in order: nobody overtakes a turn whose restore waits for room.
                self.short = true;
                break;
            }
            let mut hits = std::mem::take(&mut self.hits);
            let entry = self.find_room(session, &mut hits, *budget, chunk_max);
            match entry {
                Entry::Runs(tokens) => {
                    self.enter(session, place, &hits, tokens, plan);
                    *budget -= tokens;
                }
                Entry::Loads(blocks) => self.start_load(session, place, &hits, blocks),
                Entry::Later => {
                    after = Bound::Excluded(place);
                    passed = true;
                }
                Entry::Blocked { retry } => {
                    self.short = true;
                    // Copies that leave will make room: look again after each step.
                    passed |= retry || self.leaving() > 0;
                }
            }
            self.hits = hits;
            if matches!(entry, Entry::Blocked { .. }) {
                break;
            }
        }
        passed
    }

    /// Whether the turn fits, and what it does next. `hits` is what the prefix cache has of it, unless it has its blocks already.
    fn find_room(
        &mut self,
        session: SessionId,
        hits: &mut Hits,
        budget: u32,
        chunk_max: u32,
    ) -> Entry {
        let block = self.config.memory.block_tokens;
        let batching = self.config.batching;
        loop {
            let request = &self.live[session.index()].request;
            let tokens = request.tokens();
            // Blocks of a load that has ended.
            let held = self.ledger.kv(session).run.blocks();
            let (mut cached, mut found) = (request.computed, 0);
            if held > 0 {
                *hits = Hits::default();
            } else {
                self.ledger.lookup(session, (tokens - 1) / block, hits);
                match self.find_on_host(session, hits) {
                    Found::Blocks(blocks) => found = blocks,
                    Found::Later => return Entry::Later,
                }
                cached = (hits.blocks + found) * block;
            }
            let hole = self.hole(session, hits).filter(|_| held == 0);
            let kept = hole.map_or(0, |hole| hole.kept);
            let (mut now, mut reserved) = (0, 0);
            if found > 0 {
                reserved = self.promised_to_prefills();
            } else {
                let mut missing = tokens - cached - kept;
                if let Some(hole) = hole.filter(|_| self.is_arriving(session)) {
                    missing = missing.min(hole.end - 1 - cached);
                }
                now = missing
                    .min(self.chunk(session, missing, chunk_max))
                    .min(budget);
            }
            let held = held + hits.blocks;
            let watermark = if self.batch.running.is_empty() {
                0
            } else {
                batching.watermark_blocks
            };
            let extra = hits.unheld + watermark;
            let gate = if batching.reserve_full {
                let held = held + kept / block;
                tokens.div_ceil(block).saturating_sub(held)
            } else {
                0
            };
            let joins = filled_by(hole, cached + now).map_or(0, |hole| hole.kept);
            let entering =
                self.blocks_to_enter(session, cached + now + joins, held + joins / block);
            let need = gate.max(entering + reserved) + extra;
            let free = self.ledger.pool(Tier::Hbm).free();
            if need <= free {
                return match found {
                    0 => Entry::Runs(now),
                    _ => Entry::Loads(found),
                };
            }
            // What the host adds shrinks with what the GPU has, so that a step can make a load smaller.
            // So does a prompt of which a block is taken whose successors had counted as free.
            let retry = (found > 0 && gate + extra <= free) || hits.uneven;
            let blocked = Entry::Blocked { retry };
            if self.refused == Some(session) && !self.settle_copy(Direction::D2h) {
                return blocked;
            }
            match self.make_room(need - free, Need::Admission(session)) {
                Room::Freed => {}
                Room::Leaving => return blocked,
                Room::None => {
                    self.refused = Some(session);
                    return blocked;
                }
            }
        }
    }

    /// Blocks beyond `held` that a turn takes when it enters with KV of `tokens` after its first step.
    fn blocks_to_enter(&self, session: SessionId, tokens: u32, held: u32) -> u32 {
        let block = self.config.memory.block_tokens;
        let request = &self.live[session.index()].request;
        // A serial run is not interrupted, so it cannot wait for blocks half-way: it takes all of them at once.
        let upto = if self.config.batching.serial {
            request.prompt + request.output_max
        } else {
            tokens
        };
        upto.div_ceil(block).saturating_sub(held)
    }

    /// What a turn that enters with `hits` holds behind a hole, if that is of use. At least one token is computed behind it.
    fn hole(&self, session: SessionId, hits: &Hits) -> Option<Hole> {
        let block = self.config.memory.block_tokens;
        let limit = (self.live[session.index()].request.tokens() - 1) / block;
        let behind = self.ledger.behind(session, hits, limit);
        (!behind.is_empty()).then(|| Hole {
            end: behind.start * block,
            kept: (behind.end - behind.start) * block,
        })
    }

    /// The turn joins the batch.
    fn enter(
        &mut self,
        session: SessionId,
        place: Place,
        hits: &Hits,
        tokens: u32,
        plan: &mut Plan,
    ) {
        let block = self.config.memory.block_tokens;
        self.batch.waiting.remove(&place);
        self.batch.running.push(session);
        self.note_hit(session, Tokens(hits.blocks * block));
        let held = self.ledger.kv(session).run.blocks();
        let hole = self.hole(session, hits).filter(|_| held == 0);
        let kept = hole.map_or(0, |hole| hole.kept);
        let live = &mut self.live[session.index()];
        let request = &mut live.request;
        let cached = if held > 0 {
            request.computed
        } else {
            hits.blocks * block
        };
        let hit = cached + kept;
        if request.preemptions == 0 {
            request.hit = hit;
        }
        request.computed = cached;
        request.hole = hole;
        request.running = true;
        let compute = Tokens(request.tokens() - hit);
        self.batch.queue_tokens -= u64::from(request.prompt);
        self.batch.running_tokens += u64::from(cached);
        self.report.admissions += 1;
        self.report.asked += u64::from(request.tokens());
        self.report.hit += u64::from(hit);
        let view = &mut self.views[session.index()];
        view.phase = model::Phase::Running;
        view.preempted = false;
        view.computed = Tokens(cached);
        let waited = self.now.since(view.queued_since);
        let filled = filled_by(hole, cached + tokens);
        let joins = filled.map_or(0, |hole| hole.kept);
        let held_then = held + hits.blocks;
        let need =
            self.blocks_to_enter(session, cached + tokens + joins, held_then + joins / block);
        let behind = filled.map_or(0, |hole| need - (hole.end / block - held_then));
        if held > 0 {
            self.ledger.grow(session, need);
        } else {
            let kept = hole.map_or(0..0, |hole| hole.blocks(block));
            self.ledger.admit(session, hits, need - behind, &kept);
        }
        self.note_allocated(session, 0);
        self.note_prefill(session, tokens);
        self.refresh(session);
        self.log(
            session,
            What::Admit {
                hit: Tokens(hit),
                compute,
            },
        );
        self.tell(Event::Admitted {
            session,
            hit: Tokens(hit),
            compute,
            waited,
        });
        self.put(session, tokens, behind, plan);
    }
}

/// `hole`, if KV of the first `tokens` tokens fills it.
fn filled_by(hole: Option<Hole>, tokens: u32) -> Option<Hole> {
    hole.filter(|hole| tokens >= hole.end)
}
