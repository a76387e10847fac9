//! What the engine reports while it runs. Writing it down is the recorder's business.

use crate::device::CopyClass;
use model::{
    Action, Bytes, Direction, Hint, Nanos, OpId, Outcome, Price, SessionId, Time, Tokens, TurnIndex,
};

/// Receives everything that happens. Every method has an empty default.
pub trait Recorder {
    /// A turn is over.
    fn turn(&mut self, _: &TurnRecord) {}
    /// A session is over.
    fn session(&mut self, _: &SessionRecord) {}
    /// The run was stopped before this session was over.
    fn unfinished(&mut self, _: &SessionRecord) {}
    /// An operation is over.
    fn op(&mut self, _: &OpRecord) {}
    /// A step is over. Only in runs of one step (`stepwise`).
    fn step(&mut self, _: &StepRecord) {}
    /// Levels, at the configured period.
    fn sample(&mut self, _: &Sample) {}
    /// Something was decided, or gave cause to decide.
    fn decision(&mut self, _: &Decision) {}
    /// Whether [`StepRecord::queue`] is wanted.
    fn wants_queue(&self) -> bool {
        false
    }
    /// Whether [`Recorder::decision`] does anything.
    fn wants_decisions(&self) -> bool {
        false
    }
}

/// Discards everything.
impl Recorder for () {}

/// The parts of a wake-up, in the order in which the first that applies is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `COMPUTE` not yet delivered.
    Signal,
    /// Session held by the policy.
    Hold,
    /// Its own restore is unfinished: the copy over the link, or the read from the disk before it.
    Copy,
    /// Admitted, no block.
    Stall,
    /// None of these, and not in a step.
    Queue,
    /// In a step, computing again what had KV before.
    Recompute,
    /// In a step, computing what is new.
    Prefill,
}

/// How many [`Part`]s there are.
pub const PARTS: usize = 7;

/// One LLM call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnRecord {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub turn: TurnIndex,
    /// Wait before it; `None` for the first.
    pub wait: Option<Nanos>,
    /// End of the wait.
    pub ready: Time,
    /// `COMPUTE` delivered.
    pub signal: Time,
    /// Start of the first step that included it.
    pub scheduled: Time,
    /// First new token.
    pub first_token: Time,
    /// Last token.
    pub end: Time,
    /// Prompt.
    pub input: Tokens,
    /// Generated.
    pub output: Tokens,
    /// Prompt tokens found in HBM at admission.
    pub hit: Tokens,
    /// Tokens not recomputed when the turn was resumed after a preemption, summed over resumes.
    pub resumed: Tokens,
    /// Tokens brought back from the host for this turn.
    pub restored: Tokens,
    /// Prompt tokens that HBM itself had when the prompt was looked up; less than `hit` where vLLM's host tier added some.
    pub hit_hbm: Tokens,
    /// What vLLM's host tier has loaded for it.
    pub host_loads: HostLoads,
    /// Tokens computed again.
    pub recomputed: Tokens,
    /// Times sent back to the queue.
    pub preemptions: u32,
    /// Time from `ready` to `first_token` by [`Part`].
    pub parts: [Nanos; PARTS],
    /// Copy time before `ready`.
    pub hidden_copy: Nanos,
    /// What came of a prefetch, if there was one.
    pub prefetch: Option<PrefetchOutcome>,
}

/// What vLLM's host tier has loaded for a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLoads {
    /// Prompt tokens that it found at first admission.
    pub hit: Tokens,
    /// Loads, those after preemptions included.
    pub count: u32,
    /// Tokens of all of them.
    pub tokens: Tokens,
}

/// What came of a prefetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchOutcome {
    /// Complete when the turn was ready.
    InTime,
    /// Asked for, not complete.
    Late,
    /// Complete, and lost before it was used.
    Wasted,
}

/// An agent's run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRecord {
    /// Which.
    pub session: SessionId,
    /// Its name in the trace.
    pub name: String,
    /// Arrival.
    pub start: Time,
    /// Last token.
    pub end: Time,
    /// Turns finished.
    pub turns: u32,
    /// Swap-outs begun: of at least one block, clean ones included.
    pub swaps: u32,
    /// Swap-ins completed.
    pub restores: u32,
    /// Swap-ins begun ahead of the turn.
    pub prefetches: u32,
    /// Bytes moved, per direction.
    pub moved: [Bytes; 2],
    /// HBM held while no turn of it ran, destinations of restores included, in block-nanoseconds.
    pub idle_block_ns: u128,
}

