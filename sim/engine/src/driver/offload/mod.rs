//! vLLM's host tier at work: when its copies start, when their end is noticed, and which steps wait for them.
//!
//! ```text
//!   step n    ──►  schedule: find, load ─ offer, store ─► launch ──────────────► over
//!   stores of n                                            launch of n+1 ─► D2H lane, behind step n
//!   loads of n                                                              H2D lane, behind step n
//!   polled by n                            ended by the launch of n ─────► taken in when n is over
//! ```
//!
//! | file | what |
//! |---|---|
//! | `jobs` | the two lanes: first in, first out, each job behind the step that it must not overtake |
//! | `launch` | schedulings on their way: flushes that hold a step back, polls, schedulings that ran nothing |
//! | `admission` | loads, what they must leave free, and who may not be preempted |
//!
//! A scheduling is *launched* when its flushes are over; it polls for ended jobs then (or when it is over), and their effects are taken in
//! when it is over. A scheduling that runs nothing is launched, polls and is over as well: it keeps its place among the others, which
//! with asynchronous scheduling delays what it has polled.
//!
//! Source: vLLM 0.32.0's engine core and offloading worker, as the reference harness drives them (rules 16–18).

mod admission;
mod jobs;
mod launch;

pub(super) use admission::Entry;
pub(super) use launch::Launch;

use super::{Driver, RunSummary};
use crate::device::Device;
use crate::memory::{HostTier, JobId, Orders};
use jobs::JobLane;
use model::{Blocks, ContentId, Direction, Nanos, Offload as Settings, Poll, PoolLevel, SessionId};
use std::collections::BTreeSet;

/// What a run with vLLM's host tier has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffloadSummary {
    /// Blocks of the host.
    pub capacity: u32,
    /// Blocks held when the run was over.
    pub held: u32,
    /// Transfers, per direction.
    pub jobs: [u64; 2],
    /// Blocks transferred.
    pub blocks: [u64; 2],
    /// Time in which transfers moved.
    pub busy: [Nanos; 2],
    /// Steps that waited for a store.
    pub flush_waits: u64,
    /// How long they did.
    pub flush_wait: Nanos,
}

/// The host tier, and everything of it that has to do with time.
pub(super) struct Offload {
    pub tier: HostTier,
    /// Polls are made when a step is over, not when it is launched.
    poll_at_end: bool,
    lanes: [JobLane; 2],
    /// Stores of the last scheduling: they go to their lane at the next launch.
    unsubmitted: Vec<JobId>,
    /// Jobs that have ended and that no launch has polled.
    unpolled: Vec<JobId>,
    /// Sessions whose load has been taken in, and that have not been looked at since.
    arrived: BTreeSet<SessionId>,
    /// Sessions whose KV is being loaded, or was and has not been looked at since.
    loading: BTreeSet<SessionId>,
    /// Turns that have begun their prefill, or load, and not reached their next token.
    prefilling: BTreeSet<SessionId>,
    /// Schedulings so far.
    number: u64,
    /// Schedulings so far that ran something, and how many of those are over.
    stepped: u64,
    over: u64,
    /// A scheduling is going on: blocks that it writes are kept here until its step is on the device.
    scheduling: bool,
    writes: Vec<(u32, ContentId)>,
    /// The state has changed since the last scheduling began, or that one has done something: the next may do something else.
    stirred: bool,
    summary: OffloadSummary,
}

impl Offload {
    pub fn new(settings: Settings, blocks: u32) -> Self {
        Self {
            tier: HostTier::new(settings, blocks),
            poll_at_end: settings.poll == Poll::End,
            lanes: Default::default(),
            unsubmitted: Vec::new(),
            unpolled: Vec::new(),
            arrived: BTreeSet::new(),
            loading: BTreeSet::new(),
            prefilling: BTreeSet::new(),
            number: 0,
            stepped: 0,
            over: 0,
            scheduling: false,
            writes: Vec::new(),
            stirred: false,
            summary: OffloadSummary {
                capacity: blocks,
                ..OffloadSummary::default()
            },
        }
    }

    /// Blocks asked for and not yet copied.
    pub fn queued(&self, direction: Direction) -> u32 {
        self.lanes[direction.index()].blocks
    }

    /// How full the host is. What is on its way cannot be taken.
    pub fn level(&self) -> PoolLevel {
        let (capacity, held, busy) = (self.tier.capacity(), self.tier.held(), self.tier.busy());
        PoolLevel {
            capacity: Blocks(capacity),
            free: Blocks(capacity - busy),
            cached: Blocks(held - busy),
        }
    }

    /// No copy is on the device.
    pub fn is_quiet(&self) -> bool {
        self.lanes.iter().all(JobLane::is_quiet)
    }

    /// A scheduling begins.
    pub fn begin_scheduling(&mut self) {
        self.scheduling = true;
        self.stirred = false;
    }

    /// The next scheduling may do what the last could not.
    pub fn stir(&mut self) {
        self.stirred = true;
    }

    /// If a scheduling is going on, block `block` is written by its step, and not before that may run. Returns whether it is so.
    pub fn defers_write(&mut self, block: u32, content: ContentId) -> bool {
        if self.scheduling {
            self.writes.push((block, content));
        }
        self.scheduling
    }

    pub fn summary(&self) -> OffloadSummary {
        OffloadSummary {
            held: self.tier.held(),
            ..self.summary
        }
    }
}

impl<D: Device> Driver<'_, D> {
    /// Whether there is anything to schedule, to clean up, or to wait for.
    pub(super) fn has_requests(&self) -> bool {
        let offload = self.offload.as_ref();
        self.batch.has_requests() || offload.is_some_and(|offload| offload.tier.has_jobs())
    }

    /// The step is put together: blocks that have filled are offered, and what the host tier wants moved is handed out.
    pub(super) fn offer(&mut self, sessions: impl Iterator<Item = SessionId>) -> Orders {
        let Some(offload) = &mut self.offload else {
            return Orders::default();
        };
        for session in sessions {
            let request = &self.live[session.index()].request;
            let known = request.computed.min(request.tokens());
            let most = if offload.tier.prompt_only() {
                request.prompt
            } else {
                u32::MAX
            };
            let full = known.min(most) / self.config.memory.block_tokens;
            let kv = self.ledger.kv(session);
            offload
                .tier
                .offer(session, &kv.content, full, kv.run.places());
        }
        offload.tier.orders()
    }

    /// A turn is over, and still has its blocks: what it has not offered yet, it offers at the next scheduling. The last token has no KV.
    pub(super) fn offer_last(&mut self, session: SessionId) {
        let Some(offload) = &mut self.offload else {
            return;
        };
        let request = &self.live[session.index()].request;
        let known = if offload.tier.prompt_only() {
            request.prompt
        } else {
            request.prompt.max(request.tokens() - 1)
        };
        let kv = self.ledger.kv(session);
        let full = (known / self.config.memory.block_tokens).min(kv.run.blocks());
        offload
            .tier
            .finish(session, &kv.content, full, kv.run.places());
        offload.prefilling.remove(&session);
    }

    /// What the host tier has moved.
    pub(super) fn offload_summary(&self) -> RunSummary {
        RunSummary {
            offload: self.offload.as_ref().map(|offload| offload.summary()),
            ..self.summary
        }
    }
}
