//! What a policy can want of the scheduler: who enters, who goes first, how much a step does, and how often it is asked.

use crate::{Bytes, Nanos, Retention, SessionId, Tokens};
use std::num::NonZeroU32;

/// Whether a session whose turn has become ready may proceed.
///
/// Absent on purpose: rejection. A session of a trace that is turned away has no completion time to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// The turn joins the queue.
    #[default]
    Enter,
    /// The turn is withheld: it is no engine's request yet. Its KV stays where it is and may be chosen as a victim. Asked again at
    /// the policy's [`Cadence`].
    Hold,
}

/// Who runs next among queued turns: smaller keys first, compared from left to right. Turns of equal keys keep their places in the
/// queue (see [`Queueing`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey(pub [i64; 3]);

impl OrderKey {
    /// First come, first served: everybody's key.
    pub const FCFS: Self = Self([0; 3]);

    /// By one number alone.
    pub const fn by(first: i64) -> Self {
        Self([first, 0, 0])
    }

    /// By `first`, and by `second` where that is equal.
    pub const fn then(first: i64, second: i64) -> Self {
        Self([first, second, 0])
    }

    /// By a score, the highest first: a billionth counts, and a score without a value (NaN) counts as 0.
    pub fn by_score(score: f64) -> Self {
        Self::by(-((score * 1e9).round() as i64))
    }
}

/// Where a turn that becomes ready enters the queue: its place among turns of an equal [`OrderKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// Behind the others: first come, first served.
    #[default]
    Back,
    /// Before the others: last in, first out.
    Front,
}

/// A place in the queue. Preempted turns come before others of their key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The policy's order.
    pub key: OrderKey,
    /// Ties: order of entry.
    pub number: i64,
}

/// When a policy that looks at everything does so: [`Admission`] of held sessions, order of all queued turns, and its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cadence {
    /// After every signal, end of a turn, and end of a copy. Order keys are asked again only for sessions that an event names.
    #[default]
    OnChange,
    /// After every so many steps of the GPU, with a tick. Decode runs end there.
    Steps(NonZeroU32),
    /// At every multiple of this time, with a tick, while there are sessions. Decode runs end there.
    Every(Nanos),
}

/// What a policy wants when it looks at everything, carried out in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sessions whose next turn is withheld when it becomes ready. One that is queued or runs finishes its turn first.
    pub pause: Vec<SessionId>,
    /// Sessions that may proceed: a pause ends, a turn that is withheld joins the queue without a further question.
    pub resume: Vec<SessionId>,
    /// What becomes of KV that is held between turns: as [`Retention`] says, from now on. *Void* for a session that holds none.
    pub retain: Vec<(SessionId, Retention)>,
    /// Sessions whose KV comes back from the host now. *Void* where there is none, the turn is queued or runs, or turns that are ready
    /// wait for memory.
    pub prefetch: Vec<SessionId>,
    /// What moves between host and disk, in this order.
    pub disk: Vec<(SessionId, DiskMove)>,
}

impl Plan {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.pause.is_empty()
            && self.resume.is_empty()
            && self.retain.is_empty()
            && self.prefetch.is_empty()
            && self.disk.is_empty()
    }
}

/// What is to move between the host and the disk behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskMove {
    /// What the host has of a session between turns is written to the disk as well. *Void* where there is none, or it moves.
    Store,
    /// The same, and it leaves the host when it has been written. *Void* likewise.
    Demote,
    /// What the disk has of a session between turns is read to the host. *Void* where there is none, it moves, or the host has no room.
    Promote,
    /// A turn stops waiting for its read: what has been read is used. *Void* for a turn that waits for none.
    Stop,
}

/// Limits of the next step; the engine's own limits hold besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBudget {
    /// Tokens computed in the step, by all turns.
    pub tokens: Tokens,
    /// Prompt tokens computed in the step by any one turn.
    pub chunk: Tokens,
    /// Bytes that may begin to move while the step runs, per direction (see [`crate::Direction::index`]), in whole blocks. While no step
    /// runs, copies are not limited.
    pub copy: [Bytes; 2],
}

impl StepBudget {
    /// The engine's own limits alone.
    pub const UNLIMITED: Self = Self {
        tokens: Tokens(u32::MAX),
        chunk: Tokens(u32::MAX),
        copy: [Bytes(u64::MAX); 2],
    };
}

impl Default for StepBudget {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_from_left_to_right_and_places_settle_ties() {
        let place = |key, number| Place { key, number };
        assert!(place(OrderKey::then(1, 9), 0) < place(OrderKey::then(2, 0), -5));
        assert!(place(OrderKey::then(1, 3), 0) < place(OrderKey::then(1, 4), -5));
        assert!(place(OrderKey::FCFS, -1) < place(OrderKey::FCFS, 1));
    }

    #[test]
    fn the_highest_score_comes_first() {
        assert!(OrderKey::by_score(10.5) < OrderKey::by_score(10.499_999_999));
        assert_eq!(OrderKey::by_score(f64::NAN), OrderKey::FCFS);
    }
}
