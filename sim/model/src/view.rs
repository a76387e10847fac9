//! What a policy may see: what a server could know at `now`, and nothing else.

use crate::{Blocks, Bytes, Direction, Nanos, SessionId, Time, Tokens, ToolClass, TurnIndex};
use std::collections::BTreeSet;

/// The state of the system at one instant, read-only.
pub struct View<'a> {
    /// The present.
    pub now: Time,
    /// GPU memory.
    pub hbm: PoolLevel,
    /// Host memory.
    pub host: PoolLevel,
    /// Bytes of one KV block.
    pub block_bytes: Bytes,
    /// Tokens of one KV block.
    pub block_tokens: u32,
    /// What a copy would take, per direction (indexed by [`Direction::index`]).
    pub link: [CopyEstimate; 2],
    /// Turns that are ready and not yet running.
    pub queued: u32,
    /// Turns in the running batch.
    pub running: u32,
    /// Limit on turns in the running batch.
    pub running_max: u32,
    /// Every session seen so far, indexed by [`SessionId`].
    pub sessions: &'a [SessionView],
    /// Idle sessions with a soft pin on blocks in HBM, longest idle first.
    pub idle_by_age: &'a BTreeSet<(Time, SessionId)>,
    /// The same sessions by expected return, soonest first; those without a hint at [`Time::NEVER`].
    pub idle_by_return: &'a BTreeSet<(Time, SessionId)>,
}

impl View<'_> {
    /// What is known of `id`.
    pub fn session(&self, id: SessionId) -> &SessionView {
        &self.sessions[id.index()]
    }

    /// Time from now until a copy of `blocks` in `direction` would be complete, behind what is queued.
    pub fn copy_time(&self, direction: Direction, blocks: Blocks) -> Nanos {
        let lane = &self.link[direction.index()];
        let bytes = u64::from(blocks.0) * self.block_bytes.0 + lane.queued.0;
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(lane.bytes_per_s.max(1));
        Nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) + lane.fixed
    }
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolLevel {
    /// Usable blocks.
    pub capacity: Blocks,
    /// Blocks that can be taken at once: empty ones and cached ones.
    pub free: Blocks,
    /// Those of `free` that still hold content and can be hit.
    pub cached: Blocks,
}

/// What a copy costs, as far as a server knows: the configured link and its own queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyEstimate {
    /// Bytes asked for and not yet copied.
    pub queued: Bytes,
    /// Rate of a copy that runs alone.
    pub bytes_per_s: u64,
    /// Fixed cost of a copy.
    pub fixed: Nanos,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// A turn is ready and not running.
    #[default]
    Queued,
    /// A turn runs.
    Running,
    /// Between turns.
    Idle,
    /// Told that no turn will follow.
    Ended,
}

/// Where a session's KV is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residence {
    /// Nowhere, or in the prefix cache with no claim on it.
    #[default]
    None,
    /// Held in HBM.
    Hbm,
    /// On its way to the host.
    SwappingOut,
    /// On the host.
    Host,
    /// On its way back.
    SwappingIn,
}

/// What a server knows of a session.
#[derive(Clone, Debug, Default)]
pub struct SessionView {
    /// Where it is in its life.
    pub phase: Phase,
    /// The turn that runs or ran last.
    pub turn: TurnIndex,
    /// Arrival of the session.
    pub arrived: Time,
    /// End of the last turn, while idle.
    pub idle_since: Time,
    /// Tokens of context: prompt and output so far.
    pub context: Tokens,
    /// Blocks of this session held in HBM.
    pub hbm_blocks: Blocks,
    /// Blocks of this session on the host.
    pub host_blocks: Blocks,
    /// Where its KV is, or goes.
    pub residence: Residence,
    /// A prefetch is planned or under way for the present wait.
    pub prefetching: bool,
    /// `IO_WAIT` has been delivered for the present wait.
    pub signalled: bool,
    /// Class of the tool that is waited for; known once signalled.
    pub tool: ToolClass,
    /// When it is expected back, if anything is known.
    pub hint: Option<Hint>,
}

/// An estimate of when a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Expected (median) return.
    pub returns_at: Time,
    /// An early return: the 10 % quantile where a distribution is known, else `returns_at`.
    pub early: Time,
    /// A late return: the 90 % quantile where a distribution is known, else `returns_at`.
    pub late: Time,
    /// Who says so.
    pub source: HintSource,
}

/// Where a hint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintSource {
    /// The client gave an estimate with `IO_WAIT`.
    Client,
    /// Quantiles of past waits of the same tool class.
    History,
}