/// A step run or a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpRecord {
    /// Which.
    pub op: OpId,
    /// When it was submitted.
    pub submit: Time,
    /// When it began.
    pub start: Time,
    /// When it was over.
    pub end: Time,
    /// What it was.
    pub kind: OpKind,
}

/// What an operation was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Forward passes.
    Steps {
        /// How many.
        steps: u32,
        /// Prompt tokens of the first.
        prefill_tokens: u32,
        /// Sequences that decode.
        decode_seqs: u32,
        /// KV tokens that the first reads.
        kv_tokens: u64,
        /// Of these: by prompt tokens.
        prefill_kv_tokens: u64,
        /// Pairs of a prompt token of the first and a token that it attends to.
        prefill_pairs: u64,
        /// KV tokens that tiles of prompt tokens of the first read.
        prefill_tile_kv_tokens: u64,
    },
    /// KV over the link.
    Copy {
        /// Which way.
        direction: Direction,
        /// Whose.
        session: SessionId,
        /// How urgent.
        class: CopyClass,
        /// How much.
        bytes: Bytes,
        /// In how many chunks.
        chunks: u32,
    },
}

/// One step, with the state right after it was scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// When it began.
    pub start: Time,
    /// When it was over.
    pub end: Time,
    /// Turns in the batch.
    pub running: u32,
    /// Turns in the queue.
    pub waiting: u32,
    /// Free blocks.
    pub free: u32,
    /// Tokens computed.
    pub tokens: u32,
    /// Of these: prompt tokens.
    pub prefill_tokens: u32,
    /// Sequences that decode.
    pub decode_seqs: u32,
    /// KV tokens read.
    pub kv_tokens: u64,
    /// Turns preempted while scheduling it.
    pub preempted: u32,
    /// Turns that ended with it.
    pub finished: u32,
    /// The free queue, if wanted.
    pub queue: Option<Vec<u32>>,
}

/// Levels at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub time: Time,
    /// Blocks of running turns.
    pub hbm_running: u32,
    /// Blocks held for idle or queued sessions, copies in flight included.
    pub hbm_idle: u32,
    /// Free blocks that hold content.
    pub hbm_cached: u32,
    /// Usable blocks.
    pub hbm_capacity: u32,
    /// Blocks of the host in use, cached ones included.
    pub host_used: u32,
    /// Blocks of the host.
    pub host_capacity: u32,
    /// Turns in the batch.
    pub running: u32,
    /// Turns that are ready and not in the batch.
    pub queued: u32,
    /// Sessions between turns.
    pub idle: u32,
    /// Ready turns that the policy withholds.
    pub held: u32,
    /// Bytes moved so far, per direction.
    pub moved: [Bytes; 2],
    /// Time in which each lane was busy so far.
    pub busy: [Nanos; 2],
}

/// A line of the decision log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// Whose KV.
    pub session: SessionId,
    /// In which turn, or after which.
    pub turn: TurnIndex,
    /// What.
    pub what: What,
}

/// What a line of the decision log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The session entered.
    Start,
    /// `IO_WAIT` was delivered.
    IoWait(Option<Hint>),
    /// `IO_WAIT` was lost.
    SignalLost,
    /// A turn is ready.
    Ready,
    /// A turn was admitted: tokens found in HBM, tokens to compute.
    Admit {
        /// Found.
        hit: Tokens,
        /// To compute.
        compute: Tokens,
    },
    /// A turn's last token is out.
    Done,
    /// The session is over.
    End,
    /// An action and its outcome.
    Acted(Action, Outcome),
    /// A copy was given to its lane.
    CopyStart(Direction, CopyClass, u32),
    /// A copy left its lane, with so many blocks arrived.
    CopyEnd(Direction, u32),
    /// A prefetch is planned for this time.
    PrefetchAt(Time),
    /// So many blocks in the prefix cache have this price until then.
    Price(u32, Price, Time),
}
