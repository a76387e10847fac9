//! Timelines of copies, summed by hand. A block takes 1 ms over the link, each way; a chunk is a block; two chunks are in a lane.
//!
//! A session of 30 + 3 tokens holds 2 blocks when its turn ends at 60 ms (its last token has no KV yet); one of 158 + 3 holds 10,
//! and its turn ends at 10 + 158 + 2 x 10 = 188 ms.

use crate::common::{Log, MS, Rig, session};
use crate::scripted::Scripted;
use devices::{LaneCost, LinkCost};
use engine::record::{Part, PrefetchOutcome};
use model::Direction::{D2h, H2d};
use model::{Bytes, Nanos, Retention, SessionId, SwapOut, Time, Tokens, View};
use std::num::NonZeroU64;

/// Out when a turn ends, back when it is ready.
fn swap() -> Scripted {
    Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        ..Scripted::default()
    }
}

/// The same, back `MS_AHEAD` before the expected return.
fn ahead<const MS_AHEAD: u64>(view: &View<'_>, session: SessionId) -> Option<Time> {
    let hint = view.session(session).hint?;
    Some(hint.returns_at.before(Nanos(MS_AHEAD * MS)))
}

fn prefetch<const MS_AHEAD: u64>() -> Log {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let policy = Scripted {
        prefetch_at: ahead::<MS_AHEAD>,
        ..swap()
    };
    run(&Rig::new(20, 20, vec![a]), policy)
}

fn run(rig: &Rig, policy: Scripted) -> Log {
    rig.run_own(policy)
        .unwrap_or_else(|failure| panic!("{failure}"))
}

fn copies(log: &Log) -> Vec<(model::Direction, u32, &'static str, u64, u64, u64)> {
    log.copies(Bytes(MS))
}

#[test]
fn a_turn_waits_for_its_restore() {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    let log = run(&Rig::new(20, 20, vec![a]), swap());
    assert_eq!(
        copies(&log),
        [
            (D2h, 0, "write-back", 2, 60, 62),
            (H2d, 0, "demand", 2, 160, 162)
        ]
    );
    // 43 tokens, 32 of them restored: 10 + 11 = 21 ms after the copy.
    assert_eq!(log.times_ms(0, 1), (183, 193));
    let turn = log.turn(0, 1);
    assert_eq!((turn.restored, turn.recomputed), (Tokens(32), Tokens(0)));
    assert_eq!(turn.parts[Part::Copy as usize], Nanos(2 * MS));
    assert_eq!(turn.parts[Part::Prefill as usize], Nanos(21 * MS));
    let row = log.session(0);
    assert_eq!((row.swaps, row.restores, row.prefetches), (1, 1, 0));
    assert_eq!(row.moved, [Bytes(2 * MS), Bytes(2 * MS)]);
    // Two blocks while they leave, 2 ms, and while they return, 2 ms.
    assert_eq!(row.idle_block_ns, 2 * 2 * 2 * u128::from(MS));
}

#[test]
fn a_prefetch_that_ends_with_the_wait_hides_all_of_the_copy() {
    let log = prefetch::<2>();
    assert_eq!(copies(&log)[1], (H2d, 0, "prefetch", 2, 158, 160));
    assert_eq!(log.times_ms(0, 1), (181, 191));
    let turn = log.turn(0, 1);
    assert_eq!(turn.prefetch, Some(PrefetchOutcome::InTime));
    assert_eq!(turn.hidden_copy, Nanos(2 * MS));
    assert_eq!(log.session(0).prefetches, 1);
}

#[test]
fn a_late_prefetch_is_joined_and_hides_its_beginning() {
    let log = prefetch::<1>();
    // Begun as a prefetch, ended as a demand: 159..161.
    assert_eq!(copies(&log)[1], (H2d, 0, "demand", 2, 159, 161));
    assert_eq!(log.times_ms(0, 1), (182, 192));
    let turn = log.turn(0, 1);
    assert_eq!(turn.prefetch, Some(PrefetchOutcome::Late));
    assert_eq!(turn.parts[Part::Copy as usize], Nanos(MS));
    assert_eq!(turn.hidden_copy, Nanos(MS));
}

#[test]
fn an_early_prefetch_holds_memory_for_longer() {
    let log = prefetch::<50>();
    assert_eq!(copies(&log)[1], (H2d, 0, "prefetch", 2, 110, 112));
    assert_eq!(log.times_ms(0, 1), (181, 191));
    assert_eq!(log.turn(0, 1).prefetch, Some(PrefetchOutcome::InTime));
    // Two blocks: 2 ms while they leave, 50 ms from the beginning of the prefetch.
    assert_eq!(log.session(0).idle_block_ns, 2 * 52 * u128::from(MS));
}

#[test]
fn a_prefetch_that_is_discarded_before_the_return_is_wasted() {
    let a = session("a", 0, &[(0, 30, 3), (100, 10, 2)]);
    // A second session needs all 5 blocks at 120, after the prefetch.
    let b = session("b", 120, &[(0, 79, 1)]);
    let policy = Scripted {
        prefetch_at: ahead::<50>,
        victims: |view, _, _| {
            let idle = view.idle_by_age.iter().map(|(_, session)| session);
            idle.map(|session| model::Release {
                session,
                how: model::Then::Discard,
            })
            .collect()
        },
        ..swap()
    };
    let log = run(&Rig::new(5, 20, vec![a, b]), policy);
    assert_eq!(log.turn(0, 1).prefetch, Some(PrefetchOutcome::Wasted));
    assert_eq!(log.turn(0, 1).hit, Tokens(0));
}

