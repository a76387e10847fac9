//! What a policy can want of memory.

use crate::{Blocks, SessionId, Time};

/// What becomes of a session's KV when its turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Hand the blocks to the prefix cache, where they stay hits until overwritten. vLLM's behaviour.
    Release,
    /// Hold the blocks in HBM (a soft pin) until `until`, then do `then`.
    Keep {
        /// End of the pin; [`Time::NEVER`] holds it until the session returns.
        until: Time,
        /// What follows when the pin expires.
        then: Then,
    },
    /// Move the blocks to host memory now.
    SwapOut(SwapOut),
    /// Drop the content and free the blocks at once.
    Discard,
    /// A part leaves now; the rest is held until the session returns.
    Part(Part),
}

impl Retention {
    /// Hold until the session returns.
    pub const fn keep() -> Self {
        Self::Keep {
            until: Time::NEVER,
            then: Then::Release,
        }
    }

    /// Hold until `until`; release unless told otherwise with [`Retention::then`].
    pub const fn keep_until(until: Time) -> Self {
        Self::Keep {
            until,
            then: Then::Release,
        }
    }

    /// What follows a pin that expires. Anything but a pin stays as it is.
    #[must_use]
    pub const fn then(self, then: Then) -> Self {
        match self {
            Self::Keep { until, .. } => Self::Keep { until, then },
            other => other,
        }
    }
}

/// What follows the end of a soft pin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// To the prefix cache.
    #[default]
    Release,
    /// To host memory.
    SwapOut,
    /// Nowhere.
    Discard,
    /// A part of it leaves; the rest is held until the session returns.
    Part(Part),
}

/// A part of a session's KV in HBM: its first or last so many blocks, all of them if there are no more.
///
/// KV is useful as far as it is complete from its beginning, so the back is what can leave while the rest keeps its worth. What follows a
/// hole is useless to an engine that computes prompts from their first missing token on; a policy that lets the front go says that its
/// engine is another one (`Policy::computes_mid_sequence`), or brings the front back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many blocks.
    pub blocks: Blocks,
    /// Which of them.
    pub end: End,
    /// How they leave. Those that go to the host are copied even if it has them already.
    pub how: Way,
}

/// An end of a session's KV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Its first blocks: cheap to compute again, for they attend to little.
    Front,
    /// Its last blocks.
    #[default]
    Back,
}

/// What a block in the prefix cache that nobody holds is worth. The lowest price is taken first, and of equal prices the least recent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(pub i64);

impl Price {
    /// What a block is worth of which nobody says anything: least recently used goes first, as in vLLM.
    pub const NORMAL: Self = Self(0);
}

/// The price of a part of a session's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// So many blocks, from the end of the part before.
    pub blocks: Blocks,
    /// What each is worth while it is cached and nobody holds it. [`Price::NORMAL`] leaves it what it is.
    pub price: Price,
    /// Until when; from then on it is [`Price::NORMAL`], as if it had just been released. [`Time::NEVER`] is no end.
    pub until: Time,
}

/// How KV of a session that is between turns leaves the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRelease {
    /// It is given up there, and is free at once. What the disk has of it stays.
    GiveUp {
        /// Whose.
        session: SessionId,
        /// How many blocks; all of them if there are no more.
        blocks: Blocks,
        /// Which of them.
        end: End,
    },
    /// All that the session has there goes to the disk: free at once if the disk has it already, else when it has been written. What finds
    /// no room on the disk is given up.
    Demote(SessionId),
}

impl HostRelease {
    /// Everything that `session` has there is given up.
    pub const fn all(session: SessionId) -> Self {
        Self::GiveUp {
            session,
            blocks: Blocks(u32::MAX),
            end: End::Back,
        }
    }

    /// Whose KV it is.
    pub const fn session(self) -> SessionId {
        match self {
            Self::GiveUp { session, .. } | Self::Demote(session) => session,
        }
    }
}

/// How blocks leave HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the prefix cache.
    Release,
    /// To host memory; what finds no room there stays.
    SwapOut,
    /// Nowhere.
    Discard,
}

/// How a swap-out treats a host pool that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwapOut {
    /// What finds no room on the host stays in HBM, and the outcome says *clipped*.
    #[default]
    IfRoom,
    /// What finds no room on the host is dropped (the seed's behaviour).
    OrDiscard,
}

/// Whose KV leaves HBM when memory is short, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// An idle session.
    pub session: SessionId,
    /// How it leaves. Clean and discarded blocks are free at once.
    pub how: Then,
}

/// Why blocks are needed, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A waiting turn does not fit.
    Admission(SessionId),
    /// A running turn cannot grow.
    Growth(SessionId),
    /// KV of a turn that is ready has no destination on its way back from the host.
    Restore(SessionId),
    /// KV of a session that is expected back has none.
    Prefetch(SessionId),
}

/// What a ready turn does about KV that is on the disk and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// It is read to the host, and the turn waits for it until then at the longest ([`Time::NEVER`]: until it is complete). What has been
    /// read by then is used.
    Read {
        /// When the turn stops waiting.
        until: Time,
    },
    /// Not yet: asked again when the policy is consulted, and when a turn has been admitted. The turn waits.
    Later,
    /// The turn does not wait for the disk: what is there is computed again.
    Recompute,
}

/// How a turn gets back the KV that is on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// Copy it, and let the turn wait for its own copy.
    Load,
    /// Do not wait for the host: drop what is there and recompute.
    Recompute,
    /// Copy so many blocks, let the turn wait for them, and recompute the rest: the first, or those next to what HBM holds of the end of
    /// the context; there all are copied if the engine does not compute in the middle of a sequence.
    Split(Blocks),
    /// Compute the first so many blocks of what is missing while the rest is copied, and go on behind it: the turn enters as soon as its copy
    /// has begun, and waits where the copy is not there yet. All is copied where that cannot be: under a policy whose engine does not
    /// compute in the middle of a sequence, in a serial engine, or if what is missing precedes what HBM holds.
    Overlap(Blocks),
}
