//! What a finished run amounts to.

use super::OffloadSummary;
use model::Time;

/// What a finished run amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Sessions finished.
    pub sessions: u32,
    /// Turns finished.
    pub turns: u64,
    /// Steps executed.
    pub steps: u64,
    /// Calls of the scheduler, as vLLM would have made them.
    pub schedules: u64,
    /// Times the loop woke up.
    pub wakes: u64,
    /// Tokens generated.
    pub output_tokens: u64,
    /// Prompt tokens computed, recomputed ones included.
    pub prefill_tokens: u64,
    /// Soft pins broken by the engine.
    pub pins_broken: u64,
    /// Turns let in by the engine because nothing else could proceed.
    pub holds_broken: u64,
    /// Times a running turn was left out of a step for want of a block.
    pub stalls: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Largest batch.
    pub running_max: u32,
    /// Largest number of ready turns that did not run.
    pub queued_max: u32,
    /// Most blocks of HBM held at once by running turns and idle sessions.
    pub hbm_held_max: u32,
    /// Blocks written to the disk, and read from it.
    pub disk_moved: [u64; 2],
    /// End of the last turn.
    pub end: Time,
    /// When the run was stopped from outside, if it was: what came after is missing.
    pub stopped: Option<Time>,
    /// What vLLM's host tier has moved, if there was one.
    pub offload: Option<OffloadSummary>,
}
