//! Transfers on their way, and the GPU blocks that must not be overwritten before they are over.
//!
//! A *fence* is a GPU block that the store of a finished request still reads: whoever is given that block waits for the store.

use super::cache::Cache;
use super::chunks::ChunkId;
use super::requests::RequestId;
use crate::device::BlockCopy;
use model::{ContentId, Direction};
use std::collections::{BTreeMap, HashMap};

/// Number of a transfer, in order of decision.
pub type JobId = u64;

/// One transfer: some blocks of one request, all at once.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub request: RequestId,
    pub direction: Direction,
    pub blocks: Vec<Moved>,
}

/// One block of a transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// Block of the GPU.
    pub place: u32,
    pub chunk: ChunkId,
    pub content: ContentId,
}

impl Job {
    /// Source, destination and content of each block, in copy order.
    pub fn copies(&self, cache: &Cache) -> Vec<BlockCopy> {
        let copy = |moved: &Moved| {
            let host = cache.place(moved.chunk);
            let (source, destination) = match self.direction {
                Direction::D2h => (moved.place, host),
                _ => (host, moved.place),
            };
            BlockCopy {
                source,
                destination,
                content: moved.content,
            }
        };
        self.blocks.iter().map(copy).collect()
    }
}

/// All transfers that are decided and not taken in.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    open: BTreeMap<JobId, Job>,
    next: JobId,
    fences: HashMap<u32, Vec<JobId>>,
}

impl Jobs {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn get(&self, id: JobId) -> &Job {
        &self.open[&id]
    }

    /// Blocks of all of them.
    pub fn blocks(&self) -> usize {
        self.open.values().map(|job| job.blocks.len()).sum()
    }

    pub fn begin(&mut self, job: Job) -> JobId {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, job);
        id
    }

    /// Whoever is given a GPU block that `id` reads waits for it.
    pub fn fence(&mut self, id: JobId) {
        for moved in &self.open[&id].blocks {
            self.fences.entry(moved.place).or_default().push(id);
        }
    }

    pub fn has_fences(&self) -> bool {
        !self.fences.is_empty()
    }

    /// What reads this GPU block for a request that has finished.
    pub fn readers(&self, place: u32) -> &[JobId] {
        self.fences.get(&place).map_or(&[], Vec::as_slice)
    }

    /// It is over, and its fences fall.
    pub fn close(&mut self, id: JobId) -> Job {
        let job = self.open.remove(&id).expect("a job ends once");
        for moved in &job.blocks {
            if let Some(jobs) = self.fences.get_mut(&moved.place) {
                jobs.retain(|&other| other != id);
                if jobs.is_empty() {
                    self.fences.remove(&moved.place);
                }
            }
        }
        job
    }
}