#[test]
fn a_return_during_the_swap_out_keeps_what_never_left() {
    let a = session("a", 0, &[(0, 158, 3), (4, 10, 2)]);
    let log = run(&Rig::new(40, 40, vec![a]), swap());
    // Ready at 192: the fourth block leaves now, and the next is in the lane behind it. Five stay; five come back.
    assert_eq!(
        copies(&log),
        [
            (D2h, 0, "write-back", 5, 188, 193),
            (H2d, 0, "demand", 5, 193, 198)
        ]
    );
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(160), Tokens(0)));
    assert_eq!(turn.parts[Part::Copy as usize], Nanos(6 * MS));
    // 161 + 10 - 160 = 11 tokens.
    assert_eq!(log.times_ms(0, 1), (219, 229));
}

#[test]
fn a_demand_overtakes_a_prefetch_at_a_chunk_boundary() {
    // One step for both: 10 + 158 + 30 = 198, and two decode steps: 218. a leaves 218..228, b 228..230.
    // a is expected at 318 and fetched from 300 on; b returns at 303.
    let a = session("a", 0, &[(0, 158, 3), (100, 10, 2)]);
    let b = session("b", 0, &[(0, 30, 3), (85, 10, 2)]);
    let policy = Scripted {
        prefetch_at: |view, session| {
            (session == SessionId(0)).then(|| ahead::<18>(view, session).expect("an exact hint"))
        },
        ..swap()
    };
    let log = run(&Rig::new(40, 40, vec![a, b]), policy);
    // At 303 the third block of a arrives and the fourth is in the lane: b from 304 on, then a's other six.
    assert_eq!(
        copies(&log)[2..],
        [
            (H2d, 0, "prefetch", 4, 300, 304),
            (H2d, 1, "demand", 2, 304, 306),
            (H2d, 0, "prefetch", 6, 306, 312)
        ]
    );
    assert_eq!(log.turn(0, 1).prefetch, Some(PrefetchOutcome::InTime));
    let row = log.session(0);
    assert_eq!(
        (row.prefetches, row.restores),
        (1, 1),
        "one transfer in two pieces"
    );
}

#[test]
fn a_demand_that_lacks_memory_does_not_stop_a_prefetch() {
    // As above, but while a's ten blocks return, b finds no room for its two: 11 blocks in all.
    let a = session("a", 0, &[(0, 158, 3), (100, 1, 1)]);
    let b = session("b", 188, &[(0, 30, 3), (62, 10, 2)]);
    let policy = Scripted {
        prefetch_at: |view, session| {
            (session == SessionId(0)).then(|| ahead::<10>(view, session).expect("an exact hint"))
        },
        ..swap()
    };
    let log = run(&Rig::new(11, 40, vec![a, b]), policy);
    // a leaves 188..198, b runs 198..258 at the latest; a returns at 288, fetched 278..288 whatever b does.
    let fetched = copies(&log)
        .into_iter()
        .find(|copy| copy.0 == H2d && copy.1 == 0);
    assert_eq!(fetched, Some((H2d, 0, "prefetch", 10, 278, 288)));
}

#[test]
fn both_ways_at_once_each_takes_as_long_as_the_shared_rate_says() {
    let rate = |bytes| NonZeroU64::new(bytes).expect("not zero");
    let lane = LaneCost {
        copy_ns: 0,
        block_ns: 0,
        bytes_per_s: rate(1_000_000_000),
        bytes_per_s_shared: rate(500_000_000),
        slowdown_ppm: 0,
        beside_steps_ppm: 0,
    };
    // a leaves 188..198 and returns at 388; b starts at 200, ends at 388 and leaves.
    let a = session("a", 0, &[(0, 158, 3), (200, 1, 1)]);
    let b = session("b", 200, &[(0, 158, 3), (500, 1, 1)]);
    let mut rig = Rig::new(40, 40, vec![a, b]);
    rig.link = LinkCost::new(lane, lane);
    let log = run(&rig, swap());
    // Ten blocks of 2 ms each.
    let both: Vec<_> = copies(&log).into_iter().filter(|c| c.4 == 388).collect();
    assert!(
        both.contains(&(D2h, 1, "write-back", 10, 388, 408)),
        "{both:?}"
    );
    assert!(both.contains(&(H2d, 0, "demand", 10, 388, 408)), "{both:?}");
}

#[test]
fn a_swap_out_that_finds_no_room_is_clipped_and_the_rest_stays() {
    let a = session("a", 0, &[(0, 158, 3), (100, 10, 2)]);
    let log = run(&Rig::new(40, 4, vec![a]), swap());
    // The tail of four blocks leaves; six stay, and are hit without a copy.
    assert_eq!(
        log.lines("swap-out"),
        ["0.188000000 s0 t0 swap-out clipped 4"]
    );
    assert_eq!(copies(&log)[1], (H2d, 0, "demand", 4, 288, 292));
    assert_eq!(log.turn(0, 1).hit, Tokens(160));
}

#[test]
fn content_named_by_the_trace_comes_back_from_the_host() {
    let mut a = session("a", 0, &[(0, 64, 1), (100, 32, 1)]);
    let named = |len| {
        let run = model::ContentRun {
            stream: 3,
            first: 0,
            len,
        };
        Some(vec![run].into_boxed_slice())
    };
    a.turns[0].content = named(4);
    a.turns[1].content = named(6);
    let log = run(&Rig::new(20, 20, vec![a]), swap());
    // 64 tokens: four blocks, out at 74 and back at 174; the new prompt names the same four and two more.
    assert_eq!(
        copies(&log),
        [
            (D2h, 0, "write-back", 4, 74, 78),
            (H2d, 0, "demand", 4, 174, 178)
        ]
    );
    assert_eq!(log.turn(0, 1).hit, Tokens(64));
}
