//! vLLM's host tier: finished blocks are copied to the host as they fill, and loaded where a prompt finds them.
//!
//! ```text
//!             find ──► load            (admission)
//!   request ─ offer ─► store           (end of every scheduling: blocks that have filled)
//!             finish ─► last offer, and everything it has used is renewed
//!
//!   Cache    ──► which contents the host holds, and which go first   (cache, chunks, lru, arc)
//!   Request  ──► what was offered and found for one turn             (requests)
//!   Job      ──► one transfer, all its blocks at once                (jobs)
//! ```
//!
//! It is another writer of the HBM pool, in place of a policy's swap-outs: the GPU copy stays where it is, and the free queue decides
//! when it goes. Rules 16, 17 and 19 of vLLM 0.32.0 are here; when a transfer starts and when its end is noticed (rule 18) is the driver's.
//!
//! **Invariant:** a chunk is being stored or loaded exactly if a job says so; no job is left at the end of a run.
//! **Absent on purpose:** chunks of several blocks (`blocks_per_chunk`), of which there is no reference, and a disk behind the host.
//! Source: vLLM 0.32.0, `OffloadingConnector` and `CPUOffloadingManager`, compared step by step by `djinn oracle`.

mod arc;
mod cache;
mod chunks;
mod jobs;
mod lru;
mod requests;

pub use jobs::JobId;

use super::Content;
use crate::device::BlockCopy;
use cache::Cache;
use chunks::Use;
use jobs::{Job, Jobs, Moved};
use model::{ContentId, Direction, Offload, SessionId};
use requests::{Request, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// The host tier, without its clock.
#[derive(Clone, Debug)]
pub struct HostTier {
    cache: Cache,
    prompt_only: bool,
    requests: BTreeMap<RequestId, Request>,
    /// The request of each session's latest turn.
    current: Vec<Option<RequestId>>,
    next_request: RequestId,
    jobs: Jobs,
    /// GPU blocks given out by the scheduling that is going on.
    allocated: Vec<u32>,
    /// Turns that have ended since the last scheduling.
    endings: Vec<Ending>,
    orders: Orders,
}

/// A turn that has ended: its last offer is made by the next scheduling.
#[derive(Clone, Debug)]
struct Ending {
    request: RequestId,
    first: u32,
    blocks: Vec<(u32, ContentId)>,
}

/// What one scheduling asks of the copy lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Transfers to the GPU.
    pub loads: Vec<JobId>,
    /// Transfers to the host.
    pub stores: Vec<JobId>,
    /// Transfers to the host, of this scheduling or earlier ones, that must be over before its step begins.
    pub flush: BTreeSet<JobId>,
    /// An offer found no room: it is made again at the next scheduling.
    pub refused: bool,
}

impl Orders {
    /// Nothing moves, and nothing is tried again.
    pub fn is_empty(&self) -> bool {
        self.loads.is_empty() && self.stores.is_empty() && self.flush.is_empty() && !self.refused
    }
}

/// How far the host extends what the GPU has of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By so many blocks.
    Blocks(u32),
    /// Not to be said yet: a store or load of these blocks, or of this request, is on its way.
    Later,
}

impl HostTier {
    /// An empty host of `capacity` blocks.
    pub fn new(offload: Offload, capacity: u32) -> Self {
        Self {
            cache: Cache::new(offload.eviction, capacity),
            prompt_only: offload.prompt_only,
            requests: BTreeMap::new(),
            current: Vec::new(),
            next_request: 0,
            jobs: Jobs::default(),
            allocated: Vec::new(),
            endings: Vec::new(),
            orders: Orders::default(),
        }
    }

    /// Blocks that it can hold.
    pub fn capacity(&self) -> u32 {
        self.cache.capacity()
    }

    /// Blocks that it holds, those on their way included.
    pub fn held(&self) -> u32 {
        self.cache.held()
    }

    /// Blocks on their way to or from the GPU.
    pub fn busy(&self) -> u32 {
        self.cache.busy()
    }

    /// Whether generated tokens are left to the prompt of the next turn.
    pub fn prompt_only(&self) -> bool {
        self.prompt_only
    }

    /// Whether any transfer is decided and not taken in.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether giving out a GPU block may have to wait for a store.
    pub fn has_fences(&self) -> bool {
        self.jobs.has_fences()
    }

