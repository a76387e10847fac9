//! What a policy may see: what a server could know at `now`, and nothing else.

use crate::{
    Blocks, Bytes, Direction, Nanos, Place, Ranking, SessionId, Sessions, SharedPrefix, Time,
    Tokens, ToolClass, TurnIndex,
};
use std::collections::{BTreeMap, BTreeSet};

/// The state of the system at one instant, read-only.
pub struct View<'a> {
    /// The present.
    pub now: Time,
    /// GPU memory.
    pub hbm: PoolLevel,
    /// Host memory.
    pub host: PoolLevel,
    /// The disk behind it, if there is one.
    pub disk: Option<DiskLevel>,
    /// Bytes of one KV block.
    pub block_bytes: Bytes,
    /// Tokens of one KV block.
    pub block_tokens: u32,
    /// What a copy over the link would take, per direction (indexed by [`Direction::index`]).
    pub link: [CopyEstimate; 2],
    /// What computing a prompt would take.
    pub prefill: PrefillEstimate,
    /// Turns that are ready and not yet running.
    pub queued: u32,
    /// Turns in the running batch.
    pub running: u32,
    /// Limit on turns in the running batch.
    pub running_max: u32,
    /// Every session seen so far.
    pub sessions: Sessions<'a>,
    /// The running batch, in order of admission.
    pub batch: &'a [SessionId],
    /// Tokens that have KV in the running batch, those of the step in flight included.
    pub batch_tokens: u64,
    /// Queued turns that may be admitted, in order. Those that wait for their own copy are not among them.
    pub queue: &'a BTreeMap<Place, SessionId>,
    /// Prompt tokens of all queued turns, those that wait for their own copy included.
    pub queue_tokens: u64,
    /// Sessions whose turn is withheld, longest held first.
    pub held: &'a BTreeSet<(Time, SessionId)>,
    /// Sessions that are paused, whatever they do at present.
    pub paused: &'a BTreeSet<SessionId>,
    /// Sessions between turns, or held, with a soft pin on blocks in HBM: the longest idle first. These may be chosen as victims.
    pub idle_by_age: Ranking<'a>,
    /// The same sessions by expected return, soonest first; those without a hint at [`Time::NEVER`].
    pub idle_by_return: Ranking<'a>,
    /// The same sessions by the end of their pins, soonest first.
    pub idle_by_pin_end: Ranking<'a>,
}

impl View<'_> {
    /// What is known of `id`.
    ///
    /// # Panics
    /// If nobody has arrived who is called so.
    pub fn session(&self, id: SessionId) -> &SessionView {
        self.sessions.get(id).expect("it has arrived")
    }

    /// How often a session was read so far, by id or in one of the orders of idle ones. Those of the batch, the queue and the held are not
    /// counted until they are looked up.
    pub fn reads(&self) -> u64 {
        let orders = [
            &self.idle_by_age,
            &self.idle_by_return,
            &self.idle_by_pin_end,
        ];
        self.sessions.reads() + orders.map(Ranking::reads).iter().sum::<u64>()
    }

    /// Time from now until a copy of `blocks` in `direction` would be complete, behind what is queued.
    pub fn copy_time(&self, direction: Direction, blocks: Blocks) -> Nanos {
        let none = CopyEstimate::default();
        let disk = self.disk.as_ref();
        let lane = match direction {
            Direction::D2h | Direction::H2d => &self.link[direction.index()],
            Direction::DiskWrite => disk.map_or(&none, |disk| &disk.write),
            Direction::DiskRead => disk.map_or(&none, |disk| &disk.read),
        };
        let bytes = u64::from(blocks.0) * self.block_bytes.0 + lane.queued.0;
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(lane.bytes_per_s.max(1));
        Nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) + lane.fixed
    }

    /// Time to compute `tokens` of a prompt behind `context` tokens that have KV, with the GPU to itself.
    pub fn prefill_time(&self, tokens: Tokens, context: Tokens) -> Nanos {
        let (new, old) = (u128::from(tokens.0), u128::from(context.0));
        let pairs = new * old + new * (new + 1) / 2;
        let ps = u128::from(self.prefill.token_ps) * new + u128::from(self.prefill.pair_ps) * pairs;
        Nanos(u64::try_from(ps / 1_000).unwrap_or(u64::MAX))
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

/// The disk behind host memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLevel {
    /// How full it is.
    pub pool: PoolLevel,
    /// What a copy to it would take.
    pub write: CopyEstimate,
    /// What a copy from it would take.
    pub read: CopyEstimate,
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

/// What computing a prompt costs, as far as a server knows: a profile of its machine, waiting and decoding left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefillEstimate {
    /// Per prompt token \[ps\].
    pub token_ps: u64,
    /// Per pair of a prompt token and a token that it attends to \[ps\].
    pub pair_ps: u64,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// A turn is ready and not running.
    #[default]
    Queued,
    /// A turn is ready and withheld by the policy.
    Held,
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
    /// On the disk alone.
    Disk,
}

