//! KV that leaves or returns in part, and copies that a step rations: timelines summed by hand. A block takes 1 ms over the link.
//!
//! A session of 158 + 3 tokens holds 10 blocks when its turn ends at 10 + 158 + 2 x 10 = 188 ms; 100 ms later its next prompt has 171 tokens.

use crate::common::{Log, MS, Rig, session};
use crate::scripted::{Scripted, run};
use engine::record::{OpKind, Part as Wake};
use model::Direction::{D2h, H2d};
use model::{
    Blocks, Bytes, End, HostRelease, Part, Release, Restore, Retention, Session, SessionId,
    StepBudget, SwapOut, Then, Tokens, Way,
};

fn a() -> Session {
    session("a", 0, &[(0, 158, 3), (100, 10, 2)])
}

const fn last<const BLOCKS: u32>(how: Way) -> Part {
    Part {
        blocks: Blocks(BLOCKS),
        end: End::Back,
        how,
    }
}

#[test]
fn the_end_of_the_kv_leaves_and_returns_while_the_beginning_stays() {
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(last::<4>(Way::SwapOut)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(
        log.copies(Bytes(MS)),
        [
            (D2h, 0, "write-back", 4, 188, 192),
            (H2d, 0, "demand", 4, 288, 292)
        ]
    );
    // 171 - 160 tokens: 10 + 11 after the copy.
    assert_eq!(log.turn(0, 1).hit, Tokens(160));
    assert_eq!(log.times_ms(0, 1), (313, 323));
    // Ten blocks for 4 ms while some leave, six for 96 ms, and ten for 4 ms while some return.
    assert_eq!(
        log.session(0).idle_block_ns,
        (40 + 6 * 96 + 40) * u128::from(MS)
    );
}

#[test]
fn the_end_of_the_kv_is_dropped_and_computed_again() {
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(last::<4>(Way::Discard)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(log.lines("discard")[0], "0.188000000 s0 t0 discard done 4");
    // Six blocks are hit: 171 - 96 = 75 tokens, 64 of them again. 288 + 10 + 75.
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(96), Tokens(64)));
    assert_eq!(log.times_ms(0, 1).0, 373);
}

#[test]
fn the_end_of_the_kv_is_released_and_taken_before_anything_that_is_held() {
    let b = session("b", 200, &[(0, 79, 1)]);
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(last::<4>(Way::Release)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(12, 0, vec![a(), b]), policy);
    // b needs 5 blocks at 200: two empty ones, and three of the four released, the last first. It ends at 200 + 10 + 79 = 289.
    assert_eq!(log.times_ms(1, 0), (289, 289));
    assert_eq!(log.turn(0, 1).hit, Tokens(7 * 16));
}

#[test]
fn a_victim_gives_no_more_than_is_needed() {
    let b = session("b", 200, &[(0, 60, 1)]);
    let policy = Scripted {
        victims: |view, need, _| {
            let how = Then::Part(Part {
                blocks: need,
                end: End::Back,
                how: Way::SwapOut,
            });
            let idle = view.idle_by_age.iter();
            idle.map(|(_, session)| Release { session, how }).collect()
        },
        ..Scripted::default()
    };
    let log = run(&Rig::new(12, 40, vec![a(), b]), policy);
    // b needs four blocks and finds two.
    assert_eq!(log.lines("swap-out"), ["0.200000000 s0 t0 swap-out done 2"]);
    assert_eq!(
        log.copies(Bytes(MS)),
        [
            (D2h, 0, "write-back", 2, 200, 202),
            (H2d, 0, "demand", 2, 288, 290)
        ]
    );
    assert_eq!(log.turn(0, 1).hit, Tokens(160));
}

#[test]
fn a_pin_that_ends_can_give_up_its_end_alone() {
    let policy = Scripted {
        on_idle: |view, _| {
            let until = view.now + model::Nanos(20 * MS);
            Retention::keep_until(until).then(Then::Part(last::<3>(Way::SwapOut)))
        },
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(
        log.copies(Bytes(MS))[0],
        (D2h, 0, "write-back", 3, 208, 211)
    );
}

#[test]
fn a_split_restore_loads_the_beginning_and_computes_the_rest() {
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        restore: Restore::Split(Blocks(4)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(log.copies(Bytes(MS))[1], (H2d, 0, "demand", 4, 288, 292));
    assert_eq!(
        log.lines("drop-host"),
        ["0.288000000 s0 t1 drop-host done 6"]
    );
    // 171 - 64 = 107 tokens after the copy, 160 - 64 of them again: 10 + 107 = 117 ms, of which 117 x 96 / 107 rounded down.
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.restored), (Tokens(64), Tokens(64)));
    assert_eq!(turn.recomputed, Tokens(96));
    assert_eq!(log.times_ms(0, 1).0, 292 + 117);
    assert_eq!(turn.parts[Wake::Copy as usize].0, 4 * MS);
    assert_eq!(turn.parts[Wake::Recompute as usize].0, 117 * MS * 96 / 107);
}

