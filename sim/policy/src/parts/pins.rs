//! Answers to `on_idle`: hold for a time, then leave.

use model::{Blocks, Direction, Nanos, Retention, SessionId, SwapOut, Then, Tokens, View};

/// Holds from the end of the turn for `tau`, then does `then`; at once if that time is over. [`Nanos::MAX`] is for ever.
pub(crate) fn hold_for(view: &View<'_>, session: SessionId, tau: Nanos, then: Then) -> Retention {
    let until = view.session(session).idle_since + tau;
    if until > view.now {
        return Retention::keep_until(until).then(then);
    }
    match then {
        Then::Release => Retention::Release,
        Then::SwapOut => Retention::SwapOut(SwapOut::IfRoom),
        Then::Discard => Retention::Discard,
        Then::Part(part) => Retention::Part(part),
    }
}

/// The cheaper way to do without a session's KV, and the seconds by which its next turn is late: a copy back from the host, if it has room,
/// or the prompt computed again.
pub(crate) fn cheaper_exit(view: &View<'_>, session: SessionId) -> (f64, Then) {
    let seen = view.session(session);
    let blocks = seen.context.blocks_ceil(view.block_tokens);
    let recompute = view.prefill_time(seen.context, Tokens::ZERO);
    let load = view.copy_time(Direction::H2d, blocks);
    if load < recompute && blocks <= view.host.free {
        (load.as_secs_f64(), Then::SwapOut)
    } else {
        (recompute.as_secs_f64(), Then::Release)
    }
}

/// Blocks that a context fills: what its session holds when its turn has just ended, and `hbm_blocks` is not counted yet.
pub(crate) fn full_blocks(view: &View<'_>, session: SessionId) -> Blocks {
    // The last token has no KV: it was generated, and not computed with.
    let with_kv = view.session(session).context.saturating_sub(Tokens(1));
    with_kv.blocks_floor(view.block_tokens)
}

/// Share of the HBM pool that is in use.
pub(crate) fn utilisation(view: &View<'_>) -> f64 {
    let capacity = view.hbm.capacity.0;
    f64::from(capacity - view.hbm.free.0) / f64::from(capacity.max(1))
}
