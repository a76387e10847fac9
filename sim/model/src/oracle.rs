//! The truth, for policies that are allowed to know it.

use crate::{SessionId, Time, Tokens, TurnIndex};

/// What only a clairvoyant policy may ask. A policy that needs it says so in its registry entry and is
/// handed one when it is built; [`crate::View`] does not lead here.
pub trait Oracle: Send + Sync {
    /// When the wait that `session` is in ends; `None` if it is not waiting or its last turn is over.
    fn returns_at(&self, session: SessionId) -> Option<Time>;

    /// Tokens that turn `turn` of `session` will generate.
    fn output(&self, session: SessionId, turn: TurnIndex) -> Option<Tokens>;
}