    /// A turn is ready.
    pub fn begin(&mut self, session: SessionId) {
        if self.current.len() <= session.index() {
            self.current.resize(session.index() + 1, None);
        }
        self.current[session.index()] = Some(self.next_request);
        self.requests
            .insert(self.next_request, Request::new(session));
        self.next_request += 1;
    }

    fn id(&self, session: SessionId) -> RequestId {
        self.current[session.index()].expect("a turn that is ready or runs has a request")
    }

    fn request(&mut self, session: SessionId) -> (RequestId, &mut Request) {
        let id = self.id(session);
        let request = self.requests.get_mut(&id).expect("its turn is not over");
        (id, request)
    }

    /// Blocks of the turn before this position need no further store.
    pub fn handled(&self, session: SessionId) -> u32 {
        self.requests[&self.id(session)].handled
    }

    /// Looks for positions `from..to` of a prompt, in sequence.
    pub fn find(&self, session: SessionId, content: &Content, from: u32, to: u32) -> Found {
        if !self.requests[&self.id(session)].jobs.is_empty() {
            return Found::Later;
        }
        let (mut found, mut moving) = (0, false);
        for (_, content) in positions(content, from, to) {
            let Some(chunk) = self.cache.find(content) else {
                break;
            };
            moving |= self.cache.state(chunk) != Use::Idle;
            found += 1;
        }
        if moving {
            return Found::Later;
        }
        Found::Blocks(found)
    }

    /// Loads positions `from..to`, just found, into the GPU blocks that a turn has been given; `places` are all of its blocks.
    pub fn load(
        &mut self,
        session: SessionId,
        content: &Content,
        from: u32,
        to: u32,
        places: &[u32],
    ) {
        let blocks: Vec<_> = positions(content, from, to)
            .map(|(position, content)| {
                let chunk = self.cache.find(content).expect("just found");
                let place = places[position as usize];
                Moved {
                    place,
                    chunk,
                    content,
                }
            })
            .collect();
        let (id, request) = self.request(session);
        for (position, moved) in (from..to).zip(&blocks) {
            request.finds(position, moved.content);
        }
        request.handled = to;
        for moved in &blocks {
            self.cache.set_state(moved.chunk, Use::Loading);
        }
        self.allocated.extend_from_slice(places);
        let job = self.new_job(id, Direction::H2d, blocks);
        self.orders.loads.push(job);
    }

    /// The scheduling gives out these GPU blocks, found in the prefix cache or taken.
    pub fn allocated(&mut self, places: &[u32]) {
        self.allocated.extend_from_slice(places);
    }

    /// The turn has lost its GPU blocks: what its stores read must not be overwritten before they are over.
    pub fn preempted(&mut self, session: SessionId) {
        let id = self.id(session);
        self.orders.flush.extend(&self.requests[&id].jobs);
    }

    /// A scheduled turn offers its first `full` blocks, so far as they are not handled.
    pub fn offer(&mut self, session: SessionId, content: &Content, full: u32, places: &[u32]) {
        let (id, request) = self.request(session);
        let from = request.handled;
        if full > from {
            let blocks: Vec<_> = positions(content, from, full)
                .map(|(position, content)| (places[position as usize], content))
                .collect();
            self.offer_blocks(id, from, &blocks);
        }
    }

    /// A turn is over. Its last offer, of its first `full` blocks, is made by the next scheduling; its GPU blocks may be given out before.
    pub fn finish(&mut self, session: SessionId, content: &Content, full: u32, places: &[u32]) {
        let (id, request) = self.request(session);
        let (first, jobs) = (request.handled, request.jobs.clone());
        for job in jobs {
            self.jobs.fence(job);
        }
        let blocks = positions(content, first, full)
            .map(|(position, content)| (places[position as usize], content))
            .collect();
        self.endings.push(Ending {
            request: id,
            first,
            blocks,
        });
        self.current[session.index()] = None;
    }

    /// The scheduling is over: turns that have ended make their last offer, and what it all asks of the lanes is handed out.
    pub fn orders(&mut self) -> Orders {
        // All of them offer before the first counts as a use: vLLM walks twice over the turns that have ended.
        let endings = std::mem::take(&mut self.endings);
        for ending in &endings {
            self.offer_last(ending);
        }
        for ending in &endings {
            self.end(ending.request);
        }
        if self.jobs.has_fences() {
            for &place in &self.allocated {
                self.orders.flush.extend(self.jobs.readers(place));
            }
        }
        self.allocated.clear();
        std::mem::take(&mut self.orders)
    }

