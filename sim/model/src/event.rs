//! What happened: the driver tells it to the policy (`observe`) and to the decision log.

use crate::{Blocks, Direction, Nanos, Need, SessionId, Time, Tokens, TurnIndex};

/// An action that was carried out, or tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Blocks handed to the prefix cache.
    Release,
    /// Blocks held in HBM.
    Keep,
    /// Blocks moved to the host.
    SwapOut,
    /// Content dropped.
    Discard,
    /// Swap-in of a turn that waits for it.
    Restore,
    /// Swap-in ahead of the turn.
    Prefetch,
    /// A copy taken back before its end.
    Cancel,
    /// A soft pin broken by the engine because nothing else could proceed.
    BreakPin,
    /// Content on the host dropped to make room there.
    DropHost,
    /// A running turn sent back to the queue, its blocks released.
    Preempt,
}

impl Action {
    /// The word used in logs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Keep => "keep",
            Self::SwapOut => "swap-out",
            Self::Discard => "discard",
            Self::Restore => "restore",
            Self::Prefetch => "prefetch",
            Self::Cancel => "cancel",
            Self::BreakPin => "break-pin",
            Self::DropHost => "drop-host",
            Self::Preempt => "preempt",
        }
    }
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it, for so many blocks.
    Done(Blocks),
    /// In part: so many blocks, the rest found no room.
    Clipped(Blocks),
    /// Nothing yet; retried at the next change.
    Deferred,
    /// Nothing, for the state has changed since.
    Void,
}

/// What a policy may learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session has entered the system.
    Started(SessionId),
    /// `IO_WAIT` was delivered: the session waits. The hint, if any, is in the view.
    IoWait(SessionId),
    /// `COMPUTE` was delivered: the wait is over, and lasted so long since the turn's end.
    Compute(SessionId, Nanos),
    /// `END` was delivered: no turn will follow.
    Ended(SessionId),
    /// A turn's last token is out.
    TurnDone {
        /// Whose.
        session: SessionId,
        /// Which.
        turn: TurnIndex,
        /// What it generated.
        output: Tokens,
    },
    /// An action has been carried out, clipped, put off, or found void.
    Acted(SessionId, Action, Outcome),
    /// A copy has ended.
    Copied {
        /// Whose KV.
        session: SessionId,
        /// Which way.
        direction: Direction,
        /// How much.
        blocks: Blocks,
        /// When it was asked for.
        asked: Time,
    },
    /// Memory was short.
    Short(Need, Blocks),
}
