//! The only thing that changes who holds what.
//!
//! ```text
//!             admit / grow             idle: pin                swap out (tail first)
//!   free ──────────────────► run ─────────────────► pin ───────────────────────────► host
//!    ▲      register fills ──┘  └─ release, preempt    ▲                               │
//!    └──────────────────────────── release, discard ───┴──── restore (head first) ◄────┘
//! ```
//!
//! A session's idle KV is always a prefix of its context in HBM (`pin`, positions from 0) and a contiguous part of it on the
//! host (`host`, positions from `host_base`). A swap-out copies from the tail down and a restore from the head up, so that this
//! holds at every instant, whatever is cancelled. What is on the host already (by content, any session's) is clean and not copied.
//!
//! A restore takes its destination whole when it enters the lane: half a destination helps nobody, and two restores that hold
//! half each would block one another. A partial last block is given up with the turn, as in vLLM.
//!
//! | file | what |
//! |---|---|
//! | `content` | the context is rewritten |
//! | `turn` | blocks of a turn that runs |
//! | `pin` | blocks between turns, let go without a copy |
//! | `swap_out`, `restore` | to the host and back |
//!
//! **Invariant:** per tier, free + held = capacity; every block of a table is referenced.

mod content;
mod pin;
mod restore;
mod swap_out;
mod turn;

use super::{BlockPool, Content, Hits, Lineages, Table};
use model::{Direction, SessionId, SharedPrefix, Tier};

/// Sizes and rules of the two tiers.
#[derive(Clone, Copy, Debug)]
pub struct LedgerConfig {
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Usable blocks of HBM.
    pub hbm_blocks: u32,
    /// Blocks of host memory.
    pub host_blocks: u32,
    /// Whether the host keeps its copy after a restore (as cache) or gives it up.
    pub inclusive: bool,
    /// Whether finished blocks can be hit (prefix caching).
    pub caching: bool,
    /// Fault: a swap-out leaves its blocks in HBM until the session's next turn.
    pub leak_on_swap_out: bool,
    /// Number physical blocks: HBM from this number on, the host from 0.
    pub first_place: Option<u32>,
}

/// The KV of one session.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    /// What its context holds.
    pub content: Content,
    /// Blocks of the running turn.
    pub run: Table,
    /// Blocks held while idle; blank ones are the destination of a restore.
    pub pin: Table,
    /// Blocks on the host.
    pub host: Table,
    /// Position of the first block of `host`.
    pub host_base: u32,
    /// The one transfer it may have.
    pub transfer: Option<Transfer>,
    /// Fault: blocks that a swap-out should have freed.
    leaked: Vec<Table>,
}

/// KV on its way. Positions `lo..hi`; a swap-out goes down from `hi`, a restore up from `lo`.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// First position.
    pub lo: u32,
    /// One past the last position.
    pub hi: u32,
    /// Blocks that have arrived.
    pub done: u32,
    /// Host blocks to be filled (swap-out).
    target: Table,
    /// Host blocks that are clean and held so that they stay (swap-out): positions from 0.
    clean: Table,
}

impl Transfer {
    /// Blocks to move in all.
    pub fn blocks(&self) -> u32 {
        self.hi - self.lo
    }
}

/// What a swap-out set in motion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwapStart {
    /// Blocks that have to be copied.
    pub copied: u32,
    /// Blocks that were on the host already.
    pub clean: u32,
    /// Blocks for which the host had no room.
    pub refused: u32,
}

/// Both tiers and every session's place in them.
#[derive(Clone, Debug)]
pub struct Ledger {
    config: LedgerConfig,
    hbm: BlockPool,
    host: BlockPool,
    lineages: Lineages,
    sessions: Vec<Kv>,
    scratch: Hits,
}

impl Ledger {
    /// Empty tiers.
    pub fn new(config: LedgerConfig) -> Self {
        let placed = config.first_place.is_some();
        Self {
            hbm: BlockPool::new(config.hbm_blocks, placed, config.first_place.unwrap_or(0)),
            host: BlockPool::new(config.host_blocks, placed, 0),
            lineages: Lineages::default(),
            sessions: Vec::new(),
            scratch: Hits::default(),
            config,
        }
    }

    /// Its sizes and rules.
    pub fn config(&self) -> &LedgerConfig {
        &self.config
    }

    /// One of the tiers.
    pub fn pool(&self, tier: Tier) -> &BlockPool {
        match tier {
            Tier::Hbm => &self.hbm,
            Tier::Host => &self.host,
        }
    }

    /// The KV of `session`.
    pub fn kv(&self, session: SessionId) -> &Kv {
        &self.sessions[session.index()]
    }

    /// A session enters. Ids are dense.
    pub fn open(&mut self, session: SessionId, shared: Option<SharedPrefix>) {
        debug_assert_eq!(
            session.index(),
            self.sessions.len(),
            "sessions enter in order"
        );
        let content = Content::new(&mut self.lineages, shared, self.config.block_tokens);
        self.sessions.push(Kv {
            content,
            ..Kv::default()
        });
    }

    /// A session leaves; its KV is handed to the caches, or dropped where nobody else can have it. There must be no transfer.
    pub fn close(&mut self, session: SessionId, discard: bool) {
        if discard {
            self.discard_pin(session);
        } else {
            self.release_pin(session);
        }
        self.drop_host(session);
        self.stop_leak(session);
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.run.is_empty() && kv.transfer.is_none());
        *kv = Kv::default();
    }

    /// Counts both tiers the slow way.
    ///
    /// # Errors
    /// What does not add up, and where.
    pub fn check(&self) -> Result<(), String> {
        self.hbm.check().map_err(|e| format!("HBM: {e}"))?;
        self.host.check().map_err(|e| format!("host: {e}"))?;
        for (id, kv) in self.sessions.iter().enumerate() {
            let in_flight = kv.transfer.as_ref().map(|t| t.direction);
            if kv.pin.blank() > 0 && in_flight != Some(Direction::H2d) {
                return Err(format!("session {id} holds blank blocks without a restore"));
            }
            if !kv.run.is_empty() && (!kv.pin.is_empty() || in_flight.is_some()) {
                return Err(format!("session {id} runs and is idle at once"));
            }
        }
        Ok(())
    }
}
