//! The only thing that changes who holds what.
//!
//! ```text
//!             admit / grow             idle: pin                swap out (outer end first)
//!   free ──────────────────► run ─────────────────► pin ────────────────────────────────► host
//!    ▲      register fills ──┘  └─ release, preempt    ▲                                    │
//!    └──────────────────────────── release, discard ───┴──── restore (inner end first) ◄────┘
//!
//!   context   0 ─────────────────────────────────────────────► end of the last turn
//!             [        pin        |  host or gone  ]     the back has left
//!             [ gone |  host  |        pin         ]     the front has left: of use to an engine that computes it in the middle
//! ```
//!
//! A session's idle KV is a contiguous part of its context in HBM (`pin`, positions from `pin_base`; 0 unless a policy lets the front
//! go) and a contiguous part of it on the host (`host`, positions from `host_base`). Copies are made in the order that keeps both so at
//! every instant, whatever is cancelled. What is on the host already (by content, any session's) is clean and not copied.
//!
//! What a turn can use is the longest run of blocks in HBM from position 0. An engine that computes missing KV in the middle of a
//! sequence uses what the session holds behind a hole as well (`behind`).
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
//! | `disk` | from the host to the disk and back |
//!
//! **Invariant:** per tier, free + held = capacity; every block of a table is referenced.

mod content;
mod disk;
#[cfg(test)]
mod naive;
mod pin;
mod price;
mod restore;
mod swap_out;
mod turn;

pub use disk::{DiskTransfer, OnDisk, WriteStart};
pub use restore::Restorable;

use super::{BlockPool, Content, Hits, Lineages, Table};
use model::{Direction, End, SessionId, SharedPrefix, Tier};

/// Sizes and rules of the tiers.
#[derive(Clone, Copy, Debug)]
pub struct LedgerConfig {
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Usable blocks of HBM.
    pub hbm_blocks: u32,
    /// Blocks of host memory.
    pub host_blocks: u32,
    /// Blocks of the disk behind the host; 0 is none.
    pub disk_blocks: u32,
    /// Whether the host keeps its copy after a restore (as cache) or gives it up; the disk does likewise.
    pub inclusive: bool,
    /// Whether finished blocks can be hit (prefix caching).
    pub caching: bool,
    /// Fault: a swap-out leaves its blocks in HBM until the session's next turn.
    pub leak_on_swap_out: bool,
    /// Number physical blocks: HBM from this number on, the host and the disk from 0.
    pub first_place: Option<u32>,
}

/// The KV of one session.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    /// What its context holds.
    pub content: Content,
    /// Blocks of the running turn.
    pub run: Table,
    /// Blocks of a turn that is ready or runs behind a hole that it has not computed yet: positions from `behind_base`. Blank ones are the
    /// destination of a restore.
    pub behind: Table,
    /// Position of the first block of `behind`.
    pub behind_base: u32,
    /// Blocks held while idle; blank ones are the destination of a restore.
    pub pin: Table,
    /// Position of the first block of `pin`; 0 if there is none.
    pub pin_base: u32,
    /// Blocks on the host.
    pub host: Table,
    /// Position of the first block of `host`; 0 if there is none.
    pub host_base: u32,
    /// The one transfer over the link that it may have.
    pub transfer: Option<Transfer>,
    /// What the disk has of it, and what moves there; `None` is nothing.
    pub disk: Option<Box<OnDisk>>,
    /// Fault: blocks that a swap-out should have freed.
    leaked: Vec<Table>,
}

/// KV on its way, to or from one end of the pin. What is next to the pin, or nearest to its other end, is last to leave and first to return:
/// what is held stays contiguous.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// Which end of the pin.
    pub end: End,
    /// First position.
    pub lo: u32,
    /// One past the last position.
    pub hi: u32,
    /// Blocks that have arrived.
    pub done: u32,
    /// Blocks to be filled: on the host for a swap-out; in HBM for a restore of what precedes the pin.
    target: Table,
    /// Host blocks that are clean and held so that they stay (swap-out): positions from `clean_base`.
    clean: Table,
    clean_base: u32,
}

impl Transfer {
    /// Blocks to move in all.
    pub fn blocks(&self) -> u32 {
        self.hi - self.lo
    }

    /// Positions of the blocks that have not arrived.
    fn left(&self) -> (u32, u32) {
        if self.descends() {
            (self.lo, self.hi - self.done)
        } else {
            (self.lo + self.done, self.hi)
        }
    }