/// What a server knows of a session.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Where it is in its life.
    pub phase: Phase,
    /// The turn that runs or ran last.
    pub turn: TurnIndex,
    /// Arrival of the session; [`Time::NEVER`] for a sub-agent that nobody has heard of.
    pub arrived: Time,
    /// Who started it, if it is a sub-agent.
    pub parent: Option<SessionId>,
    /// The sub-agents that it has started, in order of their arrival.
    pub children: Vec<SessionId>,
    /// Calls of its workflow, the next of its own included, until the session runs again: 0 while a turn is ready or runs, 1 while it waits
    /// for a tool, and one more than the longest line of turns left to a sub-agent that it waits for. Declared by the client with
    /// exact hints; nobody says so otherwise.
    pub steps_to_execution: Option<u32>,
    /// End of the last turn.
    pub idle_since: Time,
    /// When the turn became known to be ready; from the second turn on, `COMPUTE`.
    pub ready_since: Time,
    /// When the turn was let in.
    pub queued_since: Time,
    /// Tokens of context: prompt and output of the turns that are over.
    pub context: Tokens,
    /// Prompt of the turn that is ready or runs, or ran last.
    pub prompt: Tokens,
    /// Tokens of that turn that have KV, those of the step in flight included; 0 while it is not in the batch.
    pub computed: Tokens,
    /// Preempted, and not admitted since.
    pub preempted: bool,
    /// Told to pause: its next turn will be, or is, withheld.
    pub paused: bool,
    /// Tokens computed for the session so far, by all turns.
    pub service: Tokens,
    /// Time in service so far, from the first step to the last token, by turns that are over.
    pub served: Nanos,
    /// Time queued so far, from being let in to the first step, by turns that are over.
    pub waited: Nanos,
    /// End of the soft pin; [`Time::NEVER`] if none is set.
    pub pin_until: Time,
    /// Blocks of this session held in HBM.
    pub hbm_blocks: Blocks,
    /// Block of its context that they begin with; 0 unless the front has left.
    pub hbm_from: Blocks,
    /// Blocks of this session on the host.
    pub host_blocks: Blocks,
    /// Block of its context that they begin with.
    pub host_from: Blocks,
    /// Blocks of this session on the disk, whether or not the host has them too.
    pub disk_blocks: Blocks,
    /// Block of its context that they begin with.
    pub disk_from: Blocks,
    /// Where its KV is, or goes: the level nearest to the GPU.
    pub residence: Residence,
    /// What moves between host and disk, or waits for that; it does not keep what the host has from moving.
    pub disk_copy: Option<Direction>,
    /// A prefetch is planned or under way for the present wait.
    pub prefetching: bool,
    /// `IO_WAIT` has been delivered for the present wait.
    pub signalled: bool,
    /// Class of the tool that is waited for; known once signalled.
    pub tool: ToolClass,
    /// When it is expected back, if anything is known.
    pub hint: Option<Hint>,
    /// The longest beginning of its prompts that the workload shares with other sessions.
    pub shared_prefix: Option<SharedPrefix>,
}

impl Default for SessionView {
    /// A session of which nothing is known.
    fn default() -> Self {
        Self {
            phase: Phase::Queued,
            turn: TurnIndex(0),
            arrived: Time::ZERO,
            parent: None,
            children: Vec::new(),
            steps_to_execution: None,
            idle_since: Time::ZERO,
            ready_since: Time::ZERO,
            queued_since: Time::ZERO,
            context: Tokens::ZERO,
            prompt: Tokens::ZERO,
            computed: Tokens::ZERO,
            preempted: false,
            paused: false,
            service: Tokens::ZERO,
            served: Nanos::ZERO,
            waited: Nanos::ZERO,
            pin_until: Time::NEVER,
            hbm_blocks: Blocks::ZERO,
            hbm_from: Blocks::ZERO,
            host_blocks: Blocks::ZERO,
            host_from: Blocks::ZERO,
            disk_blocks: Blocks::ZERO,
            disk_from: Blocks::ZERO,
            residence: Residence::None,
            disk_copy: None,
            prefetching: false,
            signalled: false,
            tool: ToolClass(0),
            hint: None,
            shared_prefix: None,
        }
    }
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
