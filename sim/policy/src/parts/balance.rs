//! Copying one part of a context while the other is computed.

use model::{Blocks, Direction, Restore, SessionId, Tokens, View};

/// How a ready turn is served soonest: so many of the missing blocks are computed that this takes as long as copying the rest, behind what
/// the lane has to do already.
pub(crate) fn balanced(view: &View<'_>, session: SessionId) -> Restore {
    let seen = view.session(session);
    let missing = seen.host_blocks.0;
    let from = Tokens((seen.hbm_from + seen.hbm_blocks).0 * view.block_tokens);
    let compute = |blocks: u32| view.prefill_time(Tokens(blocks * view.block_tokens), from);
    let copy = |blocks: u32| match blocks {
        0 => model::Nanos::ZERO,
        _ => view.copy_time(Direction::H2d, Blocks(blocks)),
    };
    // The fewest blocks that take no less time to compute than the others to copy: one of them or one less is best.
    let (mut low, mut high) = (0, missing);
    while low < high {
        let middle = low + (high - low) / 2;
        if compute(middle) >= copy(missing - middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let takes = |blocks: u32| compute(blocks).max(copy(missing - blocks));
    let fewer = low.saturating_sub(1);
    let computed = if takes(fewer) <= takes(low) {
        fewer
    } else {
        low
    };
    match computed {
        0 => Restore::Load,
        all if all == missing => Restore::Recompute,
        some => Restore::Overlap(Blocks(some)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        Bytes, CopyEstimate, Nanos, PoolLevel, PrefillEstimate, Ranking, SessionView, Sessions,
        Time, View,
    };
    use std::collections::{BTreeMap, BTreeSet};

    /// The answer for a session with ten blocks on the host: a block takes 1 ms over the link behind `queued` ms of copies, and
    /// `token_us` x 16 to compute.
    fn answer(queued: u64, token_us: u64) -> Restore {
        let sessions = [SessionView {
            host_blocks: Blocks(10),
            ..SessionView::default()
        }];
        let (none, places) = (BTreeSet::new(), BTreeMap::new());
        let view = View {
            now: Time::ZERO,
            hbm: PoolLevel::default(),
            host: PoolLevel::default(),
            disk: None,
            block_bytes: Bytes(1_000_000),
            block_tokens: 16,
            link: [CopyEstimate {
                queued: Bytes(queued * 1_000_000),
                bytes_per_s: 1_000_000_000,
                fixed: Nanos::ZERO,
            }; 2],
            prefill: PrefillEstimate {
                token_ps: token_us * 1_000_000,
                pair_ps: 0,
            },
            queued: 1,
            running: 0,
            running_max: 1,
            sessions: Sessions::new(&sessions),
            batch: &[],
            batch_tokens: 0,
            queue: &places,
            queue_tokens: 0,
            held: &none,
            paused: &BTreeSet::new(),
            idle_by_age: Ranking::new(&none),
            idle_by_return: Ranking::new(&none),
            idle_by_pin_end: Ranking::new(&none),
        };
        balanced(&view, SessionId(0))
    }

    #[test]
    fn both_parts_end_at_the_same_time() {
        // 4 ms to compute a block, 1 ms to copy one: 2 x 4 = 8 x 1.
        assert_eq!(answer(0, 250), Restore::Overlap(Blocks(2)));
        // Behind 30 ms of copies: 8 x 4 = 30 + 2 x 1.
        assert_eq!(answer(30, 250), Restore::Overlap(Blocks(8)));
        // 16 ms a block: none is computed in the 10 ms that all ten take to copy.
        assert_eq!(answer(0, 1_000), Restore::Load);
        // All ten are computed in 40 ms, before the first could arrive.
        assert_eq!(answer(100, 250), Restore::Recompute);
    }
}
