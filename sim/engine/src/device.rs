//! What the engine runs on.
//!
//! ```text
//!   driver ── submit ──► [ steps | D2H | H2D ]     one step run (two when scheduling ahead),
//!          ◄── wait ───    compute   copy lanes    one copy per direction
//! ```
//!
//! A *run* is a plan of several equal units: decode steps, or chunks of one copy. The device works through it
//! unit by unit, and the driver need not wake in between. When something happens that may change the plan, the
//! driver [cuts](Device::cut) the run: what has begun (and what the device had to hand over ahead) stays,
//! the rest is forgotten. A device therefore never blocks in `cut`, and cost grows with decisions, not with tokens.
//!
//! Time enters the driver at one point: the value that [`Device::wait`] returns. `cut` and `progress` speak of that
//! instant.

use model::{Bytes, ContentId, Direction, Nanos, OpId, SessionId, Time};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Forward passes.
    Steps(StepRun),
    /// KV over the host link.
    Copy(CopyRun),
}

impl Op {
    /// Its number.
    pub fn id(&self) -> OpId {
        match self {
            Self::Steps(run) => run.id,
            Self::Copy(run) => run.id,
        }
    }
}

/// Forward passes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRun {
    /// Its number.
    pub id: OpId,
    /// Phases in order. Continuous batching has one; the serial engine a prefill and then its decode steps.
    pub phases: Vec<StepPhase>,
    /// Whether [`Device::cut`] may shorten it. The serial engine's runs refuse.
    pub cuttable: bool,
}

impl StepRun {
    /// Steps in all phases.
    pub fn steps(&self) -> u32 {
        self.phases.iter().map(|phase| phase.steps).sum()
    }
}

/// Equal steps: the same sequences, each decode context one token longer from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPhase {
    /// The first step.
    pub shape: StepShape,
    /// How many. More than one only without prefill chunks.
    pub steps: u32,
}

/// Prompt tokens that attention computes together, as kernels for tensor cores do (FlashAttention: 128 for heads of 128).
pub const QUERY_TILE: u32 = 128;

/// What a step computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepShape {
    /// Prompt chunks.
    pub prefill: Vec<PrefillChunk>,
    /// Sequences that decode one token.
    pub decode_seqs: u32,
    /// KV tokens that these sequences read in the first step, the new ones included;
    /// `decode_seqs` more in each following step.
    pub decode_kv_tokens: u64,
}

impl StepShape {
    /// Prompt tokens of the step.
    pub fn prefill_tokens(&self) -> u32 {
        self.prefill.iter().map(|chunk| chunk.tokens).sum()
    }

    /// Pairs of a prompt token and a token that it attends to, itself included.
    pub fn prefill_pairs(&self) -> u64 {
        let pairs = self.prefill.iter().map(|chunk| {
            let (tokens, context) = (u64::from(chunk.tokens), u64::from(chunk.context));
            tokens * context + tokens * (tokens + 1) / 2
        });
        pairs.sum()
    }

    /// KV tokens read by [tiles](QUERY_TILE) of prompt tokens: each reads what its last token attends to, however few it has.
    pub fn prefill_tile_kv_tokens(&self) -> u64 {
        let reads = self.prefill.iter().map(|chunk| {
            let (tokens, tile) = (u64::from(chunk.tokens), u64::from(QUERY_TILE));
            let full = tokens / tile;
            let partial = if tokens.is_multiple_of(tile) {
                0
            } else {
                tokens
            };
            let tiles = tokens.div_ceil(tile);
            tiles * u64::from(chunk.context) + tile * full * (full + 1) / 2 + partial
        });
        reads.sum()
    }

    /// KV tokens read by all sequences, new ones included.
    pub fn kv_tokens(&self) -> u64 {
        let prefill: u64 = self
            .prefill
            .iter()
            .map(|chunk| u64::from(chunk.context) + u64::from(chunk.tokens))
            .sum();
        prefill + self.decode_kv_tokens
    }
}

