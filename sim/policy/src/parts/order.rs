//! Orders of the queue that several policies share.

use model::{OrderKey, SessionId, View};

/// Classes in order, then sessions in order of their arrival: `class` 0 goes first. Sessions that arrive at the same instant go by number, as
/// if one had come a moment earlier; left to the queue, they would go by turn.
pub(crate) fn by_class_then_arrival(view: &View<'_>, session: SessionId, class: i64) -> OrderKey {
    let arrived = view.session(session).arrived.0 as i64;
    OrderKey([class, arrived, i64::from(session.0)])
}

/// InferCept's queues: who was held runs before who was swapped, and that before new turns, each by arrival of the session.
pub(crate) fn held_swapped_new(view: &View<'_>, session: SessionId) -> OrderKey {
    let seen = view.session(session);
    let class = match (seen.hbm_blocks.0, seen.host_blocks.0) {
        (1.., _) => 0,
        (0, 1..) => 1,
        (0, 0) => 2,
    };
    by_class_then_arrival(view, session, class)
}