    /// Whether the last position is copied first.
    fn descends(&self) -> bool {
        matches!(
            (self.direction, self.end),
            (Direction::D2h, End::Back) | (Direction::H2d, End::Front)
        )
    }
}

impl Kv {
    /// Blocks of HBM that the session holds between turns, the destination of a restore included.
    pub fn held(&self) -> u32 {
        let transfer = self.transfer.as_ref();
        let coming = transfer.filter(|transfer| transfer.direction == Direction::H2d);
        let behind = if self.run.is_empty() {
            self.behind.blocks()
        } else {
            0
        };
        self.pin.blocks() + behind + coming.map_or(0, |transfer| transfer.target.blocks())
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

/// All tiers and every session's place in them.
#[derive(Clone, Debug)]
pub struct Ledger {
    config: LedgerConfig,
    hbm: BlockPool,
    host: BlockPool,
    disk: BlockPool,
    /// Host blocks that are free when what is being written to the disk is there.
    host_leaving: u32,
    lineages: Lineages,
    sessions: Vec<Kv>,
    scratch: Hits,
    /// Missing KV can be computed in the middle of a sequence.
    mid_sequence: bool,
}

impl Ledger {
    /// Empty tiers.
    pub fn new(config: LedgerConfig) -> Self {
        let placed = config.first_place.is_some();
        Self {
            hbm: BlockPool::new(config.hbm_blocks, placed, config.first_place.unwrap_or(0)),
            host: BlockPool::new(config.host_blocks, placed, 0),
            disk: BlockPool::new(config.disk_blocks, placed, 0),
            host_leaving: 0,
            lineages: Lineages::default(),
            sessions: Vec::new(),
            scratch: Hits::default(),
            mid_sequence: false,
            config,
        }
    }

    /// Whether missing KV is computed in the middle of a sequence.
    pub fn computes_mid_sequence(&self) -> bool {
        self.mid_sequence
    }

    /// The engine computes missing KV in the middle of a sequence: what is held behind a hole is of use.
    pub fn compute_mid_sequence(&mut self) {
        self.mid_sequence = true;
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
            Tier::Disk => &self.disk,
        }
    }

    /// The KV of `session`.
    pub fn kv(&self, session: SessionId) -> &Kv {
        &self.sessions[session.index()]
    }

    /// A session enters. Ids are dense.
    pub fn open(&mut self, session: SessionId, shared: &[SharedPrefix]) {
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

    /// A session leaves; its KV is handed to the caches, or dropped where nobody else can have it. There must be no transfer over the link,
    /// and none of the disk's that still counts.
    pub fn close(&mut self, session: SessionId, discard: bool) {
        if discard {
            self.discard_pin(session);
        } else {
            self.release_pin(session);
        }
        self.drop_host(session);
        self.drop_disk(session);
        self.stop_leak(session);
        let kv = &mut self.sessions[session.index()];
        debug_assert!(kv.run.is_empty() && kv.behind.is_empty() && kv.transfer.is_none());
        // A copy that was taken back, and is not over yet.
        let disk = kv.disk.take();
        *kv = Kv {
            disk,
            ..Kv::default()
        };
    }

    /// Counts all tiers the slow way.
    ///
    /// # Errors
    /// What does not add up, and where.
    pub fn check(&self) -> Result<(), String> {
        self.hbm.check().map_err(|e| format!("HBM: {e}"))?;
        self.host.check().map_err(|e| format!("host: {e}"))?;
        self.check_disk()?;
        for (id, kv) in self.sessions.iter().enumerate() {
            let in_flight = kv.transfer.as_ref().map(|t| t.direction);
            if kv.pin.blank() > 0 && in_flight != Some(Direction::H2d) {
                return Err(format!("session {id} holds blank blocks without a restore"));
            }
            let beside = in_flight.is_some() && kv.behind.is_empty();
            if !kv.run.is_empty() && (!kv.pin.is_empty() || beside) {
                return Err(format!("session {id} runs and is idle at once"));
            }
            if !kv.behind.is_empty() && (!self.mid_sequence || kv.run.blocks() > kv.behind_base) {
                return Err(format!(
                    "session {id} holds {} blocks from {} on, behind no hole: {} before",
                    kv.behind.blocks(),
                    kv.behind_base,
                    kv.run.blocks()
                ));
            }
            if (kv.pin.is_empty() && kv.pin_base > 0) || (kv.host.is_empty() && kv.host_base > 0) {
                return Err(format!("session {id} holds nothing, at some place"));
            }
        }
        Ok(())
    }
}