    fn offer_last(&mut self, ending: &Ending) {
        if ending.blocks.is_empty() {
            return;
        }
        // Nobody is left to make it again.
        let refused = self.orders.refused;
        if let Some(job) = self.offer_blocks(ending.request, ending.first, &ending.blocks) {
            self.jobs.fence(job);
        }
        self.orders.refused = refused;
    }

    fn end(&mut self, id: RequestId) {
        let request = self.requests.get_mut(&id).expect("it is not over");
        request.finished = true;
        self.cache.finished(request.blocks());
        if request.jobs.is_empty() {
            self.requests.remove(&id);
        }
    }

    /// Offers blocks from position `first` on. Returns the job of those that have to be copied.
    fn offer_blocks(
        &mut self,
        id: RequestId,
        first: u32,
        blocks: &[(u32, ContentId)],
    ) -> Option<JobId> {
        let request = self.requests.get_mut(&id).expect("it is not over");
        let offer = self.cache.begin_offer();
        let (mut news, mut missed) = (Vec::new(), Vec::new());
        for (position, &(place, content)) in (first..).zip(blocks) {
            match self.cache.find(content) {
                None => {
                    if request.misses(position, content) {
                        missed.push(content);
                    }
                    news.push((position, place, content));
                }
                Some(chunk) => {
                    self.cache.include(chunk, offer);
                    if self.cache.state(chunk) != Use::Storing {
                        request.finds(position, content);
                    }
                }
            }
        }
        self.cache.missed(missed.into_iter());
        if !self.cache.make_room(news.len() as u32, offer) {
            self.orders.refused = true;
            return None;
        }
        request.handled = first + blocks.len() as u32;
        if news.is_empty() {
            return None;
        }
        let mut stored = Vec::with_capacity(news.len());
        for (position, place, content) in news {
            request.stores(position, content);
            stored.push(Moved {
                place,
                chunk: self.cache.insert(content),
                content,
            });
        }
        let job = self.new_job(id, Direction::D2h, stored);
        self.orders.stores.push(job);
        Some(job)
    }

    fn new_job(&mut self, id: RequestId, direction: Direction, blocks: Vec<Moved>) -> JobId {
        let job = self.jobs.begin(Job {
            request: id,
            direction,
            blocks,
        });
        let request = self.requests.get_mut(&id).expect("it is not over");
        request.jobs.push(job);
        job
    }

    /// The session that a job is for.
    pub fn session(&self, job: JobId) -> SessionId {
        self.requests[&self.jobs.get(job).request].session
    }

    /// Its blocks.
    pub fn blocks(&self, job: JobId) -> u32 {
        self.jobs.get(job).blocks.len() as u32
    }

    /// Source, destination and content of each of its blocks, in copy order.
    pub fn block_copies(&self, job: JobId) -> Vec<BlockCopy> {
        self.jobs.get(job).copies(&self.cache)
    }

    /// The end of a job is noticed: its chunks are idle. Returns the session if it is a load.
    pub fn complete(&mut self, id: JobId) -> Option<SessionId> {
        let job = self.jobs.close(id);
        for moved in &job.blocks {
            self.cache.set_state(moved.chunk, Use::Idle);
        }
        let request = self.requests.get_mut(&job.request).expect("it has a job");
        request.jobs.retain(|&other| other != id);
        let session = request.session;
        if request.finished && request.jobs.is_empty() {
            self.requests.remove(&job.request);
        }
        (job.direction == Direction::H2d).then_some(session)
    }

    /// Counts the slow way.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check(&self) -> Result<(), String> {
        self.cache.check()?;
        let moving = self.jobs.blocks();
        if moving != self.busy() as usize {
            return Err(format!("{moving} blocks move, {} are busy", self.busy()));
        }
        Ok(())
    }
}

/// Positions `from..to` with what they hold.
fn positions(content: &Content, from: u32, to: u32) -> impl Iterator<Item = (u32, ContentId)> {
    (from..to).zip(content.blocks(from, to))
}

#[cfg(test)]
mod tests;