#[test]
fn a_split_of_nothing_is_a_recomputation_and_one_of_everything_a_load() {
    for (blocks, copied, first_token) in [(0, 0, 288 + 181), (10, 10, 298 + 21), (99, 10, 298 + 21)]
    {
        let policy = Scripted {
            on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
            restore: Restore::Split(Blocks(blocks)),
            ..Scripted::default()
        };
        let log = run(&Rig::new(40, 40, vec![a()]), policy);
        let back = log
            .copies(Bytes(MS))
            .iter()
            .skip(1)
            .map(|c| c.3)
            .sum::<u64>();
        assert_eq!((back, log.times_ms(0, 1).0), (copied, first_token));
    }
}

#[test]
fn copies_move_no_more_per_step_than_the_budget() {
    let b = session("b", 0, &[(0, 10, 60)]);
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        budget: StepBudget {
            // Half a block is no block.
            copy: [Bytes(2 * MS + MS / 2), Bytes(u64::MAX)],
            ..StepBudget::UNLIMITED
        },
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a(), b]), policy);
    // Both prefill in 10 + 168 = 178 ms; a ends at 198. Steps follow every 10 ms: two blocks at the beginning of each.
    let pieces: Vec<_> = log
        .copies(Bytes(MS))
        .into_iter()
        .filter(|copy| (copy.0, copy.1) == (D2h, 0))
        .map(|copy| (copy.3, copy.4, copy.5))
        .collect();
    let every_step = (0..5).map(|i| (2, 198 + 10 * i, 200 + 10 * i));
    assert_eq!(pieces, every_step.collect::<Vec<_>>());
    // The way back is not rationed: ready at 298.
    assert_eq!(log.turn(0, 1).parts[Wake::Copy as usize].0, 10 * MS);
    // When b has ended, nobody computes, and nothing is rationed: b's swap-out is one piece.
    let after = log.copies(Bytes(MS)).into_iter().filter(|copy| copy.1 == 1);
    assert!(after.count() <= 1);
}

const ANYBODY: [HostRelease; 3] = [
    HostRelease::all(SessionId(1)),
    HostRelease::all(SessionId(7)),
    HostRelease::all(SessionId(0)),
];

#[test]
fn kv_on_the_host_makes_room_for_a_swap_out_if_the_policy_says_so() {
    let a = session("a", 0, &[(0, 30, 3), (500, 10, 2)]);
    let b = session("b", 100, &[(0, 30, 3), (500, 10, 2)]);
    // Nobody can make room for itself, and there is no session 7.
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        host_victims: &ANYBODY,
        ..Scripted::default()
    };
    let log = run(&Rig::new(20, 2, vec![a, b]), policy);
    // a leaves 60..62. b ends at 100 + 40 + 20 = 160 and finds the host full: a's two blocks are dropped.
    assert_eq!(
        log.lines("drop-host")[..3],
        [
            "0.160000000 s1 t0 drop-host void",
            "0.160000000 s7 t0 drop-host void",
            "0.160000000 s0 t0 drop-host done 2",
        ]
    );
    assert_eq!(
        log.lines("s1 t0 swap-out"),
        ["0.160000000 s1 t0 swap-out done 2"]
    );
    assert_eq!(log.turn(0, 1).hit, Tokens(0));
    assert_eq!(log.turn(1, 1).hit, Tokens(32));
}

/// The first so many blocks leave.
const fn first<const BLOCKS: u32>(how: Way) -> Part {
    Part {
        blocks: Blocks(BLOCKS),
        end: End::Front,
        how,
    }
}

