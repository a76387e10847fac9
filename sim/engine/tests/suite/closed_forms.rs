//! Timelines summed by hand. A step takes 10 ms and 1 ms per prefill token; a block is 16 tokens.

use crate::common::{MS, Rig, session};
use engine::record::Part;
use model::{Nanos, SharedPrefix, Tokens};

#[test]
fn two_sessions_of_one_turn_share_a_step() {
    let a = session("a", 0, &[(0, 20, 3)]);
    let b = session("b", 5, &[(0, 10, 2)]);
    let log = Rig::new(20, 0, vec![a, b]).run("vllm-recompute");
    // 0..30: a's prefill, 10 + 20. 30..50: a decodes beside b's prefill, 10 + 10. 50..60: both decode their last token.
    assert_eq!(log.times_ms(0, 0), (30, 60));
    assert_eq!(log.times_ms(1, 0), (50, 60));
    let parts = log.turn(1, 0).parts;
    assert_eq!(parts[Part::Queue as usize], Nanos(25 * MS), "5..30");
    assert_eq!(parts[Part::Prefill as usize], Nanos(20 * MS), "30..50");
}

#[test]
fn one_turn_at_a_time_the_second_waits_for_the_whole_of_the_first() {
    let a = session("a", 0, &[(0, 20, 3)]);
    let b = session("b", 5, &[(0, 10, 2)]);
    let rig = Rig::new(20, 0, vec![a, b]).with(|c| c.batching = engine::Batching::serial());
    let log = rig.run("vllm-recompute");
    // a: 30 and two decode steps, to 50. b: 10 + 10 to 70, one decode step to 80.
    assert_eq!(log.times_ms(0, 0), (30, 50));
    assert_eq!(log.times_ms(1, 0), (70, 80));
}

#[test]
fn what_had_kv_before_is_recomputed_and_the_rest_is_prefill() {
    let a = session("a", 0, &[(0, 30, 3), (50, 11, 2)]);
    let log = Rig::new(20, 0, vec![a]).run("drop-always");
    // Turn 0: 10 + 30, two decode steps: 60. Turn 1 is ready at 110 with 33 + 11 = 44 tokens: 10 + 44 = 54 ms, to 164.
    assert_eq!(log.times_ms(0, 1), (164, 174));
    let turn = log.turn(0, 1);
    // The last token of turn 0 never had KV: 32 of the 44 are computed again. 54 ms x 32 / 44 = 39,272,727.3 ns, rounded down.
    assert_eq!((turn.hit, turn.recomputed), (Tokens(0), Tokens(32)));
    assert_eq!(turn.parts[Part::Recompute as usize], Nanos(39_272_727));
    assert_eq!(turn.parts[Part::Prefill as usize], Nanos(14_727_273));
}

#[test]
fn rewritten_history_is_no_hit() {
    let mut a = session("a", 0, &[(0, 30, 3), (50, 11, 2)]);
    a.turns[1].keep = Tokens(20);
    let log = Rig::new(20, 0, vec![a]).run("keep-always");
    // Of 33 tokens 20 survive: one block of 16. 44 - 16 = 28 tokens, of which tokens 16..20 are computed again.
    let turn = log.turn(0, 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(16), Tokens(4)));
    assert_eq!(turn.first_token.0, (110 + 10 + 28) * MS);
}

#[test]
fn sessions_hit_the_full_blocks_of_a_prefix_that_they_share() {
    let mut sessions = vec![
        session("a", 0, &[(0, 60, 1)]),
        session("b", 100, &[(0, 60, 1)]),
    ];
    for session in &mut sessions {
        session.shared_prefixes = vec![SharedPrefix {
            id: 7,
            tokens: Tokens(40),
        }];
    }
    let log = Rig::new(20, 0, sessions).run("vllm-recompute");
    // 40 tokens are two full blocks: 32 tokens. b: 10 + 28.
    assert_eq!(log.turn(1, 0).hit, Tokens(32));
    assert_eq!(log.times_ms(1, 0), (138, 138));
}

#[test]
fn the_latest_pin_is_broken_when_nothing_else_can_proceed() {
    let a = session("a", 0, &[(0, 30, 3), (1_000, 1, 1)]);
    let b = session("b", 100, &[(0, 30, 3), (1_000, 1, 1)]);
    let c = session("c", 500, &[(0, 40, 1)]);
    let log = Rig::new(6, 0, vec![a, b, c]).run("keep-always");
    // a and b hold 2 blocks each; c needs 3 and finds 2. Nothing runs: b's pin is broken, and the next poll, 1 ms later, admits c.
    assert_eq!(log.summary.pins_broken, 1);
    assert_eq!(
        log.lines("break-pin"),
        ["0.500000000 s1 t0 break-pin done 2"]
    );
    assert_eq!(log.times_ms(2, 0), (501 + 10 + 40, 551));
    // c took the 2 empty blocks and the tail of b: b finds its head, a everything.
    assert_eq!(log.turn(0, 1).hit, Tokens(32));
    assert_eq!(log.turn(1, 1).hit, Tokens(16));
}

#[test]
fn a_preempted_turn_computes_again_and_its_wake_up_is_not_charged() {
    // Each grows to 33 tokens, 3 blocks, of 4: b, admitted last, is preempted when a needs its third.
    let a = session("a", 0, &[(0, 31, 3)]);
    let b = session("b", 0, &[(0, 31, 3)]);
    let rig = Rig::new(4, 0, vec![a, b]);
    let log = rig.run("vllm-recompute");
    assert_eq!(log.summary.preemptions, 1);
    // Both prefilled at 10 + 62 = 72 ms; the preemption comes after the first token.
    for s in [0, 1] {
        let turn = log.turn(s, 0);
        assert_eq!(turn.first_token.0, 72 * MS);
        assert_eq!(turn.parts.iter().copied().sum::<Nanos>(), Nanos(72 * MS));
    }
    assert_eq!(log.turn(1, 0).preemptions, 1);
    assert!(log.turn(1, 0).recomputed > Tokens(0));
}
