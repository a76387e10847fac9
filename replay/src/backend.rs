//! What a replay needs from a GPU: work that is put into queues, and marks that say when it is done.
//!
//! ```text
//!                ┌── shapes ──► launcher thread ── step ──► StepQueue ──► Work { begun, ended } ──────────┐
//!   ReplayDevice ┤                                                                                        │
//!        ▲       └── copy, wrote ─────────────────────────► Backend ────► Work { begun, ended, checked } ──┤
//!        └───────────── reports ◄── poller thread, which asks the marks and stamps host time ◄────────────┘
//! ```
//!
//! Submitting a forward pass takes milliseconds where it is launched kernel by kernel, so steps have a thread of their own; the driver's
//! thread hands over chunks of copies and hears of completions meanwhile.
//!
//! The traits are small so that all bookkeeping (order, cuts, watchdog, accounts) is tested without a GPU.
//!
//! **What must hold:** work of one queue (compute, D2H, H2D) ends in the order in which it was put there; a copy leaves
//! only after every earlier [`Backend::wrote`] of its blocks is in memory.

use engine::device::{BlockCopy, StepShape};
use model::{ContentId, Direction};
use std::time::{Duration, Instant};

/// A mark in a queue of the GPU.
pub trait Mark: Send + 'static {
    /// Whether the work before it is done; never blocks.
    ///
    /// # Errors
    /// Why the work failed.
    fn is_done(&self) -> Result<bool, String>;

    /// GPU time from `earlier` to here \[ns\]; both are done.
    ///
    /// # Errors
    /// Why there is none.
    fn nanos_since(&self, earlier: &Self) -> Result<u64, String>;

    /// When it was done, where that is known better than from the moment at which it is asked.
    fn done_at(&self) -> Option<Instant> {
        None
    }
}

/// Work in a queue.
#[derive(Debug)]
pub struct Work<M> {
    /// It is at the head of its queue.
    pub begun: M,
    /// It is over.
    pub ended: M,
    /// What it moved has been checked; `None` where nothing is.
    pub checked: Option<M>,
    /// Where the result of the check will be.
    pub slot: Option<usize>,
}

/// Blocks that do not hold what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The first of them, by its position in the chunk.
    pub index: usize,
    /// Its 8-byte words that differ.
    pub words: u32,
}

/// Part of a copy.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Which way.
    pub direction: Direction,
    /// Its blocks, in order.
    pub blocks: &'a [BlockCopy],
    /// What goes wrong, on request.
    pub sabotage: Option<Sabotage>,
}

/// A defect of the hardware, on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Bytes of the last block arrive wrong.
    Flip,
    /// The chunk starts so much late.
    Stall(Duration),
}

/// The compute queue of a GPU.
pub trait StepQueue: Send + 'static {
    /// Its marks.
    type Mark: Mark;

    /// Queues one forward pass.
    ///
    /// # Errors
    /// Why it was refused.
    fn step(&mut self, shape: &StepShape) -> Result<Work<Self::Mark>, String>;

    /// Takes back the marks of a finished pass.
    fn finish(&mut self, work: Work<Self::Mark>);
}

/// A GPU, or what stands for one.
pub trait Backend {
    /// Its marks.
    type Mark: Mark;
    /// Its compute queue.
    type Steps: StepQueue<Mark = Self::Mark>;

    /// The compute queue, once.
    fn take_steps(&mut self) -> Option<Self::Steps>;

    /// Blocks of the HBM pool and of the host pool.
    fn pools(&self) -> [u32; 2];

    /// What a thread must do before it asks marks or queues steps.
    fn greeting(&self) -> Box<dyn FnOnce() + Send>;

    /// Queues a chunk of a copy. Blocks lie inside the pools.
    ///
    /// # Errors
    /// Why it was refused.
    fn copy(&mut self, chunk: &Chunk<'_>) -> Result<Work<Self::Mark>, String>;

    /// Notes that an HBM block holds `content` from now on.
    fn wrote(&mut self, block: u32, content: ContentId);

    /// Carries out what has been noted.
    ///
    /// # Errors
    /// Why it was refused.
    fn flush(&mut self) -> Result<(), String>;

    /// Takes back the marks of a finished chunk.
    ///
    /// # Errors
    /// What the check found.
    fn finish(&mut self, work: Work<Self::Mark>) -> Result<(), Mismatch>;
}