/// Prompt tokens and pairs of the steps that computed anything of prompts, in order.
fn prefills(log: &Log) -> Vec<(u32, u64)> {
    let steps = log.ops.iter().filter_map(|op| match op.kind {
        OpKind::Steps {
            prefill_tokens,
            prefill_pairs,
            ..
        } => Some((prefill_tokens, prefill_pairs)),
        OpKind::Copy { .. } => None,
    });
    steps.filter(|step| step.0 > 0).collect()
}

#[test]
fn the_beginning_of_the_kv_is_dropped_and_computed_in_the_middle_of_the_sequence() {
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(first::<4>(Way::Discard)),
        mid_sequence: true,
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(log.lines("discard")[0], "0.188000000 s0 t0 discard done 4");
    // Six of ten blocks are there: 64 tokens again, and 171 - 160 new ones. 288 + 10 + 64 + 11.
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(96), Tokens(64)));
    assert_eq!(log.times_ms(0, 1), (373, 383));
    // 64 tokens behind nothing, 64 x 65 / 2 = 2,080 pairs; 11 behind 160, 11 x 160 + 11 x 12 / 2 = 1,826.
    assert_eq!(prefills(&log)[1], (75, 2_080 + 1_826));
    // Ten blocks for an instant, six for 100 ms.
    assert_eq!(log.session(0).idle_block_ns, 6 * 100 * u128::from(MS));
}

#[test]
fn what_is_held_behind_a_hole_is_useless_to_an_engine_that_computes_from_the_first_missing_token() {
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(first::<4>(Way::Discard)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    // 288 + 10 + 171.
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(0), Tokens(160)));
    assert_eq!(log.times_ms(0, 1).0, 469);
}

#[test]
fn a_hole_is_filled_over_several_steps_under_the_token_budget() {
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(first::<4>(Way::Discard)),
        mid_sequence: true,
        ..Scripted::default()
    };
    let rig = Rig::new(40, 40, vec![a()]).with(|c| c.batching.max_batched_tokens = 40);
    let log = run(&rig, policy);
    // The first turn takes 40, 40, 40 and 38 tokens: 40 + 158, then two more tokens: 218. Back at 318: 40 tokens of the hole; its last
    // 24 and the 11 behind it: 318 + 50 + 45.
    assert_eq!(log.times_ms(0, 1).0, 413);
    // 40 x 41 / 2 = 820; 24 behind 40, 24 x 40 + 300 = 1,260, and 1,826 as before.
    assert_eq!(prefills(&log)[4..], [(40, 820), (35, 1_260 + 1_826)]);
}

#[test]
fn the_beginning_of_the_kv_leaves_and_returns_in_front_of_what_stays() {
    for mid_sequence in [false, true] {
        let policy = Scripted {
            on_idle: |_, _| Retention::Part(first::<4>(Way::SwapOut)),
            mid_sequence,
            ..Scripted::default()
        };
        let log = run(&Rig::new(40, 40, vec![a()]), policy);
        assert_eq!(
            log.copies(Bytes(MS)),
            [
                (D2h, 0, "write-back", 4, 188, 192),
                (H2d, 0, "demand", 4, 288, 292)
            ]
        );
        assert_eq!(log.turn(0, 1).hit, Tokens(160));
        assert_eq!(log.times_ms(0, 1), (313, 323));
        // Ten blocks for 4 ms while some leave, six for 96 ms, and ten for 4 ms while some return.
        assert_eq!(
            log.session(0).idle_block_ns,
            (40 + 6 * 96 + 40) * u128::from(MS)
        );
    }
}

#[test]
fn a_context_is_dropped_on_the_host_and_in_hbm_at_once() {
    let b = session("b", 200, &[(0, 30, 3), (500, 10, 2)]);
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(first::<6>(Way::SwapOut)),
        host_victims: &[HostRelease::GiveUp {
            session: SessionId(0),
            blocks: Blocks(2),
            end: End::Front,
        }],
        mid_sequence: true,
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 6, vec![a(), b]), policy);
    // b ends at 200 + 40 + 20 = 260 with two blocks, and finds the host full: a's first two are dropped there.
    assert_eq!(
        log.lines("drop-host")[0],
        "0.260000000 s0 t0 drop-host done 2"
    );
    // a: [2 dropped | 4 on the host | 4 in HBM]. The four are back at 292; then 32 tokens again and 11 new ones.
    assert_eq!(log.copies(Bytes(MS))[2], (H2d, 0, "demand", 4, 288, 292));
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.restored), (Tokens(128), Tokens(64)));
    assert_eq!(turn.recomputed, Tokens(32));
    assert_eq!(log.times_ms(0, 1).0, 292 + 10 + 43);
}