/// Part of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefillChunk {
    /// Tokens computed in this step.
    pub tokens: u32,
    /// Tokens of the same sequence that have KV already.
    pub context: u32,
}

/// Priority among copies that wait for a lane; the lane itself knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyClass {
    /// A turn waits for it.
    Demand,
    /// A turn is expected to need it.
    Prefetch,
    /// To the host.
    WriteBack,
}

impl CopyClass {
    /// The word used in logs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Prefetch => "prefetch",
            Self::WriteBack => "write-back",
        }
    }
}

/// One transfer, cut into chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRun {
    /// Its number.
    pub id: OpId,
    /// Whose KV.
    pub session: SessionId,
    /// Which way.
    pub direction: Direction,
    /// For the record; the lane is first in, first out.
    pub class: CopyClass,
    /// KV blocks to copy, at least 1.
    pub block_count: u32,
    /// KV blocks in a chunk; the last chunk may be smaller.
    pub chunk_blocks: u32,
    /// Bytes of a block.
    pub block_bytes: Bytes,
    /// Source, destination and content of each block, in copy order; empty unless the device
    /// [places blocks](Device::places_blocks).
    pub blocks: Vec<BlockCopy>,
}

impl CopyRun {
    /// Chunks in all.
    pub fn chunks(&self) -> u32 {
        self.block_count.div_ceil(self.chunk_blocks)
    }

    /// Blocks in the first `chunks` chunks.
    pub fn blocks_in(&self, chunks: u32) -> u32 {
        (chunks * self.chunk_blocks).min(self.block_count)
    }
}

/// One block of a copy, by position in the two pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopy {
    /// Block in the source pool.
    pub source: u32,
    /// Block in the destination pool.
    pub destination: u32,
    /// What it holds, so that the device can verify it.
    pub content: ContentId,
}

/// An operation is over, or about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which.
    pub op: OpId,
    /// When it began.
    pub start: Time,
    /// When it was over; not after the time that `wait` returned.
    pub end: Time,
    /// Steps or chunks done: all of the run, or what a cut left of it.
    pub units: u32,
    /// How it went.
    pub status: Result<(), DeviceError>,
}

/// A device failed in a way that no retry mends. The run ends with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device: {0}")]
pub struct DeviceError(pub String);

/// Executes operations and tells the time.
///
/// # Contract
/// 1. `wait` returns the time of the first completion, or `until` if that is earlier; times never decrease. With
///    scheduling ahead it also returns, without a completion, when the last step of a run begins behind
///    which nothing is queued (so that the driver can submit the next).
/// 2. Step runs are executed in the order of submission, each starting when the former is over, but not before its submission.
/// 3. Each direction of the link is one first in, first out server; moved bytes always cost time.
/// 4. Nothing is lost: every submitted operation completes once, with at least one unit.
pub trait Device {
    /// Accepts `op`. At most one step run is in flight, one more with scheduling ahead, and one copy per direction.
    fn submit(&mut self, op: Op);

    /// Shortens a run to what is committed at the present, and returns that in units from its beginning, at least 1.
    ///
    /// Steps: those begun before this instant, and as many more as the device was told to stay `ahead` (a step that would begin
    /// exactly now is not committed). Chunks: those begun, and those already handed to the lane. A run that is not cuttable
    /// returns its full length.
    fn cut(&mut self, op: OpId) -> u32;

    /// Units of a run that are complete at the present; all of them for an operation that is over.
    fn progress(&self, op: OpId) -> u32;

    /// Waits for the first completion, or until `until`. Completions are appended to `done` in order of their end, ties by number.
    fn wait(&mut self, until: Option<Time>, done: &mut Vec<Completion>) -> Time;

    /// Whether copies and writes must name blocks.
    fn places_blocks(&self) -> bool {
        false
    }

    /// Block `block` of HBM now holds `content`, written by a step. Called before any copy of that block.
    fn wrote(&mut self, _block: u32, _content: ContentId) {}

    /// Time in which the lane has been busy so far.
    fn lane_busy(&self, direction: Direction) -> Nanos;
}
