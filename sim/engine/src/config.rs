//! What an engine is told before it starts.

use crate::faults::Faults;
use crate::hints::HintConfig;
use crate::memory::LedgerConfig;
use model::{Bytes, CopyEstimate, Nanos, PrefillEstimate};

/// All of an engine's settings. What is not said here is the workload's, the policy's or the device's.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How turns share the GPU.
    pub batching: Batching,
    /// The tiers.
    pub memory: LedgerConfig,
    /// Bytes of a KV block.
    pub block_bytes: Bytes,
    /// KV blocks in a chunk of a copy.
    pub chunk_blocks: u32,
    /// The link as a server knows it, per direction.
    pub link: [CopyEstimate; 2],
    /// The disk as a server knows it, to be written and to be read; not looked at where there is none.
    pub disk: [CopyEstimate; 2],
    /// The computation of prompts as a server knows it.
    pub prefill: PrefillEstimate,
    /// What policies are told about waits.
    pub hints: HintConfig,
    /// How the end of a session becomes known.
    pub end: EndSignal,
    /// Runs of one step: slower, with identical results. The twin that decode runs are tested against.
    pub stepwise: bool,
    /// Check all accounts at every wake.
    pub check: bool,
    /// Read the whole workload first; it need not be sorted by start then.
    pub preload: bool,
    /// Levels are sampled this often for the recorder.
    pub sample_every: Option<Nanos>,
    /// Injected defects.
    pub faults: Faults,
}

/// How turns share the GPU.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// One turn at a time, from its prefill to its last token, without interruption (the seed's server).
    pub serial: bool,
    /// Schedule a step while its predecessor runs (vLLM's default), so that decisions lag one step.
    pub ahead: bool,
    /// Token budget of a step.
    pub max_batched_tokens: u32,
    /// Turns in the batch.
    pub max_seqs: u32,
    /// Admit a turn only if its whole sequence fits.
    pub reserve_full: bool,
    /// Blocks left free by admissions while something runs.
    pub watermark_blocks: u32,
    /// Longest prefill chunk while others are in the system; 0 is no limit.
    pub long_prefill_tokens: u32,
    /// Pause after a step that ran nothing while turns are ready (vLLM: 1 ms).
    pub idle_poll: Nanos,
}

impl Batching {
    /// vLLM's API server on a large GPU: asynchronous scheduling, 8,192 tokens, 1,024 sequences.
    pub fn vllm() -> Self {
        Self {
            serial: false,
            ahead: true,
            max_batched_tokens: 8192,
            max_seqs: 1024,
            reserve_full: true,
            watermark_blocks: 0,
            long_prefill_tokens: 0,
            idle_poll: Nanos::from_millis(1),
        }
    }

    /// The seed's server: one turn at a time.
    pub fn serial() -> Self {
        Self {
            serial: true,
            ahead: false,
            max_batched_tokens: u32::MAX,
            max_seqs: 1,
            idle_poll: Nanos::ZERO,
            ..Self::vllm()
        }
    }
}

/// How a server learns that a turn was a session's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndSignal {
    /// The client says so with its last turn.
    Told,
    /// Never: the session looks idle until its KV is evicted.
    Never,
    /// This long after the last turn. A session that still waits is never taken for finished, however long it does.
    Timeout(Nanos),
}