#[test]
fn a_split_restore_of_the_beginning_loads_what_is_next_to_the_rest() {
    let policy = Scripted {
        on_idle: |_, _| Retention::Part(first::<6>(Way::SwapOut)),
        restore: Restore::Split(Blocks(4)),
        mid_sequence: true,
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    // Blocks 2 to 5 are loaded, 0 and 1 computed again: as above.
    assert_eq!(log.copies(Bytes(MS))[1], (H2d, 0, "demand", 4, 288, 292));
    assert_eq!(
        log.lines("drop-host")[0],
        "0.288000000 s0 t1 drop-host done 2"
    );
    assert_eq!(log.times_ms(0, 1).0, 292 + 10 + 43);
}

#[test]
fn a_turn_computes_the_beginning_while_the_rest_is_copied() {
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        restore: Restore::Overlap(Blocks(4)),
        mid_sequence: true,
        ..Scripted::default()
    };
    // The copy is the shorter: six blocks from 288 to 294. The scheduler has looked at 288, and polls again a millisecond later. The step
    // beside the copy computes 63 of 64 tokens: 289 + 10 + 63 = 362. The last one is computed with the 11 that follow: 362 + 10 + 12.
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(
        log.lines("drop-host")[0],
        "0.288000000 s0 t1 drop-host done 4"
    );
    assert_eq!(log.copies(Bytes(MS))[1], (H2d, 0, "demand", 6, 288, 294));
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.restored), (Tokens(96), Tokens(96)));
    assert_eq!(turn.recomputed, Tokens(64));
    assert_eq!(log.times_ms(0, 1).0, 384);
    assert_eq!(turn.parts[Wake::Copy as usize].0, 0);
    // Pairs: 63 x 64 / 2 = 2,016; one behind 63, 64; 11 behind 160, 1,826.
    assert_eq!(prefills(&log)[1..], [(63, 2_016), (12, 64 + 1_826)]);
}

#[test]
fn a_turn_that_has_computed_the_beginning_waits_for_the_rest() {
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        restore: Restore::Overlap(Blocks(1)),
        mid_sequence: true,
        ..Scripted::default()
    };
    // A block takes 10 ms: nine from 288 to 378. 15 of 16 tokens are computed by 289 + 10 + 15 = 314; then 64 ms of waiting.
    let mut rig = Rig::new(40, 40, vec![a()]);
    rig.config.block_bytes = Bytes(10 * MS);
    let log = run(&rig, policy);
    assert_eq!(
        log.copies(Bytes(10 * MS))[1],
        (H2d, 0, "demand", 9, 288, 378)
    );
    let turn = log.turn(0, 1);
    assert_eq!(turn.parts[Wake::Copy as usize].0, 64 * MS);
    assert_eq!(log.times_ms(0, 1).0, 378 + 10 + 12);
}

#[test]
fn an_engine_that_computes_from_the_first_missing_token_loads_all() {
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        restore: Restore::Overlap(Blocks(4)),
        ..Scripted::default()
    };
    let log = run(&Rig::new(40, 40, vec![a()]), policy);
    assert_eq!(log.copies(Bytes(MS))[1], (H2d, 0, "demand", 10, 288, 298));
    assert_eq!(log.times_ms(0, 1).0, 298 + 21);
}

#[test]
fn others_run_while_a_turn_waits_for_the_rest_of_its_copy() {
    let b = session("b", 300, &[(0, 10, 9)]);
    let policy = Scripted {
        on_idle: |_, _| Retention::SwapOut(SwapOut::IfRoom),
        restore: Restore::Overlap(Blocks(1)),
        mid_sequence: true,
        ..Scripted::default()
    };
    let mut rig = Rig::new(40, 40, vec![a(), b]);
    rig.config.block_bytes = Bytes(10 * MS);
    let log = run(&rig, policy);
    // a computes 15 tokens by 314; b's prompt by 334 and a token every 10 ms: 374, and 384 when the copy has been there since 378. Then
    // 12 tokens of a and one of b: 384 + 10 + 12.
    assert_eq!(log.times_ms(1, 0).0, 334);
    assert_eq!(log.times_ms(0, 1).0, 406);
}
