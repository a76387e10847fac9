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
    /// A ready turn withheld from the queue.
    Hold,
    /// A turn that was withheld joins the queue.
    Enter,
    /// A session told to pause after its present turn.
    Pause,
    /// The pause of a session ended.
    Resume,
    /// A turn that was withheld let in by the engine because nothing else could proceed.
    BreakHold,
    /// Blocks on the host written to the disk, to leave the host when they are there.
    Demote,
    /// Blocks on the host written to the disk, where they are a copy.
    Store,
    /// Blocks on the disk read to the host.
    Promote,
    /// A read or write of the disk taken back before its end.
    StopDisk,
    /// Content on the disk dropped.
    DropDisk,
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
            Self::Hold => "hold",
            Self::Enter => "enter",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::BreakHold => "break-hold",
            Self::Demote => "demote",
            Self::Store => "store",
            Self::Promote => "promote",
            Self::StopDisk => "stop-disk",
            Self::DropDisk => "drop-disk",
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
        /// Its prompt.
        input: Tokens,
        /// Prompt tokens that were found in HBM at its first admission.
        hit: Tokens,
        /// From when it was let in to its first step.
        waited: Nanos,
        /// From its first step to its last token.
        served: Nanos,
    },
    /// A turn has joined the batch.
    Admitted {
        /// Whose.
        session: SessionId,
        /// Tokens found in HBM.
        hit: Tokens,
        /// Tokens to compute.
        compute: Tokens,
        /// Since it was let in, or preempted.
        waited: Nanos,
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
    /// The policy's cadence has come round (never with [`crate::Cadence::OnChange`]): what the GPU did since the last tick.
    Tick(Report),
}

impl Event {
    /// The session that it is about.
    pub fn session(&self) -> Option<SessionId> {
        match *self {
            Self::Started(session)
            | Self::IoWait(session)
            | Self::Compute(session, _)
            | Self::Ended(session)
            | Self::TurnDone { session, .. }
            | Self::Admitted { session, .. }
            | Self::Acted(session, ..)
            | Self::Copied { session, .. } => Some(session),
            Self::Short(..) | Self::Tick(_) => None,
        }
    }

    /// Whether the world has changed, rather than the engine or the policy done something about it: such an event is a change in the
    /// sense of [`crate::Cadence::OnChange`].
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Self::Started(_)
                | Self::IoWait(_)
                | Self::Compute(..)
                | Self::Ended(_)
                | Self::TurnDone { .. }
                | Self::Copied { .. }
        )
    }
}

/// Service over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How long it was.
    pub span: Nanos,
    /// Steps completed.
    pub steps: u64,
    /// Prompt tokens scheduled, computed again or for the first time.
    pub prefill: u64,
    /// Tokens generated by turns that have ended.
    pub output: u64,
    /// Turns admitted, after a preemption too.
    pub admissions: u64,
    /// Tokens that these had to have.
    pub asked: u64,
    /// Of these: found in HBM. `hit / asked` is the hit rate.
    pub hit: u64,
    /// Turns preempted.
    pub preemptions: u64,
}

impl Report {
    /// Share of the asked tokens that were found; `None` if nothing was asked for.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.hit as f64 / self.asked as f64)
    }
}
